"""Comparing a folder of predictions with its truth, from files to reports."""

import platform
import re
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from isegm._version import __version__
from isegm.compare.mask_pairs import Pair, mask_name, pair_masks
from isegm.compare.mask_reading import Spacing, read_mask_pair, read_spacings
from isegm.compare.score_files import table, write_rows, write_summary
from isegm.compare.score_plots import plot_against_area
from isegm.compare.scores import Scores, score
from isegm.compare.summary import Summary, summarise_scores
from isegm.errors import InputError, InputProblems, InputWarning, describe, warn_together
from isegm.metrics.bootstrap import RESAMPLES, SEED
from isegm.volumes.files import is_mask_volume

PLOTTED_METRICS = ("recall", "precision")
CONVENTIONS = (
    "Undefined values (an empty mask) are counted, not averaged; std has divisor n - 1; see docs/metrics.md."
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is compared, how, and where the reports go.

    Attributes:
        truth_path: Folder of true masks, or one of them.
        prediction_path: Folder of predicted masks, or one of them.
        organ: Names the reports and titles the plots.
        output: Folder of the reports; None is ``<prediction>_metrics`` beside the predictions.
        tolerance: Of the surface Dice, in mm, or in pixels where the spacing is unknown.
        min_area: Truths of fewer object pixels stay out of summary and plots.
        labels: Object labels of volumes; None is every value but 0.
        spacing: mm along each axis of every image; None leaves it to manifest and headers.
        force: Overwrite earlier reports.

    Raises:
        InputError: The organ cannot be part of a file's name, or the reports would be taken for masks in the
            folder they go to.
    """

    truth_path: Path
    prediction_path: Path
    organ: str
    output: Path | None = None
    tolerance: float = 2.0
    min_area: int = 0
    labels: Sequence[int] | None = None
    spacing: Spacing | None = None
    force: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without reading."""
        if not re.fullmatch(r"\w[\w .+-]*", self.organ):
            raise InputError(
                f"organ {self.organ!r}: must be usable in a file's name; take letters, digits, - and _"
            )
        if self.folder.resolve() in (self.truth_path.resolve(), self.prediction_path.resolve()):
            raise InputError(f"{self.folder}: holds masks; write to another folder, or plots pass for masks")

    @property
    def folder(self) -> Path:
        """The folder of the reports."""
        if self.output is not None:
            return self.output
        path = self.prediction_path.resolve()
        return path.with_name(f"{(mask_name(path) if path.is_file() else None) or path.name}_metrics")

    def report(self, ending: str) -> Path:
        """The path of one report."""
        return self.folder / f"metrics_{self.organ}{ending}"


@dataclass(frozen=True)
class Comparison:
    """The outcome.

    Attributes:
        settings: What was asked for.
        rows: A row for each pair that could be compared, in the order of names.
        summaries: By metric, over the included rows.
        unmatched: A line for each mask without a counterpart.
        problems: A line for each pair that could not be compared.
    """

    settings: Settings
    rows: list[Scores]
    summaries: dict[str, Summary]
    unmatched: list[str]
    problems: list[str]


def compare(settings: Settings) -> Comparison:
    """Pair, read and measure all masks; a pair that cannot be compared is noted and passed over.

    Raises:
        InputError: A report exists and may not be overwritten, nothing can be paired (see
            :func:`isegm.compare.mask_pairs.pair_masks`), labels are given for pictures, or the manifest is
            malformed.
        InputProblems: No pair at all could be compared.
    """
    existing = [path for path in _report_paths(settings) if path.exists()]
    if existing and not settings.force:
        raise InputError(f"{existing[0]}: exists; `force` overwrites it, or take another folder")
    pairing = pair_masks(settings.truth_path, settings.prediction_path)
    pictures = [pair.truth for pair in pairing.pairs if not is_mask_volume(pair.truth)]
    if settings.labels is not None and pictures:
        raise InputError(f"{pictures[0]}: is a picture; labels are for volumes")
    manifest = read_spacings(settings.truth_path) if pictures and settings.spacing is None else {}

    unmatched = [
        f"{path}: has no counterpart of the same name in the other folder" for path in pairing.unmatched
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        outcomes = [
            _attempt(pair, manifest, settings) for pair in tqdm(pairing.pairs, unit="image", disable=None)
        ]
    warn_together(one.message for one in caught if isinstance(one.message, Warning))
    rows = [outcome for outcome in outcomes if isinstance(outcome, Scores)]
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if not rows:
        nothing = f"{settings.prediction_path}: none of its {len(problems)} pairs could be compared:"
        raise InputProblems([nothing, *unmatched, *problems])
    return Comparison(settings, rows, summarise_scores(rows), unmatched, problems)


def summary_text(comparison: Comparison) -> str:
    """The summary for the terminal: what was compared, the table, its units and conventions."""
    settings, rows = comparison.settings, comparison.rows
    small = sum(not row.included for row in rows)
    heading = f"{settings.organ}: {len(rows)} images"
    if settings.min_area:
        heading += f", {small} of them below {settings.min_area} pixels left out"
    units = {row.unit for row in rows}
    measure = " or ".join(sorted(units))
    note = f"HD95 in {measure}; NSD at a tolerance of {settings.tolerance:g} {measure}."
    if "px" in units:
        note += " px: spacing unknown; give it, or a manifest.csv, for mm."
    return "\n".join([heading, table(comparison.summaries), note, CONVENTIONS])


def write_reports(comparison: Comparison) -> None:
    """Write the CSV, the plots and, last, the JSON summary, each whole or not at all."""
    settings = comparison.settings
    write_rows(settings.report(".csv"), comparison.rows)
    for metric in PLOTTED_METRICS:
        plot_against_area(settings.report(f"_{metric}_vs_area.png"), comparison.rows, metric, settings.organ)
    details = {
        "settings": _settings_as_json(settings),
        "images": len(comparison.rows),
        "included": sum(row.included for row in comparison.rows),
        "unmatched": comparison.unmatched,
        "problems": comparison.problems,
    }
    write_summary(settings.report(".json"), comparison.summaries, details)


def _attempt(pair: Pair, manifest: dict[str, Spacing], settings: Settings) -> Scores | str:
    """The row of a pair, or the line that says why it has none."""
    try:
        masks = read_mask_pair(pair, manifest, settings.labels, settings.spacing)
        return score(pair.name, masks, settings.tolerance, settings.min_area)
    except InputError as error:
        return str(error)
    except OSError as error:  # no permission, say
        return describe(error, pair.prediction)
    except MemoryError:
        return f"{pair.prediction}: not enough memory to compare it; use a larger machine"


def _report_paths(settings: Settings) -> list[Path]:
    plots = [f"_{metric}_vs_area.png" for metric in PLOTTED_METRICS]
    return [settings.report(ending) for ending in (".csv", ".json", *plots)]


def _settings_as_json(settings: Settings) -> dict[str, Any]:
    depends = {key: value for key, value in asdict(settings).items() if key != "force"}
    return {
        **{key: str(value) if isinstance(value, Path) else value for key, value in depends.items()},
        "output": str(settings.folder),
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED},
        "versions": {"isegm": __version__, "python": platform.python_version(), "numpy": np.__version__},
    }
