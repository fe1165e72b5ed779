"""How CT is varied for training: by its window, as a radiologist varies it."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.volumes.windows import WINDOWS, Window

_NAMED_SHARE = 0.5
_RANDOM_WIDTH = (150.0, 3000.0)  # HU: not a few pictures were made with nearly all of CT in view
_GAMMA = 1.3
CONTRAST = 1.2
"""The most by which the contrast of a picture that was windowed before is divided or multiplied."""


@dataclass(frozen=True)
class WindowJitter:
    """How far a window may be from the one that was asked for.

    Attributes:
        shift: The level moves up or down by up to so many widths; at least 0.
        stretch: The width is multiplied by a factor between ``1 / stretch`` and ``stretch``, at least 1;
            half of the draws make it narrower, half wider.
    """

    shift: float = 0.2
    stretch: float = 1.5

    def __post_init__(self) -> None:
        if not (0 <= self.shift < math.inf and 1 <= self.stretch < math.inf):
            raise InputError(
                f"window jitter {self.shift:g},{self.stretch:g}: the shift must be at least 0 widths, the "
                "stretch at least 1"
            )

    def draw(self, window: Window, rng: np.random.Generator) -> Window:
        """Draw a window around another."""
        shift = rng.uniform(-self.shift, self.shift)
        return Window(window.level + shift * window.width, window.width * _factor(self.stretch, rng))


def random_window(hu: float, jitter: WindowJitter, rng: np.random.Generator) -> Window:
    """Draw a window for a picture of no organ in particular.

    Half of the time one of the named windows, jittered; else one in which ``hu`` is neither black nor white,
    of any width between a narrow soft-tissue window and most of CT's range, narrow ones as often as wide.
    """
    if rng.random() < _NAMED_SHARE:
        windows = list(WINDOWS.values())
        return jitter.draw(windows[int(rng.integers(len(windows)))], rng)
    width = math.exp(rng.uniform(*np.log(_RANDOM_WIDTH)))
    return Window(hu + rng.uniform(-0.4, 0.4) * width, width)


def vary_tone(grey: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Vary the grey values of a CT picture that was windowed before, in place of its window.

    A gamma between 1 / 1.3 and 1.3, then a contrast about the middle grey between 1 / 1.2 and 1.2.

    Args:
        grey: Of any shape.
        rng: Where the two come from.
    """
    gamma, contrast = _factor(_GAMMA, rng), _factor(CONTRAST, rng)
    tone = (np.arange(256) / 255) ** gamma
    tone = (tone - 0.5) * contrast + 0.5
    return np.rint(tone.clip(0, 1) * 255).astype(np.uint8)[grey]


def _factor(most: float, rng: np.random.Generator) -> float:
    """A factor between 1 / most and most, as often below 1 as above."""
    return math.exp(rng.uniform(-1, 1) * math.log(most))
