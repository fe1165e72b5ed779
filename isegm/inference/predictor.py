"""The stateful predictor: one image, click after click.

The evaluation, a notebook and an annotation tool all use it alike::

    predictor = Predictor(load_model("weights/hr32.pth"), size=384, flip=True)
    predictor.set_image(image)
    probability = predictor.click(row, col, positive=True)
    predictor.undo()
    predictor.reset()
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isegm.geometry import Click, input_size
from isegm.inference.network import Network
from isegm.inference.network_input import (
    image_input,
    mask_input,
    points_input,
    previous_input,
    probability_of,
)
from isegm.inference.progressive_merge import merge_change
from isegm.inference.propagation import anchors, to_correct
from isegm.inference.segmenter import Probability
from isegm.inference.torch_network import Encoded, InferenceModel
from isegm.metrics.overlap import Mask
from isegm.model.correction.templates import STRIDE
from isegm.model.emc_click import EMCClick


class _Step(NamedTuple):
    """What is kept of a click: enough to compute its probability and mask again."""

    click: Click
    logits: Tensor
    """(1 or 2, 1, h, w), at the resolution of the network's masks: a quarter of its input's, or a half."""


class _Answer(NamedTuple):
    """A click's result, at the image's size."""

    probability: Probability
    mask: Mask


class Predictor:
    """Segment an image by clicks.

    ``set_image`` prepares the network's input once; the first click runs the heavy first stage, every click
    runs the light correction head. After ``reset``, a first click equal to the last first click uses the
    first stage's result again.

    The first stage looks for what its one click is on. With a previous mask the first click is on an error,
    and as likely as not on the background. So the first stage is shown a click in the middle of that mask
    instead; the head is shown this click as well, as long as the mask holds it.

    Clicks are (row, col) in the image's own pixels. A first click may be negative: the first stage, which
    knows positive clicks only, then sees none, as in the published method; expect little of it.

    Args:
        model: A network from ``load_model``, or one that is ready to be run, as ``load_network`` gives it,
            which several predictors can share. Its device and precision are used.
        size: The image is resized so that its shorter side has this many pixels (then cut down to a multiple
            of 4 each way). The published protocol's is 384.
        flip: Average the logits with those of the mirrored image, as the published protocol does.
        threshold: ``mask`` is where the probability is above this.
        clicks_limit: Only the first so many clicks of each polarity reach the network; None for all.

    Raises:
        ValueError: ``size`` is under 4, ``threshold`` is not within [0, 1), or ``clicks_limit`` is under 1.
    """

    def __init__(
        self,
        model: EMCClick | Network,
        *,
        size: int = 384,
        flip: bool = True,
        threshold: float = 0.5,
        clicks_limit: int | None = None,
    ) -> None:
        if size < 4:
            raise ValueError(f"size must be at least 4 pixels, not {size}")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1, not {threshold}")
        if clicks_limit is not None and clicks_limit < 1:
            raise ValueError(f"clicks_limit must be at least 1, not {clicks_limit}")
        self.network: Network = InferenceModel(model) if isinstance(model, EMCClick) else model
        self.size = size
        self.flip = flip
        self.threshold = threshold
        self.clicks_limit = clicks_limit
        self._shape: tuple[int, int] | None = None
        self._input: Tensor
        self._previous_mask: Mask | None = None
        self._anchor: Click | None = None
        self._steps: list[_Step] = []
        self._answer: _Answer | None = None
        self._encoded: tuple[Click, Encoded] | None = None
        self._maps: tuple[Tensor, ...] | None = None

    @torch.inference_mode()
    def set_image(self, image: npt.NDArray[np.uint8], previous_mask: Mask | None = None) -> None:
        """Start on an image; all clicks on the last one are forgotten.

        Args:
            image: (H, W, 3) RGB or (H, W) grey, uint8. CT in HU has to be windowed first
                (``isegm.volumes.windows``).
            previous_mask: (H, W) bool, a mask to correct: another tool's, say, read by
                ``isegm.masks.read_mask(path) == 1``. ``mask`` begins as this mask. At every click the
                correction head sees ``mask``, except that it is told nothing of where that click may change
                it. Only the connected region of change that holds the click is taken over, so that what is
                right elsewhere stays.

        Raises:
            InputError: The image is so long and narrow that the network's input would be too large.
            ValueError: The image is empty, not uint8 or of another shape, or the previous mask is not a
                boolean array of the image's height and width. The last image is then still set.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            kind = getattr(image, "dtype", type(image).__name__)
            raise ValueError(
                f"the image must be a uint8 array, not {kind}; window CT volumes to 0-255 first "
                "(isegm.volumes.windows.apply_window)"
            )
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(f"the image must be (H, W, 3) or (H, W), not {image.shape}")
        if image.size == 0:
            raise ValueError(f"the image is empty: {image.shape}")
        height, width = image.shape[:2]
        if previous_mask is not None:
            given = np.asarray(previous_mask)
            if given.shape != (height, width) or given.dtype != np.bool_:
                raise ValueError(
                    f"the previous mask must be {height}x{width} bool, not {given.shape} {given.dtype}"
                )
            previous_mask = given.copy()
        # Nothing is kept before all is made: a failure above or in here leaves the last image set.
        size = input_size(height, width, self.size, STRIDE)
        self._input = image_input(image, size, self.network, flip=self.flip)
        self._shape = (height, width)
        self._previous_mask = previous_mask
        inside = [] if previous_mask is None else anchors(previous_mask, ())
        self._anchor = inside[0] if inside else None
        self._encoded = None
        self._maps = None
        self.reset()

    @torch.inference_mode()
    def prepare(self) -> None:
        """Compute ahead what no click on the image will change, so that the first one is answered sooner.

        Raises:
            RuntimeError: No image is set.
        """
        self._shape_or_raise()
        if self._maps is None:
            self._maps = self.network.image_part(self._input)

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks so far, in order, in the image's pixels."""
        return tuple(step.click for step in self._steps)

    @property
    def mask(self) -> Mask:
        """The current mask, (H, W): thresholded, and merged with the previous mask if there is one.

        Before the first click: the previous mask, or no object at all.

        Raises:
            RuntimeError: No image is set.
        """
        return self._current_mask().copy()

    @property
    def probability(self) -> Probability | None:
        """The object's probability after the last click, (H, W); None before the first.

        It is the network's own: only ``mask`` is merged with a previous mask.
        """
        answer = self._last_answer()
        return None if answer is None else answer.probability.copy()

    @torch.inference_mode()
    def click(self, row: float, col: float, positive: bool = True) -> Probability:
        """Place a click.

        Args:
            row: Pixels from the image's top, 0 <= row <= H - 1; fractions are allowed.
            col: Pixels from the image's left, 0 <= col <= W - 1.
            positive: True on the object, False on the background.

        Returns:
            The object's probability, (H, W) float32, yours to change.

        Raises:
            RuntimeError: No image is set.
            ValueError: The click is outside the image.
        """
        height, width = self._shape_or_raise()
        if not (0 <= row <= height - 1 and 0 <= col <= width - 1):
            raise ValueError(f"click ({row}, {col}) is outside the image of {height}x{width} pixels")
        click = Click(float(row), float(col), bool(positive))
        clicks = (*self.clicks, click)
        encoded = self._first_stage(clicks[0] if self._anchor is None else self._anchor)
        before = self._current_mask()
        if self._anchor is not None:
            clicks, known = to_correct(before, self._anchor, clicks)
            previous = mask_input(known, encoded.coarse)
        elif self._steps:
            seen, logits = self._within_limit(clicks), self._steps[-1].logits
            previous = previous_input(self.network, logits, seen, (height, width), self._size)
        else:
            previous = encoded.coarse
        logits = self.network.correct(self._points(clicks), encoded, previous)
        step = _Step(click, logits)
        answer = self._answer_of(step, before)
        # `clicks` was read before anything was computed: a failure above leaves the state as it was.
        self._steps.append(step)
        self._answer = answer
        return answer.probability.copy()

    def undo(self) -> None:
        """Take back the last click; clicking it again gives the same numbers.

        Raises:
            RuntimeError: There is no click to take back.
        """
        if not self._steps:
            raise RuntimeError("there is no click to undo")
        self._steps.pop()
        self._answer = None

    def reset(self) -> None:
        """Take back all clicks; the image and its previous mask stay."""
        self._steps.clear()
        self._answer = None

    def _shape_or_raise(self) -> tuple[int, int]:
        if self._shape is None:
            raise RuntimeError("no image is set: call set_image first")
        return self._shape

    def _current_mask(self) -> Mask:
        shape = self._shape_or_raise()
        answer = self._last_answer()
        return self._first_mask(shape) if answer is None else answer.mask

    def _first_mask(self, shape: tuple[int, int]) -> Mask:
        return np.zeros(shape, np.bool_) if self._previous_mask is None else self._previous_mask

    @torch.inference_mode()
    def _last_answer(self) -> _Answer | None:
        """Return the last click's result; after an undo computed again from the clicks kept."""
        if self._answer is None and self._steps:
            # A merged mask depends on all that were before it; otherwise the last click alone decides.
            *earlier, last = self._steps if self._previous_mask is not None else self._steps[-1:]
            mask = self._first_mask(self._shape_or_raise())
            for step in earlier:
                mask = self._answer_of(step, mask).mask
            self._answer = self._answer_of(last, mask)
        return self._answer

    def _answer_of(self, step: _Step, before: Mask) -> _Answer:
        """Return a click's result where ``before`` was the mask, (H, W)."""
        probability = probability_of(step.logits, self._size, self._shape_or_raise())
        mask = probability > self.threshold
        if self._previous_mask is not None:
            mask = merge_change(before, mask, round(step.click.row), round(step.click.col))
        return _Answer(probability, mask)

    def _points(self, clicks: tuple[Click, ...]) -> Tensor:
        """The clicks as the network reads them, (1 or 2, 2N, 3)."""
        kept = self._within_limit(clicks)
        return points_input(kept, self._shape_or_raise(), self._size, self.network, flip=self.flip)

    def _within_limit(self, clicks: tuple[Click, ...]) -> list[Click]:
        if self.clicks_limit is None:
            return list(clicks)
        left = {True: self.clicks_limit, False: self.clicks_limit}
        kept = []
        for click in clicks:
            if left[click.positive]:
                left[click.positive] -= 1
                kept.append(click)
        return kept

    @property
    def _size(self) -> tuple[int, int]:
        return self._input.shape[2], self._input.shape[3]

    def _first_stage(self, first_click: Click) -> Encoded:
        if self._encoded is None or self._encoded[0] != first_click:
            points = self._points((first_click,))
            if self._maps is None:
                encoded = self.network.encode(self._input, points)
            else:
                encoded = self.network.click_part(self._maps, points)
            self._encoded = (first_click, encoded)
        return self._encoded[1]
