"""What a first stage gives, whichever network it is."""

from typing import NamedTuple

from torch import Tensor


class FirstStageOutput(NamedTuple):
    """What is computed once an image, at a quarter of the input's resolution.

    Attributes:
        features: (B, C, H / 4, W / 4), cached for every further click.
        coarse: Logits of the coarse mask, (B, 1, H / 4, W / 4).
        auxiliary: Logits of the mask that guides OCR, same shape; None where the network has none.
    """

    features: Tensor
    coarse: Tensor
    auxiliary: Tensor | None
