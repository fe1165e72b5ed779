"""What an evaluation left in its folder, read and checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isegm.errors import InputError
from isegm.evaluation.click_loop import SURFACE_TOLERANCE, FinalScores
from isegm.evaluation.figures import carry_on
from isegm.evaluation.output import RESULTS_FORMAT
from isegm.geometry import Click
from isegm.metrics.curves import dice_of_iou, iou_of_dice
from isegm.report.entries import MEND, Entry, read_entry

MAX_CLICKS = 1000
"""Clicks a sample that are believed; a larger number would only fill the memory."""
MAX_SIDE = 1_000_000
"""Pixels a side that are believed of an image."""


@dataclass(frozen=True)
class SampleLine:
    """One evaluation of one sample, a line of ``samples.jsonl``.

    Attributes:
        name: The sample's name; it may be anything.
        index: The sample's number in its data set, from 0.
        seed: Of the click model, from 0.
        clicks: In the image's pixels.
        scores: What the protocol counts, IoU or Dice, after click 1, 2, ..., all clicks; the last is carried
            on where clicking ended sooner.
        ious: The same in IoU.
        dices: The same in Dice.
        placed: How many scores there were before the last was carried on.
        seconds: Of each click.
        final: Of the final mask; None in results of format 1.
    """

    name: str
    index: int
    seed: int
    clicks: tuple[Click, ...]
    scores: tuple[float, ...]
    ious: tuple[float, ...]
    dices: tuple[float, ...]
    placed: int
    seconds: tuple[float, ...]
    final: FinalScores | None


@dataclass(frozen=True)
class Group:
    """One network on one data set.

    Attributes:
        model: The network's name.
        dataset: The data set's name.
        samples: The evaluations of each sample, one a seed, in data-set order; every sample has one at least.
        seeds: Of the click model.
        seconds: Wall-clock time of all seeds.
        problems: A line for every sample without a result.
        clicks_sha256: Of the clicks of each seed.
    """

    model: str
    dataset: str
    samples: tuple[tuple[SampleLine, ...], ...]
    seeds: tuple[int, ...]
    seconds: float
    problems: tuple[str, ...]
    clicks_sha256: tuple[str, ...]

    def lines(self) -> Iterator[SampleLine]:
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
        tolerance: Of the surface Dice, in pixels.
        warnings: What the evaluation had to say of its data.
    """

    folder: Path
    about: Entry
    metric: str
    n_clicks: int
    target: float
    settings: Mapping[str, str]
    groups: tuple[Group, ...]
    tolerance: float
    warnings: tuple[str, ...]

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
    path = folder / "results.json"
    about = read_entry(str(path), _read(path))
    version = about.integer("format", 1, 1_000_000)
    if version > RESULTS_FORMAT:
        raise InputError(
            f"{path}: is of format {version}, and {RESULTS_FORMAT} is the last known here; take a newer "
            "version"
        )
    settings = about.entry("settings")
    metric = settings.text("metric")
    if metric not in ("iou", "dice"):
        raise settings.wrong("metric", "iou or dice")
    target = settings.number("target_iou")
    if target == 0:
        raise settings.wrong("target_iou", "above 0")
    n_clicks = settings.integer("n_clicks", 1, MAX_CLICKS)
    found = _read_samples(folder / "samples.jsonl", metric, n_clicks, finals=version > 1)
    rows = about.entries("results")
    tolerances = [row.entry("final").number("nsd_tolerance_px", SURFACE_TOLERANCE) for row in rows]
    return Run(
        folder=folder,
        about=about,
        metric=metric,
        n_clicks=n_clicks,
        target=target,
        settings=settings.plain(),
        groups=_groups(path, rows, found),
        tolerance=tolerances[0] if tolerances else SURFACE_TOLERANCE,
        warnings=about.texts("warnings"),
    )


_Lines = dict[tuple[str, str, int], list[SampleLine]]
"""The lines of each network, data set and seed."""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the folder of an evaluation that has ended") from None


def _read_samples(path: Path, metric: str, n_clicks: int, *, finals: bool) -> _Lines:
    found: _Lines = {}
    seen = set()
    for number, text in enumerate(_read(path).splitlines(), start=1):
        where = f"{path}: line {number}"
        entry = read_entry(where, text)
        key = entry.text("model"), entry.text("dataset"), entry.integer("seed", 0, 1_000_000, default=0)
        line = _sample_line(entry, key[2], metric, n_clicks, finals=finals)
        if (key, line.name) in seen:
            raise InputError(f"{where}: {line.name!a} was evaluated on an earlier line, too; {MEND}")
        seen.add((key, line.name))
        found.setdefault(key, []).append(line)
    return found


def _sample_line(entry: Entry, seed: int, metric: str, n_clicks: int, *, finals: bool) -> SampleLine:
    scores = entry.numbers(f"{metric}s", high=1)
    clicks, seconds = _clicks(entry), entry.numbers("seconds")
    if not 1 <= len(scores) <= n_clicks:
        raise InputError(f"{entry.where}: has {len(scores)} scores for 1 to {n_clicks} clicks; {MEND}")
    if not len(clicks) == len(seconds) <= len(scores):
        raise InputError(
            f"{entry.where}: has {len(clicks)} clicks, {len(seconds)} times and {len(scores)} scores, which "
            f"do not belong together; {MEND}"
        )
    carried = tuple(carry_on(scores, n_clicks))
    return SampleLine(
        name=entry.text("name"),
        index=entry.integer("index", 0, 10**9),
        seed=seed,
        clicks=clicks,
        scores=carried,
        ious=carried if metric == "iou" else tuple(map(iou_of_dice, carried)),
        dices=carried if metric == "dice" else tuple(map(dice_of_iou, carried)),
        placed=len(scores),
        seconds=seconds,
        final=_final(entry) if finals else None,
    )


def _final(entry: Entry) -> FinalScores:
    return FinalScores(
        entry.number_or_nan("dice", high=1), entry.number_or_nan("hd95"), entry.number_or_nan("nsd", high=1)
    )


def _clicks(entry: Entry) -> tuple[Click, ...]:
    listed, clicks = entry.values.get("clicks"), []
    for click in listed if isinstance(listed, list) else [None]:
        match click:
            case [int() | float() as row, int() | float() as col, bool() as positive] if (
                0 <= row < MAX_SIDE and 0 <= col < MAX_SIDE
            ):
                clicks.append(Click(float(row), float(col), positive))
            case _:
                raise entry.wrong("clicks", "a list of [row, column, true or false]")
    return tuple(clicks)


def _groups(path: Path, rows: Sequence[Entry], found: _Lines) -> tuple[Group, ...]:
    """Put the rows of ``results.json`` and the samples' lines together."""
    names: dict[tuple[str, str], dict[int, Entry]] = {}
    for row in rows:
        model, dataset, seed = (
            row.text("model"),
            row.text("dataset"),
            row.integer("seed", 0, 1_000_000, default=0),
        )
        seeds = names.setdefault((model, dataset), {})
        if seed in seeds:
            raise InputError(f"{row.where}: {model!a} on {dataset!a} has a row already; {MEND}")
        seeds[seed] = row
        lines = len(found.get((model, dataset, seed), []))
        if row.integer("samples", 0, 10**9) != lines:
            raise InputError(
                f"{path.with_name('samples.jsonl')}: has {lines} lines of {model!a} on {dataset!a}, where "
                f"{path} counts {row.values['samples']} samples; the run was cut short: {MEND}"
            )
    strangers = sorted(found.keys() - {(*name, seed) for name, seeds in names.items() for seed in seeds})
    if strangers:
        model, dataset, _ = strangers[0]
        raise InputError(
            f"{path.with_name('samples.jsonl')}: has samples of {model!a} on {dataset!a}, which {path} does "
            f"not know; the run was cut short: {MEND}"
        )
    return tuple(_group(*name, seeds, found) for name, seeds in names.items())


def _group(model: str, dataset: str, rows: Mapping[int, Entry], found: _Lines) -> Group:
    by_name: dict[str, list[SampleLine]] = {}
    for seed in sorted(rows):
        for line in found.get((model, dataset, seed), []):
            by_name.setdefault(line.name, []).append(line)
    problems = [problem for row in rows.values() for problem in row.texts("problems")]
    return Group(
        model=model,
        dataset=dataset,
        samples=tuple(sorted(map(tuple, by_name.values()), key=lambda lines: lines[0].index)),
        seeds=tuple(sorted(rows)),
        seconds=sum(row.number("seconds", default=0.0) for row in rows.values()),
        problems=tuple(dict.fromkeys(problems)),
        clicks_sha256=tuple(rows[seed].text("clicks_sha256", default="") for seed in sorted(rows)),
    )
