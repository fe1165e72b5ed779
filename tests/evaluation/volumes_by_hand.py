"""Volumes and segmenters of them whose every figure can be worked out by hand."""

from pathlib import Path

import nibabel as nib
import numpy as np

from isegm.datasets.labelled_volumes import VolumeSample
from isegm.evaluation.record import FinalScores, VolumeResult
from isegm.geometry import VoxelClick
from isegm.volumes.files import open_volume
from isegm.volumes.windows import WINDOWS

SPACING = (1.0, 1.0, 2.0)


def box(shape, *sides):
    """A box of voxels, each side (start, stop)."""
    mask = np.zeros(shape, np.bool_)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def save_nifti(path, voxels, spacing=SPACING):
    """Write voxels as NIfTI, the axes running right, anterior and superior."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.diag((*spacing, 1.0))), path)
    return path


def save_pair(folder: Path, name: str, truth, inside=100, outside=-50):
    """Write a volume that is brighter on the object, and its labels, in the Decathlon's layout."""
    hu = np.where(truth, inside, outside).astype(np.int16)
    hu[0, 0, 0] = -1000
    save_nifti(folder / "imagesTr" / f"{name}.nii.gz", hu)
    save_nifti(folder / "labelsTr" / f"{name}.nii.gz", truth.astype(np.uint8))


def volume_sample(folder: Path, truth) -> VolumeSample:
    save_pair(folder, "v", truth)
    volume = open_volume(folder / "imagesTr" / "v.nii.gz")
    return VolumeSample("v", volume, truth, WINDOWS["abdomen"])


class ScriptedVolumeSegmenter:
    """Its masks come from a list, whatever is clicked; after the last one it stays as it is."""

    def __init__(self, masks):
        self.script = masks

    def set_volume(self, volume, window):
        self.placed = []
        self.begun_on = (volume, window)

    def click(self, voxel, positive=True):
        self.placed.append(VoxelClick(*voxel, positive))

    @property
    def clicks(self):
        return tuple(self.placed)

    @property
    def mask(self):
        return self.script[min(len(self.placed), len(self.script)) - 1]


FINAL_MM = FinalScores(0.95, 4.0, 0.6)


def volume_result(dices, name="v", nsds=None, slices=2, seconds=0.5):
    """A result with these scores, and as many clicks."""
    clicks = tuple(VoxelClick(i, i + 1, i + 2, i % 2 == 0) for i in range(len(dices)))
    nsds = tuple(dices[:5]) if nsds is None else tuple(nsds)
    return VolumeResult(
        name, clicks, tuple(dices), (seconds,) * len(dices), FINAL_MM, "dice", 0, nsds=nsds, slices=slices
    )
