"""The record of a sample, written and read in one place.

A record is a line of ``samples.jsonl`` and, with a little about its writing added, of the journal.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isegm.errors import InputError
from isegm.geometry import Click, VoxelClick
from isegm.json_object import JsonObject, read_json_object
from isegm.metrics.curves import dice_of_iou, iou_of_dice

MOST_SEEDS = 10**6
"""Numbers of simulated users that are believed of a file."""
MOST_SAMPLES = 10**9
"""Samples of a data set that are believed of a file."""
MOST_SIDE = 10**6
"""Pixels a side that are believed of an image."""


@dataclass(frozen=True)
class Job:
    """A part of a run: one network on one data set, by one simulated user.

    Attributes:
        model: The network's name in tables and files.
        dataset: The data set's name.
        seed: Of the simulated user's slips; None if there is only one.
    """

    model: str
    dataset: str
    seed: int | None = None

    @property
    def key(self) -> str:
        """Its name in the run."""
        return "/".join([self.model, self.dataset, *([] if self.seed is None else [f"seed_{self.seed}"])])

    def to_json(self) -> dict[str, Any]:
        """As the lines and ``results.json`` have it."""
        named = {"model": self.model, "dataset": self.dataset}
        return named if self.seed is None else named | {"seed": self.seed}

    @classmethod
    def from_json(cls, line: JsonObject) -> "Job":
        """Read the job.

        Raises:
            InputError: A name is missing or no text, or the seed no number of one.
        """
        seed = line.integer("seed", 0, MOST_SEEDS) if "seed" in line.values else None
        return cls(line.text("model"), line.text("dataset"), seed)


@dataclass(frozen=True)
class FinalScores:
    """How good a sample's final mask is; NaN is undefined (docs/metrics.md).

    Attributes:
        dice: Dice.
        hd95: 95 % Hausdorff distance in pixels; NaN where the mask is empty.
        nsd: Surface Dice at ``SURFACE_TOLERANCE`` pixels.
    """

    dice: float
    hd95: float
    nsd: float


@dataclass(frozen=True)
class SampleResult:
    """The result of one sample.

    Attributes:
        name: The sample's name; it may be anything.
        clicks: The clicks in the image's pixels, :class:`isegm.geometry.Click` each.
        scores: IoU (or Dice, as ``metric`` says) after each click. Where no click could be placed any more
            although clicking was to go on, the last value is carried on: there are then more scores than
            clicks.
        seconds: Time of each click: simulating it, the network, scoring. The first includes preparing the
            image.
        final: How good the final mask is.
        metric: ``iou`` or ``dice``.
        seed: Which simulated user clicked.
    """

    name: str
    clicks: tuple[Any, ...]
    scores: tuple[float, ...]
    seconds: tuple[float, ...]
    final: FinalScores
    metric: str = "iou"
    seed: int = 0

    @functools.cached_property
    def ious(self) -> tuple[float, ...]:
        """The scores in IoU."""
        return self.scores if self.metric == "iou" else tuple(map(iou_of_dice, self.scores))

    @functools.cached_property
    def dices(self) -> tuple[float, ...]:
        """The scores in Dice."""
        return self.scores if self.metric == "dice" else tuple(map(dice_of_iou, self.scores))

    def after(self, n_clicks: int) -> "SampleResult":
        """The same with scores of exactly ``n_clicks`` clicks: cut off, or the last one carried on."""
        return dataclasses.replace(self, scores=tuple(carry_on(self.scores, n_clicks))[:n_clicks])


@dataclass(frozen=True)
class VolumeResult(SampleResult):
    """The result of one volume; its scores are Dice, its HD95 is in mm.

    Attributes:
        clicks: On the volume's voxels, :class:`isegm.geometry.VoxelClick` each.
        seconds: Time of each click until the whole mask is there, without simulating and scoring it. The
            first includes preparing the volume.
        nsds: Surface Dice after each of the first clicks; none where they are of no interest.
        slices: How many slices were clicked on.
    """

    clicks: tuple[VoxelClick, ...]
    nsds: tuple[float, ...] = ()
    slices: int = 0


@dataclass(frozen=True)
class SampleFailure:
    """A sample that could not be evaluated.

    Attributes:
        name: The sample's name.
        problem: One line that names the file.
    """

    name: str
    problem: str


SampleOutcome = SampleResult | SampleFailure


@dataclass(frozen=True)
class SampleRecord:
    """A sample's outcome, and where it belongs.

    Attributes:
        job: The network, the data set and the simulated user.
        index: The sample's number in its data set, from 0.
        outcome: The sample's result, or why it has none.
    """

    job: Job
    index: int
    outcome: SampleOutcome

    def to_json(self) -> dict[str, Any]:
        """The record's line.

        Returns:
            Clicks are [row, col, positive] in the image's pixels; ``ious`` (or ``dices``) and seconds are one
            a click. Dice, HD95 (pixels) and surface Dice are of the final mask, None where undefined. A
            failure has its ``problem`` instead. In a volume clicks are [i, j, k, positive], HD95 is in mm,
            ``nsds`` are after the first clicks, and ``slices`` is how many were clicked on.
        """
        outcome = self.outcome
        line = self.job.to_json() | {"index": self.index, "name": outcome.name}
        if isinstance(outcome, SampleFailure):
            return line | {"problem": outcome.problem}
        line |= {
            "clicks": [list(dataclasses.astuple(click)) for click in outcome.clicks],
            f"{outcome.metric}s": list(outcome.scores),
            "seconds": [round(seconds, 6) for seconds in outcome.seconds],
            **{name: null_if_nan(value) for name, value in dataclasses.asdict(outcome.final).items()},
        }
        if isinstance(outcome, VolumeResult):
            line |= {"nsds": list(outcome.nsds), "slices": outcome.slices}
        return line

    @classmethod
    def from_json(cls, line: JsonObject, metric: str, n_clicks: int) -> "SampleRecord":
        """Read a line, which anyone may have written.

        Args:
            line: The line.
            metric: The measure of its scores, ``iou`` or ``dice``.
            n_clicks: The largest number of clicks on a sample.

        Raises:
            InputError: It is not a record's line.
        """
        job = Job.from_json(line)
        index, name = line.integer("index", 0, MOST_SAMPLES), line.text("name")
        if "problem" in line.values:
            return cls(job, index, SampleFailure(name, line.text("problem")))
        is_volume = "slices" in line.values
        clicks = _voxel_clicks(line) if is_volume else _clicks(line)
        seconds = line.numbers("seconds")
        scores = line.numbers(f"{metric}s", high=1)
        if not 1 <= len(scores) <= n_clicks:
            raise InputError(f"{line.where}: has {len(scores)} scores for 1 to {n_clicks} clicks; {line.fix}")
        if not len(clicks) == len(seconds) <= len(scores):
            raise InputError(
                f"{line.where}: has {len(clicks)} clicks, {len(seconds)} times and {len(scores)} scores, "
                f"which do not belong together; {line.fix}"
            )
        final = FinalScores(
            line.number_or_nan("dice", high=1), line.number_or_nan("hd95"), line.number_or_nan("nsd", high=1)
        )
        result = SampleResult(name, clicks, scores, seconds, final, metric, job.seed or 0)
        if is_volume:
            nsds = line.numbers("nsds", high=1)
            slices = line.integer("slices", 0, MOST_SIDE)
            result = VolumeResult(**vars(result), nsds=nsds, slices=slices)
        return cls(job, index, result)


def read_records(path: Path, metric: str, n_clicks: int, fix: str) -> Iterator[tuple[str, SampleRecord]]:
    """Read ``samples.jsonl``, record by record.

    Args:
        path: The file.
        metric: The measure of its scores, ``iou`` or ``dice``.
        n_clicks: The largest number of clicks on a sample.
        fix: How to fix a bad line, for messages.

    Yields:
        The place in the file, for messages, and the record.

    Raises:
        InputError: A line is not a record's.
        OSError: The file cannot be read.
    """
    for number, text in enumerate(path.read_bytes().splitlines(), start=1):
        line = read_json_object(f"{path}: line {number}", text, fix)
        yield line.where, SampleRecord.from_json(line, metric, n_clicks)


def _clicks(line: JsonObject) -> tuple[Click, ...]:
    listed, clicks = line.values.get("clicks"), []
    for click in listed if isinstance(listed, list) else [None]:
        match click:
            case [int() | float() as row, int() | float() as col, bool() as positive] if (
                not isinstance(row, bool)
                and not isinstance(col, bool)
                and 0 <= row < MOST_SIDE
                and 0 <= col < MOST_SIDE
            ):
                clicks.append(Click(row, col, positive))  # whole numbers stay whole
            case _:
                raise line.wrong("clicks", "a list of [row, column, true or false]")
    return tuple(clicks)


def _voxel_clicks(line: JsonObject) -> tuple[VoxelClick, ...]:
    listed, clicks = line.values.get("clicks"), []
    for click in listed if isinstance(listed, list) else [None]:
        match click:
            case [int() as i, int() as j, int() as k, bool() as positive] if all(
                not isinstance(index, bool) and 0 <= index < MOST_SIDE for index in (i, j, k)
            ):
                clicks.append(VoxelClick(i, j, k, positive))
            case _:
                raise line.wrong("clicks", "a list of [i, j, k, true or false]")
    return tuple(clicks)


def carry_on(scores: Sequence[float], n_clicks: int) -> list[float]:
    """Scores of ``n_clicks`` clicks: the last one again and again where the clicking ended sooner."""
    return [*scores, *[scores[-1]] * (n_clicks - len(scores))]


def null_if_nan(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
