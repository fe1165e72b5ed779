"""Starting from weights that others trained: the backbone's ImageNet file, or a whole checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from isegm.errors import InputError
from isegm.model.build import PRESETS
from isegm.model.checkpoint import load_model, read_tensors
from isegm.model.emc_click import EMCClick


def load_pretrained(model: EMCClick, path: Path) -> None:
    """Give a network weights to start from.

    Args:
        model: The network; changed in place.
        path: A checkpoint of the same network, or the released ImageNet file of its backbone (HRNet's
            ``hrnetv2_w18_imagenet_pretrained.pth``, the Mix Transformer's ``mit_b0.pth``,
            ``efficientnet-lite0-57934424.pth``, and so on).

    Raises:
        InputError: The file cannot be read, or lacks a tensor of the backbone, has one of another shape, or
            has more of them, as a larger backbone's file has.
    """
    tensors = read_tensors(path)
    if any(name.startswith("refiner.") for name in tensors):
        other = load_model(path)
        if other.name != model.name:
            raise InputError(
                f"{path}: is {other.name}, not {model.name}; train that preset, or begin with other weights"
            )
        model.load_state_dict(other.state_dict())
        return
    _load_backbone(model, path, tensors)


def _load_backbone(model: EMCClick, path: Path, tensors: Mapping[str, Tensor]) -> None:
    config = PRESETS[model.name].first_stage
    tensors = config.from_imagenet(tensors)
    own = model.feature_extractor.state_dict()
    names = {name: called for name in own if (called := config.imagenet_name(name)) is not None}
    for name, called in names.items():
        # Files from before torch 0.4 have no counters; they are of no use here either.
        if called not in tensors and not called.endswith("num_batches_tracked"):
            raise InputError(f"{path}: has no tensor {called!r}: not the ImageNet weights of this backbone")
        if called in tensors and tensors[called].shape != own[name].shape:
            raise InputError(
                f"{path}: tensor {called!r} is {tuple(tensors[called].shape)}, not {tuple(own[name].shape)}: "
                "the ImageNet weights of another backbone"
            )
    known = set(names.values())
    left_over = [name for name in tensors if name not in known]
    left_over = [name for name in left_over if not name.startswith(config.imagenet_classifier)]
    if left_over:
        raise InputError(f"{path}: has a tensor {left_over[0]!r}: the ImageNet weights of another backbone")
    found = {name: tensors[called] for name, called in names.items() if called in tensors}
    model.feature_extractor.load_state_dict(found, strict=False)
