"""The interface of anything that runs a network, as the predictor uses it."""

from typing import Protocol

import torch
from torch import Tensor

from isegm.inference.torch_network import Encoded


class Network(Protocol):
    """A network, run by torch or another runtime.

    :class:`isegm.inference.torch_network.InferenceModel` says what each method does.
    """

    name: str
    """Which preset it is."""
    sees_logits: bool
    """What its head is shown at a further click: see :func:`isegm.inference.network_input.previous_input`."""

    @property
    def device(self) -> torch.device:
        """Where the tensors that it takes and gives are."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the tensors that it takes and returns; points are in single precision at least."""

    def encode(self, image: Tensor, points: Tensor) -> Encoded:
        """Run the first stage: both parts."""

    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute what no click changes, as far as the runtime tells it apart."""

    def click_part(self, maps: tuple[Tensor, ...], points: Tensor) -> Encoded:
        """Compute the rest of :meth:`encode` from what :meth:`image_part` gave."""

    def correct(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        """Run the correction head."""
