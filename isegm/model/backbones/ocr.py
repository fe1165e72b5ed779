"""Object-contextual representations, the head of the HRNet first stage.

Source: Yuan et al., "Object-Contextual Representations for Semantic Segmentation", ECCV 2020.

Letters: B batch, C channels, h and w height and width at 1/4 of the input, k the OCR width.
Attribute names are those of the released checkpoints' tensors.
"""

import torch
from torch import Tensor, nn

from isegm.model.backbones.first_stage import FirstStageOutput
from isegm.model.backbones.hrnet import HRNet, HRNetConfig


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
    """The mean of the features, weighted by a softmax over space of the auxiliary mask.

    Args:
        features: (B, C, h, w).
        logits: (B, 1, h, w).

    Returns:
        (B, C, 1, 1).
    """
    weights = logits.flatten(2).softmax(dim=2)  # (B, 1, h*w)
    return (features.flatten(2) @ weights.transpose(1, 2)).unsqueeze(3)  # (B, C, 1, 1)


class HRNetOCR(HRNet):
    """HRNet with its OCR head: the first stage of ``hr18s``, ``hr18`` and ``hr32``."""

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

    def forward(self, image: Tensor, click_features: Tensor) -> FirstStageOutput:
        """Compute the features and the coarse and auxiliary masks.

        Args:
            image: (B, 3, H, W), normalised.
            click_features: (B, 64, H / 2, W / 2).

        Returns:
            Features (B, 2k, H / 4, W / 4) and logits (B, 1, H / 4, W / 4).
        """
        x = self.backbone(image, click_features)  # (B, 15w, h, w)
        auxiliary = self.aux_head(x)  # (B, 1, h, w)
        x = self.conv3x3_ocr(x)  # (B, 2k, h, w)
        features = self.ocr_distri_head(x, object_context(x, auxiliary))  # (B, 2k, h, w)
        return FirstStageOutput(features, self.cls_head(features), auxiliary)
