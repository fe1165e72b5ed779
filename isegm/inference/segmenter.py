"""The interface of anything that segments by clicks, as the evaluation uses it."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.metrics.overlap import Mask

Probability = npt.NDArray[np.float32]


class Segmenter(Protocol):
    """One image, click after click. :class:`isegm.inference.predictor.Predictor` says what each does."""

    def set_image(self, image: npt.NDArray[np.uint8], previous_mask: Mask | None = None) -> None:
        """Start on an image, (H, W, 3) or (H, W), perhaps from a mask that is to be corrected."""

    def click(self, row: float, col: float, positive: bool = True) -> Probability:
        """Place a click and return the object's probability, (H, W)."""

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks so far."""

    @property
    def mask(self) -> Mask:
        """The current mask, (H, W)."""

    @property
    def probability(self) -> Probability | None:
        """The object's probability after the last click, (H, W); None before the first."""
