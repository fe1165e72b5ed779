"""Reading an object's mask from a label volume."""

from collections.abc import Sequence

import numpy as np

from isegm.metrics.overlap import Mask
from isegm.volumes.volume import Volume


def read_label_mask(volume: Volume, labels: Sequence[int] | None = None) -> Mask:
    """The object of a label volume, (X, Y, Z); a byte a voxel, whatever it is stored as.

    Args:
        volume: Holds labels.
        labels: Which ones are the object; None for all but 0.

    Raises:
        InputError: The file is damaged, or a value is no label.
    """
    mask = np.empty(volume.shape, np.bool_, order="F")
    for start, slab in volume.slabs():
        values = slab.labels()
        part = values != 0 if labels is None else np.isin(values, labels)
        mask[:, :, start : start + part.shape[2]] = part
    return mask
