"""A segmentation by clicks that needs no weights: what a network has to be better than.

A pixel belongs to the object if a positive click is nearer to it than any negative click and the picture's
border. Distances are geodesic: a path is as long as the grey values change along it.

Source: Bai and Sapiro, "Geodesic Matting", IJCV 2009, with the picture's gradient as the metric; distances by
scikit-image.
"""

import cv2
import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.inference.progressive_merge import merge_change
from isegm.inference.segmenter import Probability
from isegm.metrics.overlap import Mask

_SMOOTHING = 1.0
"""Standard deviation, in pixels, of the Gaussian before the gradient."""

_STEP = 0.1
"""Cost of a pixel of path where nothing changes, in grey levels."""

Distances = npt.NDArray[np.float64]


class GeodesicSegmenter:
    """Segment an image by clicks, without a network.

    It is used like a :class:`isegm.inference.predictor.Predictor`. The picture's border counts as clicked
    negatively, so that one click suffices to begin.

    Args:
        threshold: ``mask`` is where the probability is above this.

    Raises:
        ValueError: ``threshold`` is not within [0, 1).
    """

    def __init__(self, *, threshold: float = 0.5) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1, not {threshold}")
        self.threshold = threshold
        self._cost: Distances | None = None

    def set_image(self, image: npt.NDArray[np.uint8], previous_mask: Mask | None = None) -> None:
        """Start on an image; all clicks on the last one are forgotten.

        Args:
            image: (H, W, 3) RGB or (H, W) grey, uint8.
            previous_mask: (H, W) bool; each click changes only the connected region of change that holds it.
        """
        self._cost = _cost_of(image)
        shape = self._cost.shape
        self._to_object = np.full(shape, np.inf)
        border = np.ones(shape, np.bool_)
        border[1:-1, 1:-1] = False
        self._to_background = self._distances([(int(r), int(c)) for r, c in np.argwhere(border)])
        self._clicks: list[Click] = []
        self._mask = np.zeros(shape, np.bool_) if previous_mask is None else previous_mask.copy()
        self._merges = previous_mask is not None
        self._probability: Probability | None = None

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks so far, in order, in the image's pixels."""
        return tuple(self._clicks)

    @property
    def mask(self) -> Mask:
        """The current mask, (H, W)."""
        return self._mask.copy()

    @property
    def probability(self) -> Probability | None:
        """After the last click, (H, W): the background's part of both distances; None before the first."""
        return None if self._probability is None else self._probability.copy()

    def click(self, row: float, col: float, positive: bool = True) -> Probability:
        """Place a click.

        Args:
            row: Pixels from the image's top.
            col: Pixels from the image's left.
            positive: True on the object, False on the background.

        Returns:
            The object's probability, (H, W).
        """
        at = round(row), round(col)
        nearer = self._to_object if positive else self._to_background
        np.minimum(nearer, self._distances([at]), out=nearer)
        # Where both are 0, a click lies on the other side's seed: undecided.
        both = self._to_object + self._to_background
        part = np.full(both.shape, 0.5)
        np.divide(self._to_background, both, out=part, where=np.isfinite(both) & (both > 0))
        part[np.isinf(self._to_object)] = 0
        probability = part.astype(np.float32)
        # The last click decides its own pixel, as a user expects.
        probability[at] = positive
        mask = probability > self.threshold
        self._mask = merge_change(self._mask, mask, *at) if self._merges else mask
        self._clicks.append(Click(float(row), float(col), bool(positive)))
        self._probability = probability
        return probability.copy()

    def _distances(self, starts: list[tuple[int, int]]) -> Distances:
        from skimage.graph import MCP_Geometric  # slow to import, and only wanted for comparison

        return np.asarray(MCP_Geometric(self._cost).find_costs(starts)[0])


def _cost_of(image: npt.NDArray[np.uint8]) -> Distances:
    """Cost of a pixel of path: the greatest gradient of any channel, in grey levels per pixel."""
    smooth = cv2.GaussianBlur(np.atleast_3d(image).astype(np.float32), (0, 0), _SMOOTHING)
    steps = [
        np.abs(np.atleast_3d(cv2.Sobel(smooth, cv2.CV_32F, *order, scale=1 / 8))).max(axis=2)
        for order in ((1, 0), (0, 1))
    ]
    return np.hypot(*steps).astype(np.float64) + _STEP
