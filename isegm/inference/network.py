"""What the predictor asks of anything that runs a network."""

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

    @property
    def device(self) -> torch.device:
        """Where the tensors that it takes and gives are."""

    @property
    def dtype(self) -> torch.dtype:
        """What the tensors that it takes and gives are in; points are in single precision at least."""

    def encode(self, image: Tensor, points: Tensor) -> Encoded:
        """Run the first stage."""

    def correct(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        """Run the correction head."""
