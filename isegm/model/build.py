"""The five published networks: the one place where they are named and composed."""

from dataclasses import dataclass

from torch import nn

from isegm.model.backbones.hrnet import HRNetConfig
from isegm.model.backbones.mix_transformer import MixTransformerConfig, SegFormer
from isegm.model.backbones.ocr import HRNetOCR
from isegm.model.correction.head import CorrectionConfig, CorrectionHead
from isegm.model.emc_click import EMCClick
from isegm.model.layers import AbsoluteScale

INITIAL_CLICK_SCALE = 0.05


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One published network."""

    name: str
    """What users call it, and what its released file is called."""
    first_stage: HRNetConfig | MixTransformerConfig
    """The network that runs once an image."""
    correction: CorrectionConfig
    """The head that runs every click."""


_SMALL_HEAD = CorrectionConfig(width=64, templates=64)
_LARGE_HEAD = CorrectionConfig(width=96, templates=96)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="hr18s",
            first_stage=HRNetConfig(width=18, ocr_width=48, small=True),
            correction=_SMALL_HEAD,
        ),
        Preset(
            name="hr18",
            first_stage=HRNetConfig(width=18, ocr_width=64, small=False),
            correction=_LARGE_HEAD,
        ),
        Preset(
            name="hr32",
            first_stage=HRNetConfig(width=32, ocr_width=128, small=False),
            correction=_LARGE_HEAD,
        ),
        Preset(
            name="segb0",
            first_stage=MixTransformerConfig(
                version="b0", widths=(32, 64, 160, 256), depths=(2, 2, 2, 2), decoder_channels=256
            ),
            correction=_SMALL_HEAD,
        ),
        Preset(
            name="segb3",
            first_stage=MixTransformerConfig(
                version="b3", widths=(64, 128, 320, 512), depths=(3, 4, 18, 3), decoder_channels=512
            ),
            correction=_LARGE_HEAD,
        ),
    )
}


def build_model(preset: Preset) -> EMCClick:
    """Compose a network with untrained weights, in training mode.

    Args:
        preset: One of ``PRESETS``.

    Returns:
        The network, float32, on the CPU (or on torch's default device).
    """
    head = CorrectionHead(preset.correction, preset.first_stage.feature_channels)
    if isinstance(preset.first_stage, HRNetConfig):
        return EMCClick(HRNetOCR(preset.first_stage), head, _click_embedding(), preset.name)
    # SegFormer embeds the disk itself, in its encoder.
    return EMCClick(SegFormer(preset.first_stage), head, nn.Identity(), preset.name)


def _click_embedding() -> nn.Sequential:
    """Embed the first click's disk (B, 1, H, W) for HRNet: (B, 64, H / 2, W / 2)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 1),
        nn.LeakyReLU(negative_slope=0.2, inplace=True),
        nn.Conv2d(16, 64, 3, stride=2, padding=1),
        AbsoluteScale(INITIAL_CLICK_SCALE),
    )
