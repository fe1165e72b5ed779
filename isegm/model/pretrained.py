"""Starting from weights that others trained: ImageNet backbones, or a whole checkpoint.

HRNet's and the Mix Transformer's released ImageNet files hold the backbone's tensors under the names that
they have here, beside a classifier that is of no use.
"""

from pathlib import Path

from torch import Tensor, nn

from isegm.errors import InputError
from isegm.model.backbones.mix_transformer import SegFormer
from isegm.model.checkpoint import load_model, read_tensors
from isegm.model.emc_click import EMCClick

_NOT_IN_IMAGENET = (
    "patch_embed_side1.",
    "norm_add.",
    "conv3x3_ocr.",
    "ocr_distri_head.",
    "cls_head.",
    "aux_head.",
)
"""What a first stage has besides the classifier's backbone."""

_CLASSIFIER = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.", "head.")
"""What the files have besides the backbone."""


def load_pretrained(model: EMCClick, path: Path) -> None:
    """Give a network weights to start from.

    Args:
        model: The network; changed in place.
        path: A checkpoint of the same network, or the released ImageNet file of its backbone (HRNet's
            ``hrnetv2_w18_imagenet_pretrained.pth``, the Mix Transformer's ``mit_b0.pth``, and so on).

    Raises:
        InputError: The file cannot be read, or lacks a tensor of the backbone, has one of another shape, or
            has more of them, as a larger backbone's file has.
    """
    tensors = read_tensors(path)
    if any(name.startswith("refiner.") for name in tensors):
        other = load_model(path)
        if other.name != model.name:
            raise InputError(f"{path}: is {other.name}, not {model.name}; name the other with --preset")
        model.load_state_dict(other.state_dict())
        return
    _load_backbone(_backbone(model), path, tensors)


def _backbone(model: EMCClick) -> nn.Module:
    first_stage = model.feature_extractor
    return first_stage.backbone if isinstance(first_stage, SegFormer) else first_stage


def _load_backbone(backbone: nn.Module, path: Path, tensors: dict[str, Tensor]) -> None:
    own = {
        name: tensor
        for name, tensor in backbone.state_dict().items()
        if not name.startswith(_NOT_IN_IMAGENET)
    }
    for name, tensor in own.items():
        # Files from before torch 0.4 have no counters; they are of no use here either.
        if name not in tensors and not name.endswith("num_batches_tracked"):
            raise InputError(f"{path}: has no tensor {name!r}: not the ImageNet weights of this backbone")
        if name in tensors and tensors[name].shape != tensor.shape:
            raise InputError(
                f"{path}: tensor {name!r} is {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}: "
                "the ImageNet weights of another backbone"
            )
    left_over = [name for name in tensors if name not in own and not name.startswith(_CLASSIFIER)]
    if left_over:
        raise InputError(f"{path}: has a tensor {left_over[0]!r}: the ImageNet weights of another backbone")
    backbone.load_state_dict({name: tensors[name] for name in own if name in tensors}, strict=False)
