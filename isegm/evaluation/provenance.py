"""Where an evaluation's results come from: settings, weights, data, device, versions."""

import datetime
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from isegm._version import __version__
from isegm.distributed import Processes
from isegm.evaluation.journal import Digests, digest_dataset
from isegm.evaluation.plan import Plan
from isegm.evaluation.workers import samples_at_once
from isegm.inference.onnx_pair import paths_of_pair
from isegm.storage import sha256


def describe_run(
    plan: Plan, device: torch.device, processes: Processes, batch: int, digests: Digests
) -> dict[str, Any]:
    """Describe an evaluation for ``results.json``.

    Args:
        plan: The evaluation.
        device: The device that process 0 computes on.
        processes: The run's processes.
        batch: Samples whose clicks are computed in one batch.
        digests: Of the samples' files.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "settings": asdict(plan.protocol),
        "checkpoints": [
            {"name": checkpoint.name, "path": str(checkpoint.path), **_hashes(checkpoint.path)}
            for checkpoint in plan.checkpoints
        ],
        "baseline": plan.baseline,
        "datasets": [
            {
                "name": dataset.name,
                "samples": len(dataset),
                "sha256": digest_dataset(digests[dataset.name]),
                **plan.dataset_settings.get(dataset.name, {}),
            }
            for dataset in plan.datasets
        ],
        "pictures": plan.draws,
        "device": {
            "type": device.type,
            "name": name or platform.machine(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "processes": processes.size,
            "samples_at_once": (batch if batch > 1 else samples_at_once(device, processes)) * processes.size,
            "batch_size": batch,
            "compiled": plan.compiled,
        },
        "versions": {
            "isegm": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{module.__name__: module.__version__ for module in (torch, np, cv2)},
            **_runtime_version(plan.protocol.backend),
        },
    }


def identity_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a description that two runs must have in common to have the same results.

    It leaves out where the files are, how many processes there are, and all of the machine but its kind.
    """
    device, versions = about["device"], about["versions"]
    return {
        **{name: about[name] for name in ("settings", "baseline", "pictures")},
        "datasets": [_without(row, "window") for row in about["datasets"]],
        "checkpoints": [_without(row, "path", "windows") for row in about["checkpoints"]],
        "device": {name: device[name] for name in ("type", "instructions", "batch_size", "compiled")},
        "versions": _without(versions, "python", "platform"),
    }


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _hashes(path: Path) -> dict[str, str]:
    """SHA-256 of a network's file, or of both files of an exported pair."""
    if path.suffix != ".onnx":
        return {"sha256": sha256(path)}
    first_stage, correction_head = paths_of_pair(path)
    return {"sha256": sha256(first_stage), "correction_head_sha256": sha256(correction_head)}


def _runtime_version(backend: str) -> dict[str, str]:
    return {} if backend == "torch" else {backend: importlib.metadata.version(backend)}
