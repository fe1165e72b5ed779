"""EfficientNet-Lite0 with a light decoder that the click enters late: the first stage of ``lite0``.

Sources: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, in
its variant for small devices (no squeeze-and-excitation, ReLU6); the decoder is this project's own.

The backbone and one layer of attention do not depend on the click, so that they can be run before anyone
clicks. Behind them, at 1/16, 1/8 and 1/4, every pixel is compared with the clicked one and told where it lies
from the click. Maps at 1/2 enter the last step, and masks leave it at 1/2, for what is small or thin.

Letters: B batch, C channels, H and W input height and width, h = H / 4 and w = W / 4.

The backbone has no BatchNorm: that of the ImageNet file is folded into its convolutions when it is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isegm.model.backbones.first_stage import FirstStage, FirstStageConfig, FirstStageOutput
from isegm.model.emc_click import MEAN, STANDARD_DEVIATION
from isegm.model.layers import attend, resize, to_map

_STEM_CHANNELS = 32
_BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Lite0's seven groups: number of blocks, kernel, stride of the first, expansion, channels."""

_TAPPED = (0, 1, 2, 4, 6)
"""The groups whose maps the decoder reads, at 1/2, 1/4, 1/8, 1/16 and 1/32."""

_STEM = "_conv_stem"
"""The name of the first convolution in the ImageNet file."""

_NORM_EPS = 1e-3
"""Of the ImageNet file's BatchNorms."""

_CLICK_SCALES = (6.0, 16.0, 48.0, 128.0)
"""Standard deviations, times the square root of 2, of the bumps around the click that a pixel is shown."""

_PLACE_CHANNELS = 3 + len(_CLICK_SCALES)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLiteConfig(FirstStageConfig):
    """Sizes of the decoder; the backbone is Lite0."""

    released_class: ClassVar[str] = "EfficientNetLiteModel"
    released_module: ClassVar[str] = "efficientnet_lite"
    imagenet_classifier: ClassVar[tuple[str, ...]] = ("_conv_head.", "_bn1.", "_fc.")
    full_rate: ClassVar[tuple[str, ...]] = ("decoder.",)

    context: int = 128
    """Channels at 1/16."""
    middle: int = 80
    """Channels at 1/8."""
    fine: int = 48
    """Channels at 1/4, which the correction head reads."""
    attention_heads: int = 4
    """Of both layers of attention at 1/16."""

    @property
    def feature_channels(self) -> int:
        """Channels of the feature map that the correction head reads."""
        return self.fine

    def build(self) -> "EfficientNetLite":
        """Make the network, untrained and in training mode."""
        return EfficientNetLite(self)

    def released_arguments(self) -> dict[str, Any]:
        """The arguments that tell networks of this kind apart."""
        return {"context": self.context, "middle": self.middle, "fine": self.fine}

    def imagenet_name(self, name: str) -> str | None:
        """The released file's name of a folded convolution's tensor; None for the decoder's tensors."""
        backbone, _, own = name.partition(".")
        module, _, tensor = own.rpartition(".")
        return f"{_imagenet_names()[module][0]}.{tensor}" if backbone == "backbone" else None

    def from_imagenet(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Fold every BatchNorm of the file into its convolution, which then has a bias.

        The first convolution takes in, too, that the file's network sees (RGB - 127) / 128, and ours what
        ImageNet's mean and deviation make of it. A convolution that lacks a tensor is left as it is.
        """
        left = dict(tensors)
        for conv, norm in _imagenet_names().values():
            parts = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
            if f"{conv}.weight" not in left or any(part not in left for part in parts):
                continue
            weight = left[f"{conv}.weight"]
            gain, bias, mean, variance = (left.pop(part) for part in parts)
            left.pop(f"{norm}.num_batches_tracked", None)
            if conv == _STEM and weight.shape[1] == 3:
                stretch = torch.tensor(STANDARD_DEVIATION).view(3, 1, 1) * 255 / 128
                shift = (torch.tensor(MEAN).view(3, 1, 1) * 255 - 127) / 128
                mean = mean - (weight * shift).sum((1, 2, 3))
                weight = weight * stretch
            scale = gain / (variance + _NORM_EPS).sqrt()
            left[f"{conv}.weight"] = weight * scale.view(-1, 1, 1, 1)
            left[f"{conv}.bias"] = bias - mean * scale
        return left


def _imagenet_names() -> dict[str, tuple[str, str]]:
    """The backbone's convolutions, and how the ImageNet file calls each and the BatchNorm behind it."""
    names = {"stem.0": (_STEM, "_bn0")}
    number = 0
    for group, (count, _, _, expansion, _) in enumerate(_BLOCKS):
        for block in range(count):
            own, its = f"groups.{group}.{block}", f"_blocks.{number}"
            if expansion > 1:
                names[f"{own}.expand.0"] = (f"{its}._expand_conv", f"{its}._bn0")
            names[f"{own}.depthwise.0"] = (f"{its}._depthwise_conv", f"{its}._bn1")
            names[f"{own}.project"] = (f"{its}._project_conv", f"{its}._bn2")
            number += 1
    return names


class Float32Conv2d(nn.Conv2d):
    """A convolution that is trained in float32 even under autocast.

    oneDNN's bfloat16 gradients of 5x5 and of strided depthwise convolutions are 3 to 30 times as slow.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution."""
        if not (self.training and torch.is_grad_enabled() and torch.is_autocast_enabled(x.device.type)):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Sequential:
    kind = Float32Conv2d if kernel > 3 or stride > 1 else nn.Conv2d
    conv = kind(channels, channels, kernel, stride, padding=kernel // 2, groups=channels)
    return nn.Sequential(conv, nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, a depthwise one, narrow by another 1x1; added to the input if it fits."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = (
            nn.Sequential(nn.Conv2d(in_channels, wide, 1), nn.ReLU6(inplace=True))
            if expansion > 1
            else nn.Identity()
        )
        self.depthwise = _depthwise(wide, kernel, stride)
        self.project = nn.Conv2d(wide, out_channels, 1)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block, (B, in, H, W) -> (B, out, H / stride, W / stride)."""
        inner: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + inner if self.is_residual else inner


class Backbone(nn.Module):
    """EfficientNet-Lite0 without its classifier; its input is normalised as that of all networks here."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1), nn.ReLU6(inplace=True)
        )
        self.groups = nn.ModuleList(self._groups())

    @staticmethod
    def _groups() -> Iterator[nn.Sequential]:
        before = _STEM_CHANNELS
        for count, kernel, stride, expansion, channels in _BLOCKS:
            first = InvertedResidual(before, channels, kernel, stride, expansion)
            others = [InvertedResidual(channels, channels, kernel, 1, expansion) for _ in range(count - 1)]
            yield nn.Sequential(first, *others)
            before = channels

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of an image (B, 3, H, W)."""
        x = self.stem(image)
        maps: list[Tensor] = []
        for group in self.groups:
            x = group(x)
            maps.append(x)
        return tuple(maps[number] for number in _TAPPED)


def _to_width(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))


class HalvingConv(nn.Conv2d):
    """A 1x1 convolution of blocks of 2 x 2 pixels, (B, C, H, W) -> (B, out, H / 2, W / 2).

    Its weight is that of a 1x1 convolution behind ``PixelUnshuffle(2)``, whose maps it never lays out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(4 * in_channels, out_channels, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution."""
        return F.conv2d(x, self.weight.view(self.out_channels, -1, 2, 2), self.bias, stride=2)


class MapsConv(nn.Conv2d):
    """A 1x1 convolution of several maps' channels, which need not be laid out side by side for it.

    Args:
        in_channels: Each map's, in order.
        out_channels: Of the result.
    """

    def __init__(self, in_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__(sum(in_channels), out_channels, 1, bias=False)
        self.map_channels = in_channels

    def forward(self, *maps: Tensor) -> Tensor:
        """Apply the convolution to maps (B, C, h, w) with ``in_channels`` channels."""
        (first, *others), weights = maps, torch.split(self.weight, list(self.map_channels), dim=1)
        total = F.conv2d(first, weights[0], self.bias)
        for x, weight in zip(others, weights[1:], strict=True):
            total = total + F.conv2d(x, weight)
        return total


class ResidualSeparable(nn.Module):
    """A depthwise 3x3 convolution and a 1x1, added to the input, (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return F.relu(x + self.norm2(self.mix(self.norm1(self.depthwise(x)))))


class AttentionLayer(nn.Module):
    """A transformer layer over all pixels, which a depthwise convolution tells where they are."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.place = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.up, self.down = nn.Linear(channels, 2 * channels), nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer, (B, C, h, w) -> (B, C, h, w)."""
        # Not by to_pixels: where a size is left open, as a first stage's is, OpenVINO copies for it.
        tokens = (x + self.place(x)).flatten(2).transpose(1, 2)  # (B, h*w, C)
        query, key, value = self.qkv(self.norm1(tokens)).chunk(3, dim=2)
        tokens = tokens + self.out(attend(query, key, value, self.heads))
        tokens = tokens + self.down(F.gelu(self.up(self.norm2(tokens))))
        return to_map(tokens, x.shape[2:])


def click_offsets(disk: Tensor) -> tuple[Tensor, Tensor]:
    """How far every row and column is from the click, in pixels.

    Args:
        disk: The first click's disk, (B, 1, H, W); all zero if it was negative.

    Returns:
        (B, 1, H, 1) and (B, 1, 1, W), in single precision at least; 10,000 pixels too many where there is no
        click.
    """
    disk = disk.to(torch.promote_types(disk.dtype, torch.float32))
    mass = disk.sum((2, 3), keepdim=True)  # (B, 1, 1, 1)
    none = (mass == 0).to(disk.dtype)
    offsets = []
    for axis, shape in ((2, (1, 1, -1, 1)), (3, (1, 1, 1, -1))):
        places = torch.arange(disk.shape[axis], dtype=disk.dtype, device=disk.device).view(shape)
        offsets.append(places - (disk * places).sum((2, 3), keepdim=True) / (mass + none) + 1e4 * none)
    return offsets[0], offsets[1]


class ClickGuide(nn.Module):
    """Add to every pixel how it compares with the clicked one, and where it lies from the click.

    Args:
        channels: C.
        stride: Input pixels a pixel of the map.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.query = nn.Linear(channels, channels)
        self.mix = MapsConv((channels, channels, _PLACE_CHANNELS), channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, offsets: tuple[Tensor, Tensor]) -> Tensor:
        """Guide a map.

        Args:
            x: (B, C, H / stride, W / stride).
            offsets: What :func:`click_offsets` gave.

        Returns:
            Of the shape of ``x``.
        """
        # Taken from one range, and not made for each stride: OpenVINO mixes up ranges of several lengths.
        down, across = offsets[0][:, :, :: self.stride], offsets[1][..., :: self.stride]
        squared = down.square() + across.square()  # (B, 1, h, w)
        nearness = (squared / -((0.75 * self.stride) ** 2)).clamp_min(-60)
        weights = nearness.flatten(2).softmax(2).view_as(squared).to(x.dtype)
        clicked = (weights * x).sum((2, 3)).to(x.dtype)  # (B, C)
        query, clicked = self.query(clicked)[:, :, None, None], clicked[:, :, None, None]
        place = torch.cat(
            [
                (down / 96).tanh().expand_as(squared),
                (across / 96).tanh().expand_as(squared),
                (squared.sqrt() / 16).log1p() / 3,
                *((squared / -(scale**2)).exp() for scale in _CLICK_SCALES),
            ],
            dim=1,
        ).to(x.dtype)
        return F.relu(x + self.norm(self.mix(x * query, (x - clicked).abs(), place)))


class Decoder(nn.Module):
    """From the backbone's maps and the click to features and masks."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        at2, at4, at8, at16, at32 = (_BLOCKS[number][-1] for number in _TAPPED)
        context, middle, fine = config.context, config.middle, config.fine
        self.from32, self.from16 = _to_width(at32, context), _to_width(at16, context)
        self.attention1 = AttentionLayer(context, config.attention_heads)
        self.guide16 = ClickGuide(context, 16)
        self.attention2 = AttentionLayer(context, config.attention_heads)
        self.aux_head = nn.Conv2d(context, 1, 1)

        self.from8, self.enter8 = _to_width(at8, middle), _to_width(context, middle)
        self.guide8 = ClickGuide(middle, 8)
        self.blocks8 = nn.Sequential(*(ResidualSeparable(middle) for _ in range(3)))

        self.from4, self.enter4 = _to_width(at4, fine), _to_width(middle, fine)
        self.from2 = nn.Sequential(HalvingConv(at2, fine), nn.BatchNorm2d(fine))
        self.guide4 = ClickGuide(fine, 4)
        self.blocks4 = nn.Sequential(*(ResidualSeparable(fine) for _ in range(2)))
        self.cls_head = nn.Conv2d(fine, 4, 3, padding=1)

    def image_part(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Bring the backbone's maps to the decoder's widths, at 1/4, 1/8 and 1/16."""
        at2, at4, at8, at16, at32 = maps
        x = self.from16(at16) + _enlarge(F.relu(self.from32(at32)), at16)
        return self.from4(at4) + self.from2(at2), self.from8(at8), self.attention1(F.relu(x))

    def click_part(self, maps: tuple[Tensor, ...], disk: Tensor) -> FirstStageOutput:
        """Compute what depends on the click."""
        at4, at8, at16 = maps
        offsets = click_offsets(disk)
        x = self.attention2(self.guide16(at16, offsets))
        auxiliary = _enlarge(self.aux_head(x), at4)
        x = F.relu(at8 + _enlarge(self.enter8(x), at8))
        x = self.blocks8(self.guide8(x, offsets))
        x = F.relu(at4 + _enlarge(self.enter4(x), at4))
        x = self.blocks4(self.guide4(x, offsets))
        return FirstStageOutput(x, F.pixel_shuffle(self.cls_head(x), 2), auxiliary)


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    # Strided convolutions with this padding keep areas, not corners, in their places.
    return resize(x, (like.shape[2], like.shape[3]), align_corners=False)


class EfficientNetLite(FirstStage):
    """The first stage of ``lite0``: the backbone, then the decoder."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.decoder = Decoder(config)

    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run the backbone and the decoder's first layers: maps at 1/4, 1/8 and 1/16."""
        return self.decoder.image_part(self.backbone(image))

    def click_part(self, maps: tuple[Tensor, ...], click: Tensor) -> FirstStageOutput:
        """Compute the rest; see :class:`FirstStage`. The coarse mask is at 1/2, the auxiliary one at 1/4."""
        return self.decoder.click_part(maps, click)
