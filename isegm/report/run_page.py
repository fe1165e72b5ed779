"""The page of one run, for a reader who was not there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from isegm.datasets import Dataset
from isegm.evaluation.drawing import LEGEND
from isegm.evaluation.figures import THRESHOLDS, UNKNOWN
from isegm.evaluation.protocol import CHALLENGE_CLICKS
from isegm.plots import Curve, Histogram, Plot, plot_curves, plot_histograms
from isegm.report import measures
from isegm.report.cells import BANDS, mean_cells, median_cell, total
from isegm.report.gallery import Card, make_gallery
from isegm.report.measures import Measure
from isegm.report.page import Page, file_names, render
from isegm.report.stored_run import Group, Run
from isegm.tables import UNDEFINED, Cell, Table, format_number
from isegm.wording import counted

MAX_KEYS = 8
"""Networks and data sets whose key figures stand above the tables; of more the tables alone can be read."""
NAMED, LISTED = 3, 50
"""Samples without a result that a warning names, and that stand among the samples of their data set."""


@dataclass(frozen=True)
class _Shelf:
    """Samples of a network on a data set that stand together.

    Attributes:
        title: What they have in common.
        cards: What is shown of each (:func:`_shown_card`).
        problems: A line for each sample that has no result.
        legend: Whether what the pictures' colours mean is said above them.
    """

    title: str
    cards: Sequence[dict[str, Any]] = ()
    problems: Sequence[str] = ()
    legend: bool = False


def make_report(run: Run, datasets: Sequence[Dataset]) -> Page:
    """Make the page of a run.

    Args:
        run: What was found.
        datasets: For pictures, as many of the run's data sets as are at hand.
    """
    at_hand = {dataset.name: dataset for dataset in datasets}
    nocs = _noc_table(run)
    masks = [*_challenge_tables(run), _curve_table(run), _final_table(run)]
    others = [*masks, *_seeds_tables(run), _time_table(run)]
    drawn = {name: _dataset_plots(run, run.of(name)) for name in run.datasets}
    samples = [
        {"key": f"samples-{number}", "shelves": _shelves(run, name, at_hand.get(name), f"samples-{number}")}
        for number, name in enumerate(run.datasets)
    ]
    html = render(
        "run.html",
        title=_title(run),
        under=_under(run),
        warnings=[*_cautions(run), *_missing_pictures(run, at_hand)],
        sections={
            "clicks": nocs.title,
            "masks": "Masks and time",
            **{f"samples-{number}": f"Samples of {name}" for number, name in enumerate(run.datasets)},
            "about": "Settings, data, versions",
        },
        keys=_key_figures(run),
        goal=f"{run.measure} {measures.main_threshold(run):g}",
        nocs=nocs,
        others=others,
        drawn={name: list(plots.values()) for name, plots in drawn.items()},
        samples=samples,
        legend=LEGEND,
        about=_about(run),
    )
    names = file_names(run.datasets)
    plots = {
        f"{kind}_{names[name]}": plot for name, found in drawn.items() for kind, (_, plot) in found.items()
    }
    return Page(html, (nocs, *others), plots)


# -- what stands first


def _title(run: Run) -> str:
    """Name the networks and the data sets."""
    models, datasets = run.models, run.datasets
    return f"{_listed(models, 'network')} on {_listed(datasets, 'data set')}"


def _under(run: Run) -> list[str]:
    """Say how much was evaluated, and when."""
    samples = {group.dataset: len(group.samples) for group in run.groups}
    started = run.about.text("started", default="").replace("T", " ").replace("+00:00", " UTC")
    seeds = max((len(group.seeds) for group in run.groups), default=1)
    until = f", until {run.measure} {run.target:g}" if run.target <= 1 else ""
    facts = [
        counted(sum(samples.values()), "volume" if run.is_of_volumes else "sample"),
        f"at most {counted(run.n_clicks, 'click')}{until}",
        f"{seeds} seeds" * (seeds > 1),
        started,
    ]
    return [
        "Click-based segmentation, evaluated by simulated clicks.",
        ", ".join(fact for fact in facts if fact),
    ]


def _cautions(run: Run) -> list[str]:
    """List what a reader has to know before any figure."""
    lines = list(run.warnings)
    if run.target < 1:
        lines.append(
            f"Clicking stopped at {run.measure} {run.target:g} and the last value is carried on: curves, "
            "areas, Dice after clicks and final masks do not show what further clicks would have changed."
        )
    if run.metric == "dice" and not run.is_of_volumes:
        lines.append(
            "NoC counts clicks to a Dice, not to an IoU: it is lower than published values and cannot be "
            "compared with them."
        )
    lines += missing_samples(run)
    return lines


def missing_samples(run: Run) -> list[str]:
    """Count the samples without a result of each network and data set, and name some with their reasons."""
    return [
        f"{group.model} on {group.dataset}: {counted(len(group.problems), 'sample')} could not be evaluated: "
        + "; ".join(shortened(group.problems, NAMED))
        for group in run.groups
        if group.problems
    ]


def shortened(lines: Sequence[str], most: int) -> list[str]:
    """The first lines, and how many there are beside them."""
    return [*lines[:most], *([f"and {len(lines) - most} more"] if len(lines) > most else [])]


def _missing_pictures(run: Run, at_hand: Mapping[str, Dataset]) -> list[str]:
    """Name the data sets without pictures."""
    missing = [name for name in run.datasets if name not in at_hand]
    if not missing or run.is_of_volumes:  # whose pictures lie in the run itself
        return []
    return [
        f"Without pictures of {', '.join(missing)}: the data were not at hand. To add them, make the report "
        "again where the data are."
    ]


def _key_figures(run: Run) -> list[dict[str, Any]]:
    """Return NoC, Dice of the final masks and failures of each network on each data set."""
    groups = [group for name in run.datasets for group in run.of(name) if group.samples]
    if len(groups) > MAX_KEYS:
        return []
    threshold = measures.main_threshold(run)
    return [
        {
            "name": group.dataset if len(run.models) == 1 else f"{group.dataset}, {group.model}",
            "noc": mean_cells(group, [(partial(measures.noc_at, threshold), 2)])[0],
            "dice": format_number(measures.mean(group, measures.final_dice), ".3f"),
            "failures": total(group, partial(measures.failed_at, threshold)),
            "samples": len(group.samples),
        }
        for group in groups
    ]


# -- tables


def _noc_table(run: Run) -> Table:
    """NoC at every threshold, with intervals, and the failures."""
    known = measures.known_thresholds(run)
    limit = run.n_clicks
    header = [
        "Model",
        "Data set",
        "Volumes" if run.is_of_volumes else "Samples",
        *(f"NoC@{t * 100:g}" for t in THRESHOLDS),
    ]
    header += [f">={limit}@{t * 100:g}" for t in THRESHOLDS[1:]] + [
        f"failed@{t * 100:g}" for t in THRESHOLDS[1:]
    ]
    rows = []
    for group in run.groups:
        row = [*_names_of(group), Cell(str(len(group.samples)))]
        row += mean_cells(group, [(partial(measures.noc_at, t), 2) for t in known])
        row += [Cell(UNKNOWN)] * (len(THRESHOLDS) - len(known))
        for measure in (measures.at_limit_at, measures.failed_at):
            row += [
                Cell(total(group, partial(measure, t)) if t in known else UNKNOWN) for t in THRESHOLDS[1:]
            ]
        rows.append(row)
    measure_name = "" if run.metric == "iou" else " of Dice"
    note = (
        f"NoC@t: mean number of clicks to {run.measure} t %. >={limit}@t: samples whose NoC is {limit}, "
        f"including those that the last click solved. failed@t: samples that no click solved. {BANDS}"
    )
    if any(group.n_clicks > limit for group in run.groups):
        note += (
            f" Slice by slice there is no limit of {limit} for a volume; one that failed counts as the most."
        )
    if len(known) < len(THRESHOLDS):
        note += " ?: clicking stopped at a lower target."
    return Table(f"Number of clicks{measure_name}", header, rows, note=note)


def _curve_table(run: Run) -> Table:
    """Dice after some clicks, and the areas under the curves."""
    clicks = measures.dice_clicks(run)
    columns: dict[str, Measure] = {f"Dice@{click}": partial(measures.dice_after, click) for click in clicks}
    if not run.is_of_volumes:
        columns |= {"AUC IoU": measures.auc_iou, "AUC Dice": measures.auc_dice}
    rows = [
        [*_names_of(group), *mean_cells(group, [(measure, 3) for measure in columns.values()])]
        for group in run.groups
    ]
    note = "Dice@k: mean Dice after k clicks."
    if not run.is_of_volumes:
        note += " AUC: area under the curve of the mean over all clicks, 0 to 1."
    return Table("Quality by clicks", ["Model", "Data set", *columns], rows, note=note)


def _challenge_tables(run: Run) -> list[Table]:
    """The figures of the CVPR 2025 challenge; nothing for pictures."""
    if not run.is_of_volumes:
        return []
    columns: dict[str, Measure] = {
        "DSC AUC": partial(measures.challenge_auc, measures.challenge_dices),
        "NSD AUC": partial(measures.challenge_auc, measures.challenge_nsds),
        "DSC final": partial(measures.challenge_final, measures.challenge_dices),
        "NSD final": partial(measures.challenge_final, measures.challenge_nsds),
    }
    rows = [
        [*_names_of(group), *mean_cells(group, [(measure, 3) for measure in columns.values()])]
        for group in run.groups
    ]
    note = (
        f"After the first {CHALLENGE_CLICKS} clicks, as in the CVPR 2025 challenge on interactive 3D "
        f"segmentation. AUC: area under the curve over these clicks, 0 to {CHALLENGE_CLICKS - 1}. DSC: Dice; "
        f"NSD: surface Dice at {run.tolerance:g} mm. {UNDEFINED}: does not apply."
    )
    return [Table("Challenge", ["Model", "Data set", *columns], rows, note=note)]


def _final_table(run: Run) -> Table:
    """Median and quartiles of the final masks' scores."""
    columns: dict[str, tuple[Measure, int]] = {
        "Dice": (measures.final_dice, 3),
        f"HD95, {run.unit}": (measures.final_hd95, 2),
        "Surface Dice": (measures.final_nsd, 3),
    }
    rows = []
    for group in run.groups:
        undefined = np.isnan(measures.by_sample(group, measures.final_hd95)).sum()
        row = [
            *_names_of(group),
            *(median_cell(group, measure, digits) for measure, digits in columns.values()),
        ]
        rows.append([*row, Cell(str(undefined) if group.samples else UNDEFINED)])
    note = (
        f"Median (quartiles) over samples. Surface Dice at a tolerance of {run.tolerance:g} {run.unit}. "
        + "Ignored pixels are left out of both masks. " * (not run.is_of_volumes)
        + "HD95 is undefined where a mask is empty."
    )
    return Table("Final masks", ["Model", "Data set", *columns, "HD95 undefined"], rows, note=note)


def _time_table(run: Run) -> Table:
    """Seconds a click, the first apart from the others."""
    rows = []
    for group in run.groups:
        first = [line.seconds[0] for line in group.lines() if line.seconds]
        further = [seconds for line in group.lines() for seconds in line.seconds[1:]]
        every = first + further
        cells = [format_number(float(np.median(kind)) if kind else None, ".3f") for kind in (first, further)]
        cells += [
            format_number(sum(every) / len(every) if every else None, ".3f"),
            format_number(measures.mean(group, measures.clicks_placed), ".2f"),
        ]
        if run.is_of_volumes:
            cells.append(format_number(measures.mean(group, measures.slices_clicked), ".1f"))
            cells.append(format_number(measures.mean(group, measures.seconds_in_all), ".1f"))
        cells.append(_duration(group.seconds))
        rows.append([*_names_of(group), *map(Cell, cells)])
    header = ["Model", "Data set", "First click, s", "Further click, s", "SPC, s", "Clicks placed"]
    note = (
        "Medians of first clicks, which prepare the image and run the backbone, and of further clicks. "
        "SPC: mean seconds per click. "
    )
    if run.is_of_volumes:
        header += ["Slices clicked", "Volume, s"]
        note = note.replace("image", "volume") + "Until the whole mask is there; Volume, s: of all clicks. "
    header.append("Time")
    note += "Time: wall-clock time, all processes together."
    return Table("Time", header, rows, note=note)


def _seeds_tables(run: Run) -> list[Table]:
    """How far the data set's means differ between seeds; nothing with one seed."""
    groups = [group for group in run.groups if len(group.seeds) > 1]
    if not groups:
        return []
    columns = measures.robustness(run)
    rows = []
    for group in groups:
        cells = []
        for name, measure in columns.items():
            spec = ".2f" if name.startswith("NoC") else ".3f"
            spread = format_number(measures.spread(group, measure), spec)
            cells.append(Cell(format_number(measures.mean(group, measure), spec), f"± {spread}"))
        rows.append([*_names_of(group), Cell(str(len(group.seeds))), *cells])
    header = ["Model", "Data set", "Seeds", *columns]
    note = "Mean over samples and seeds ± standard deviation of the data set's mean over seeds."
    return [Table("Robustness to the click model's seed", header, rows, note=note)]


def _names_of(group: Group) -> list[Cell]:
    """The first two cells of a row."""
    return [Cell(group.model), Cell(group.dataset)]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _listed(names: Sequence[str], noun: str) -> str:
    return ", ".join(names) if 0 < len(names) <= 3 else counted(len(names), noun)


# -- plots


def _dataset_plots(run: Run, groups: Sequence[Group]) -> dict[str, tuple[str, Plot]]:
    """A data set's curves and histogram, by kind: what they show, and the plot; none without samples."""
    # Slice by slice a volume takes more clicks than a plot of the others has room for.
    groups = [group for group in groups if group.samples and group.n_clicks == run.n_clicks]
    if not groups:
        return {}
    threshold = measures.main_threshold(run)
    seeds = max(len(group.seeds) for group in groups)
    curves = [
        Curve(group.model, *measures.mean_curve(measures.curves(group, measures.scores_of)))
        for group in groups
    ]
    histograms = [histogram(group, threshold, run.n_clicks) for group in groups]
    words = f"Mean {run.measure} by clicks"
    if any(len(group.samples) > 1 for group in groups):
        words += ", with its 95 % band"
    unit = "volumes" if run.is_of_volumes else "samples" if seeds == 1 else "samples, all seeds"
    return {
        f"{run.metric}_by_click": (words, plot_curves(curves, run.measure, run.target)),
        "clicks_needed": (f"Clicks needed to {run.measure} {threshold:g}", plot_histograms(histograms, unit)),
    }


def histogram(group: Group, threshold: float, n_clicks: int) -> Histogram:
    """How many clicks a network's evaluations needed."""
    solved = [line for line in group.lines() if not measures.failed_at(threshold, line)]
    needed = np.array([measures.noc_at(threshold, line) for line in solved], np.int64)
    counts = np.bincount(needed, minlength=n_clicks + 1)[1:]
    return Histogram(group.model, counts, sum(1 for _ in group.lines()) - len(solved))


# -- the gallery


def _shelves(run: Run, name: str, dataset: Dataset | None, key: str) -> list[_Shelf]:
    """Choose each network's samples of a data set that are shown: the worst, some at random, failures."""
    found = []
    for number_of_group, group in enumerate(run.of(name)):
        whose = f"{group.model}: " * (len(run.models) > 1)
        gallery = make_gallery(run, group, dataset, measures.main_threshold(run))
        kinds = {"Worst samples": gallery.worst, "Random samples": gallery.random}
        if gallery.whole:
            kinds = {"All samples, worst first": gallery.worst + gallery.random}
        pictures = any(card.picture for cards in kinds.values() for card in cards)
        for kind, (words, cards) in enumerate(kinds.items()):
            if cards:
                at = f"{key}-{number_of_group}-{kind}"
                shown = [_shown_card(run, group, card, f"{at}-{i}") for i, card in enumerate(cards)]
                found.append(_Shelf(f"{whose}{words}", cards=shown, legend=pictures and not kind))
        if group.problems:
            words = f"{whose}{counted(len(group.problems), 'sample')} without a result"
            found.append(_Shelf(words, problems=shortened(group.problems, LISTED)))
        elif not gallery.worst:
            found.append(_Shelf(f"{group.model}: no sample has a result"))
    return found


def _shown_card(run: Run, group: Group, card: Card, key: str) -> dict[str, Any]:
    """Return what is shown of a sample: its picture, and its figures in words and to sort by."""
    line, threshold = card.line, measures.main_threshold(run)
    needed = int(measures.noc_at(threshold, line))
    dice, hd95 = measures.final_dice(line), measures.final_hd95(line)
    figures = [f"IoU {line.ious[-1]:.3f}", f"Dice {dice:.3f}"]
    figures.append("HD95 undefined" if math.isnan(hd95) else f"HD95 {hd95:.1f} {run.unit}")
    clicks = f">{group.n_clicks}" if measures.failed_at(threshold, line) else f"{needed}"
    figures += [f"NoC@{threshold * 100:g} {clicks}", counted(len(line.clicks), "click")]
    if len(group.seeds) > 1:
        figures.append(f"seed {line.seed}")
    data = {"iou": line.ious[-1], "dice": dice, "hd95": hd95, "noc": needed, "clicks": len(line.clicks)}
    return {
        "key": key,
        "name": line.name,
        "figures": ", ".join(figures),
        "data": {name: "" if math.isnan(value) else f"{value:.6g}" for name, value in data.items()},
        "picture": card.picture,
        "why": card.why,
    }


# -- what stands last


def _about(run: Run) -> list[tuple[str, Mapping[str, str]]]:
    """Return everything that the figures depend on: names and values below headings."""
    entry = run.about
    parts = [("Settings", run.settings)]
    for checkpoint in entry.objects("checkpoints"):
        found = checkpoint.plain()
        if "windows" in checkpoint.values:
            found["CT windows"] = window_text(checkpoint.values["windows"])
        parts.append(("Checkpoint", found))
    for dataset in entry.objects("datasets"):
        found = dataset.plain()
        if "window" in dataset.values:
            found["CT window"] = window_text(dataset.values["window"])
        found.pop("window", None)
        parts.append(("Data set", found))
    clicks = {f"{group.model} on {group.dataset}": " ".join(group.clicks_sha256) for group in run.groups}
    return [
        *parts,
        ("Device", entry.object("device").plain()),
        ("Versions", entry.object("versions").plain()),
        ("SHA-256 of the clicks", clicks),
    ]


def window_text(value: Any, depth: int = 0) -> str:  # noqa: ANN401 - whatever JSON can hold
    """Put CT windows, one or several by name, in words."""
    match value:
        case None:
            return "not known"
        case {"level": int() | float() as level, "width": int() | float() as width}:
            return f"level {level:g}, width {width:g} HU"
        case dict() if depth < 2:
            return "; ".join(f"{key}: {window_text(item, depth + 1)}" for key, item in value.items())
        case list() if depth < 2:
            return "; ".join(window_text(item, depth + 1) for item in value)
        case str() | int() | float():
            return str(value)
    return UNDEFINED
