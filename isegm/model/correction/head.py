"""The correction head: image, all clicks, previous mask and cached features in, a corrected mask out.

Source: EMC-Click, sections 3.2 and 3.3.

Letters: B batch, M the head's width, N clicks of a polarity at most, K templates of a polarity, C channels of
the cached features, H and W the network input's height and width, h = H / 4 and w = W / 4.
Attribute names are those of the released checkpoints' tensors.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isegm.model.click_maps import disks, squared_distances
from isegm.model.correction.templates import STRIDE, gather_templates, select_templates
from isegm.model.layers import DepthwiseSeparableBlock, PointwiseBlock, resize, to_map, to_pixels

ATTENTION_HEADS = 4


@dataclass(frozen=True, kw_only=True)
class CorrectionConfig:
    """Sizes of a correction head."""

    width: int
    """M, channels of its features."""
    templates: int
    """K, templates chosen of each polarity."""
    fineness: int = 1
    """Logits along each side of a feature pixel: 1 as published, 2 for masks at half of the resolution."""


class CorrectionHead(nn.Module):
    """Correct a mask by the clicks.

    Args:
        config: The head's sizes.
        feature_channels: C.
    """

    def __init__(self, config: CorrectionConfig, feature_channels: int) -> None:
        super().__init__()
        block, width, templates = DepthwiseSeparableBlock, config.width, config.templates
        self.templates = templates

        unshuffled = (3 + 2 + 1) * STRIDE**2
        self.image_conv1 = nn.Sequential(nn.PixelUnshuffle(STRIDE), block(unshuffled, width))
        self.image_conv2 = block(width, width)
        self.refine_fusion = PointwiseBlock(feature_channels, width)
        self.fusion1 = nn.Sequential(block(2 * width, width), block(width, width))

        self.feature_convq = nn.Conv2d(width, width, 1)
        self.feature_convk = nn.Conv2d(width, width, 1)
        # One block serves both polarities; the released files hold it under these three names.
        self.corr_conv = block(templates, templates)
        self.corr_conv_pos = self.corr_conv
        self.corr_conv_neg = self.corr_conv
        self.corr_fusion = block(2 * templates, width)

        self.cross_attention = nn.MultiheadAttention(width, ATTENTION_HEADS, batch_first=True)

        self.all_fusion = block(2 * width, width)
        self.refine_fusion1 = block(width, width)
        self.refine_fusion2 = block(width, width)
        self.refine_pred = nn.Conv2d(width, config.fineness**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(config.fineness)

    def forward(self, image: Tensor, points: Tensor, cached: Tensor, previous: Tensor) -> Tensor:
        """Correct the previous mask.

        Args:
            image: (B, 3, H, W), normalised.
            points: (B, 2N, 3), in network-input pixels.
            cached: The first stage's features, (B, C, h, w).
            previous: Logits of the previous mask, (B, 1, h', w'), at any resolution.

        Returns:
            Logits of the corrected mask, (B, 1, h, w) times the fineness.
        """
        distances = squared_distances(points, image.shape[2], image.shape[3])  # (B, 2, H, W)
        features = self.encode(image, distances, cached, previous)  # (B, M, h, w)
        templates = select_templates(features, points, distances, self.templates)  # (B, 2, K)
        correlated = self.correlate(features, templates)  # (B, M, h, w)
        attended = self.attend(features, templates)  # (B, M, h, w)
        return self.decode(attended, correlated)

    def encode(self, image: Tensor, distances: Tensor, cached: Tensor, previous: Tensor) -> Tensor:
        """Fuse what changes with a click (maps, previous mask) with what was cached: (B, M, h, w)."""
        size = (image.shape[2], image.shape[3])
        mask = resize(previous, size).sigmoid()  # (B, 1, H, W)
        current = torch.cat([image, disks(distances).to(image.dtype), mask], dim=1)  # (B, 6, H, W)
        unshuffle, block = self.image_conv1
        # Depthwise convolutions are several times as fast in the features' order of memory.
        current = unshuffle(current).contiguous(memory_format=_memory_format(cached))
        current = self.image_conv2(block(current))  # (B, M, h, w)
        return self.fusion1(torch.cat([self.refine_fusion(cached), current], dim=1))

    def correlate(self, features: Tensor, templates: Tensor) -> Tensor:
        """Click-guided correlation: the templates' queries are kernels over the keys of all pixels.

        Args:
            features: (B, M, h, w).
            templates: (B, 2, K) pixel indices.

        Returns:
            (B, M, h, w).
        """
        queries, keys = self.feature_convq(features), self.feature_convk(features)
        by_polarity = []
        for chosen in templates.unbind(1):
            kernels = gather_templates(queries, chosen)  # (B, K, M)
            if _memory_format(keys) == torch.channels_last:
                maps = to_map(to_pixels(keys) @ kernels.transpose(1, 2), keys.shape[2:])  # (B, K, h, w)
            else:
                maps = (kernels @ keys.flatten(2)).unflatten(2, keys.shape[2:])  # (B, K, h, w)
            by_polarity.append(self.corr_conv(maps))
        return self.corr_fusion(torch.cat(by_polarity, dim=1))

    def attend(self, features: Tensor, templates: Tensor) -> Tensor:
        """Click-guided self-attention: every pixel asks the templates, and adds the answer to itself.

        Args:
            features: (B, M, h, w).
            templates: (B, 2, K) pixel indices.

        Returns:
            (B, M, h, w).
        """
        pixels = to_pixels(features)  # (B, h*w, M)
        chosen = gather_templates(features, templates.flatten(1))  # (B, 2K, M)
        answer, _ = self.cross_attention(pixels, chosen, chosen, need_weights=False)  # (B, h*w, M)
        return features + to_map(answer, features.shape[2:])

    def decode(self, attended: Tensor, correlated: Tensor) -> Tensor:
        """Decode both guided maps (B, M, h, w) into the corrected mask's logits."""
        x = self.all_fusion(torch.cat([attended, correlated], dim=1))
        return self.shuffle(self.refine_pred(self.refine_fusion2(self.refine_fusion1(x))))


def _memory_format(x: Tensor) -> torch.memory_format:
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format
