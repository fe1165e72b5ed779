"""The files that an evaluation leaves, all in one folder.

===========================================  =============================================================
``results.txt``                              the table, as printed
``results.json``                             every figure, all settings, the checkpoints' SHA-256, versions
``samples.jsonl``                            a line a sample, in data-set order
``predictions/<dataset>/<name>.png``         final masks, 0 and 255
``vis/<dataset>/<name>.jpg``                 the image with mask, truth and clicks, if wanted
``vis/<dataset>/<name>_probability.png``     the probability, 0 to 255, if wanted
``ious/<dataset>.csv``                       IoU after every click, a row a sample, if wanted
``iou_analysis/<dataset>.csv``, ``.png``     mean IoU against clicks, if wanted
``predictions/<dataset>/<name>.nii.gz``      of volumes: final masks, 0 and 1, in the volume's geometry
``pictures/<dataset>/<name>.jpg``            of volumes: the final mask, truth and clicks in three planes
``journal/``                                 the progress, sample by sample (``isegm/evaluation/journal.py``)
===========================================  =============================================================

With several checkpoints, ``<dataset>`` is ``<checkpoint>/<dataset>``.
"""

import abc
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from isegm.datasets import Sample
from isegm.evaluation.click_loop import SURFACE_TOLERANCE, SamplePictures
from isegm.evaluation.drawing import draw_probability, draw_result
from isegm.evaluation.figures import Figures, format_spreads, format_table
from isegm.evaluation.journal import Journal
from isegm.evaluation.protocol import SURFACE_TOLERANCE_MM, Clicking
from isegm.evaluation.record import Job, SampleOutcome, SampleRecord, SampleResult, carry_on, null_if_nan
from isegm.pictures import write_image
from isegm.plots import Curve, plot_curves
from isegm.storage import TEMPORARY_PREFIX, sha256, write_bytes, write_csv, write_text


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which files are wanted beside the table, the figures and the masks."""

    vis: Path | None = None
    """Folder of overlays and probability maps; None for none."""
    ious: bool = False
    """Save the IoU after every click."""
    iou_analysis: bool = False
    """Save and plot the mean IoU against clicks."""


SampleT = TypeVar("SampleT")
MasksT = TypeVar("MasksT")


class RunFolder(abc.ABC, Generic[SampleT, MasksT]):
    """Where one evaluation's files go.

    Args:
        folder: The run's folder; it is made when something is written.
        by_checkpoint: Whether the masks of several checkpoints have to be kept apart.
    """

    suffix: str
    """Of the files of final masks."""

    def __init__(self, folder: Path, *, by_checkpoint: bool) -> None:
        self.folder = folder
        self.journal = Journal(folder)
        self._by_checkpoint = by_checkpoint
        self._lines: list[str] = []

    def holds_results(self) -> bool:
        """Whether an evaluation, whole or cut short, has left its results here."""
        return self.journal.exists() or (self.folder / "results.json").exists()

    def remove_earlier(self, jobs: Sequence[Job]) -> None:
        """Remove what this evaluation replaces: an earlier one's figures, journal, and masks.

        Otherwise a sample that has no result this time would show the mask of the last, and a run that is cut
        short the last one's figures. Other files in the folder stay.

        Raises:
            OSError: A file cannot be removed.
        """
        for name in ("results.json", "results.txt", "samples.jsonl", "report.html"):
            (self.folder / name).unlink(missing_ok=True)
        self.journal.remove()
        for job in jobs:
            for mask in (self.folder / "predictions" / self._place(job)).glob(f"*{self.suffix}"):
                mask.unlink()

    def remove_unfinished(self) -> None:
        """Remove the unfinished files that a killed process has left.

        Raises:
            OSError: A file cannot be removed.
        """
        for folder in self._folders():
            for path in folder.rglob(f"{TEMPORARY_PREFIX}????????-*"):
                path.unlink(missing_ok=True)

    def mask_path(self, job: Job, name: str) -> Path:
        """The file of a sample's final mask."""
        return self.folder / "predictions" / self._place(job) / f"{name}{self.suffix}"

    @abc.abstractmethod
    def save_masks(self, job: Job, sample: SampleT, result: SampleResult, masks: MasksT) -> str:
        """Write a sample's final mask, and what is drawn of it.

        Returns:
            The SHA-256 of the mask's file.

        Raises:
            OSError: A file cannot be written.
        """

    @abc.abstractmethod
    def table(self, rows: Sequence[Figures], protocol: Clicking) -> str:
        """Lay the figures out."""

    def lines(self, rows: Sequence[Figures], protocol: Clicking) -> list[str]:
        """What ``results.txt`` says: the table, and how far seeds differ."""
        return [self.table(rows, protocol), *format_spreads(rows)]

    def save_results(
        self,
        job: Job,
        rows: Sequence[Figures],
        results: Mapping[int, SampleOutcome],
        protocol: Clicking,
        about: Mapping[str, Any],
    ) -> None:
        """Write all results after each data set: nothing is lost if the next one fails.

        Args:
            job: The job that has just ended.
            rows: The figures of all jobs so far; the last are this one's.
            results: This job's samples.
            protocol: The settings that they were computed with.
            about: The rest of ``results.json``.

        Raises:
            OSError: A file cannot be written.
        """
        done = {i: result for i, result in results.items() if isinstance(result, SampleResult)}
        self._lines += [json.dumps(SampleRecord(job, i, result).to_json()) for i, result in done.items()]
        write_text(self.folder / "samples.jsonl", "".join(line + "\n" for line in self._lines))
        text = "".join(f"{line}\n" for line in self.lines(rows, protocol))
        write_text(self.folder / "results.txt", text)
        document = {**about, "results": [_as_json(row, protocol) for row in rows]}
        write_text(self.folder / "results.json", json.dumps(document, indent=2) + "\n")
        if done:
            self._save_more(self._place(job), list(done.values()), rows[-1], protocol)

    def _folders(self) -> list[Path]:
        """Every folder that files are written into."""
        return [self.folder]

    def _save_more(
        self, place: Path, results: Sequence[SampleResult], figures: Figures, protocol: Clicking
    ) -> None:
        """Write what else is wanted of a job that has just ended."""

    def _place(self, job: Job) -> Path:
        parts = Path(job.key).parts
        return Path(*parts) if self._by_checkpoint else Path(*parts[1:])


class PictureRunFolder(RunFolder[Sample, SamplePictures]):
    """Where the files of an evaluation of pictures go.

    Args:
        folder: As for :class:`RunFolder`.
        wanted: Which files besides the usual ones.
        by_checkpoint: As for :class:`RunFolder`.
    """

    suffix = ".png"

    def __init__(self, folder: Path, wanted: Wanted, *, by_checkpoint: bool) -> None:
        super().__init__(folder, by_checkpoint=by_checkpoint)
        self.wanted = wanted

    def save_masks(self, job: Job, sample: Sample, result: SampleResult, masks: SamplePictures) -> str:
        """Write a sample's final mask, and its overlay and probability map if they are wanted."""
        name = sample.name
        path = self.mask_path(job, name)
        write_image(path, masks.mask.astype(np.uint8) * 255)
        if self.wanted.vis is not None:
            vis = self.wanted.vis / self._place(job)
            write_image(vis / f"{name}.jpg", draw_result(sample, masks.mask, result))
            write_image(vis / f"{name}_probability.png", draw_probability(masks.probability))
        return sha256(path)

    def table(self, rows: Sequence[Figures], protocol: Clicking) -> str:
        """The table that EMC-Click's evaluation prints."""
        return format_table(rows, protocol)

    def _folders(self) -> list[Path]:
        return [self.folder, *([self.wanted.vis] if self.wanted.vis else [])]

    def _save_more(
        self, place: Path, results: Sequence[SampleResult], figures: Figures, protocol: Clicking
    ) -> None:
        if self.wanted.ious:
            self._save_scores(place, results, protocol)
        if self.wanted.iou_analysis:
            self._save_analysis(place, figures, protocol)

    def _save_scores(self, place: Path, results: Sequence[SampleResult], protocol: Clicking) -> None:
        header = ["name", *range(1, protocol.n_clicks + 1)]
        rows = [[result.name, *carry_on(result.scores, protocol.n_clicks)] for result in results]
        write_csv(self.folder / "ious" / place.with_suffix(".csv"), [header, *rows])

    def _save_analysis(self, place: Path, figures: Figures, protocol: Clicking) -> None:
        measure = "IoU" if protocol.metric == "iou" else "Dice"
        clicks = range(1, protocol.n_clicks + 1)
        path = self.folder / "iou_analysis" / place
        rows = [["clicks", f"mean {measure}"], *zip(clicks, figures.mean_scores, strict=True)]
        write_csv(path.with_suffix(".csv"), rows)
        mean = np.array(figures.mean_scores)
        curve = Curve(figures.model, mean, np.full_like(mean, math.nan), np.full_like(mean, math.nan))
        write_bytes(path.with_suffix(".png"), plot_curves([curve], measure, protocol.target).png)


def _as_json(figures: Figures, protocol: Clicking) -> dict[str, Any]:
    return {
        "model": figures.model,
        "preset": figures.preset,
        "dataset": figures.dataset,
        **({} if figures.seed is None else {"seed": figures.seed}),
        "metric": protocol.metric,
        "samples": figures.samples,
        "noc": [dataclasses.asdict(summary) for summary in figures.noc],
        f"mean_{protocol.metric}_by_click": list(figures.mean_scores),
        "auc_iou": null_if_nan(figures.auc_iou),
        "auc_dice": null_if_nan(figures.auc_dice),
        "dice_at": {str(click): dice for click, dice in figures.dice_at.items()},
        "final": {
            **{name: null_if_nan(measure.mean) for name, measure in figures.final.items()},
            "undefined": {name: measure.undefined for name, measure in figures.final.items()},
            **(
                {"nsd_tolerance_px": SURFACE_TOLERANCE}
                if figures.volumes is None
                else {"nsd_tolerance_mm": SURFACE_TOLERANCE_MM}
            ),
        },
        "seconds_a_click": figures.seconds_a_click,
        "seconds": figures.seconds,
        **_volumes_as_json(figures),
        "problems": list(figures.problems),
        "clicks_sha256": figures.clicks_sha256,
    }


def _volumes_as_json(figures: Figures) -> dict[str, Any]:
    """What is told of volumes only; nothing of pictures."""
    told = figures.volumes
    if told is None:
        return {}
    return {
        "n_clicks": figures.n_clicks,
        "challenge": {
            name: null_if_nan(getattr(told, name)) for name in ("dice_auc", "nsd_auc", "dice", "nsd")
        },
        "clicks_a_volume": told.clicks,
        "slices_a_volume": told.slices,
        "seconds_a_volume": told.seconds,
    }
