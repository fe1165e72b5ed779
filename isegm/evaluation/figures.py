"""The figures of one network on one data set, and the table that shows them."""

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

from isegm.evaluation.protocol import Clicking
from isegm.evaluation.record import FinalScores, SampleOutcome, SampleResult, VolumeResult, carry_on
from isegm.metrics.curves import DICE_CLICKS, area_under_curve, dice_of_iou, iou_of_dice
from isegm.metrics.noc import NocSummary, summarise_noc
from isegm.tables import format_number, text_table

THRESHOLDS = (0.80, 0.85, 0.90)
SHOWN_CLICKS = (1, 2, 3, 5, 10, 20)

UNKNOWN = "?"
"""Shown where clicking stopped at a target below the threshold, so that the figure is not known."""


@dataclass(frozen=True)
class FinalMean:
    """A measure of the final masks over a data set.

    Attributes:
        mean: Over the samples where it is defined; NaN if it is so nowhere.
        undefined: On how many samples it is not.
    """

    mean: float
    undefined: int


@dataclass(frozen=True)
class VolumeFigures:
    """What is told of volumes only, each a mean over them.

    Attributes:
        dice_auc: Area under the curve of Dice over the challenge's clicks, 0 to 4; NaN where a volume takes
            more clicks by its nature, slice by slice.
        nsd_auc: The same of surface Dice.
        dice: Dice after the last of the challenge's clicks; NaN likewise.
        nsd: Surface Dice after it; NaN likewise.
        clicks: Clicks placed on a volume.
        slices: Slices clicked on.
        seconds: Of all clicks on a volume.
    """

    dice_auc: float
    nsd_auc: float
    dice: float
    nsd: float
    clicks: float
    slices: float
    seconds: float


@dataclass(frozen=True)
class Figures:
    """The figures of one network on one data set.

    Attributes:
        model: The network's name in the table.
        preset: Which network it is.
        dataset: The data set's name.
        samples: How many samples have a result.
        noc: A summary for each threshold that the clicking went up to.
        mean_scores: Mean IoU (or Dice) after 1, 2, ... clicks; a sample that was done counts with its last
            value.
        auc_iou: Area under the curve of mean IoU by clicks, 0 to 1 (docs/metrics.md); NaN without samples.
        auc_dice: The same of Dice.
        dice_at: Mean Dice after 1, 3, 5 and 10 clicks, as far as there are so many, by clicks.
        final: Dice, HD95 (pixels) and surface Dice of the final masks, by the names of their fields.
        seconds_a_click: SPC, the samples' click times over their clicks.
        seconds: Wall-clock time of the data set, of all processes together.
        problems: A line for every sample that has no result.
        clicks_sha256: Of the samples' names and clicks: evaluations that have it in common placed the same
            clicks on every sample.
        seed: Which of several simulated users clicked; None if there was one only.
        volumes: What is told of volumes only; None of pictures.
    """

    model: str
    preset: str
    dataset: str
    samples: int
    noc: tuple[NocSummary, ...]
    mean_scores: tuple[float, ...]
    auc_iou: float
    auc_dice: float
    dice_at: Mapping[int, float]
    final: Mapping[str, FinalMean]
    seconds_a_click: float
    seconds: float
    problems: tuple[str, ...]
    clicks_sha256: str
    seed: int | None = None
    volumes: VolumeFigures | None = None

    @property
    def n_clicks(self) -> int:
        """The largest number of clicks, which the curves go up to."""
        return len(self.mean_scores)


def figures_of(
    model: str,
    preset: str,
    dataset: str,
    results: Mapping[int, SampleOutcome],
    protocol: Clicking,
    seconds: float,
    seed: int | None = None,
) -> Figures:
    """Sum up a data set's results.

    Args:
        model: The network's name in the table.
        preset: Which network it is.
        dataset: The data set's name.
        results: Of every sample.
        protocol: How they were got.
        seconds: Wall-clock time.
        seed: Which of several simulated users clicked; None if there was one only.
    """
    done = [result for result in results.values() if isinstance(result, SampleResult)]
    scores = [result.scores for result in done]
    limit = max([protocol.n_clicks, *map(len, scores)])  # slice by slice a volume takes more
    carried = [carry_on(row, limit) for row in scores]
    ious, dices = mean_curves(carried, protocol.metric)
    clicks = sum(len(result.seconds) for result in done)
    known = [t for t in THRESHOLDS if t <= protocol.target] if done else []
    return Figures(
        model=model,
        preset=preset,
        dataset=dataset,
        samples=len(done),
        noc=tuple(summarise_noc(scores, threshold, limit) for threshold in known),
        mean_scores=tuple(sum(column) / len(done) for column in zip(*carried, strict=True)),
        auc_iou=area_under_curve(ious),
        auc_dice=area_under_curve(dices),
        dice_at={click: dices[click - 1] for click in DICE_CLICKS if click <= len(dices)},
        final={field.name: _final_mean(done, field.name) for field in fields(FinalScores)},
        seconds_a_click=sum(sum(result.seconds) for result in done) / clicks if clicks else 0.0,
        seconds=seconds,
        problems=tuple(r.problem for r in results.values() if not isinstance(r, SampleResult)),
        clicks_sha256=clicks_sha256(done),
        seed=seed,
        volumes=_volume_figures(done),
    )


def _volume_figures(results: Sequence[SampleResult]) -> VolumeFigures | None:
    """The means of what is told of volumes only; None of pictures, and without results."""
    volumes = [result for result in results if isinstance(result, VolumeResult)]
    if not volumes:
        return None

    def mean(values: Iterable[float]) -> float:
        return statistics.fmean(values)

    return VolumeFigures(
        dice_auc=mean(challenge_auc(challenge_dices(volume)) for volume in volumes),
        nsd_auc=mean(challenge_auc(volume.nsds) for volume in volumes),
        dice=mean(challenge_final(challenge_dices(volume)) for volume in volumes),
        nsd=mean(challenge_final(volume.nsds) for volume in volumes),
        clicks=mean(len(volume.clicks) for volume in volumes),
        slices=mean(volume.slices for volume in volumes),
        seconds=mean(sum(volume.seconds) for volume in volumes),
    )


def challenge_dices(result: VolumeResult) -> Sequence[float]:
    """Dice after each of the challenge's clicks; none where its protocol does not apply, slice by slice."""
    return result.scores[: len(result.nsds)]


def challenge_auc(values: Sequence[float]) -> float:
    """The area under a curve over the challenge's clicks by trapezoids, their distance being 1.

    Args:
        values: After each click; the first stands at 0.

    Returns:
        0 to 4 for five values in [0, 1]; NaN without values.
    """
    return area_under_curve(values) * (len(values) - 1) if values else math.nan


def challenge_final(values: Sequence[float]) -> float:
    """The value after the last of the challenge's clicks; NaN without values."""
    return values[-1] if values else math.nan


def mean_curves(scores: Sequence[Sequence[float]], metric: str) -> tuple[list[float], list[float]]:
    """Mean IoU and mean Dice after 1, 2, ... clicks; IoU and Dice of one mask follow from each other.

    Args:
        scores: Of each sample after every click, all of one length.
        metric: Which of the two they are, ``iou`` or ``dice``.

    Returns:
        Two lists of that length, empty without samples.
    """
    columns = list(zip(*scores, strict=True))
    ious = [[score if metric == "iou" else iou_of_dice(score) for score in column] for column in columns]
    dices = [[score if metric == "dice" else dice_of_iou(score) for score in column] for column in columns]
    iou_curve, dice_curve = ([sum(column) / len(column) for column in kind] for kind in (ious, dices))
    return iou_curve, dice_curve


def _final_mean(results: Sequence[SampleResult], name: str) -> FinalMean:
    values = [getattr(result.final, name) for result in results]
    defined = [value for value in values if not math.isnan(value)]
    mean = sum(defined) / len(defined) if defined else math.nan
    return FinalMean(mean, len(values) - len(defined))


def clicks_sha256(results: Iterable[SampleResult]) -> str:
    """SHA-256 of the samples' names and clicks, as ``samples.jsonl`` has them, as one line of JSON."""
    clicks = [[r.name, [list(astuple(click)) for click in r.clicks]] for r in results]
    return hashlib.sha256(json.dumps(clicks).encode()).hexdigest()


def format_table(rows: Sequence[Figures], protocol: Clicking) -> str:
    """Lay the figures out as the table that EMC-Click's evaluation prints, with the failures proper added.

    ``>=20@t`` counts the samples whose NoC@t is the largest number of clicks, those that the last click
    solved among them; ``fail@t`` counts those that no click solved.
    """
    limit = protocol.n_clicks
    measure = "" if protocol.metric == "iou" else f" of {protocol.metric.capitalize()}"
    header = ["Model", "Dataset", "Samples", *(f"NoC@{t * 100:.0f}%{measure}" for t in THRESHOLDS)]
    header += [f">={limit}@{t * 100:.0f}%" for t in THRESHOLDS[1:]]
    header += [f"fail@{t * 100:.0f}%" for t in THRESHOLDS[1:]]
    header += ["SPC,s", "Time"]
    return text_table(header, [_row(figures) for figures in rows], names=2)


def format_volume_table(rows: Sequence[Figures]) -> str:
    """Lay the figures of volumes out: the clicks to each Dice, the challenge's figures, and what it costs.

    ``clicks@t`` is the mean number of clicks to a Dice of t %, ``fail@t`` counts the volumes that never got
    there, ``Dice@k`` is the mean Dice after k clicks. DSC and NSD are the challenge's after its five clicks,
    their AUC is of 4. ``Slices`` were clicked on.
    """
    header = ["Model", "Dataset", "Volumes", *(f"clicks@{t * 100:.0f}%" for t in THRESHOLDS)]
    header += [f"fail@{t * 100:.0f}%" for t in THRESHOLDS[1:]]
    header += ["Dice@5", "Dice@10", "DSC AUC", "NSD AUC", "DSC", "NSD", "Slices", "s/click", "s/volume"]
    return text_table(header, [_volume_row(figures) for figures in rows], names=2)


def _volume_row(figures: Figures) -> list[str]:
    summaries = {summary.threshold: summary for summary in figures.noc}
    found = [summaries.get(threshold) for threshold in THRESHOLDS]
    row = [figures.model, name_of_data(figures), str(figures.samples)]
    row += [UNKNOWN if summary is None else f"{summary.mean:.2f}" for summary in found]
    row += [UNKNOWN if summary is None else str(summary.failures) for summary in found[1:]]
    told = figures.volumes
    values: list[tuple[float, str]] = []
    if told is not None:
        values = [(figures.dice_at.get(click, math.nan), ".3f") for click in (5, 10)]
        values += [(told.dice_auc, ".3f"), (told.nsd_auc, ".3f"), (told.dice, ".3f"), (told.nsd, ".3f")]
        values += [(told.slices, ".1f"), (figures.seconds_a_click, ".2f"), (told.seconds, ".1f")]
    shown = [format_number(value, spec) for value, spec in values]
    return row + (shown or [UNKNOWN] * 9)


def _row(figures: Figures) -> list[str]:
    summaries = {summary.threshold: summary for summary in figures.noc}

    def cell(threshold: float, attribute: str, spec: str) -> str:
        summary = summaries.get(threshold)
        return UNKNOWN if summary is None else format(getattr(summary, attribute), spec)

    minutes, seconds = divmod(round(figures.seconds), 60)
    return [
        figures.model,
        name_of_data(figures),
        str(figures.samples),
        *(cell(t, "mean", ".2f") for t in THRESHOLDS),
        *(cell(t, "at_limit", "d") for t in THRESHOLDS[1:]),
        *(cell(t, "failures", "d") for t in THRESHOLDS[1:]),
        f"{figures.seconds_a_click:.3f}",
        f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}",
    ]


def format_mean_scores(figures: Figures, protocol: Clicking) -> str:
    """One line of mean IoU (or Dice) after 1, 2, 3, 5, 10 and 20 clicks."""
    name = "mIoU" if protocol.metric == "iou" else "mDice"
    values = [
        f"{name}@{click}={figures.mean_scores[click - 1]:.2%}"
        for click in SHOWN_CLICKS
        if click <= len(figures.mean_scores)
    ]
    return f"{figures.model} on {name_of_data(figures)}: {'; '.join(values)}"


def name_of_data(figures: Figures) -> str:
    """The data set's name in the table, with the simulated user's seed if there are several."""
    return figures.dataset if figures.seed is None else f"{figures.dataset} #{figures.seed}"


def format_spreads(rows: Sequence[Figures]) -> list[str]:
    """A line for each network and data set of several seeds: mean and standard deviation of NoC over them."""
    groups: dict[tuple[str, str], list[Figures]] = {}
    for row in rows:
        if row.seed is not None:
            groups.setdefault((row.model, row.dataset), []).append(row)
    lines = []
    for (model, dataset), group in groups.items():
        means: dict[float, list[float]] = {}
        for summary in (summary for row in group for summary in row.noc):
            means.setdefault(summary.threshold, []).append(summary.mean)
        values = [
            f"NoC@{threshold * 100:.0f} {statistics.mean(of):.2f} +- {statistics.stdev(of):.2f}"
            for threshold, of in means.items()
            if len(of) > 1
        ]
        lines.append(f"{model} on {dataset}, {len(group)} seeds: {'; '.join(values) or UNKNOWN}")
    return lines
