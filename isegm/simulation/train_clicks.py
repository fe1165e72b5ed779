"""The training's click simulator: clicks at random, where a user may well have placed them.

Source: EMC-Click, section 4.1, after RITM's iterative training (Sofiiuk et al., 2021, section 3.2).

A pixel's depth is its exact Euclidean distance to the nearest pixel outside its region, beyond the picture's
border being outside. Squared depths are whole numbers, so the comparisons below are exact.
"""

import math

import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.simulation.distance import Depth, measure_depth


def first_click(target: npt.NDArray[np.bool_], rng: np.random.Generator, *, anywhere: bool = False) -> Click:
    """Click on the object's inner part: any pixel deeper than the greatest depth / 1.7, all alike.

    Args:
        target: The object, (H, W).
        rng: Where the choice comes from.
        anywhere: Click any pixel of the object, near its edge, too.

    Returns:
        The click, in whole pixels, positive.

    Raises:
        ValueError: The object has no pixel.
    """
    depth = measure_depth(target)
    click = _choose(depth, 0 if anywhere else 100 * depth.greatest / 289, rng, positive=True)
    if click is None:
        raise ValueError("an object without a pixel cannot be clicked")
    return click


def next_click(
    mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.int8], rng: np.random.Generator
) -> Click | None:
    """Click on an error of the mask.

    The click is positive or negative with a probability proportional to the greatest depth of the false
    negatives and of the false positives (ignored pixels are neither). Then any pixel of the chosen error is
    clicked, all alike, that is deeper than half of the greater of the two.

    Args:
        mask: The current mask, (H, W).
        truth: (H, W), 1 object, 0 background, -1 ignored.
        rng: Where the choice comes from.

    Returns:
        The click, in whole pixels; None where there is no error, or no such pixel because the chosen error
        is much the thinner one.
    """
    missed = measure_depth((truth == 1) & ~mask)
    extra = measure_depth((truth == 0) & mask)
    deepest = max(missed.greatest, extra.greatest)
    if deepest == 0:
        return None
    missed_depth, extra_depth = math.sqrt(missed.greatest), math.sqrt(extra.greatest)
    positive = rng.random() * (missed_depth + extra_depth) < missed_depth
    return _choose(missed if positive else extra, deepest / 4, rng, positive=positive)


def number_of_clicks(rng: np.random.Generator, maximum: int = 23, decay: float = 0.8) -> int:
    """Draw how many clicks follow the first: n from 0 to ``maximum``, proportionally to ``decay ** n``."""
    weights = decay ** np.arange(maximum + 1)
    return int(rng.choice(maximum + 1, p=weights / weights.sum()))


def _choose(depth: Depth, above: float, rng: np.random.Generator, *, positive: bool) -> Click | None:
    """Any pixel whose squared depth exceeds ``above``; None if there is none."""
    pixels = np.flatnonzero(depth.squared > above)
    if pixels.size == 0:
        return None
    row, col = divmod(int(rng.choice(pixels)), depth.squared.shape[1])
    return Click(depth.top + row, depth.left + col, positive)
