"""A whole evaluation: some checkpoints on some data sets, by the run's processes together."""

import contextlib
import datetime
import importlib.metadata
import platform
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision

from isegm._version import __version__
from isegm.config import EXPERIMENTS_KEY, Config
from isegm.datasets import Dataset, DatasetProblems, Sample, available_datasets, open_dataset
from isegm.distributed import Processes
from isegm.errors import InputError
from isegm.evaluation.click_loop import SamplePictures
from isegm.evaluation.figures import Figures, figures_of, format_mean_scores, format_spreads, format_table
from isegm.evaluation.journal import Digests, JournalEntry, JournalWriter, digest_dataset, digest_samples
from isegm.evaluation.output import RunFolder, Wanted
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import Job, SampleFailure, SampleRecord, SampleResult
from isegm.evaluation.window_check import WindowReport, check_windows
from isegm.evaluation.workers import GPU_BATCH, evaluate_dataset, predictor_for, samples_at_once
from isegm.inference.batching import BatchedNetwork
from isegm.inference.geodesic import GeodesicSegmenter
from isegm.inference.load import check_file, load_network
from isegm.inference.onnx_pair import paths_of_pair
from isegm.inference.segmenter import Segmenter
from isegm.storage import sha256
from isegm.wording import counted

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
    resume: bool = False
    """Go on with an evaluation that ``folder`` holds, if it holds one."""
    strict: bool = False
    """Refuse data in a CT window that a network was not trained in, rather than warn of it."""


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found.

    Attributes:
        text: The table and what belongs to it, for people; empty in all processes but the first.
        problems: A line for each sample that could not be evaluated; the same in every process.
    """

    text: str
    problems: Sequence[str]


def evaluate(evaluation: Evaluation, device: torch.device, processes: Processes) -> Outcome:
    """Evaluate and write the files.

    Args:
        evaluation: What, and how.
        device: What this process computes on.
        processes: The run's processes.

    Raises:
        InputError: The folder is taken, or holds another evaluation than the one to go on with; a checkpoint
            cannot be used, or one has the baseline's name; another process hangs; if the evaluation is
            strict, a data set's CT window is new to a network.
        OSError: A file cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM came. What is done is kept.
    """
    folder = RunFolder(evaluation.folder, evaluation.wanted, by_checkpoint=len(names_of(evaluation)) > 1)
    if names_of(evaluation).count(BASELINE) > 1:
        raise InputError(f"--baseline: a checkpoint is called {BASELINE}, too; give it a --model-name")
    if processes.rank == 0:  # when the others look, it may have begun to write
        _check_unused(folder, evaluation)
    for checkpoint in evaluation.checkpoints[1:]:
        check_file(checkpoint.path)  # a bad file is told now, not after hours of work on the first
    paths = {checkpoint.name: checkpoint.path for checkpoint in evaluation.checkpoints}
    windows = check_windows(paths, evaluation.datasets, strict=evaluation.strict)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_interrupted_once(launched=processes.size > 1))
        rows = _evaluate(evaluation, folder, device, processes, windows, stack)
    text = _text(evaluation, rows, windows) if processes.rank == 0 else ""
    problems = [problem for row in rows for problem in row.problems]
    return Outcome(text, processes.from_first(problems, "how it ended"))


def _check_unused(folder: RunFolder, evaluation: Evaluation) -> None:
    if not folder.holds_results() or evaluation.replace:
        return
    if not evaluation.resume:
        raise InputError(
            f"{folder.folder}: already holds an evaluation; --resume to go on with it, --force to replace "
            "it, or another --logs-path"
        )
    if not folder.journal.exists():
        raise InputError(
            f"{folder.folder}: holds an evaluation without a journal, which cannot be gone on with; "
            "--force to replace it, or another --logs-path"
        )


def _evaluate(
    evaluation: Evaluation,
    folder: RunFolder,
    device: torch.device,
    processes: Processes,
    windows: WindowReport,
    stack: contextlib.ExitStack,
) -> list[Figures]:
    protocol = evaluation.protocol
    batch = evaluation.batch_size or (GPU_BATCH if device.type == "cuda" else 1)
    first = processes.rank == 0
    digests = digest_samples(evaluation.datasets) if first else {}
    about = windows.added_to(describe(evaluation, device, processes, batch, digests)) if first else {}
    rows: list[Figures] = []
    writer: JournalWriter | None = None

    def begin() -> JournalWriter:
        """Begin to write; only now, when it is clear that there will be something to write."""
        attempt = 0
        if first:
            stack.enter_context(folder.journal.locked())
            stack.enter_context(_hint_at_resume(folder.folder))
            if evaluation.replace and not evaluation.resume:
                folder.remove_earlier(jobs_of(evaluation))
            attempt = folder.journal.begin(identity_of(about), digests)
            folder.remove_unfinished()
        attempt = processes.from_first(attempt, "where to write")
        return stack.enter_context(folder.journal.writer(attempt, processes.rank))

    def measure(
        job: Job,
        preset: str,
        dataset: Dataset,
        segmenter: Callable[[], Segmenter],
        on: torch.device,
        batched: BatchedNetwork | None = None,
    ) -> None:
        nonlocal writer
        writer = writer or begin()
        started = time.perf_counter()
        earlier = folder.journal.entries(dataset, job, protocol.metric, protocol.n_clicks) if first else {}
        done = [index for index, entry in earlier.items() if _is_kept(folder, job, entry)]
        missing = sorted(set(range(len(dataset))) - set(processes.from_first(done, "what is done")))
        keeper = _Keeper(folder, writer, job)
        evaluate_dataset(
            segmenter, on, dataset, protocol, processes, job.key, missing, keeper, batched, job.seed or 0
        )
        if first:
            entries = folder.journal.entries(dataset, job, protocol.metric, protocol.n_clicks)
            _check_all_there(folder, dataset, entries)
            seconds = time.perf_counter() - started + _seconds_of(earlier.values())
            results = {index: entry.record.outcome for index, entry in entries.items()}
            rows.append(figures_of(job.model, preset, dataset.name, results, protocol, seconds, job.seed))
            folder.save_results(job, rows, results, protocol, about)

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
        for job, dataset in _jobs(evaluation, checkpoint.name):
            segmenter = partial(predictor_for, batched or network, dataset, protocol)
            measure(job, network.name, dataset, segmenter, device, batched)
    for job, dataset in _jobs(evaluation, BASELINE) if evaluation.baseline else []:
        geodesic = partial(GeodesicSegmenter, threshold=protocol.thresh)
        measure(job, BASELINE, dataset, geodesic, torch.device("cpu"))
    return rows


@dataclass(frozen=True)
class _Keeper:
    """Keeps what one process evaluates: first the pictures, then the line that says that they are there."""

    folder: RunFolder
    writer: JournalWriter
    job: Job

    def __post_init__(self) -> None:
        self.writer.start(self.job)

    def keep(self, index: int, sample: Sample, result: SampleResult, pictures: SamplePictures) -> None:
        mask_sha256 = self.folder.save_pictures(self.job, sample, result, pictures)
        self.writer.add(SampleRecord(self.job, index, result), mask_sha256)

    def keep_failure(self, index: int, failure: SampleFailure) -> None:
        self.writer.add(SampleRecord(self.job, index, failure))


def _is_kept(folder: RunFolder, job: Job, entry: JournalEntry) -> bool:
    """Whether nothing is left to do for a sample: it has a result, and its mask is there."""
    outcome = entry.record.outcome
    if isinstance(outcome, SampleFailure):
        return False
    path = folder.mask_path(job, outcome.name)
    return path.is_file() and sha256(path) == entry.mask_sha256


def _check_all_there(folder: RunFolder, dataset: Dataset, entries: Mapping[int, JournalEntry]) -> None:
    missing = [name for index, name in enumerate(dataset.names) if index not in entries]
    if missing:
        raise InputError(
            f"{folder.journal.folder}: process 0 cannot see what others wrote of {dataset.name} "
            f"({counted(len(missing), 'sample')}, {missing[0]} the first); give a --logs-path that all nodes "
            "share"
        )


def _seconds_of(entries: Iterable[JournalEntry]) -> float:
    """How long earlier starts worked on a data set, each until the last sample that it finished."""
    longest: dict[int, float] = {}
    for entry in entries:
        longest[entry.attempt] = max(entry.seconds, longest.get(entry.attempt, 0.0))
    return sum(longest.values())


@contextlib.contextmanager
def _hint_at_resume(folder: Path) -> Iterator[None]:
    """Say how to go on after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        line = f"what is done is kept; go on by the same command with --logs-path={folder} --resume"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the user's terminal
        raise


@contextlib.contextmanager
def _interrupted_once(*, launched: bool) -> Iterator[None]:
    """Let SIGTERM, by which clusters and launchers end a process, stop as cleanly as Ctrl-C does.

    A launcher passes on the Ctrl-C that its processes have got already, and may send SIGTERM more than once:
    only the first signal counts, or the samples under way would be given up. Without a launcher a second
    Ctrl-C does that.
    """

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN if launched else signal.default_int_handler)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only that one may change handlers
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def jobs_of(evaluation: Evaluation) -> list[Job]:
    """All parts of the run, in order."""
    return [job for name in names_of(evaluation) for job, _ in _jobs(evaluation, name)]


def _jobs(evaluation: Evaluation, model: str) -> list[tuple[Job, Dataset]]:
    seeds = evaluation.protocol.seeds
    numbers = [None] if seeds == 1 else list(range(seeds))
    return [(Job(model, dataset.name, seed), dataset) for dataset in evaluation.datasets for seed in numbers]


def names_of(evaluation: Evaluation) -> list[str]:
    """What the results are kept by: the networks' names, and the baseline's."""
    return [checkpoint.name for checkpoint in evaluation.checkpoints] + [BASELINE] * evaluation.baseline


def _text(evaluation: Evaluation, rows: Sequence[Figures], windows: WindowReport) -> str:
    lines = [format_table(rows, evaluation.protocol), *format_spreads(rows), *windows.lines()]
    if evaluation.print_scores:
        lines += [format_mean_scores(row, evaluation.protocol) for row in rows]
    lines.append(f"Table, figures, samples and masks are in {evaluation.folder}")
    return "\n".join(lines)


def describe(
    evaluation: Evaluation, device: torch.device, processes: Processes, batch: int, digests: Digests
) -> dict[str, Any]:
    """What ``results.json`` says besides the figures.

    Args:
        evaluation: What, and how.
        device: What process 0 computes on.
        processes: The run's processes.
        batch: Samples whose clicks are computed in one batch.
        digests: Of the samples' files.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "settings": asdict(evaluation.protocol),
        "checkpoints": [
            {"name": checkpoint.name, "path": str(checkpoint.path), **_hashes(checkpoint.path)}
            for checkpoint in evaluation.checkpoints
        ],
        "baseline": evaluation.baseline,
        "datasets": [
            {
                "name": dataset.name,
                "samples": len(dataset),
                "sha256": digest_dataset(digests[dataset.name]),
            }
            for dataset in evaluation.datasets
        ],
        "pictures": evaluation.wanted.vis is not None,
        "device": {
            "type": device.type,
            "name": name or platform.machine(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
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
            **_runtime_version(evaluation.protocol.backend),
        },
    }


def identity_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a description that two runs must have in common to have the same results.

    Not in it: where the files are, how many processes there are, and what they run on but for its kind.
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
