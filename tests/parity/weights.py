"""The weights with which the original implementation's outputs were computed: nothing to download.

A tensor's values follow from its name and shape alone, but for the running statistics of batch norms, which
were measured once and lie in ``bn_<network>.npz``.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

# A convolution that the released files hold under three names
SHARED_LAYER = (".corr_conv_pos.", ".corr_conv_neg.")
CLICK_GAIN = -0.5
"""In front of the backbone. Its sign must not matter."""


def values_of(name: str, shape: list[int]) -> torch.Tensor:
    """The values of a tensor that is not measured, float32."""
    for other in SHARED_LAYER:
        name = name.replace(other, ".corr_conv.")
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith(".scale"):
        values = np.full(shape, CLICK_GAIN)
    elif name.endswith("bias"):
        values = random.standard_normal(shape) * 0.05
    elif len(shape) > 1:
        values = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    else:
        values = random.uniform(0.7, 1.1, shape)
    return torch.from_numpy(values.astype(np.float32))


def checkpoint(manifest: Path, statistics: Path) -> dict[str, object]:
    """A checkpoint in the form of the released files.

    Args:
        manifest: ``manifest_<network>.json``: names and shapes of the tensors, and the config.
        statistics: ``bn_<network>.npz``.
    """
    described = json.loads(manifest.read_text())
    measured = np.load(statistics)
    tensors = {
        name: torch.from_numpy(measured[name]) if name in measured else values_of(name, shape)
        for name, shape in described["tensors"].items()
    }
    statistics_of_pictures = described["config"]["params"]["norm_mean_std"]
    statistics_of_pictures["value"] = tuple(map(tuple, statistics_of_pictures["value"]))  # JSON has no tuples
    return {"state_dict": tensors, "config": described["config"]}
