"""SegFormer: the Mix Transformer and its all-MLP decoder, the first stage of ``segb0`` and ``segb3``.

Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
NeurIPS 2021; here with the click's map embedded beside the image and added behind stage 1.

Letters: B batch, C channels, H and W input height and width, h and w those of a stage, L = h * w tokens.
Attribute names are those of the released checkpoints' tensors.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isegm.model.backbones.first_stage import FirstStage, FirstStageConfig, FirstStageOutput
from isegm.model.layers import attend, resize, to_map, to_pixels

HEADS = (1, 2, 5, 8)
SPATIAL_REDUCTION = (8, 4, 2, 1)
FEED_FORWARD_RATIO = 4
MAX_DROP_PATH = 0.1


@dataclass(frozen=True, kw_only=True)
class SegFormerConfig(FirstStageConfig):
    """Sizes of a SegFormer."""

    released_class: ClassVar[str] = "SegFormerModel"
    released_module: ClassVar[str] = "is_refine_segformer_model"
    imagenet_classifier: ClassVar[tuple[str, ...]] = ("head.",)

    version: str
    """The published name of the encoder, ``b0`` or ``b3``."""
    widths: tuple[int, int, int, int]
    """Channels of the four stages."""
    depths: tuple[int, int, int, int]
    """Transformer blocks of the four stages."""
    decoder_channels: int
    """Channels of the decoder, and of the feature map that the correction head reads."""

    @property
    def feature_channels(self) -> int:
        """Channels of the feature map that the correction head reads."""
        return self.decoder_channels

    def build(self) -> "SegFormer":
        """Make the network, untrained and in training mode."""
        return SegFormer(self)

    def released_arguments(self) -> dict[str, Any]:
        """The arguments of ``released_class`` that tell networks of this kind apart."""
        return {"model_version": self.version}

    def imagenet_name(self, name: str) -> str | None:
        """The encoder's own name; None for the decoder's tensors and those that embed the click."""
        encoder, _, own = name.partition(".")
        is_pretrained = encoder == "backbone" and not own.startswith(("patch_embed_side1.", "norm_add."))
        return own if is_pretrained else None


class OverlapPatchEmbedding(nn.Module):
    """A strided convolution whose patches overlap, (B, in, H, W) -> (B, out, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed the patches of ``x``."""
        x = self.proj(x)
        return to_map(self.norm(to_pixels(x)), x.shape[2:])


class EfficientSelfAttention(nn.Module):
    """Self-attention whose keys and values come from a spatially reduced map.

    Args:
        channels: C.
        heads: Attention heads.
        reduction: Side of the square of tokens that becomes one key; 1 keeps them all.
    """

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Attend; tokens are (B, L, C) of a map of ``size`` = (h, w)."""
        key, value = self.kv(self._reduce(tokens, size)).chunk(2, dim=2)  # (B, L', C) each
        return self.proj(attend(self.q(tokens), key, value, self.heads))

    def _reduce(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        if self.reduction == 1:
            return tokens
        x = to_map(tokens, size)
        # A map smaller than one square of tokens still has to give one key.
        short = [max(0, self.reduction - side) for side in size]
        if any(short):
            x = F.pad(x, (0, short[1], 0, short[0]))
        return self.norm(to_pixels(self.sr(x)))


class DepthwiseConv(nn.Module):
    """A depthwise 3x3 convolution, which tells tokens where they are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Convolve the tokens (B, L, C) as a map of ``size`` = (h, w)."""
        return to_pixels(self.dwconv(to_map(tokens, size)))


class MixFeedForward(nn.Module):
    """Two linear layers with a depthwise convolution and a GELU between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = FEED_FORWARD_RATIO * channels
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Transform the tokens (B, L, C) of a map of ``size`` = (h, w)."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(tokens), size)))


class DropPath(nn.Module):
    """Leave out a residual branch of some pictures in training, and make up for it in the others.

    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.

    Args:
        rate: How often it is left out.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (B, ...) with some of its pictures zero."""
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * kept.div_(1 - self.rate)


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each with a LayerNorm before it and a residual connection around it."""

    def __init__(self, channels: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = EfficientSelfAttention(channels, heads, reduction)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = MixFeedForward(channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Transform the tokens (B, L, C) of a map of ``size`` = (h, w)."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), size))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens), size))


class MixTransformer(nn.Module):
    """The encoder: four stages at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, config: SegFormerConfig) -> None:
        super().__init__()
        widths = config.widths
        self.patch_embed1 = OverlapPatchEmbedding(3, widths[0], kernel=7, stride=4)
        self.patch_embed2 = OverlapPatchEmbedding(widths[0], widths[1], kernel=3, stride=2)
        self.patch_embed3 = OverlapPatchEmbedding(widths[1], widths[2], kernel=3, stride=2)
        self.patch_embed4 = OverlapPatchEmbedding(widths[2], widths[3], kernel=3, stride=2)
        self.patch_embed_side1 = OverlapPatchEmbedding(1, widths[0], kernel=7, stride=4)
        # In the released files, and nowhere in the published forward pass.
        self.norm_add = nn.LayerNorm(widths[0]).requires_grad_(False)

        total = sum(config.depths)
        rates = [MAX_DROP_PATH * index / (total - 1) for index in range(total)]
        stages = []
        for width, depth, heads, reduction in zip(
            widths, config.depths, HEADS, SPATIAL_REDUCTION, strict=True
        ):
            stages.append(
                nn.ModuleList(TransformerBlock(width, heads, reduction, rates.pop(0)) for _ in range(depth))
            )
        self.block1, self.block2, self.block3, self.block4 = stages
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width, eps=1e-6) for width in widths)

    def first(self, image: Tensor) -> Tensor:
        """Run stage 1, which does not see the click, on (B, 3, H, W): (B, width_0, H / 4, W / 4)."""
        return self._stage(1, image)

    def rest(self, x: Tensor, click_map: Tensor) -> list[Tensor]:
        """Run the other stages.

        Args:
            x: What :meth:`first` gave.
            click_map: (B, 1, H, W), the first click's disk.

        Returns:
            The maps of stages 2 to 4, (B, width_i, H / 2^(i+2), W / 2^(i+2)), sizes rounded up.
        """
        x = x + self.patch_embed_side1(click_map)
        maps: list[Tensor] = []
        for number in (2, 3, 4):
            x = self._stage(number, x)
            maps.append(x)
        return maps

    def _stage(self, number: int, x: Tensor) -> Tensor:
        embed, blocks, norm = (getattr(self, f"{part}{number}") for part in ("patch_embed", "block", "norm"))
        x = embed(x)
        size = (x.shape[2], x.shape[3])
        tokens = to_pixels(x)
        for block in blocks:
            tokens = block(tokens, size)
        return to_map(norm(tokens), size)


class TokenProjection(nn.Module):
    """A linear layer on the channels of a map, (B, in, h, w) -> (B, out, h, w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Project the channels of ``x``."""
        return to_map(self.proj(to_pixels(x)), x.shape[2:])


class FuseBlock(nn.Module):
    """The decoder's 1x1 convolution + BN + ReLU, (B, in, h, w) -> (B, out, h, w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return F.relu(self.bn(self.conv(x)))


class AllMLPDecoder(nn.Module):
    """Bring the four stages to one width and one size, and fuse them."""

    def __init__(self, config: SegFormerConfig, dropout: float = 0.1) -> None:
        super().__init__()
        channels = config.decoder_channels
        self.linear_c4 = TokenProjection(config.widths[3], channels)
        self.linear_c3 = TokenProjection(config.widths[2], channels)
        self.linear_c2 = TokenProjection(config.widths[1], channels)
        self.linear_c1 = TokenProjection(config.widths[0], channels)
        self.linear_fuse = FuseBlock(4 * channels, channels)
        self.dropout = nn.Dropout2d(dropout)
        self.linear_pred = nn.Conv2d(channels, 1, 1)

    def forward(self, maps: list[Tensor]) -> FirstStageOutput:
        """Decode the stages' maps, finest first, into features (B, C, H / 4, W / 4) and coarse logits."""
        size = (maps[0].shape[2], maps[0].shape[3])
        projections = (self.linear_c4, self.linear_c3, self.linear_c2, self.linear_c1)
        projected = [
            resize(project(x), size, align_corners=False)
            for project, x in zip(projections, reversed(maps), strict=True)
        ]
        features = self.dropout(self.linear_fuse(torch.cat(projected, dim=1)))
        return FirstStageOutput(features, self.linear_pred(features), None)


class SegFormer(FirstStage):
    """Encoder and decoder; the click enters behind the encoder's first stage, as its disk."""

    def __init__(self, config: SegFormerConfig) -> None:
        super().__init__()
        self.backbone = MixTransformer(config)
        self.decode_head = AllMLPDecoder(config)

    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run the encoder's first stage."""
        return (self.backbone.first(image),)

    def click_part(self, maps: tuple[Tensor, ...], click: Tensor) -> FirstStageOutput:
        """Compute the rest; see :class:`FirstStage`. There is no auxiliary mask."""
        return self.decode_head([*maps, *self.backbone.rest(maps[0], click)])
