"""The progress of an evaluation, on disk sample by sample, so that a run that was cut short can be resumed.

=================================  =========================================================================
``journal/run.json``               all that decides results: settings, SHA-256 of weights and data, versions
``journal/data.json``              a digest of every sample's files, by data set and name
``journal/<n>/process_<k>.jsonl``  the records of the samples that process k finished at the n-th start
``journal/lock``                   held while an evaluation writes here
=================================  =========================================================================

A line is on the disk before its process begins with the next sample. A line without an end, which is all that
a killed process or a full disk can leave, counts for nothing: its sample is computed again.
"""

import contextlib
import hashlib
import io
import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isegm.datasets import SampleSet
from isegm.errors import InputError
from isegm.evaluation.record import Job, SampleRecord
from isegm.json_object import JsonObject, read_json_object
from isegm.storage import lock, sha256, write_text, write_through

_FIX = "evaluate into another folder, or replace this evaluation (`force`)"
_FIX_LINE = "remove the line, and its sample is computed again"

_ABSENT = object()

Digests = dict[str, dict[str, str]]
"""Of each sample's files, by data set and sample name."""


@dataclass(frozen=True)
class JournalEntry:
    """An entry of the journal.

    Attributes:
        record: A sample's result, or why it has none.
        mask_sha256: Of the file of its final mask; empty if there is no result.
        attempt: At which start it was computed.
        seconds: Since that start began with the sample's data set.
    """

    record: SampleRecord
    mask_sha256: str
    attempt: int
    seconds: float


class Journal:
    """The journal of a run.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "journal"

    def exists(self) -> bool:
        """Whether an evaluation was begun in this folder."""
        return (self.folder / "run.json").exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other evaluations from writing here; the lock ends with the process, however that ends.

        Raises:
            InputError: Another evaluation is writing here.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a", encoding="utf-8") as file:
            if not lock(file):
                raise InputError(
                    f"{self.folder.parent}: another evaluation is writing here; wait for it, or end it"
                )
            yield

    def begin(self, identity: Mapping[str, Any], digests: Digests) -> int:
        """Begin, or go on if a run of this identity was begun.

        Args:
            identity: All that decides the results, as JSON has it.
            digests: Of the samples' files.

        Returns:
            Which start this is, from 1.

        Raises:
            InputError: The run that was begun is another one; the line says in what it differs.
            OSError: A file cannot be written.
        """
        if self.exists():
            self.check_same(identity, digests)
        else:
            write_text(self.folder / "data.json", json.dumps(digests) + "\n")
            write_text(self.folder / "run.json", json.dumps(identity, indent=2) + "\n")
        attempt = max(self._attempts(), default=0) + 1
        (self.folder / str(attempt)).mkdir()
        return attempt

    def check_same(self, identity: Mapping[str, Any], digests: Digests) -> None:
        """Make sure that the run that was begun here is the one of this identity.

        Raises:
            InputError: It is another one.
        """
        differences = _differences(self._read("run.json"), json.loads(json.dumps(identity)))
        if any(line.startswith("datasets") for line in differences):
            differences += _changed_samples(self._read("data.json"), digests)
        if differences:
            raise InputError(
                f"{self.folder / 'run.json'}: this run was begun with other settings, weights or data and "
                f"cannot go on with these: {'; '.join(differences)}; {_FIX}"
            )

    @contextlib.contextmanager
    def writer(self, attempt: int, process: int) -> Iterator["JournalWriter"]:
        """Open the file that one process writes."""
        writer = JournalWriter(self.folder / str(attempt) / f"process_{process}.jsonl")
        try:
            yield writer
        finally:
            writer.close()

    def entries(
        self, dataset: SampleSet[object], job: Job, metric: str, n_clicks: int
    ) -> dict[int, JournalEntry]:
        """Read the entries of a data set, by number and in data-set order.

        Where a sample was computed again, the last entry counts.

        Args:
            dataset: The samples.
            job: The data set's part of the run.
            metric: The scores' measure, ``iou`` or ``dice``.
            n_clicks: The largest number of clicks on a sample.

        Raises:
            InputError: A line that has an end cannot be read, or does not fit the data set.
        """
        found: dict[int, JournalEntry] = {}
        for attempt in sorted(self._attempts()):
            for path in sorted((self.folder / str(attempt)).glob("process_*.jsonl")):
                for line in _whole_lines(path):
                    if Job.from_json(line) != job:
                        continue
                    record = SampleRecord.from_json(line, metric, n_clicks)
                    if dataset.names[record.index : record.index + 1] != (record.outcome.name,):
                        raise InputError(
                            f"{line.where}: sample {record.index} of {job.dataset} is not called "
                            f"{record.outcome.name!a}; {line.fix}"
                        )
                    mask = line.text("mask_sha256", default="")
                    found[record.index] = JournalEntry(record, mask, attempt, line.number("at"))
        return dict(sorted(found.items()))

    def remove(self) -> None:
        """Remove an earlier run's files, but not the lock, which this one holds."""
        for name in ("run.json", "data.json"):
            (self.folder / name).unlink(missing_ok=True)
        for attempt in self._attempts():
            shutil.rmtree(self.folder / str(attempt))

    def _attempts(self) -> list[int]:
        return [int(path.name) for path in self.folder.glob("*") if path.name.isdecimal() and path.is_dir()]

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError, FileNotFoundError):
            raise InputError(f"{path}: not a readable part of a journal; {_FIX}") from None
        if not isinstance(content, dict):
            raise InputError(f"{path}: not a part of a journal; {_FIX}")
        return content


class JournalWriter:
    """One process's file of a journal.

    Args:
        path: The file, which does not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: io.FileIO | None = None
        self._lock = threading.Lock()
        self._started: dict[Job, float] = {}

    def start(self, job: Job) -> None:
        """Begin with a data set: its samples' times count from now."""
        self._started[job] = time.monotonic()

    def add(self, record: SampleRecord, mask_sha256: str = "") -> None:
        """Append a record. When this returns, it is on the disk.

        Args:
            record: The sample's outcome.
            mask_sha256: Of the file of its final mask; empty if it has none.

        Raises:
            OSError: It cannot be written. What is in the file already is kept.
        """
        since = time.monotonic() - self._started.get(record.job, time.monotonic())
        line = record.to_json() | {"mask_sha256": mask_sha256, "at": round(since, 3)}
        content = (json.dumps(line) + "\n").encode()
        with self._lock:
            try:
                if self._file is None:
                    self._file = self._path.open("ab", buffering=0)
                write_through(self._file, content)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self._path)) from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None


def digest_samples(datasets: Sequence[SampleSet[object]]) -> Digests:
    """Digest every sample's files; a file of several samples is read once.

    A file that cannot be read has an empty digest: the sample's evaluation will say what is wrong with it.
    """
    files = sorted({path for dataset in datasets for record in dataset.records for path in record.files})
    with ThreadPoolExecutor(8) as pool:
        digests = dict(zip(files, pool.map(_digest, files), strict=True))
    return {
        dataset.name: {
            record.name: hashlib.sha256("".join(digests[path] for path in record.files).encode()).hexdigest()[
                :16
            ]
            for record in dataset.records
        }
        for dataset in datasets
    }


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:
        return ""


def digest_dataset(samples: Mapping[str, str]) -> str:
    """SHA-256 of a data set: of its samples' names and digests, in order."""
    return hashlib.sha256(json.dumps(list(samples.items())).encode()).hexdigest()


def _whole_lines(path: Path) -> Iterator[JsonObject]:
    """The lines of a file that have an end."""
    *lines, _torn = path.read_bytes().split(b"\n")
    for number, text in enumerate(lines, start=1):
        yield read_json_object(f"{path}: line {number}", text, _FIX_LINE)


def _differences(then: object, now: object, place: str = "") -> list[str]:
    """List the differences between two JSON values, each as ``place: ... then, ... now``."""
    if isinstance(then, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*then, *now])
        parts = [
            _differences(then.get(k, _ABSENT), now.get(k, _ABSENT), f"{place}.{k}" if place else k)
            for k in keys
        ]
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        parts = [_differences(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(then, now, strict=True))]
    else:
        parts = [] if then == now else [[f"{place}: {_shown(then)} then, {_shown(now)} now"]]
    return [line for part in parts for line in part]


def _shown(value: object) -> str:
    text = "nothing" if value is _ABSENT else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _changed_samples(then: Mapping[str, Any], now: Digests) -> list[str]:
    """For each data set that differs, the first sample that does."""
    lines = []
    for name, samples in now.items():
        earlier = then.get(name)
        if not isinstance(earlier, dict) or earlier == samples:
            continue
        changed = [s for s in dict.fromkeys([*earlier, *samples]) if earlier.get(s) != samples.get(s)]
        first = changed[0]
        how = "has other files now" if first in earlier else "is new"
        how = how if first in samples else "is gone"
        lines.append(f"{name}: {first} {how}, the first of {len(changed)}")
    return lines
