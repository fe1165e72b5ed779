"""A network on the slices of one volume, which keeps what it computed of them within bounded memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isegm.geometry import Click
from isegm.inference.network import Network
from isegm.inference.network_input import (
    image_input,
    mask_input,
    points_input,
    previous_input,
    probability_of,
)
from isegm.inference.segmenter import Probability
from isegm.inference.torch_network import Encoded
from isegm.metrics.overlap import Mask

KEPT_BYTES = 2**29
"""Most bytes of tensors that are kept of all slices together."""


class SliceNetwork:
    """Correct masks of a volume's slices.

    Of a slice the network's maps that no click changes are kept, and those for its last first clicks: what
    was not used for the longest time is given up first.

    Args:
        network: A network that is ready to be run.
        pictures: (slices, H, W).
        size: The network input's height and width.
        kept_bytes: Most bytes of what is kept.
    """

    def __init__(
        self,
        network: Network,
        pictures: npt.NDArray[np.uint8],
        size: tuple[int, int],
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._network = network
        self._pictures = pictures
        self._shape = (pictures.shape[1], pictures.shape[2])
        self._size = size
        self._kept: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()
        self._bytes = 0
        self._most_bytes = kept_bytes

    @property
    def bytes_held(self) -> int:
        """Bytes of the tensors that are kept."""
        return self._bytes

    @torch.inference_mode()
    def prepare(self, index: int) -> None:
        """Compute ahead what no click on a slice will change."""
        self._image_part(index)

    @torch.inference_mode()
    def correct(
        self, index: int, clicks: Sequence[Click], previous: Mask | Probability | Tensor | None = None
    ) -> tuple[Probability, Tensor]:
        """Run the correction head on a slice.

        Args:
            index: Which slice.
            clicks: All clicks on it, at least one, in the picture's pixels.
            previous: The mask to correct, (H, W), 0.5 where it is not known; or the logits that the last
                click left; None for the first stage's own.

        Returns:
            The object's probability, (H, W), and the logits for the next click.
        """
        points = points_input(clicks, self._shape, self._size, self._network, flip=False)
        encoded = self._encode(index, clicks[0], points)
        if previous is None:
            previous = encoded.coarse
        elif isinstance(previous, np.ndarray):
            previous = mask_input(previous, encoded.coarse)
        else:
            previous = previous_input(self._network, previous, clicks, self._shape, self._size)
        logits = self._network.correct(points, encoded, previous)
        return probability_of(logits, self._size, self._shape), logits

    def _encode(self, index: int, first: Click, points: Tensor) -> Encoded:
        # The first stage sees the first click only, and no negative one.
        place = (first.row, first.col) if first.positive else None
        parts = self._keep(
            (index, place), lambda: tuple(self._network.click_part(self._image_part(index), points))
        )
        return Encoded(*parts)

    def _image_part(self, index: int) -> tuple[Tensor, ...]:
        def compute() -> tuple[Tensor, ...]:
            image = image_input(self._pictures[index], self._size, self._network, flip=False)
            return self._network.image_part(image)

        return self._keep(index, compute)

    def _keep(self, key: Hashable, compute: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        tensors = compute()
        self._kept[key] = tensors
        self._bytes += _bytes_of(tensors)
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            self._bytes -= _bytes_of(self._kept.popitem(last=False)[1])
        return tensors


def _bytes_of(tensors: tuple[Tensor, ...]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
