"""Masks of a volume, written in its own geometry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.volumes.volume import Volume


def write_mask(
    path: Path | str,
    volume: Volume,
    mask: npt.NDArray[Any],
    names: Mapping[int, str] | None = None,
) -> None:
    """Write a mask or labels of a volume, whole or not at all.

    Args:
        path: Where to: ``.nii`` or ``.nii.gz`` for NIfTI, ``.dcm`` for a DICOM SEG, which refers to the
            slices of the DICOM series that the volume is. A file that is there is replaced.
        volume: The volume, as ``open_volume`` gives it.
        mask: (X, Y, Z) in the volume's own order of voxels: bool, or labels, where 0 is the background.
        names: What the labels are, for a DICOM SEG: ``{1: "liver"}``, say.

    Raises:
        InputError: The path is the volume's own or of another suffix; for a DICOM SEG, the volume is no DICOM
            series as it is stored.
        ValueError: The mask has another shape, or values that are no labels.
        OSError: The file cannot be written.
    """
    path = Path(path)
    if mask.shape != volume.shape:
        raise ValueError(f"a mask of shape {mask.shape} for a volume of {volume.shape}")
    if mask.dtype.kind not in "biu" or (mask.size and not 0 <= int(mask.min()) <= int(mask.max()) < 2**16):
        raise ValueError("a mask is bool, or integers from 0 to 65535")
    if path.exists() and volume.path.exists() and path.samefile(volume.path):
        raise InputError(f"{path}: is the volume itself; name another file for its mask")
    if path.name.lower().endswith((".nii", ".nii.gz")):
        from isegm.volumes.nifti import write_nifti

        kind = np.uint8 if mask.dtype == np.bool_ or int(mask.max(initial=0)) < 2**8 else np.uint16
        write_nifti(path, volume, (mask[:, :, [z]] for z in range(mask.shape[2])), dtype=kind)
    elif path.name.lower().endswith(".dcm"):
        from isegm.volumes.dicom_seg import write_dicom_seg

        write_dicom_seg(path, volume, mask, names or {})
    else:
        raise InputError(f"{path}: masks are written as NIfTI or DICOM SEG; name it .nii.gz, .nii or .dcm")
