"""How a volume lies in the patient, and how its pictures are turned upright.

NIfTI's affine leads from voxel indices to millimetres along the patient's left-to-right, posterior-to-
anterior and inferior-to-superior directions. An upright picture is an axial slice as radiologists show it:
row 0 is anterior, column 0 the patient's right. Of an oblique volume the nearest array axes are taken.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from nibabel.orientations import io_orientation

LEFT_RIGHT, POSTERIOR_ANTERIOR, INFERIOR_SUPERIOR = range(3)


@dataclass(frozen=True)
class SlicePlan:
    """How a picture is taken from a volume.

    Attributes:
        axis: The array axis that is sliced, 0-2.
        row_axis: The array axis that runs down the picture.
        col_axis: The array axis that runs across it.
        flip_rows: Whether row 0 is that axis' last index.
        flip_cols: Whether column 0 is that axis' last index.
    """

    axis: int
    row_axis: int
    col_axis: int
    flip_rows: bool = False
    flip_cols: bool = False

    def picture(self, array_slice: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Turn a slice, its two axes in the volume's order, into the picture (H, W)."""
        turned = array_slice.T if self.row_axis > self.col_axis else array_slice
        return turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]


RAW = SlicePlan(axis=2, row_axis=0, col_axis=1)


def upright(affine: npt.NDArray[np.float64]) -> SlicePlan:
    """The plan that gives upright axial pictures.

    Args:
        affine: (4, 4), from voxel indices to the patient's right-anterior-superior millimetres; not
            singular.
    """
    orientation = io_orientation(affine)  # type: ignore[no-untyped-call]
    nearest = [int(direction) for direction in orientation[:, 0]]
    row_axis = nearest.index(POSTERIOR_ANTERIOR)
    col_axis = nearest.index(LEFT_RIGHT)
    return SlicePlan(
        axis=nearest.index(INFERIOR_SUPERIOR),
        row_axis=row_axis,
        col_axis=col_axis,
        flip_rows=bool(orientation[row_axis, 1] > 0),
        flip_cols=bool(orientation[col_axis, 1] > 0),
    )
