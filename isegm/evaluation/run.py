"""A run: what its processes do together for each network on each data set, of pictures or of volumes."""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from isegm.datasets import SampleSet
from isegm.distributed import Processes
from isegm.errors import InputError, SettingError
from isegm.evaluation.figures import Figures, figures_of
from isegm.evaluation.journal import Digests, JournalEntry, JournalWriter, digest_samples
from isegm.evaluation.output import RunFolder
from isegm.evaluation.plan import BASELINE, Checkpoint, Plan
from isegm.evaluation.provenance import describe_run, identity_of
from isegm.evaluation.record import Job, SampleFailure, SampleRecord, SampleResult
from isegm.evaluation.window_check import WindowReport
from isegm.evaluation.workers import (
    NOT_ENOUGH_MEMORY,
    Method,
    Progress,
    Task,
    evaluate_dataset,
    samples_at_once,
)
from isegm.inference.load import check_file, load_network
from isegm.inference.network import Network
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


def check_plan(plan: Plan, folder: RunFolder[Any, Any], processes: Processes) -> None:
    """Refuse a plan that cannot be carried out, before anything is computed.

    Raises:
        FolderInUse: The folder holds an evaluation, which is neither to be resumed nor to be replaced.
        InputError: Two results would have one name, or a checkpoint cannot be used.
    """
    if plan.names.count(BASELINE) > 1:
        raise SettingError("baseline", f"a checkpoint is called {BASELINE}, too; give it another name")
    for name in plan.names:
        if plan.names.count(name) > 1:
            raise SettingError("checkpoint", f"two results would be called {name}; give other names")
    if processes.rank == 0:  # when the others look, it may have begun to write
        _check_unused(folder, plan)
    for checkpoint in plan.checkpoints[1:]:
        check_file(checkpoint.path)  # a bad file is told now, not after hours of work on the first


def _check_unused(folder: RunFolder[Any, Any], plan: Plan) -> None:
    if not folder.holds_results() or plan.replace:
        return
    if not plan.resume:
        raise FolderInUse(f"{folder.folder}: already holds an evaluation", resumable=True)
    if not folder.journal.exists():
        said = "holds an evaluation without a journal, which cannot be resumed"
        raise FolderInUse(f"{folder.folder}: {said}", resumable=False)


class RunningEvaluation:
    """One process's part of an evaluation.

    Nothing is written before the first data set begins: a checkpoint that cannot be used leaves an earlier
    evaluation as it was.

    Args:
        plan: What is evaluated.
        folder: Where its files go.
        device: The device that this process computes on.
        processes: The run's processes.
        windows: The CT windows of data and networks.
        show: Is given the progress several times a second, in process 0.
        batch: Samples whose clicks are computed in one batch.

    Attributes:
        rows: The figures of what is done; none in other processes than the first.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder[Any, Any],
        device: torch.device,
        processes: Processes,
        windows: WindowReport,
        show: Callable[[Progress], None],
        batch: int = 1,
    ) -> None:
        self.rows: list[Figures] = []
        self._plan = plan
        self._folder = folder
        self._device = device
        self._processes = processes
        self._windows = windows
        self._show = show
        self._batch = batch
        self._first = processes.rank == 0
        self._digests: Digests = {}
        self._about: dict[str, Any] = {}
        if self._first:
            self._digests = digest_samples(plan.datasets)
            self._about = windows.added_to(describe_run(plan, device, processes, batch, self._digests))
        self._writer: JournalWriter | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "RunningEvaluation":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def load(self, checkpoint: Checkpoint) -> Network:
        """Load a network as the plan says.

        Raises:
            InputError: It cannot be used.
        """
        protocol = self._plan.protocol
        return load_network(
            checkpoint.path,
            device=self._device,
            backend=protocol.backend,
            precision=protocol.precision,
            threads=1 if self._batch == 1 else None,
            at_once=samples_at_once(self._device, self._processes),
            compiled=self._plan.compiled,
        )

    def ended(self, more: Sequence[str]) -> Evaluated:
        """The outcome in every process, when everything is measured.

        Args:
            more: What people are to read below the table and the warnings; only process 0's count.
        """
        lines = [*self._folder.lines(self.rows, self._plan.protocol), *self._windows.lines(), *more]
        text = "\n".join(lines) if self._first else ""
        problems = [line for row in self.rows for line in row.problems]
        samples = self._processes.from_first(sum(row.samples for row in self.rows), "how it ended")
        problems = self._processes.from_first(problems, "how it ended")
        return Evaluated(text, samples, problems)

    def measure(self, model: str, preset: str, method: Method[Any, Any, Any]) -> None:
        """Evaluate a network, or the baseline, on every data set, as often as there are simulated users."""
        self._writer = self._writer or self._begin()
        for job, dataset in self._plan.jobs(model):
            self._measure(job, preset, dataset, method, self._writer)

    def _begin(self) -> JournalWriter:
        """Begin to write."""
        folder, attempt = self._folder, 0
        if self._first:
            self._open.enter_context(folder.journal.locked())
            if self._plan.replace and not self._plan.resume:
                jobs = [job for name in self._plan.names for job, _ in self._plan.jobs(name)]
                folder.remove_earlier(jobs)
            attempt = folder.journal.begin(identity_of(self._about), self._digests)
            folder.remove_unfinished()
        attempt = self._processes.from_first(attempt, "where to write")
        return self._open.enter_context(folder.journal.writer(attempt, self._processes.rank))

    def _measure(
        self,
        job: Job,
        preset: str,
        dataset: SampleSet[Any],
        method: Method[Any, Any, Any],
        writer: JournalWriter,
    ) -> None:
        started = time.perf_counter()
        protocol = self._plan.protocol
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

    def _entries(self, job: Job, dataset: SampleSet[Any]) -> dict[int, JournalEntry]:
        protocol = self._plan.protocol
        return self._folder.journal.entries(dataset, job, protocol.metric, self._plan.most_clicks(job.model))

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

    folder: RunFolder[Any, Any]
    writer: JournalWriter
    job: Job

    def __post_init__(self) -> None:
        self.writer.start(self.job)

    def keep(self, index: int, sample: Any, result: SampleResult, masks: Any) -> None:  # noqa: ANN401 - of any kind
        mask_sha256 = self.folder.save_masks(self.job, sample, result, masks)
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
