"""A CT volume, whatever format it is stored in: how it lies in the patient, and its values, slab by slab.

A format's adapter (:mod:`isegm.volumes.nifti`) reads the header into a :class:`Volume` and the voxels on
demand: the array (X, Y, Z) front to back along its last axis, a few slices at a time, as stored. Memory holds
a slab, never a volume.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.volumes.windows import Window, apply_window

MOST_LABEL = 2**31
"""Labels are below this."""

LABEL_TOLERANCE = 1e-3
"""How far a stored label may be from an integer, which 255 / 255, scaled in single precision, misses."""

_SHEAR_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Voxels:
    """Some of a volume's voxels, as they are stored.

    Attributes:
        path: The volume's file, for messages.
        stored: Stored values, of any shape; read-only.
        slope: HU a stored unit.
        inter: HU of a stored 0.
    """

    path: Path
    stored: npt.NDArray[Any]
    slope: float = 1.0
    inter: float = 0.0

    def __getitem__(self, part: Any) -> "Voxels":  # noqa: ANN401 - whatever NumPy takes for an index
        return replace(self, stored=self.stored[part])

    def hu(self) -> npt.NDArray[np.float64]:
        """HU, or whatever else the volume holds."""
        with np.errstate(over="ignore", invalid="ignore"):  # values that no scan has may overflow
            return self.stored.astype(np.float64) * self.slope + self.inter

    def windowed(self, window: Window) -> npt.NDArray[np.uint8]:
        """Grey values by a window, in the shape and memory order of what is stored."""
        return apply_window(self.stored, window, self.slope, self.inter)

    def check_finite(self, where: str) -> None:
        """Refuse NaN and infinity, which have no HU.

        Args:
            where: What to call these voxels in the message, ``slice 12`` say.

        Raises:
            InputError: A voxel is NaN or infinite.
        """
        if self.stored.dtype.kind == "f" and not np.isfinite(self.stored).all():
            raise InputError(f"{self.path}: NaN or infinite voxels in {where}; replace them, by -1024 HU say")

    def labels(self) -> npt.NDArray[Any]:
        """Label values: integers, of whatever type.

        Raises:
            InputError: A scaled or floating value is further than ``LABEL_TOLERANCE`` from an integer, above
                ``MOST_LABEL``, or NaN.
        """
        if self.stored.dtype.kind != "f" and (self.slope, self.inter) == (1.0, 0.0):
            return self.stored
        values = self.hu()
        rounded = np.rint(values)
        with np.errstate(invalid="ignore"):  # infinity less infinity
            wrong = ~(np.abs(values - rounded) <= LABEL_TOLERANCE)  # also true of NaN
        wrong |= np.abs(values) > MOST_LABEL
        if wrong.any():
            raise InputError(
                f"{self.path}: holds {values[wrong][0]:g}, no label; give integers (threshold probabilities)"
            )
        return rounded


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume(ABC):
    """A volume whose header is read and found usable; its voxels are read on demand.

    Attributes:
        path: The file or folder that the user named.
        shape: (X, Y, Z) voxels.
        affine: (4, 4), from voxel indices to the patient's right-anterior-superior millimetres.
        has_orientation: Whether the file says how the volume lies in the patient. If not, ``affine`` is its
            format's fallback.
        is_8bit: Whether the voxels are grey values 0-255 already, not HU.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]
    has_orientation: bool = True
    is_8bit: bool = False

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres between neighbouring voxel centres along each array axis, by the affine."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def on_grid_of(self, other: "Volume") -> "Volume":
        """This volume, or itself with its axes turned round, if that puts it on another volume's grid.

        Formats whose slices can be read in any order offer it.

        Args:
            other: Perhaps of the same voxels, in another order.
        """
        del other
        return self

    @abstractmethod
    def slabs(self, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Voxels]]:
        """Read the volume front to back.

        Args:
            wanted: Indices along the last axis; only these slices are read, one a slab. Without, all are, in
                slabs of a bounded size.

        Yields:
            The index of the slab's first slice along the last axis, and the slab (X, Y, slices).

        Raises:
            InputError: The file ends too soon or is damaged. That may be after the last slab, where a format
                keeps its checksum.
        """


def is_sheared(affine: npt.NDArray[np.float64]) -> bool:
    """Whether a volume's axes are not at right angles, as a tilted gantry leaves them.

    Axes whose angle has a cosine of up to 0.001 pass for such.

    Args:
        affine: (4, 4), of finite axes that are not 0.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR_TOLERANCE)
