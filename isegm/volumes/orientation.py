"""How a volume lies in the patient, and how its pictures are turned upright.

NIfTI's affine leads from voxel indices to millimetres along the patient's left-to-right, posterior-to-
anterior and inferior-to-superior directions. An upright picture is an axial slice as radiologists show it:
row 0 is anterior, column 0 the patient's right. Of an oblique volume the nearest array axes are taken.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LEFT_RIGHT, POSTERIOR_ANTERIOR, INFERIOR_SUPERIOR = range(3)


@dataclass(frozen=True)
class SlicePlan:
    """How pictures are taken from a volume, and put back where they came from.

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

    def pictures(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See a volume (X, Y, Z) as its pictures (slices, H, W), in the same memory."""
        return self._flip(array.transpose(self.axis, self.row_axis, self.col_axis))

    def array(self, pictures: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See pictures (slices, H, W) as the volume (X, Y, Z) again: the inverse of :meth:`pictures`."""
        return self._flip(pictures).transpose(np.argsort((self.axis, self.row_axis, self.col_axis)))

    def picture(self, array_slice: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See a slice, its two axes in the volume's order, as the picture (H, W)."""
        return self.pictures(np.expand_dims(array_slice, self.axis))[0]

    def place(self, voxel: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Where a voxel (i, j, k) of a volume of ``shape`` is seen: its slice, row and column."""
        row, col = voxel[self.row_axis], voxel[self.col_axis]
        return (
            voxel[self.axis],
            shape[self.row_axis] - 1 - row if self.flip_rows else row,
            shape[self.col_axis] - 1 - col if self.flip_cols else col,
        )

    def voxel(self, place: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int]:
        """The voxel (i, j, k) that is seen at a slice's row and column: the inverse of :meth:`place`."""
        index, row, col = place
        voxel = [0, 0, 0]
        voxel[self.axis] = index
        voxel[self.row_axis] = shape[self.row_axis] - 1 - row if self.flip_rows else row
        voxel[self.col_axis] = shape[self.col_axis] - 1 - col if self.flip_cols else col
        return voxel[0], voxel[1], voxel[2]

    def _flip(self, pictures: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return pictures[:, :: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]


RAW = SlicePlan(axis=2, row_axis=0, col_axis=1)


AXES = {
    "axial": (INFERIOR_SUPERIOR, POSTERIOR_ANTERIOR, LEFT_RIGHT),
    "coronal": (POSTERIOR_ANTERIOR, INFERIOR_SUPERIOR, LEFT_RIGHT),
    "sagittal": (LEFT_RIGHT, INFERIOR_SUPERIOR, POSTERIOR_ANTERIOR),
}
"""The patient's directions along which slices follow each other, down which rows run, and columns across."""


def upright(affine: npt.NDArray[np.float64], axis: str = "axial") -> SlicePlan:
    """The plan that gives upright pictures.

    Row 0 of coronal and sagittal slices is superior, column 0 of sagittal ones anterior.

    Args:
        affine: (4, 4), from voxel indices to the patient's right-anterior-superior millimetres; not
            singular.
        axis: One of ``AXES``.

    Raises:
        ValueError: There is no such axis.
    """
    if axis not in AXES:
        raise ValueError(f"axis must be {', '.join(AXES)}, not {axis}")
    from nibabel.orientations import io_orientation  # takes a while, and many have no use for it

    orientation = io_orientation(affine)  # type: ignore[no-untyped-call]
    nearest = [int(direction) for direction in orientation[:, 0]]
    sliced, row_axis, col_axis = (nearest.index(direction) for direction in AXES[axis])
    return SlicePlan(
        axis=sliced,
        row_axis=row_axis,
        col_axis=col_axis,
        flip_rows=bool(orientation[row_axis, 1] > 0),
        flip_cols=bool(orientation[col_axis, 1] > 0),
    )


def is_singular(affine: npt.NDArray[np.float64]) -> bool:
    """Whether an affine's axes are not finite or lie in one plane, whatever their spacing."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not lengths.all():
        return True
    return bool(abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3)
