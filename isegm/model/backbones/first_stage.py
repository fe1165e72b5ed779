"""What every backbone's file provides: a first stage, and a config that owns all that is particular to it.

A new backbone is one more file beside this one, with a ``FirstStage`` and a ``FirstStageConfig``, and a
preset in ``isegm/model/build.py``. Nothing else asks which network it has.

Letters: B batch, C feature channels, H and W the network input's height and width, h = H / 4 and w = W / 4.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn


class FirstStageOutput(NamedTuple):
    """What is computed once an image and first click.

    Attributes:
        features: (B, C, h, w), cached for every further click.
        coarse: Logits of the coarse mask, (B, 1, h, w), or finer where the correction head's masks are.
        auxiliary: Logits of a further mask that training supervises, (B, 1, h, w); None where there is none.
    """

    features: Tensor
    coarse: Tensor
    auxiliary: Tensor | None


class FirstStage(nn.Module, ABC):
    """The network that runs once an image, in two parts: what does not depend on the click, and the rest.

    The later the click enters, the more can be computed before anyone clicks.
    """

    @abstractmethod
    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute what does not depend on the click from a normalised image (B, 3, H, W)."""

    @abstractmethod
    def click_part(self, maps: tuple[Tensor, ...], click: Tensor) -> FirstStageOutput:
        """Compute the rest.

        Args:
            maps: What :meth:`image_part` gave.
            click: The first click's disk (B, 1, H, W), as the config's ``click_embedding`` embeds it.
        """

    def forward(self, image: Tensor, click: Tensor) -> FirstStageOutput:
        """Run both parts."""
        return self.click_part(self.image_part(image), click)


class FirstStageConfig(ABC):
    """Sizes of a first stage, and what the rest of the package has to know of it.

    Tensors are named relative to the first stage, as in its ``state_dict``.
    """

    released_class: ClassVar[str]
    """The original's class of such networks, which released checkpoints name in their config."""
    released_module: ClassVar[str]
    """The original's module of that class, within ``isegm.model``."""
    imagenet_classifier: ClassVar[tuple[str, ...]]
    """How the names of the classifier's tensors begin in the released ImageNet file; they are left out."""
    full_rate: ClassVar[tuple[str, ...]] = ()
    """How the names begin of tensors that learn at the whole rate; all others learn slowly."""
    takes_single_pictures: ClassVar[bool] = True
    """False if a BatchNorm sees one value a picture, so that one picture alone has no batch statistics."""

    @property
    @abstractmethod
    def feature_channels(self) -> int:
        """C, channels of the feature map that the correction head reads."""

    @abstractmethod
    def build(self) -> FirstStage:
        """Make the network, untrained and in training mode."""

    def click_embedding(self) -> nn.Module:
        """Make what embeds the first click's disk (B, 1, H, W); by default the disk itself is passed on."""
        return nn.Identity()

    @abstractmethod
    def released_arguments(self) -> Mapping[str, Any]:
        """The arguments of ``released_class`` that tell networks of this kind apart."""

    @abstractmethod
    def imagenet_name(self, name: str) -> str | None:
        """How the released ImageNet file calls a tensor of the first stage; None if it has no such tensor."""

    def from_imagenet(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Turn the released ImageNet file's tensors into those that :meth:`imagenet_name` names."""
        return tensors
