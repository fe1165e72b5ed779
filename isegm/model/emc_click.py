"""EMC-Click: the first stage and the correction head, composed.

Source: Du et al., "Efficient Mask Correction for Click-Based Interactive Image Segmentation", CVPR 2023.

Letters: B batch, N clicks of a polarity at most, C feature channels, H and W the network input's height and
width (multiples of 4), h = H / 4 and w = W / 4.
"""

from typing import NamedTuple

from torch import Tensor, nn

from isegm.model.backbones.first_stage import FirstStage, FirstStageOutput
from isegm.model.click_maps import first_click_disk
from isegm.model.correction.head import CorrectionHead
from isegm.model.correction.templates import STRIDE
from isegm.model.layers import resize

MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)

MASK_LOGIT = 5.0
"""A mask from elsewhere as logits of the previous mask: this inside it, and its negative outside."""


class EMCClickOutput(NamedTuple):
    """Logits at the input's size, (B, 1, H, W) each, and what the next click needs.

    Attributes:
        coarse: The first stage's mask.
        auxiliary: A further mask that training supervises; None where the network has none.
        corrected: The correction head's mask.
        state: The first stage's features and the last low-resolution logits.
    """

    coarse: Tensor
    auxiliary: Tensor | None
    corrected: Tensor
    state: "EMCClickState"


class EMCClickState(NamedTuple):
    """What is kept between the clicks on one image.

    Attributes:
        features: The first stage's feature map, (B, C, h, w).
        previous: Logits of the last mask, (B, 1, h, w), or finer if the correction head's masks are.
    """

    features: Tensor
    previous: Tensor


class EMCClick(nn.Module):
    """The whole network.

    Args:
        first_stage: What runs once an image.
        head: The correction head.
        click_embedding: Maps the first click's disk (B, 1, H, W) to what ``first_stage`` expects.
        name: The preset's name.
        sees_logits: Whether the head is shown, at a further click, the logits that the last one left, as
            published. If not, it is shown the mask that they make, undecided where the click may change it
            (:func:`isegm.inference.network_input.previous_input`).
    """

    def __init__(
        self,
        first_stage: FirstStage,
        head: CorrectionHead,
        click_embedding: nn.Module,
        name: str,
        *,
        sees_logits: bool = True,
    ) -> None:
        super().__init__()
        self.name = name
        self.sees_logits = sees_logits
        # Attribute names are those of the released checkpoints' tensors.
        self.maps_transform = click_embedding
        self.feature_extractor = first_stage
        self.refiner = head

    @staticmethod
    def normalise(image: Tensor) -> Tensor:
        """Normalise an RGB image (B, 3 or 4, H, W) in [0, 1] to (B, 3, H, W); a 4th channel is left out."""
        mean, deviation = image.new_tensor(MEAN), image.new_tensor(STANDARD_DEVIATION)
        return (image[:, :3] - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)

    def encode(self, image: Tensor, points: Tensor) -> FirstStageOutput:
        """Run the first stage, which sees the first click only.

        Args:
            image: (B, 3, H, W), normalised.
            points: (B, 2N, 3), in network-input pixels.

        Returns:
            Features (B, C, h, w) and logits (B, 1, h, w).

        Raises:
            ValueError: H or W is no multiple of 4.
        """
        disk = first_click_disk(points, *check_size(image)).to(image.dtype)
        return self.feature_extractor(image, self.maps_transform(disk))

    def correct(self, image: Tensor, points: Tensor, state: EMCClickState) -> Tensor:
        """Run the correction head.

        Args:
            image: (B, 3, H, W), normalised.
            points: All clicks, (B, 2N, 3), in network-input pixels.
            state: What the first stage, or the last click, left.

        Returns:
            Logits (B, 1, h, w): the next click's ``previous``.
        """
        return self.refiner(image, points, state.features, state.previous)

    def forward(self, image: Tensor, points: Tensor, state: EMCClickState | None = None) -> EMCClickOutput:
        """Run everything that one click needs: both stages without ``state``, the head alone with it.

        Args:
            image: RGB in [0, 1], (B, 3 or 4, H, W); a 4th channel (previous mask) is ignored.
            points: (B, 2N, 3), in network-input pixels.
            state: ``state`` of the last click's output. Its coarse mask is then the last mask.

        Returns:
            Logits at the input's size.
        """
        size = (image.shape[2], image.shape[3])
        image = self.normalise(image)
        auxiliary = None
        if state is None:
            first = self.encode(image, points)
            auxiliary = None if first.auxiliary is None else resize(first.auxiliary, size)
            state = EMCClickState(first.features, first.coarse)
        corrected = self.correct(image, points, state)
        return EMCClickOutput(
            coarse=resize(state.previous, size),
            auxiliary=auxiliary,
            corrected=resize(corrected, size),
            state=EMCClickState(state.features, corrected.detach()),
        )


def check_size(image: Tensor) -> tuple[int, int]:
    """The height and width of a network input (B, 3, H, W).

    Raises:
        ValueError: One is no multiple of 4.
    """
    height, width = image.shape[2:]
    if height % STRIDE or width % STRIDE:
        raise ValueError(f"network input sides must be multiples of {STRIDE}, not {height}x{width}")
    return height, width
