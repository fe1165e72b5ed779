"""Pictures in which the object hardly shows: what a window that does not suit it leaves, or no edge."""

import math

import cv2
import numpy as np
import numpy.typing as npt

_LEAST_CONTRAST = 0.12
"""The least part of its contrast that a picture keeps, about what a window for all of CT leaves of it."""
_MOST_GAIN = 8.0
"""The most by which contrast is multiplied where the object is made black or white."""
_BLUR = (0.15, 0.6)
"""Standard deviation of the blur that takes an object's edge, of its size (the root of its area)."""
_AROUND = 0.3
"""How far around the object that blur reaches, of its size."""
_BLUR_STEP = 4
"""Blurs are computed at this part of the resolution: they leave nothing finer."""


def make_faint(
    image: npt.NDArray[np.uint8], target: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Take an object's contrast away, more or less, down to where only clicks can tell what it is.

    Half of the time the whole picture is made flat, as CT is in a window that is much too wide. Else, as
    often: it is made hard, with the object all black or all white, as in a window that is too narrow or lies
    elsewhere; or the object's edge is blurred, and the rest stays.

    Args:
        image: (H, W, 3) RGB.
        target: The object, (H, W); not empty.
        rng: Where choice and strength come from.

    Returns:
        (H, W, 3) RGB, another array.
    """
    how = int(rng.integers(4))
    if how == 2:
        return _hardened(image, target, rng)
    if how == 3:
        return _blurred(image, target, rng)
    part = math.exp(rng.uniform(math.log(_LEAST_CONTRAST), 0))
    return _mapped(image, part, 255 * (1 - part) * rng.random())


def _hardened(
    image: npt.NDArray[np.uint8], target: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    gain = math.exp(rng.uniform(math.log(2), math.log(_MOST_GAIN)))
    low, high = np.percentile(image[target], (5, 95))
    is_black = rng.random() < 0.5
    return _mapped(image, gain, -gain * high if is_black else 255 - gain * low)


def _blurred(
    image: npt.NDArray[np.uint8], target: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    size = math.sqrt(target.sum())
    soft = _blur(image.astype(np.float32), size * rng.uniform(*_BLUR))
    reach = round(_AROUND * size)
    around = cv2.dilate(target.view(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8))
    weight = rng.uniform(0.6, 1) * _blur(around.astype(np.float32), reach / 3)[..., None]
    return np.rint(image + weight * (soft - image)).astype(np.uint8)


def _blur(values: npt.NDArray[np.float32], deviation: float) -> npt.NDArray[np.float32]:
    height, width = values.shape[:2]
    small = cv2.resize(
        values, (-(-width // _BLUR_STEP), -(-height // _BLUR_STEP)), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), max(deviation / _BLUR_STEP, 0.3))
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _mapped(image: npt.NDArray[np.uint8], gain: float, shift: float) -> npt.NDArray[np.uint8]:
    table = np.rint((np.arange(256) * gain + shift).clip(0, 255)).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), np.uint8)
