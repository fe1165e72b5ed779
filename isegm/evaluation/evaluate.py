"""A whole evaluation: some checkpoints on some data sets, by the run's processes together."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from isegm.datasets import Dataset, Sample
from isegm.distributed import Processes
from isegm.errors import InputError, SettingError
from isegm.evaluation.click_loop import SamplePictures
from isegm.evaluation.figures import Figures, figures_of, format_mean_scores, format_spreads, format_table
from isegm.evaluation.journal import Digests, JournalEntry, JournalWriter, digest_samples
from isegm.evaluation.output import RunFolder
from isegm.evaluation.plan import BASELINE, GPU_BATCH, Evaluation
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.provenance import describe_run, identity_of
from isegm.evaluation.record import Job, SampleFailure, SampleRecord, SampleResult
from isegm.evaluation.window_check import WindowReport, check_windows
from isegm.evaluation.workers import (
    NOT_ENOUGH_MEMORY,
    Method,
    Progress,
    Task,
    evaluate_dataset,
    method_of,
    samples_at_once,
)
from isegm.inference.geodesic import GeodesicSegmenter
from isegm.inference.load import check_file, load_network
from isegm.storage import sha256
from isegm.wording import counted


@dataclass(frozen=True)
class Evaluated:
    """The outcome of an evaluation.

    Attributes:
        text: The table and what belongs to it, for people; empty in all processes but the first.
        samples: How many results there are; the same in every process.
        problems: A line for each sample that could not be evaluated; the same in every process.
    """

    text: str
    samples: int
    problems: Sequence[str]

    @property
    def exceeds_memory(self) -> bool:
        """Whether memory sufficed for no sample at all: nothing can be computed here with these settings."""
        failed = [problem for problem in self.problems if problem.endswith(NOT_ENOUGH_MEMORY)]
        return not self.samples and bool(failed) and len(failed) == len(self.problems)


class FolderInUse(InputError):  # noqa: N818 - it says what is wrong
    """The folder holds an evaluation, which was neither to be resumed nor to be replaced.

    Attributes:
        resumable: Whether it may be possible to resume it.
    """

    def __init__(self, said: str, *, resumable: bool) -> None:
        super().__init__(said)
        self.resumable = resumable


def evaluate(
    evaluation: Evaluation,
    device: torch.device,
    processes: Processes,
    show: Callable[[Progress], None] = lambda _: None,
) -> Evaluated:
    """Evaluate and write the files.

    Args:
        evaluation: The evaluation.
        device: The device that this process computes on.
        processes: The run's processes.
        show: Is given the progress several times a second, in process 0.

    Raises:
        FolderInUse: The folder holds an evaluation already.
        InputError: It holds another evaluation than the one to resume; a checkpoint cannot be used, or one
            has the baseline's name; another process hangs; if the evaluation is strict, a data set's CT
            window is new to a network.
        OSError: A file cannot be written.
        KeyboardInterrupt: Ctrl-C came. What is done is kept.
    """
    protocol = evaluation.protocol
    folder = RunFolder(evaluation.folder, evaluation.wanted, by_checkpoint=len(evaluation.names) > 1)
    if evaluation.names.count(BASELINE) > 1:
        raise SettingError("baseline", f"a checkpoint is called {BASELINE}, too; give it another name")
    if processes.rank == 0:  # when the others look, it may have begun to write
        _check_unused(folder, evaluation)
    for checkpoint in evaluation.checkpoints[1:]:
        check_file(checkpoint.path)  # a bad file is told now, not after hours of work on the first
    paths = {checkpoint.name: checkpoint.path for checkpoint in evaluation.checkpoints}
    windows = check_windows(paths, evaluation.datasets, strict=evaluation.strict)
    batch = evaluation.batch_size or (GPU_BATCH if device.type == "cuda" else 1)
    digests: Digests = {}
    about: dict[str, Any] = {}
    if processes.rank == 0:
        digests = digest_samples(evaluation.datasets)
        about = windows.added_to(describe_run(evaluation, device, processes, batch, digests))
    with _Run(evaluation, folder, processes, about, digests, show) as run:
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
            run.measure(checkpoint.name, network.name, method_of(network, protocol, device, batch))
        if evaluation.baseline:
            run.measure(BASELINE, BASELINE, baseline_of(protocol))
    text = _text(evaluation, run.rows, windows) if processes.rank == 0 else ""
    samples = processes.from_first(sum(row.samples for row in run.rows), "how it ended")
    problems = processes.from_first([line for row in run.rows for line in row.problems], "how it ended")
    return Evaluated(text, samples, problems)


def baseline_of(protocol: Protocol) -> Method:
    """The segmentation without weights, which computes on the CPU."""
    return Method(
        new_segmenter=lambda _: GeodesicSegmenter(threshold=protocol.thresh), device=torch.device("cpu")
    )


def _check_unused(folder: RunFolder, evaluation: Evaluation) -> None:
    if not folder.holds_results() or evaluation.replace:
        return
    if not evaluation.resume:
        raise FolderInUse(f"{folder.folder}: already holds an evaluation", resumable=True)
    if not folder.journal.exists():
        said = "holds an evaluation without a journal, which cannot be resumed"
        raise FolderInUse(f"{folder.folder}: {said}", resumable=False)


class _Run:
    """One process's part of an evaluation.

    Nothing is written before the first data set begins: a checkpoint that cannot be used leaves an earlier
    evaluation as it was.

    Attributes:
        rows: The figures of what is done; none in other processes than the first.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        folder: RunFolder,
        processes: Processes,
        about: Mapping[str, Any],
        digests: Digests,
        show: Callable[[Progress], None],
    ) -> None:
        self.rows: list[Figures] = []
        self._evaluation = evaluation
        self._folder = folder
        self._processes = processes
        self._about = about
        self._digests = digests
        self._show = show
        self._first = processes.rank == 0
        self._writer: JournalWriter | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def measure(self, model: str, preset: str, method: Method) -> None:
        """Evaluate a network, or the baseline, on every data set, as often as there are simulated users."""
        self._writer = self._writer or self._begin()
        for job, dataset in self._evaluation.jobs(model):
            self._measure(job, preset, dataset, method, self._writer)

    def _begin(self) -> JournalWriter:
        """Begin to write."""
        folder, attempt = self._folder, 0
        if self._first:
            self._open.enter_context(folder.journal.locked())
            if self._evaluation.replace and not self._evaluation.resume:
                jobs = [job for name in self._evaluation.names for job, _ in self._evaluation.jobs(name)]
                folder.remove_earlier(jobs)
            attempt = folder.journal.begin(identity_of(self._about), self._digests)
            folder.remove_unfinished()
        attempt = self._processes.from_first(attempt, "where to write")
        return self._open.enter_context(folder.journal.writer(attempt, self._processes.rank))

    def _measure(
        self, job: Job, preset: str, dataset: Dataset, method: Method, writer: JournalWriter
    ) -> None:
        started = time.perf_counter()
        protocol = self._evaluation.protocol
        earlier = self._entries(job, dataset) if self._first else {}
        done = [index for index, entry in earlier.items() if self._is_kept(entry)]
        done = self._processes.from_first(done, "what is done")
        task = Task(
            key=job.key,
            dataset=dataset,
            indices=sorted(set(range(len(dataset))) - set(done)),
            protocol=protocol,
            seed=job.seed or 0,
        )
        evaluate_dataset(task, method, self._processes, _Keeper(self._folder, writer, job), self._show)
        if not self._first:
            return
        entries = self._entries(job, dataset)
        missing = [name for index, name in enumerate(dataset.names) if index not in entries]
        if missing:
            raise InputError(
                f"{self._folder.journal.folder}: process 0 cannot see what others wrote of {dataset.name} "
                f"({counted(len(missing), 'sample')}, {missing[0]} the first); evaluate into a folder that "
                "all nodes share"
            )
        seconds = time.perf_counter() - started + _seconds_of(earlier.values())
        outcomes = {index: entry.record.outcome for index, entry in entries.items()}
        self.rows.append(figures_of(job.model, preset, dataset.name, outcomes, protocol, seconds, job.seed))
        self._folder.save_results(job, self.rows, outcomes, protocol, self._about)

    def _entries(self, job: Job, dataset: Dataset) -> dict[int, JournalEntry]:
        protocol = self._evaluation.protocol
        return self._folder.journal.entries(dataset, job, protocol.metric, protocol.n_clicks)

    def _is_kept(self, entry: JournalEntry) -> bool:
        """Whether nothing is left to do for a sample: it has a result, and its mask is there."""
        record = entry.record
        path = self._folder.mask_path(record.job, record.outcome.name)
        return (
            isinstance(record.outcome, SampleResult) and path.is_file() and sha256(path) == entry.mask_sha256
        )


@dataclass(frozen=True)
class _Keeper:
    """Keeps one process's outcomes: first the pictures, then the line that says that they are there."""

    folder: RunFolder
    writer: JournalWriter
    job: Job

    def __post_init__(self) -> None:
        self.writer.start(self.job)

    def keep(self, index: int, sample: Sample, result: SampleResult, pictures: SamplePictures) -> None:
        mask_sha256 = self.folder.save_pictures(self.job, sample, result, pictures)
        self.writer.add(SampleRecord(self.job, index, result), mask_sha256)

    def keep_failure(self, index: int, failure: SampleFailure) -> None:
        self.folder.mask_path(self.job, failure.name).unlink(missing_ok=True)  # of an earlier start
        self.writer.add(SampleRecord(self.job, index, failure))


def _seconds_of(entries: Iterable[JournalEntry]) -> float:
    """How long earlier starts worked on a data set, each until the last sample that it finished."""
    longest: dict[int, float] = {}
    for entry in entries:
        longest[entry.attempt] = max(entry.seconds, longest.get(entry.attempt, 0.0))
    return sum(longest.values())


def _text(evaluation: Evaluation, rows: Sequence[Figures], windows: WindowReport) -> str:
    lines = [format_table(rows, evaluation.protocol), *format_spreads(rows), *windows.lines()]
    if evaluation.mean_scores:
        lines += [format_mean_scores(row, evaluation.protocol) for row in rows if row.samples]
    lines.append(f"Table, figures, samples and masks are in {evaluation.folder}")
    return "\n".join(lines)
