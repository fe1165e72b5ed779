"""The published computation, written plainly: what everything faster is measured and tested against.

Float32, eager, BatchNorms as they are. Every click resizes and normalises the image again, measures the
distance of every pixel to every click, projects the cached features and runs the whole correction head, whose
attention stores its weights, as ``torch.nn.MultiheadAttention`` does by default. One thing is left out that
the released code computes: OCR's query and key branches, which cannot reach the output.
"""

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from isegm.geometry import Click
from isegm.inference.network_input import previous_input
from isegm.inference.precision import allow_tf32
from isegm.inference.segmenter import Probability
from isegm.metrics.overlap import Mask
from isegm.model.click_maps import encode_clicks
from isegm.model.correction.templates import STRIDE
from isegm.model.emc_click import EMCClick, EMCClickState
from isegm.model.layers import resize


class ReferencePredictor:
    """A ``Segmenter`` that computes as published; without previous masks.

    Args:
        model: A network from ``load_model``; it is left as it is.
        size: Pixels of the network input's shorter side.
        flip: Average the logits with those of the mirrored image.
        threshold: The mask is where the probability is above this.
    """

    def __init__(
        self, model: EMCClick, *, size: int = 384, flip: bool = True, threshold: float = 0.5
    ) -> None:
        self._model = copy.deepcopy(model).eval()
        self._model.refiner.set_submodule("cross_attention", _StoredAttention(model.refiner.cross_attention))
        self._size = size
        self._flip = flip
        self._threshold = threshold
        self._image: npt.NDArray[np.uint8]
        self._clicks: list[Click] = []
        self._state: EMCClickState | None = None
        self._probability: Probability | None = None

    def set_image(self, image: npt.NDArray[np.uint8], previous_mask: Mask | None = None) -> None:
        """Start on an image, (H, W, 3) or (H, W) uint8.

        Raises:
            ValueError: A previous mask is given.
        """
        if previous_mask is not None:
            raise ValueError("the reference starts without a mask")
        self._image = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
        self._clicks, self._state, self._probability = [], None, None

    @torch.inference_mode()
    def click(self, row: float, col: float, positive: bool = True) -> Probability:
        """Place a click and return the object's probability, (H, W)."""
        allow_tf32(False)
        self._clicks.append(Click(row, col, positive))
        image = EMCClick.normalise(self._network_input())
        size = (image.shape[2], image.shape[3])
        points = self._points(image)
        if self._state is None:
            first = self._model.encode(image, points)
            self._state = EMCClickState(first.features, first.coarse)
        else:
            shape = self._image.shape[0], self._image.shape[1]
            previous = previous_input(self._model, self._state.previous, self._clicks, shape, size)
            self._state = EMCClickState(self._state.features, previous)
        logits = self._model.correct(image, points, self._state)
        self._state = EMCClickState(self._state.features, logits)
        logits = resize(logits, size)
        if self._flip:
            logits = (logits[:1] + logits[1:].flip(3)) / 2
        height, width = self._image.shape[:2]
        probability = resize(logits.sigmoid(), (height, width))
        self._probability = probability[0, 0].float().cpu().numpy()
        return self._probability

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks so far."""
        return tuple(self._clicks)

    @property
    def mask(self) -> Mask:
        """The current mask, (H, W)."""
        if self._probability is None:
            return np.zeros(self._image.shape[:2], np.bool_)
        return self._probability > self._threshold

    @property
    def probability(self) -> Probability | None:
        """The object's probability after the last click, (H, W); None before the first."""
        return self._probability

    def _network_input(self) -> Tensor:
        height, width = self._image.shape[:2]
        scale = self._size / min(height, width)
        size = (round(height * scale) // STRIDE * STRIDE, round(width * scale) // STRIDE * STRIDE)
        weight = next(self._model.parameters())
        pixels = torch.from_numpy(self._image.copy()).to(weight.device, weight.dtype).permute(2, 0, 1)
        image = resize(pixels.unsqueeze(0) / 255, size)
        return torch.cat([image, image.flip(3)]) if self._flip else image

    def _points(self, image: Tensor) -> Tensor:
        (height, width), (rows, cols) = self._image.shape[:2], image.shape[2:]
        scaled = [click.scaled(rows / height, cols / width) for click in self._clicks]
        views = [scaled, [click.mirrored(cols) for click in scaled]] if self._flip else [scaled]
        return torch.stack([encode_clicks(view) for view in views]).to(image.device, image.dtype)


class _StoredAttention(nn.Module):
    """Multi-head attention that stores its weights, (B, heads, h*w, 2K), before it applies them."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.attention = copy.deepcopy(attention)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attend; ``need_weights`` makes no difference."""
        answer, weights = self.attention(query, key, value, need_weights=True)
        return answer, weights if need_weights else None
