"""Evaluating one sample: click until the mask is good enough."""

import abc
import time
import typing
from dataclasses import dataclass

import numpy as np

from isegm.datasets.sample import Sample
from isegm.errors import InputError
from isegm.evaluation.protocol import METRICS, Clicking, Protocol
from isegm.evaluation.record import FinalScores, SampleResult
from isegm.geometry import Click
from isegm.inference.segmenter import Probability, Segmenter
from isegm.masks import Truth
from isegm.metrics.boundary import hd95, nsd, surface_distances
from isegm.metrics.overlap import Mask, mask_dice
from isegm.simulation.imprecise_click import ImpreciseClick
from isegm.simulation.next_click import NextClick
from isegm.simulation.perturbed_mask import perturbed_mask

SURFACE_TOLERANCE = 2.0
"""Pixels that boundaries may lie apart and still agree in the surface Dice, as in metricas.py by default."""


class ClickSimulator(typing.Protocol):
    """A simulated user on one sample."""

    def click(self, mask: Mask) -> Click | None:
        """Place the next click on the current mask, (H, W) bool; None where there is none to place."""
        ...


class Trial(abc.ABC):
    """A sample that is being clicked on."""

    @abc.abstractmethod
    def click(self) -> bool:
        """Place the next click on the current mask; False where there is none to place."""

    @abc.abstractmethod
    def score(self) -> float:
        """Measure the current mask, as the protocol says."""


def click_until_done(trial: Trial, protocol: Clicking) -> tuple[float, ...]:
    """Click until the target is reached or the clicks are used up.

    Returns:
        The score after each click. Where none could be placed any more although clicking was to go on, the
        last score is carried on.
    """
    scores: list[float] = []
    while len(scores) < protocol.n_clicks:
        if not trial.click() and scores:
            scores += scores[-1:] * (protocol.n_clicks - len(scores))
            break
        scores.append(trial.score())
        if scores[-1] >= protocol.target and len(scores) >= protocol.min_n_clicks:
            break
    return tuple(scores)


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
    trial = _PictureTrial(segmenter, sample, protocol, seed)
    scores = click_until_done(trial, protocol)
    mask = segmenter.mask
    result = SampleResult(
        name=sample.name,
        clicks=segmenter.clicks,
        scores=scores,
        seconds=tuple(trial.seconds),
        final=final_scores(mask, sample.truth),
        metric=protocol.metric,
        seed=seed,
    )
    return result, SamplePictures(mask, trial.probability)


class _PictureTrial(Trial):
    """A picture that is being clicked on.

    Attributes:
        seconds: From one click to the next: simulating it, the network, scoring.
        probability: After the last click; before the first the mask.
    """

    def __init__(self, segmenter: Segmenter, sample: Sample, protocol: Protocol, seed: int) -> None:
        self._segmenter = segmenter
        self._truth = sample.truth
        self._score_of = METRICS[protocol.metric]
        self._simulator = simulator_for(protocol, sample, seed)
        self.seconds: list[float] = []
        self._started = time.perf_counter()
        segmenter.set_image(sample.image, initial_mask_of(sample, protocol))
        self._mask = segmenter.mask
        self.probability: Probability = self._mask.astype(np.float32)
        self._clicked = False

    def click(self) -> bool:
        click = self._simulator.click(self._mask)
        self._clicked = click is not None
        if click is not None:
            self.probability = self._segmenter.click(click.row, click.col, click.positive)
            if not np.isfinite(self.probability).all():
                raise InputError(
                    "the network's output is not finite; compute in a higher precision, or check the weights"
                )
            self._mask = self._segmenter.mask
        return self._clicked

    def score(self) -> float:
        score = self._score_of(self._mask, self._truth)
        if self._clicked:
            finished = time.perf_counter()
            self.seconds.append(finished - self._started)
            self._started = finished
        return score


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


def initial_mask_of(sample: Sample, protocol: Protocol) -> Mask | None:
    """The mask that clicking on a sample starts from, (H, W); None where it starts from nothing."""
    if protocol.perturbed:
        return perturbed_mask(sample.image, sample.truth, sample.name)
    return sample.initial_mask


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
