"""The networks, five published and one of this project: the one place where they are named and composed."""

from dataclasses import dataclass

from isegm.model.backbones.efficientnet_lite import EfficientNetLiteConfig
from isegm.model.backbones.first_stage import FirstStageConfig
from isegm.model.backbones.hrnet import HRNetConfig
from isegm.model.backbones.segformer import SegFormerConfig
from isegm.model.correction.head import CorrectionConfig, CorrectionHead
from isegm.model.emc_click import EMCClick


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One network."""

    name: str
    """What users call it, and what its released file is called."""
    first_stage: FirstStageConfig
    """The network that runs once an image."""
    correction: CorrectionConfig
    """The head that runs every click."""
    sees_logits: bool = True
    """What the head is shown at a further click: see :class:`EMCClick`."""


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
            first_stage=SegFormerConfig(
                version="b0", widths=(32, 64, 160, 256), depths=(2, 2, 2, 2), decoder_channels=256
            ),
            correction=_SMALL_HEAD,
        ),
        Preset(
            name="segb3",
            first_stage=SegFormerConfig(
                version="b3", widths=(64, 128, 320, 512), depths=(3, 4, 18, 3), decoder_channels=512
            ),
            correction=_LARGE_HEAD,
        ),
        Preset(
            name="lite0",
            first_stage=EfficientNetLiteConfig(),
            correction=CorrectionConfig(width=32, templates=32, fineness=2),
            sees_logits=False,
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
    first_stage = preset.first_stage
    head = CorrectionHead(preset.correction, first_stage.feature_channels)
    return EMCClick(
        first_stage.build(),
        head,
        first_stage.click_embedding(),
        preset.name,
        sees_logits=preset.sees_logits,
    )
