"""Evaluating one sample: click until the mask is good enough."""

import time
import typing
from dataclasses import dataclass

import numpy as np

from isegm.datasets.sample import Sample
from isegm.errors import InputError
from isegm.evaluation.protocol import METRICS, Protocol
from isegm.evaluation.record import FinalScores, SampleResult
from isegm.geometry import Click
from isegm.inference.segmenter import Probability, Segmenter
from isegm.masks import Truth
from isegm.metrics.boundary import hd95, nsd, surface_distances
from isegm.metrics.overlap import Mask, mask_dice
from isegm.simulation.imprecise_click import ImpreciseClick
from isegm.simulation.next_click import NextClick

SURFACE_TOLERANCE = 2.0
"""Pixels that boundaries may lie apart and still agree in the surface Dice, as in metricas.py by default."""


class ClickSimulator(typing.Protocol):
    """A simulated user on one sample."""

    def click(self, mask: Mask) -> Click | None:
        """Place the next click on the current mask, (H, W) bool; None where there is none to place."""
        ...


@dataclass(frozen=True)
class SamplePictures:
    """The final mask and probability of a sample, (H, W) each."""

    mask: Mask
    probability: Probability


def evaluate_sample(
    segmenter: Segmenter, sample: Sample, protocol: Protocol, seed: int = 0
) -> tuple[SampleResult, SamplePictures]:
    """Click on one sample until its mask reaches the target or the clicks are used up.

    Args:
        segmenter: Set up as the protocol says (size, flip, threshold).
        sample: An image, its truth and perhaps an initial mask.
        protocol: How to click, when to stop, and what to measure.
        seed: Which of the protocol's users clicks; the published click model leaves nothing to it.

    Returns:
        The figures, and the final mask and probability. A sample whose initial mask is perfect gets no click:
        its probability is then that mask.

    Raises:
        InputError: The network cannot take the image, or its output is not finite.
    """
    score_of = METRICS[protocol.metric]
    simulator = simulator_for(protocol, sample, seed)
    scores: list[float] = []
    seconds: list[float] = []
    probability: Probability | None = None

    started = time.perf_counter()
    segmenter.set_image(sample.image, sample.initial_mask)
    mask = segmenter.mask
    while len(scores) < protocol.n_clicks:
        click = simulator.click(mask)
        if click is not None:
            probability = segmenter.click(click.row, click.col, click.positive)
            if not np.isfinite(probability).all():
                raise InputError(
                    "the network's output is not finite; compute in a higher precision, or check the weights"
                )
            mask = segmenter.mask
        elif scores:
            scores += scores[-1:] * (protocol.n_clicks - len(scores))
            break
        scores.append(score_of(mask, sample.truth))
        if click is not None:
            finished = time.perf_counter()
            seconds.append(finished - started)
            started = finished
        if scores[-1] >= protocol.target_iou and len(scores) >= protocol.min_n_clicks:
            break

    pictures = SamplePictures(mask, mask.astype(np.float32) if probability is None else probability)
    result = SampleResult(
        name=sample.name,
        clicks=segmenter.clicks,
        scores=tuple(scores),
        seconds=tuple(seconds),
        final=final_scores(mask, sample.truth),
        metric=protocol.metric,
        seed=seed,
    )
    return result, pictures


def final_scores(mask: Mask, truth: Truth) -> FinalScores:
    """Measure a final mask.

    Ignored pixels count neither way: they are left out of the mask and of the truth alike, before boundaries
    are found, so that Dice, HD95 and surface Dice are those of the same two masks.

    Args:
        mask: (H, W).
        truth: (H, W): 1 object, 0 background, -1 ignored.
    """
    distances = surface_distances(mask & (truth != -1), truth == 1)
    return FinalScores(mask_dice(mask, truth), hd95(distances), nsd(distances, SURFACE_TOLERANCE))


def simulator_for(protocol: Protocol, sample: Sample, seed: int) -> ClickSimulator:
    """The simulated user that the protocol wants, on one sample.

    Args:
        protocol: How to click.
        sample: Its truth and its name decide where.
        seed: Which of the protocol's users; at least 0.
    """
    model = protocol.parsed_click_model
    if model.is_published:
        return NextClick(sample.truth)
    return ImpreciseClick(sample.truth, model, seed, sample.name)
