"""Evaluating one volume: click until its mask is good enough, and slice by slice for comparison."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isegm.datasets.labelled_volumes import VolumeSample
from isegm.evaluation.click_loop import Trial, click_until_done
from isegm.evaluation.protocol import CHALLENGE_CLICKS, SURFACE_TOLERANCE_MM, VolumeProtocol
from isegm.evaluation.record import FinalScores, VolumeResult
from isegm.geometry import VoxelClick
from isegm.inference.segmenter import Segmenter
from isegm.inference.volume_segmenter import VolumeMask, VolumeSegmenter
from isegm.metrics.boundary import SurfaceDistances, hd95, nsd, surface_distances
from isegm.metrics.overlap import Counts, count, dice, mask_dice
from isegm.simulation.next_click import NextClick
from isegm.simulation.next_voxel_click import NextVoxelClick
from isegm.volumes.orientation import SlicePlan, upright
from isegm.volumes.windowed import read_pictures


@dataclass(frozen=True)
class VolumeMasks:
    """The final mask of a volume, (X, Y, Z)."""

    mask: VolumeMask


def evaluate_volume(
    segmenter: VolumeSegmenter, sample: VolumeSample, protocol: VolumeProtocol, seed: int = 0
) -> tuple[VolumeResult, VolumeMasks]:
    """Click on one volume until its mask reaches the target or the clicks are used up.

    Args:
        segmenter: Set up as the protocol says.
        sample: A volume and its truth.
        protocol: How often to click, and when to stop.
        seed: Recorded; the challenge's simulator leaves nothing to it.

    Returns:
        The figures, and the final mask.

    Raises:
        InputError: The segmenter cannot take the volume.
    """
    trial = _VolumeTrial(segmenter, sample)
    scores = click_until_done(trial, protocol)
    first = (trial.nsds + trial.nsds[-1:] * CHALLENGE_CLICKS)[:CHALLENGE_CLICKS]  # carried on, as scores are
    result = VolumeResult(
        name=sample.name,
        clicks=segmenter.clicks,
        scores=scores,
        seconds=tuple(trial.seconds),
        final=_final_scores(trial.mask, sample),
        metric=protocol.metric,
        seed=seed,
        nsds=tuple(first),
        slices=_slices_clicked(segmenter.clicks, upright(sample.volume.affine)),
    )
    return result, VolumeMasks(trial.mask)


class _VolumeTrial(Trial):
    """A volume that is being clicked on.

    Attributes:
        seconds: The segmenter's, for each click until the whole mask is there; setting up goes to the first.
        nsds: Surface Dice after each of the challenge's clicks.
        mask: The current mask.
    """

    def __init__(self, segmenter: VolumeSegmenter, sample: VolumeSample) -> None:
        self._segmenter = segmenter
        self._sample = sample
        self._simulator = NextVoxelClick(sample.truth)
        self.seconds: list[float] = []
        self.nsds: list[float] = []
        started = time.perf_counter()
        segmenter.set_volume(sample.volume, sample.window)
        self._setting_up = time.perf_counter() - started
        self.mask: VolumeMask = np.zeros_like(sample.truth)

    def click(self) -> bool:
        click = self._simulator.click(self.mask)
        if click is None:
            return False
        started = time.perf_counter()
        self._segmenter.click(click.voxel, click.positive)
        self.mask = self._segmenter.mask
        self.seconds.append(time.perf_counter() - started + self._setting_up)
        self._setting_up = 0.0
        return True

    def score(self) -> float:
        if len(self.nsds) < CHALLENGE_CLICKS:
            self.nsds.append(nsd(_distances(self.mask, self._sample), SURFACE_TOLERANCE_MM))
        return mask_dice(self.mask, self._sample.truth)


def evaluate_slice_by_slice(
    segmenter: Segmenter, sample: VolumeSample, protocol: VolumeProtocol, seed: int = 0
) -> tuple[VolumeResult, VolumeMasks]:
    """Click on every slice of an object by itself, as if nothing could be propagated.

    The object's slices are gone through from one end to the other. Each is clicked by the published simulator
    for pictures until its own Dice reaches the protocol's target, or the clicks for a slice are used up.

    Args:
        segmenter: Segments pictures; set up as the protocol says.
        sample: A volume and its truth.
        protocol: The target, and how many clicks a slice gets.
        seed: Recorded; the simulator leaves nothing to it.

    Returns:
        The figures, and the final mask. Scores are the whole volume's Dice after each click in turn; it ends
        where the last slice does.

    Raises:
        InputError: The network cannot take a slice.
    """
    started = time.perf_counter()
    plan = upright(sample.volume.affine)
    pictures = read_pictures(sample.volume, plan, sample.window)
    truths = plan.pictures(sample.truth)
    mask = np.zeros_like(sample.truth)
    masks = plan.pictures(mask)
    clicks: list[VoxelClick] = []
    scores: list[float] = []
    seconds: list[float] = []
    done = Counts(0, 0, int(np.count_nonzero(sample.truth)))
    for index in np.flatnonzero(truths.any(axis=(1, 2))):
        truth = np.ascontiguousarray(truths[index])
        segmenter.set_image(pictures[index])
        simulator, current = NextClick(truth.astype(np.int8)), np.zeros_like(truth)
        before = _without_object(done, truth)
        for _ in range(protocol.slice_n_clicks):
            click = simulator.click(current)
            if click is None:
                break
            segmenter.click(click.row, click.col, click.positive)
            current = segmenter.mask
            counts = count(current, truth)
            done = Counts(
                before.true_positive + counts.true_positive,
                before.false_positive + counts.false_positive,
                before.false_negative + counts.false_negative,
            )
            voxel = plan.voxel((int(index), int(click.row), int(click.col)), sample.truth.shape)
            clicks.append(VoxelClick(*voxel, click.positive))
            scores.append(dice(done))
            seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
            if dice(counts) >= protocol.target:
                break
        masks[index] = current
    result = VolumeResult(
        name=sample.name,
        clicks=tuple(clicks),
        scores=tuple(scores),
        seconds=tuple(seconds),
        final=_final_scores(mask, sample),
        metric=protocol.metric,
        seed=seed,
        slices=_slices_clicked(tuple(clicks), plan),
    )
    return result, VolumeMasks(mask)


def _without_object(counts: Counts, truth: npt.NDArray[np.bool_]) -> Counts:
    """What was counted before a slice was begun, without the slice's own object, all of which was missed."""
    missed = counts.false_negative - int(np.count_nonzero(truth))
    return Counts(counts.true_positive, counts.false_positive, missed)


def _slices_clicked(clicks: tuple[VoxelClick, ...], plan: SlicePlan) -> int:
    return len({click.voxel[plan.axis] for click in clicks})


def _distances(mask: VolumeMask, sample: VolumeSample) -> SurfaceDistances:
    return surface_distances(mask, sample.truth, sample.volume.affine[:3, :3])


def _final_scores(mask: VolumeMask, sample: VolumeSample) -> FinalScores:
    """Dice, HD95 in mm and surface Dice at ``SURFACE_TOLERANCE_MM`` of a final mask."""
    distances = _distances(mask, sample)
    return FinalScores(mask_dice(mask, sample.truth), hd95(distances), nsd(distances, SURFACE_TOLERANCE_MM))
