"""An evaluation's folder, read back and checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isegm.errors import InputError
from isegm.evaluation.click_loop import SURFACE_TOLERANCE
from isegm.evaluation.protocol import MOST_CLICKS, SURFACE_TOLERANCE_MM
from isegm.evaluation.record import MOST_SAMPLES, Job, SampleFailure, SampleResult, read_records
from isegm.json_object import JsonObject, read_json_object

_FIX = "evaluate again, or restore the file"


@dataclass(frozen=True)
class Group:
    """One network on one data set.

    Attributes:
        model: The network's name.
        dataset: The data set's name.
        samples: The evaluations of each sample, one a seed, in data-set order; every sample has one at least.
            Their scores are of all clicks, the last one carried on where clicking ended sooner.
        seeds: Of the click model.
        seconds: Wall-clock time of all seeds.
        problems: A line for every sample without a result.
        clicks_sha256: Of the clicks of each seed.
        n_clicks: The largest number of clicks on a sample: the run's, or more where volumes are clicked on
            slice by slice.
    """

    model: str
    dataset: str
    samples: tuple[tuple[SampleResult, ...], ...]
    seeds: tuple[int, ...]
    seconds: float
    problems: tuple[str, ...]
    clicks_sha256: tuple[str, ...]
    n_clicks: int

    def lines(self) -> Iterator[SampleResult]:
        """All evaluations of all samples."""
        for lines in self.samples:
            yield from lines


@dataclass(frozen=True)
class Run:
    """An evaluation.

    Attributes:
        folder: Where it is.
        about: All of ``results.json``.
        metric: ``iou`` or ``dice``: what NoC was counted by.
        n_clicks: The largest number of clicks.
        target: Where clicking stopped; above 1, never.
        settings: The protocol, to be shown.
        groups: Each network on each data set, in the table's order.
        tolerance: Of the surface Dice, in pixels; of volumes in mm.
        warnings: What the evaluation had to say of its data.
        is_of_volumes: Whether the samples are volumes.
    """

    folder: Path
    about: JsonObject
    metric: str
    n_clicks: int
    target: float
    settings: Mapping[str, str]
    groups: tuple[Group, ...]
    tolerance: float
    warnings: tuple[str, ...]
    is_of_volumes: bool = False

    @property
    def unit(self) -> str:
        """What distances are in."""
        return "mm" if self.is_of_volumes else "px"

    @property
    def models(self) -> tuple[str, ...]:
        """The networks, in the table's order."""
        return tuple(dict.fromkeys(group.model for group in self.groups))

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets, in the table's order."""
        return tuple(dict.fromkeys(group.dataset for group in self.groups))

    @property
    def measure(self) -> str:
        """What NoC was counted by, to be shown."""
        return "IoU" if self.metric == "iou" else "Dice"

    def of(self, dataset: str) -> tuple[Group, ...]:
        """The groups of one data set."""
        return tuple(group for group in self.groups if group.dataset == dataset)


def read_run(folder: Path) -> Run:
    """Read ``results.json`` and ``samples.jsonl``.

    Raises:
        InputError: One of them is missing, cut short or not what an evaluation writes, or they do not belong
            together. The line names the file and, of the samples, the line.
        OSError: A file cannot be read.
    """
    path = _existing(folder / "results.json")
    about = read_json_object(str(path), path.read_bytes(), _FIX)
    settings = about.object("settings")
    is_of_volumes = "target_dice" in settings.values
    target_key = "target_dice" if is_of_volumes else "target_iou"
    metric = settings.text("metric", default="dice" if is_of_volumes else None)
    if metric not in ("iou", "dice"):
        raise settings.wrong("metric", "iou or dice")
    target = settings.number(target_key)
    if target == 0:
        raise settings.wrong(target_key, "above 0")
    n_clicks = settings.integer("n_clicks", 1, MOST_CLICKS)
    rows = about.objects("results")
    limits = {Job.from_json(row): row.integer("n_clicks", 1, MOST_SAMPLES, n_clicks) for row in rows}
    found = _read_samples(_existing(folder / "samples.jsonl"), metric, n_clicks, limits)
    key, usual = "nsd_tolerance_px", SURFACE_TOLERANCE
    if is_of_volumes:
        key, usual = "nsd_tolerance_mm", SURFACE_TOLERANCE_MM
    tolerances = [row.object("final").number(key, usual) for row in rows]
    return Run(
        folder=folder,
        about=about,
        metric=metric,
        n_clicks=n_clicks,
        target=target,
        settings=settings.plain(),
        groups=_groups(path, rows, found, limits),
        tolerance=tolerances[0] if tolerances else usual,
        warnings=about.texts("warnings"),
        is_of_volumes=is_of_volumes,
    )


_Found = dict[Job, dict[str, tuple[int, SampleResult]]]
"""The samples of each part of a run by name, each with its number in the data set."""


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: no such file; give the folder of an evaluation that has ended")
    return path


def _read_samples(path: Path, metric: str, n_clicks: int, limits: Mapping[Job, int]) -> _Found:
    found: _Found = {}
    for where, record in read_records(path, metric, max([n_clicks, *limits.values()]), _FIX):
        result, samples = record.outcome, found.setdefault(record.job, {})
        if isinstance(result, SampleFailure):
            raise InputError(f"{where}: {result.name!a} has no result; {_FIX}")
        if result.name in samples:
            raise InputError(f"{where}: {result.name!a} was evaluated on an earlier line, too; {_FIX}")
        samples[result.name] = record.index, result.after(limits.get(record.job, n_clicks))
    return found


def _groups(
    path: Path, rows: Sequence[JsonObject], found: _Found, limits: Mapping[Job, int]
) -> tuple[Group, ...]:
    """Put the rows of ``results.json`` and the samples' lines together."""
    samples = path.with_name("samples.jsonl")
    groups: dict[tuple[str, str], dict[Job, JsonObject]] = {}
    for row in rows:
        job = Job.from_json(row)
        jobs = groups.setdefault((job.model, job.dataset), {})
        if job in jobs:
            raise InputError(f"{row.where}: {job.model!a} on {job.dataset!a} has a row already; {_FIX}")
        jobs[job] = row
        lines = len(found.get(job, {}))
        if row.integer("samples", 0, MOST_SAMPLES) != lines:
            raise InputError(
                f"{samples}: has {lines} lines of {job.model!a} on {job.dataset!a}, where {path} counts "
                f"{row.values['samples']} samples; the run was cut short: {_FIX}"
            )
    for job in found:
        if job not in groups.get((job.model, job.dataset), {}):
            raise InputError(
                f"{samples}: has samples of {job.model!a} on {job.dataset!a}, which {path} does not know; "
                f"the run was cut short: {_FIX}"
            )
    return tuple(_group(jobs, found, limits) for jobs in groups.values())


def _group(rows: Mapping[Job, JsonObject], found: _Found, limits: Mapping[Job, int]) -> Group:
    jobs = sorted(rows, key=lambda job: job.seed or 0)
    by_name: dict[str, list[tuple[int, SampleResult]]] = {}
    for job in jobs:
        for name, numbered in found.get(job, {}).items():
            by_name.setdefault(name, []).append(numbered)
    in_order = sorted(by_name.values(), key=lambda seeded: seeded[0][0])
    problems = [problem for row in rows.values() for problem in row.texts("problems")]
    return Group(
        model=jobs[0].model,
        dataset=jobs[0].dataset,
        samples=tuple(tuple(result for _, result in seeded) for seeded in in_order),
        seeds=tuple(job.seed or 0 for job in jobs),
        seconds=sum(row.number("seconds", default=0.0) for row in rows.values()),
        problems=tuple(dict.fromkeys(problems)),
        clicks_sha256=tuple(rows[job].text("clicks_sha256", default="") for job in jobs),
        n_clicks=limits[jobs[0]],
    )
