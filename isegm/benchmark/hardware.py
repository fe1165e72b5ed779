"""Description of the machine that a benchmark ran on."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

from isegm._version import __version__
from isegm.distributed import cores_for

PACKAGES = ("torch", "onnxruntime", "openvino", "numpy")


def describe_hardware() -> dict[str, Any]:
    """Return the processor, its vector instructions, the cores this process may use, the GPU, and the load.

    The load average is that of the last minute. On a busy machine figures are not to be trusted: threads that
    share a click wait for the one that lost its core, so that what uses more of them slows more.
    """
    return {
        "cpu": _processor(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": cores_for(1),
        "threads": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def describe_versions() -> dict[str, str | None]:
    """Return versions by package; None where one is not installed."""
    return {"isegm": __version__, "python": platform.python_version()} | {
        package: _version(package) for package in PACKAGES
    }


def format_hardware(hardware: dict[str, Any], versions: dict[str, str | None]) -> str:
    """Put hardware and versions into one line."""
    parts = [
        f"{hardware['cpu']} ({hardware['vector_instructions']})",
        f"{hardware['cores']} of {hardware['threads']} hardware threads",
        f"load {hardware['load_average']:.1f}",
        hardware["gpu"] or "no GPU",
        *(f"{name} {version}" for name, version in versions.items() if version and name != "isegm"),
    ]
    return ", ".join(parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
