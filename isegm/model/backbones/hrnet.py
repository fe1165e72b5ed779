"""HRNet with object-contextual representations (OCR): the first stage of ``hr18s``, ``hr18`` and ``hr32``.

Sources: Sun et al., "High-Resolution Representations for Labeling Pixels and Regions", 2019; Yuan et al.,
"Object-Contextual Representations for Semantic Segmentation", ECCV 2020; here with the click features added
behind the first convolution (EMC-Click, section 3).

Letters: B batch, C channels, H and W input height and width, h = H / 4 and w = W / 4, n the network's width,
k the OCR width.
Attribute names are those of the released checkpoints' tensors.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isegm.model.backbones.first_stage import FirstStage, FirstStageConfig, FirstStageOutput
from isegm.model.layers import AbsoluteScale, resize

INITIAL_CLICK_SCALE = 0.05


@dataclass(frozen=True, kw_only=True)
class HRNetConfig(FirstStageConfig):
    """Sizes of an HRNet with its OCR head."""

    released_class: ClassVar[str] = "HRNetRefineModel"
    released_module: ClassVar[str] = "is_refine_model"
    imagenet_classifier: ClassVar[tuple[str, ...]] = (
        "incre_modules.",
        "downsamp_modules.",
        "final_layer.",
        "classifier.",
    )
    full_rate: ClassVar[tuple[str, ...]] = ("conv3x3_ocr.", "ocr_distri_head.")
    takes_single_pictures: ClassVar[bool] = False  # the object context is one value a picture

    width: int
    """Channels of the finest branch; each coarser branch has twice as many."""
    ocr_width: int
    """Key width of the object attention; features have twice as many channels."""
    small: bool
    """Half the blocks and fewer modules ("HRNet-W18-C-Small-v2")."""

    @property
    def blocks(self) -> int:
        """Basic blocks a branch; the small net has half of layer 1's bottlenecks as well."""
        return 2 if self.small else 4

    @property
    def modules(self) -> tuple[int, int, int]:
        """Modules in stages 2, 3 and 4."""
        return (1, 3, 2) if self.small else (1, 4, 3)

    @property
    def feature_channels(self) -> int:
        """Channels of the feature map that the correction head reads."""
        return 2 * self.ocr_width

    def build(self) -> "HRNetOCR":
        """Make the network, untrained and in training mode."""
        return HRNetOCR(self)

    def click_embedding(self) -> nn.Module:
        """Make what embeds the first click's disk (B, 1, H, W): (B, 64, H / 2, W / 2)."""
        return nn.Sequential(
            nn.Conv2d(1, 16, 1),
            nn.LeakyReLU(negative_slope=0.2, inplace=True),
            nn.Conv2d(16, 64, 3, stride=2, padding=1),
            AbsoluteScale(INITIAL_CLICK_SCALE),
        )

    def released_arguments(self) -> dict[str, Any]:
        """The arguments of ``released_class`` that tell networks of this kind apart."""
        return {"width": self.width, "ocr_width": self.ocr_width, "small": self.small}

    def imagenet_name(self, name: str) -> str | None:
        """The tensor's own name; None for those of the OCR and mask layers."""
        return None if name.startswith((*self.full_rate, "cls_head.", "aux_head.")) else name


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)


def _conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(in_channels, out_channels, kernel, stride), nn.BatchNorm2d(out_channels))


def _conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*_conv_bn(in_channels, out_channels, 3, stride), nn.ReLU(inplace=True))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to their input, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        inner = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(inner)) + x, inplace=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between 1x1 ones that narrow and widen, added to their input.

    Args:
        in_channels: Of the input.
        width: Channels of the 3x3 convolution; the result has four times as many.
        downsample: Brings the input to the result's channels, where it has others.
    """

    def __init__(self, in_channels: int, width: int, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = nn.Identity() if downsample is None else downsample

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block, (B, in, H, W) -> (B, 4 * width, H, W)."""
        inner = F.relu(self.bn1(self.conv1(x)), inplace=True)
        inner = F.relu(self.bn2(self.conv2(inner)), inplace=True)
        return F.relu(self.bn3(self.conv3(inner)) + self.downsample(x), inplace=True)


class HighResolutionModule(nn.Module):
    """Parallel branches at 1/4, 1/8, ... that end by each taking in all the others.

    Args:
        widths: Channels of each branch, finest first.
        blocks: Basic blocks a branch.
    """

    def __init__(self, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    @staticmethod
    def _path(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
        """What leads from branch ``source`` to branch ``target``; upsampling is done in ``forward``."""
        if source == target:
            return nn.Identity()
        if source > target:
            return _conv_bn(widths[source], widths[target], 1)
        steps = [_conv_bn_relu(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
        return nn.Sequential(*steps, _conv_bn(widths[source], widths[target], 3, stride=2))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Run the branches and fuse them; maps are (B, width_i, H / 2^(i+2), W / 2^(i+2)), rounded up."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [self._fuse(maps, target) for target in range(len(maps))]

    def _fuse(self, maps: list[Tensor], target: int) -> Tensor:
        size = (maps[target].shape[2], maps[target].shape[3])
        paths: nn.ModuleList = self.fuse_layers[target]  # type: ignore[assignment]
        total = resize(paths[0](maps[0]), size)
        for path, x in zip(paths[1:], maps[1:], strict=True):
            total = total + resize(path(x), size)
        return F.relu(total)


class HRNet(FirstStage):
    """The backbone: an image and click features in, one map at a quarter of the resolution out."""

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__()
        widths = tuple(config.width * 2**level for level in range(4))
        self.out_channels = sum(widths)

        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(
            Bottleneck(64, 64, downsample=_conv_bn(64, 256, 1)),
            *(Bottleneck(256, 64) for _ in range(config.blocks - 1)),
        )

        self.transition1 = nn.ModuleList(
            [_conv_bn_relu(256, widths[0]), nn.Sequential(_conv_bn_relu(256, widths[1], stride=2))]
        )
        self.stage2 = self._stage(widths[:2], config.blocks, config.modules[0])
        self.transition2 = self._new_branch(widths[:3])
        self.stage3 = self._stage(widths[:3], config.blocks, config.modules[1])
        self.transition3 = self._new_branch(widths)
        self.stage4 = self._stage(widths, config.blocks, config.modules[2])

    @staticmethod
    def _stage(widths: tuple[int, ...], blocks: int, modules: int) -> nn.Sequential:
        return nn.Sequential(*(HighResolutionModule(widths, blocks) for _ in range(modules)))

    @staticmethod
    def _new_branch(widths: tuple[int, ...]) -> nn.ModuleList:
        """Keep the branches there are and make one more, at half the resolution, from the coarsest."""
        kept = [nn.Identity() for _ in widths[:-1]]
        return nn.ModuleList([*kept, nn.Sequential(_conv_bn_relu(widths[-2], widths[-1], stride=2))])

    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run the first convolution, (B, 3, H, W) -> (B, 64, H / 2, W / 2)."""
        return (F.relu(self.bn1(self.conv1(image))),)

    def backbone(self, stem: Tensor, click_features: Tensor) -> Tensor:
        """Compute the backbone's map, (B, 15n, h, w), from two of (B, 64, H / 2, W / 2)."""
        x = F.relu(self.bn2(self.conv2(stem + click_features)))  # (B, 64, h, w)
        x = self.layer1(x)  # (B, 256, h, w)

        maps: list[Tensor] = self.stage2([transition(x) for transition in self.transition1])
        for transitions, stage in ((self.transition2, self.stage3), (self.transition3, self.stage4)):
            branches = [*maps, maps[-1]]
            maps = stage([t(branch) for t, branch in zip(transitions, branches, strict=True)])

        size = (maps[0].shape[2], maps[0].shape[3])
        return torch.cat([resize(x, size) for x in maps], dim=1)


def _bn_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _pointwise(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), _bn_relu(out_channels))


class ObjectAttention(nn.Module):
    """Attention of every pixel to the object contexts, of which there is one here.

    A softmax over one key is 1, so every pixel receives the context's value whatever the query and the key
    are: ``f_pixel`` and ``f_object`` cannot reach the output. They are in the released files and are kept so
    that files are read and written whole, but they are never run or trained.
    """

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.f_pixel = _pointwise(channels, key_channels).extend(_pointwise(key_channels, key_channels))
        self.f_object = _pointwise(channels, key_channels).extend(_pointwise(key_channels, key_channels))
        self.f_down = _pointwise(channels, key_channels)
        self.f_up = _pointwise(key_channels, channels)
        self.f_pixel.requires_grad_(False)
        self.f_object.requires_grad_(False)

    def forward(self, context: Tensor, size: tuple[int, int]) -> Tensor:
        """Spread the object context (B, 2k, 1, 1) over ``size`` = (h, w): (B, 2k, h, w)."""
        value = self.f_down(context)  # (B, k, 1, 1)
        if self.training:  # the running variance that BatchNorm keeps depends on the number of pixels
            return self.f_up(value.expand(-1, -1, *size))
        return self.f_up(value).expand(-1, -1, *size)


class ObjectContextHead(nn.Module):
    """Enrich the features of every pixel with the context of the object they may belong to."""

    def __init__(self, channels: int, key_channels: int, dropout: float = 0.05) -> None:
        super().__init__()
        self.object_context_block = ObjectAttention(channels, key_channels)
        self.conv_bn_dropout = _pointwise(2 * channels, channels).append(nn.Dropout2d(dropout))

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Combine features (B, 2k, h, w) and object context (B, 2k, 1, 1) into (B, 2k, h, w)."""
        size = (features.shape[2], features.shape[3])
        attended = self.object_context_block(context, size)
        return self.conv_bn_dropout(torch.cat([attended, features], dim=1))


def object_context(features: Tensor, logits: Tensor) -> Tensor:
    """Return the mean of the features, weighted by a softmax over space of the auxiliary mask.

    Args:
        features: (B, C, h, w).
        logits: (B, 1, h, w).

    Returns:
        (B, C, 1, 1).
    """
    weights = logits.flatten(2).softmax(dim=2)  # (B, 1, h*w)
    return (features.flatten(2) @ weights.transpose(1, 2)).unsqueeze(3)  # (B, C, 1, 1)


class HRNetOCR(HRNet):
    """HRNet with its OCR head."""

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__(config)
        channels, ocr_channels = self.out_channels, 2 * config.ocr_width
        self.conv3x3_ocr = nn.Sequential(
            nn.Conv2d(channels, ocr_channels, 3, padding=1), *_bn_relu(ocr_channels)
        )
        self.ocr_distri_head = ObjectContextHead(ocr_channels, config.ocr_width)
        self.cls_head = nn.Conv2d(ocr_channels, 1, 1)
        self.aux_head = nn.Sequential(
            nn.Conv2d(channels, channels, 1), *_bn_relu(channels), nn.Conv2d(channels, 1, 1)
        )

    def click_part(self, maps: tuple[Tensor, ...], click: Tensor) -> FirstStageOutput:
        """Compute the rest; see :class:`FirstStage`. Features are (B, 2k, h, w)."""
        x = self.backbone(maps[0], click)  # (B, 15n, h, w)
        auxiliary = self.aux_head(x)  # (B, 1, h, w)
        x = self.conv3x3_ocr(x)  # (B, 2k, h, w)
        features = self.ocr_distri_head(x, object_context(x, auxiliary))  # (B, 2k, h, w)
        return FirstStageOutput(features, self.cls_head(features), auxiliary)
