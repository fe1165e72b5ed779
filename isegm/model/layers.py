"""Small parts that several networks share.

Letters: B batch, C channels, H and W height and width in pixels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resize(x: Tensor, size: tuple[int, int], *, align_corners: bool = True) -> Tensor:
    """Resize bilinearly; corners are aligned everywhere in this method but in the SegFormer decoder.

    Args:
        x: (B, C, H, W).
        size: The new (height, width).
        align_corners: True maps corner pixel centres onto corner pixel centres; False keeps the pixel areas.

    Returns:
        (B, C, *size); ``x`` itself where it has that size already.
    """
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def to_pixels(x: Tensor) -> Tensor:
    """Lay a map (B, C, h, w) out as pixels, (B, h*w, C), row by row; without copying if it is channels_last.

    Written so, and not by way of (B, C, h*w), other runtimes see that there is nothing to copy, too.
    """
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_map(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """Lay pixels (B, h*w, C) out as a map (B, C, h, w), where ``size`` = (h, w)."""
    # Not by unflatten: the exporter to ONNX takes its height and width for constants.
    return pixels.reshape(pixels.shape[0], *size, -1).permute(0, 3, 1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Multi-head attention without projections: queries (B, n, C), keys and values (B, m, C) to (B, n, C)."""
    query, key, value = (torch.unflatten(x, 2, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class DepthwiseSeparableBlock(nn.Module):
    """The correction head's block, X(in -> out): two depthwise 3x3, then a 1x1.

    Depthwise 3x3 + BN + depthwise 3x3 + 1x1 + BN + ReLU; nothing stands between the first BN and the second
    depthwise convolution. (B, in, H, W) -> (B, out, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv3x3_1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv3x3_2 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels)
        self.conv1x1 = nn.Conv2d(in_channels, out_channels, 1)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        x = self.conv3x3_2(self.norm1(self.conv3x3_1(x)))
        return F.relu(self.norm2(self.conv1x1(x)))


class PointwiseBlock(nn.Module):
    """1x1 convolution + BN + ReLU, (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return F.relu(self.norm(self.conv(x)))


class AbsoluteScale(nn.Module):
    """Multiply by the magnitude of one learned scalar, so that training cannot flip the sign."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x * |scale|``."""
        return x * self.scale.abs()
