"""A whole evaluation: some checkpoints on some data sets, by the run's processes together."""

import datetime
import platform
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision

from isegm._version import __version__
from isegm.cli import report_problems
from isegm.config import EXPERIMENTS_KEY, Config
from isegm.data import Dataset, DatasetProblems, available_datasets, open_dataset
from isegm.distributed import Processes
from isegm.errors import InputError
from isegm.evaluation.figures import Figures, figures_of, format_mean_scores, format_table
from isegm.evaluation.output import RunFolder, Wanted
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.run import GPU_BATCH, evaluate_dataset, predictor_for, samples_at_once
from isegm.inference.batching import BatchedNetwork
from isegm.inference.geodesic import GeodesicSegmenter
from isegm.inference.load import check_file, load_network
from isegm.inference.segmenter import Segmenter
from isegm.storage import sha256

BASELINE = "geodesic"
"""What the segmentation without weights is called in tables and files."""


@dataclass(frozen=True)
class Checkpoint:
    """A network to evaluate.

    Attributes:
        name: What it is called in tables and files.
        path: Its file.
    """

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is to be evaluated, and how; the same in every process."""

    checkpoints: Sequence[Checkpoint]
    """The networks, each on every data set."""
    datasets: Sequence[Dataset]
    """The data sets."""
    protocol: Protocol
    """The settings that decide the figures."""
    folder: Path
    """Where everything is written."""
    wanted: Wanted
    """Which files are wanted besides the usual ones."""
    baseline: bool = False
    """Evaluate the geodesic segmentation beside the networks; it needs no weights."""
    print_scores: bool = False
    """Print the mean IoU after 1, 2, 3, 5, 10 and 20 clicks, too."""
    compiled: bool = False
    """Let ``torch.compile`` make the networks' code anew."""
    batch_size: int | None = None
    """Samples whose clicks are computed in one batch; None for 1 on CPUs and more on GPUs."""
    replace: bool = False
    """Replace an evaluation that ``folder`` holds already."""


def evaluate(evaluation: Evaluation, device: torch.device, processes: Processes) -> int:
    """Evaluate, write the files and print the table.

    Args:
        evaluation: What, and how.
        device: What this process computes on.
        processes: The run's processes.

    Returns:
        The exit status, the same in every process: 0, or 1 if some samples could not be evaluated.

    Raises:
        InputError: The folder is taken, a checkpoint cannot be used, or one has the baseline's name.
        OSError: A file cannot be written.
    """
    protocol = evaluation.protocol
    folder = RunFolder(evaluation.folder, evaluation.wanted, by_checkpoint=len(names_of(evaluation)) > 1)
    if names_of(evaluation).count(BASELINE) > 1:
        raise InputError(f"--baseline: a checkpoint is called {BASELINE}, too; give it a --model-name")
    if not evaluation.replace:
        folder.check_unused()
    for checkpoint in evaluation.checkpoints[1:]:
        check_file(checkpoint.path)  # a bad file is told now, not after hours of work on the first
    batch = evaluation.batch_size or (GPU_BATCH if device.type == "cuda" else 1)
    about = _describe(evaluation, device, processes, batch) if processes.rank == 0 else {}
    rows: list[Figures] = []

    def measure(
        name: str,
        preset: str,
        dataset: Dataset,
        segmenter: Callable[[], Segmenter],
        on: torch.device,
        batched: BatchedNetwork | None = None,
    ) -> None:
        started = time.perf_counter()
        save = partial(folder.save_pictures, name, dataset.name)
        job = f"{name}/{dataset.name}"
        results = evaluate_dataset(segmenter, on, dataset, protocol, processes, job, save, batched)
        if results is not None:
            seconds = time.perf_counter() - started
            rows.append(figures_of(name, preset, dataset.name, results, protocol, seconds))
            folder.save_results(rows, results, protocol, about)

    for checkpoint in evaluation.checkpoints:
        network = load_network(
            checkpoint.path,
            device=device,
            backend=protocol.backend,
            precision=protocol.precision,
            threads=1 if batch == 1 else None,
            at_once=samples_at_once(device, processes),
            compiled=evaluation.compiled,
        )
        batched = BatchedNetwork(network, batch) if batch > 1 else None
        if evaluation.replace and checkpoint is evaluation.checkpoints[0]:
            if processes.rank == 0:
                folder.remove_earlier(names_of(evaluation), [dataset.name for dataset in evaluation.datasets])
            processes.from_first(None)  # the others write only now
        for dataset in evaluation.datasets:
            segmenter = partial(predictor_for, batched or network, dataset, protocol)
            measure(checkpoint.name, network.name, dataset, segmenter, device, batched)
    if evaluation.baseline:
        for dataset in evaluation.datasets:
            geodesic = partial(GeodesicSegmenter, threshold=protocol.thresh)
            measure(BASELINE, BASELINE, dataset, geodesic, torch.device("cpu"))

    if processes.rank == 0:
        _print(evaluation, rows)
    return processes.from_first(report_problems([problem for row in rows for problem in row.problems]))


def names_of(evaluation: Evaluation) -> list[str]:
    """What the results are kept by: the networks' names, and the baseline's."""
    return [checkpoint.name for checkpoint in evaluation.checkpoints] + [BASELINE] * evaluation.baseline


def _print(evaluation: Evaluation, rows: Sequence[Figures]) -> None:
    lines = [format_table(rows, evaluation.protocol)]
    if evaluation.print_scores:
        lines += [format_mean_scores(row, evaluation.protocol) for row in rows]
    lines.append(f"Table, figures, samples and masks are in {evaluation.folder}")
    # Flushed, because a launcher ends this process as soon as another one has left with status 1.
    print("\n".join(lines), flush=True)  # noqa: T201 - the table is what was asked for


def _describe(
    evaluation: Evaluation, device: torch.device, processes: Processes, batch: int
) -> dict[str, Any]:
    """What ``results.json`` says besides the figures."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "settings": asdict(evaluation.protocol),
        "checkpoints": [
            {"name": checkpoint.name, "path": str(checkpoint.path), "sha256": sha256(checkpoint.path)}
            for checkpoint in evaluation.checkpoints
        ],
        "datasets": [{"name": dataset.name, "samples": len(dataset)} for dataset in evaluation.datasets],
        "device": {
            "type": device.type,
            "name": name or platform.machine(),
            "processes": processes.size,
            "samples_at_once": (batch if batch > 1 else samples_at_once(device, processes)) * processes.size,
            "batch_size": batch,
            "compiled": evaluation.compiled,
        },
        "versions": {
            "isegm": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{module.__name__: module.__version__ for module in (torch, torchvision, np, cv2)},
        },
    }


def find_checkpoints(names: Sequence[str], folder: Path, model_name: str | None) -> list[Checkpoint]:
    """Find checkpoint files by name.

    Args:
        names: Each the name of a file in ``folder`` or a path; ``.pth`` may be left out.
        folder: Where checkpoints are kept.
        model_name: What to call the network, instead of its file's name.

    Raises:
        InputError: A file is missing, two have the same name, or one name is given for several.
    """
    found = []
    for name in names:
        places = [folder / name, folder / f"{name}.pth", Path(name), Path(f"{name}.pth")]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise InputError(f"{folder / name}: no such checkpoint; check its name and --model_dir")
        found.append(Checkpoint(path.stem, path))
    if model_name is not None:
        if len(found) > 1:
            raise InputError(f"--model-name: one name for {len(found)} checkpoints; evaluate them one by one")
        if not model_name.strip() or not model_name.isprintable() or set(model_name) & set("/\\"):
            raise InputError(f"--model-name: must be usable as the name of a file, not {model_name!a}")
        found = [Checkpoint(model_name, found[0].path)]
    stems = [checkpoint.name for checkpoint in found]
    for stem in stems:
        if stems.count(stem) > 1:
            raise InputError(f"--checkpoint: {stem} is named twice; results are kept by this name")
    return found


def find_experiment(exp_path: str, config: Config) -> list[str]:
    """Find the checkpoints of a training run.

    Args:
        exp_path: A folder below the experiments' folder, with ``:prefix`` behind it for only those of its
            ``checkpoints/`` whose names start so.
        config: Where the experiments are.

    Returns:
        The files' paths, sorted.

    Raises:
        InputError: There is no such folder, or no such file in it.
    """
    folder, _, prefix = exp_path.partition(":")
    place = config.place(EXPERIMENTS_KEY) / folder / "checkpoints"
    found = sorted(str(path) for path in place.glob("*.pth") if path.name.startswith(prefix))
    if not found:
        raise InputError(f"{place}: no checkpoint here named {prefix}*.pth; check --exp-path")
    return found


def open_datasets(names: Sequence[str], config: Config) -> list[Dataset]:
    """Open data sets; what is wrong with any of them is told at once.

    Args:
        names: The data sets; none for all whose folder exists.
        config: Where they are.

    Raises:
        InputError: A data set is unknown, missing, named twice or not whole, or there is none at all. The
            message has a line for each problem.
    """
    wanted = list(names) or available_datasets(config)
    if not wanted:
        raise InputError(f"{config.path}: none of its data sets is there; prepare one, or change its rows")
    datasets: list[Dataset] = []
    problems: list[str] = []
    for name in wanted:
        try:
            dataset = open_dataset(name, config)
        except DatasetProblems as error:
            problems += error.problems
        except InputError as error:
            problems.append(str(error))
        else:
            if any(other.name == dataset.name for other in datasets):
                problems.append(f"--datasets: {dataset.name} is named twice")
            datasets.append(dataset)
    if problems:
        raise DatasetProblems(problems)
    return datasets


def default_folder(checkpoints: Sequence[Checkpoint], protocol: Protocol, config: Config) -> Path:
    """A new folder for an evaluation whose place was not said: named after networks, mode and time.

    A few random digits tell runs apart that start in the same second.
    """
    names = "+".join(checkpoint.name for checkpoint in checkpoints)[:80]
    now = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return (
        config.place(EXPERIMENTS_KEY)
        / "evaluation_logs"
        / f"{names}_{protocol.eval_mode}_{now}-{secrets.token_hex(2)}"
    )
