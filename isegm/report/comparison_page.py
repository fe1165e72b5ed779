"""The page that compares runs: all their curves in one plot, and differences sample by sample."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from isegm.errors import InputError
from isegm.evaluation.record import VolumeResult
from isegm.metrics.bootstrap import mean_intervals
from isegm.metrics.curves import DICE_CLICKS
from isegm.plots import Curve, Plot, Values, plot_curves
from isegm.report import measures
from isegm.report.cells import BANDS, interval_cell, mean_cells, total
from isegm.report.measures import Measure
from isegm.report.page import Page, file_names, render
from isegm.report.run_page import missing_samples
from isegm.report.stored_run import Group, Run
from isegm.tables import Cell, Table, format_number
from isegm.wording import counted

LISTED = 10
"""How many samples are listed on which one beats the other most, and the other way round."""
DIFFERENCES = "differences.csv"

_EQUAL = 1e-12
"""Means over seeds that differ by no more are equal."""
_NAMED = 5
"""How many samples a warning names."""


@dataclass(frozen=True)
class Contender:
    """One network of one run.

    Attributes:
        label: The run's name, with the network's behind it where the run has several.
        run: The run.
        groups: What it has of each data set; only data sets with a result.
    """

    label: str
    run: Run
    groups: Mapping[str, Group]


@dataclass(frozen=True)
class Matched:
    """Two contenders on one data set, each with only the samples, seeds and clicks that both have.

    Attributes:
        dataset: Its name.
        first: What the first contender has of it.
        other: What the other has, of the same samples in the same order.
        labels: The first's and the other's.
    """

    dataset: str
    first: Group
    other: Group
    labels: tuple[str, str]


@dataclass(frozen=True)
class Difference:
    """A measure of both of a pair.

    Attributes:
        name: The measure's.
        digits: After the point, where it is shown.
        first: Of each sample by the first, (n,); NaN where undefined.
        other: The same by the other.
        more_is_better: Whether larger values are better.
    """

    name: str
    digits: int
    first: Values
    other: Values
    more_is_better: bool

    @property
    def change(self) -> Values:
        """The other's value minus the first's on each sample, (n,); NaN where undefined."""
        return self.other - self.first

    @property
    def gain(self) -> Values:
        """How much better the other is on each sample, (n,): positive where it is, NaN where undefined."""
        gain = self.change * (1 if self.more_is_better else -1)
        return np.where(abs(gain) <= _EQUAL, 0.0, gain)

    def counts(self) -> tuple[int, int, int]:
        """Return on how many samples the other is better, equal and worse."""
        return int((self.gain > 0).sum()), int((self.gain == 0).sum()), int((self.gain < 0).sum())


def make_comparison(runs: Sequence[Run]) -> Page:
    """Make the page that compares runs: each network with the first one of the first run.

    Raises:
        InputError: A run is given twice, some count IoU and some Dice, or there are no two networks with a
            sample in common.
    """
    for run in runs[1:]:
        if run.is_of_volumes != runs[0].is_of_volumes:
            kinds = ["volumes" if each.is_of_volumes else "pictures" for each in (run, runs[0])]
            raise InputError(
                f"{run.folder}: is of {kinds[0]}, and {runs[0].folder} of {kinds[1]}; compare runs of "
                "one kind"
            )
        if run.metric != runs[0].metric:
            raise InputError(
                f"{run.folder}: counts {run.measure}, and {runs[0].folder} {runs[0].measure}; such clicks "
                "cannot be compared: evaluate both by one metric"
            )
    labels, contenders = _labels(runs), contenders_of(runs)
    names = list(dict.fromkeys(name for contender in contenders for name in contender.groups))
    pairs = {name: pairs_of(contenders, name) for name in names}
    if not any(pairs.values()):
        raise InputError(
            f"{runs[-1].folder}: has no sample in common with {runs[0].folder}; compare runs on the same data"
        )

    threshold = min(measures.main_threshold(run) for run in runs)
    means = _means_tables(contenders, names)
    tables, plots = list(means), {}
    datasets: list[dict[str, Any]] = []
    rows: list[list[object]] = [["dataset", "sample", "measure", "first", "other", "by_first", "by_other"]]
    sections = {"means": "Means"}
    for name in names:
        plots[name] = _curves_plot(contenders, name)
        compared = []
        for pair in pairs[name]:
            differences = differences_of(pair, threshold)
            table = _difference_table(pair, differences)
            tables.append(table)
            rows += _rows_of(pair, differences)
            winning = _winners(pair, differences)
            compared.append({"differences": table, "same_clicks": _same_clicks(pair), "winners": winning})
        curves = f"Mean {runs[0].measure} by clicks with 95 % bands", plots[name]
        datasets.append({"key": f"data-{len(datasets)}", "curves": curves, "pairs": compared})
        sections[datasets[-1]["key"]] = name
    html = render(
        "comparison.html",
        title=_title(contenders),
        under=_described(runs, labels),
        warnings=_cautions(runs, labels, contenders, names),
        sections=sections,
        means=means,
        datasets=datasets,
    )
    files = file_names(names)
    return Page(
        html=html,
        tables=tuple(tables),
        plots={f"{runs[0].metric}_by_click_{files[name]}": plot for name, plot in plots.items()},
        rows={DIFFERENCES: rows},
    )


# -- who is compared


def contenders_of(runs: Sequence[Run]) -> list[Contender]:
    """Return the networks of all runs, with labels that tell them apart.

    Raises:
        InputError: A run is given twice.
    """
    found = []
    for label, run in zip(_labels(runs), runs, strict=True):
        for model in run.models:
            groups = {group.dataset: group for group in run.groups if group.model == model and group.samples}
            name = label if len(run.models) == 1 else f"{label}/{model}"
            found.append(Contender(name, run, groups))
    return found


def _labels(runs: Sequence[Run]) -> list[str]:
    """Return the folders' names, with as many of the folders above as it takes to tell them apart."""
    paths = [run.folder.resolve() for run in runs]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(f"{path}: is given twice; compare different runs")
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        labels = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(labels)) == len(labels):
            return labels
    raise AssertionError("different paths have different parts")


def pairs_of(contenders: Sequence[Contender], dataset: str) -> list[Matched]:
    """Pair the first contender with every other one that has samples of a data set in common with it."""
    first = contenders[0]
    found = []
    for other in contenders[1:]:
        if dataset not in first.groups or dataset not in other.groups:
            continue
        clicks = min(first.run.n_clicks, other.run.n_clicks)
        limits = [_limit(contender, dataset, clicks) for contender in (first, other)]
        groups = common_samples(first.groups[dataset], other.groups[dataset], *limits)
        if groups[0].samples:
            found.append(Matched(dataset, *groups, (first.label, other.label)))
    return found


def _limit(contender: Contender, dataset: str, clicks: int) -> int:
    """How many clicks count: so many, or all where volumes are clicked on slice by slice."""
    own = contender.groups[dataset].n_clicks
    return clicks if own == contender.run.n_clicks else own


def common_samples(first: Group, other: Group, first_clicks: int, other_clicks: int) -> tuple[Group, Group]:
    """Cut two groups down to the samples and seeds that both have, and each to a number of clicks."""
    theirs = {(line.name, line.seed): line for line in other.lines()}
    ours, matching = [], []
    for lines in first.samples:
        both = [line for line in lines if (line.name, line.seed) in theirs]
        if both:
            ours.append(tuple(line.after(first_clicks) for line in both))
            matching.append(tuple(theirs[line.name, line.seed].after(other_clicks) for line in both))
    return replace(first, samples=tuple(ours)), replace(other, samples=tuple(matching))


# -- what stands first


def _title(contenders: Sequence[Contender]) -> str:
    """Say who is compared with whom."""
    first, *others = (contender.label for contender in contenders)
    return f"{', '.join(others)} against {first}"


def _described(runs: Sequence[Run], labels: Sequence[str]) -> list[str]:
    """Say what is compared, and when each was run."""
    lines = [
        f"{counted(len(runs), 'run')} evaluated by simulated clicks; differences are taken sample by sample."
    ]
    for label, run in zip(labels, runs, strict=True):
        started = run.about.text("started", default="").replace("T", " ").replace("+00:00", " UTC")
        lines.append(f"{label}: {', '.join(part for part in (', '.join(run.models), started) if part)}")
    return lines


def _cautions(
    runs: Sequence[Run], labels: Sequence[str], contenders: Sequence[Contender], names: Sequence[str]
) -> list[str]:
    """List what differs besides the networks: protocols, data, samples."""
    lines = []
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    for key in keys:
        values = [run.settings.get(key, "not recorded") for run in runs]
        if len(set(values)) > 1:
            found = ", ".join(f"{value} in {label}" for label, value in zip(labels, values, strict=True))
            lines.append(f"The protocols differ: {key} is {found}.")
    if any(run.target < 1 for run in runs):
        lines.append(
            "Where clicking stopped at a target, the last value is carried on: curves, areas, IoU after "
            "clicks and final masks do not show what further clicks would have changed."
        )
    for name in names:
        lines += _different_data(runs, labels, contenders, name)
    for label, run in zip(labels, runs, strict=True):
        lines += [f"{label}: {line}" for line in (*run.warnings, *missing_samples(run))]
    return lines


def _different_data(
    runs: Sequence[Run], labels: Sequence[str], contenders: Sequence[Contender], name: str
) -> list[str]:
    lines = []
    hashes = {}
    for label, run in zip(labels, runs, strict=True):
        for entry in run.about.objects("datasets"):
            if entry.text("name") == name and "sha256" in entry.values:
                hashes[label] = entry.text("sha256")
    if len(set(hashes.values())) > 1:
        lines.append(f"{name}: the files in {' and '.join(hashes)} differ (by their SHA-256).")
    samples = {
        contender.label: {lines[0].name for lines in contender.groups[name].samples}
        if name in contender.groups
        else set()
        for contender in contenders
    }
    shared = set.intersection(*samples.values())
    for label, found in samples.items():
        if not found:
            lines.append(f"{name}: {label} has no sample of this data set.")
        elif found - shared and shared:
            only = sorted(found - shared)
            more = ", ..." if len(only) > _NAMED else ""
            lines.append(
                f"{name}: {counted(len(only), 'sample')} of {label} missing from another run, and left out "
                f"of differences from it: {', '.join(only[:_NAMED])}{more}."
            )
    return lines


# -- tables and plots


def _means_tables(contenders: Sequence[Contender], names: Sequence[str]) -> list[Table]:
    """Return the tables of what each found on its own samples: clicks, and masks."""
    runs = [contender.run for contender in contenders]
    thresholds = [t for t in measures.known_thresholds(runs[0]) if all(t <= run.target for run in runs)]
    clicks: dict[str, tuple[Measure, int]] = {
        f"NoC@{t * 100:g}": (partial(measures.noc_at, t), 2) for t in thresholds
    }
    masks: dict[str, tuple[Measure, int]] = {
        **_areas(is_of_volumes=contenders[0].run.is_of_volumes),
        "Final Dice": (measures.final_dice, 3),
        f"HD95, {contenders[0].run.unit}": (measures.final_hd95, 2),
        "Surface Dice": (measures.final_nsd, 3),
    }
    click_rows, mask_rows = [], []
    for name in names:
        for contender in contenders:
            if name in contender.groups:
                group = contender.groups[name]
                means = mean_cells(group, [*clicks.values(), *masks.values()])
                failures = [total(group, partial(measures.failed_at, t)) for t in thresholds]
                who = [Cell(name), Cell(contender.label)]
                counts = map(Cell, [str(len(group.samples)), *failures])
                click_rows.append([*who, *means[: len(clicks)], *counts])
                mask_rows.append([*who, *means[len(clicks) :]])
    failed = [f"failed@{t * 100:g}" for t in thresholds]
    note = f"Each run on its own samples. {BANDS}"
    return [
        Table("Number of clicks", ["Data set", "Run", *clicks, "Samples", *failed], click_rows, note=note),
        Table("Masks", ["Data set", "Run", *masks], mask_rows),
    ]


def _areas(*, is_of_volumes: bool) -> dict[str, tuple[Measure, int]]:
    """The areas below curves: over all clicks, or of volumes over the challenge's."""
    if not is_of_volumes:
        return {"AUC IoU": (measures.auc_iou, 3), "AUC Dice": (measures.auc_dice, 3)}
    return {
        "DSC AUC": (partial(measures.challenge_auc, measures.challenge_dices), 3),
        "NSD AUC": (partial(measures.challenge_auc, measures.challenge_nsds), 3),
    }


def _curves_plot(contenders: Sequence[Contender], name: str) -> Plot:
    """Plot all contenders' curves on a data set, but for those slice by slice, which are far longer."""
    there = [contender for contender in contenders if name in contender.groups]
    found = [one for one in there if one.groups[name].n_clicks == one.run.n_clicks] or there
    curves = [
        Curve(c.label, *measures.mean_curve(measures.curves(c.groups[name], measures.scores_of)))
        for c in found
    ]
    targets = {contender.run.target for contender in found}
    return plot_curves(curves, found[0].run.measure, targets.pop() if len(targets) == 1 else math.inf)


def differences_of(pair: Matched, threshold: float) -> list[Difference]:
    """Return NoC, area, IoU after some clicks and final Dice of both; NoC first, the area second."""
    lines = [group.samples[0][0] for group in (pair.first, pair.other)]
    clicks = min(len(line.scores) for line in lines)
    is_of_volumes = isinstance(lines[0], VolumeResult)
    chosen: dict[str, tuple[Measure, int]] = {
        f"NoC@{threshold * 100:g}": (partial(measures.noc_at, threshold), 2),
        **dict([next(iter(_areas(is_of_volumes=is_of_volumes).items()))]),
        **{
            f"IoU@{click}": (partial(measures.iou_after, click), 3)
            for click in DICE_CLICKS
            if click <= clicks
        },
        "Final Dice": (measures.final_dice, 3),
    }
    return [
        Difference(
            name, digits, measures.by_sample(pair.first, measure), measures.by_sample(pair.other, measure),
            more_is_better=not name.startswith("NoC"),
        )
        for name, (measure, digits) in chosen.items()
    ]  # fmt: skip


def _difference_table(pair: Matched, differences: Sequence[Difference]) -> Table:
    """Return the table of means, their differences, and on how many samples each is better."""
    first, other = pair.labels
    rows = []
    intervals = mean_intervals([difference.change for difference in differences])
    for difference, between in zip(differences, intervals, strict=True):
        spec = f".{difference.digits}f"
        means = [measures.mean_of(values) for values in (difference.first, difference.other)]
        row = [Cell(difference.name), *(Cell(format_number(mean, spec)) for mean in means)]
        rows.append([*row, interval_cell(between, f"+{spec}"), *map(Cell, map(str, difference.counts()))])
    note = (
        f"{counted(len(pair.first.samples), 'sample')} in common. Difference: {other} minus {first}, mean "
        "over samples, with its 95 % bootstrap interval. Better, equal, worse: on how many samples "
        f"{other} is better, equal or worse."
    )
    header = ["Measure", first, other, "Difference", "better", "equal", "worse"]
    return Table(f"{other} against {first} on {pair.dataset}", header, rows, names=1, note=note)


def _same_clicks(pair: Matched) -> bool:
    """Tell whether both placed the same clicks on every sample."""
    mine, theirs = ([line.clicks for line in group.lines()] for group in (pair.first, pair.other))
    return mine == theirs


def _winners(pair: Matched, differences: Sequence[Difference]) -> list[Table]:
    """Return tables of the samples on which each beats the other most: by NoC, then by area."""
    clicks, area = differences[0], differences[1]
    order = np.lexsort((area.gain, clicks.gain))
    won = [i for i in order if (clicks.gain[i], area.gain[i]) > (0, 0)]
    lost = [i for i in order if (clicks.gain[i], area.gain[i]) < (0, 0)]
    first, other = pair.labels
    found = []
    for winner, loser, places in ((other, first, won[::-1]), (first, other, lost)):
        if not places:
            continue
        header = ["Sample", *(f"{d.name}, {label}" for d in (clicks, area) for label in pair.labels)]
        rows = [
            [
                Cell(pair.first.samples[i][0].name),
                *(Cell(f"{v[i]:.{d.digits}f}") for d in (clicks, area) for v in (d.first, d.other)),
            ]
            for i in places[:LISTED]
        ]
        title = f"Where {winner} beats {loser} most ({len(places)} in all)"
        found.append(Table(title, header, rows, names=1))
    return found


def _rows_of(pair: Matched, differences: Sequence[Difference]) -> list[list[object]]:
    """Return all values of both, one row for each sample and measure."""
    return [
        [pair.dataset, lines[0].name, d.name, *pair.labels, d.first[i], d.other[i]]
        for i, lines in enumerate(pair.first.samples)
        for d in differences
    ]
