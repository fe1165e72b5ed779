"""Timing of ways to segment side by side."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.inference.segmenter import Segmenter
from isegm.metrics.overlap import Mask, mask_iou
from isegm.tables import UNDEFINED

REFERENCE = "reference"
"""The name of the published computation in tables."""


@dataclass
class Recording:
    """The measurements of one way to segment.

    Attributes:
        seconds: The time of each click, by repeat; that of a first click includes setting the image.
        differences: Of each click, the largest difference of a probability from the reference's.
        mask_ious: Of each click, the mask's IoU with the reference's; 1 where both are empty.
    """

    seconds: list[list[float]] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    mask_ious: list[float] = field(default_factory=list)

    @property
    def first(self) -> list[float]:
        """The first clicks' times."""
        return [row[0] for row in self.seconds]

    @property
    def further(self) -> list[float]:
        """The times of clicks 2, 3, ... of every repeat."""
        return [seconds for row in self.seconds for seconds in row[1:]]


def record(
    segmenters: Mapping[str, Segmenter],
    images: Sequence[npt.NDArray[np.uint8]],
    clicks: int,
    repeats: int,
    progress: Callable[[], object] = lambda: None,
) -> dict[str, Recording]:
    """Time clicks, one of each segmenter in turn, so that a slow moment of the machine hits all alike.

    Before the first repeat each segmenter does a first and a further click that are not timed.

    Args:
        segmenters: By name; the first is what the others are compared with.
        images: (H, W, 3) each; a repeat begins on the next one, and after the last on the first again.
        clicks: How many on an image.
        repeats: How often an image is set and clicked on.
        progress: Called after each repeat.
    """
    recordings = {name: Recording() for name in segmenters}
    for segmenter in segmenters.values():
        segmenter.set_image(images[0])
        for click in random_clicks(images[0].shape[:2], min(2, clicks)):
            segmenter.click(click.row, click.col, click.positive)
    for repeat in range(repeats):
        image = images[repeat % len(images)]
        for recording in recordings.values():
            recording.seconds.append([])
        for number, click in enumerate(random_clicks(image.shape[:2], clicks)):
            expected: tuple[npt.NDArray[np.float32], Mask] | None = None
            for name, segmenter in segmenters.items():
                started = time.perf_counter()
                if number == 0:
                    segmenter.set_image(image)
                probability = segmenter.click(click.row, click.col, click.positive)
                recordings[name].seconds[-1].append(time.perf_counter() - started)
                expected = expected or (probability, segmenter.mask)
                recordings[name].differences.append(float(np.abs(probability - expected[0]).max()))
                recordings[name].mask_ious.append(mask_agreement(segmenter.mask, expected[1]))
        progress()
    return recordings


def random_clicks(shape: Sequence[int], count: int) -> list[Click]:
    """Return clicks at random pixels of an image of ``shape`` (H, W), positive and negative in turn.

    The same ones for the same arguments, and in the same places for whatever shape.
    """
    places = np.random.default_rng(0).random((count, 2))
    return [
        Click(int(row * shape[0]), int(col * shape[1]), number % 2 == 0)
        for number, (row, col) in enumerate(places)
    ]


def mask_agreement(mask: Mask, expected: Mask) -> float:
    """The IoU of two masks, (H, W); 1 where both are empty."""
    iou = mask_iou(mask, expected)
    return 1.0 if math.isnan(iou) else iou


def milliseconds(seconds: Sequence[float]) -> dict[str, Any]:
    """Return median and quartiles of times, in ms, and their number; None where there are no times."""
    if not seconds:
        return {"median": None, "q1": None, "q3": None, "count": 0}
    q1, median, q3 = (float(value) * 1000 for value in np.percentile(seconds, [25, 50, 75]))
    return {"median": median, "q1": q1, "q3": q3, "count": len(seconds)}


def quartiles(spread: Mapping[str, Any]) -> str:
    """Format the quartiles of :func:`milliseconds` as ``12.3-14.5``."""
    return UNDEFINED if spread["median"] is None else f"{spread['q1']:.1f}-{spread['q3']:.1f}"


def ratio(reference: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    """Return how many times as fast as the reference: its median over the other's, None without one."""
    if reference["median"] is None or other["median"] is None:
        return None
    return reference["median"] / other["median"]


def in_turns(works: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Time works in turns (A B A B ...), so that a slow moment is shared by all.

    Args:
        works: What to time; each is done once before, untimed.
        repeats: How many turns.

    Returns:
        For each work the seconds of every turn.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, times in zip(works, seconds, strict=True):
            started = time.perf_counter()
            work()
            if turn:
                times.append(time.perf_counter() - started)
    return seconds


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios of two works' times, turn by turn."""
    return float(np.median(np.divide(above, below)))
