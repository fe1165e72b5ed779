"""The interface of anything that segments volumes by clicks, as the evaluation uses it."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from isegm.geometry import VoxelClick
from isegm.volumes.volume import Volume
from isegm.volumes.windows import Window

VolumeMask = npt.NDArray[np.bool_]  # (X, Y, Z)


class VolumeSegmenter(Protocol):
    """One volume, click after click."""

    def set_volume(self, volume: Volume, window: Window) -> None:
        """Start on a volume, seen in a window; all clicks on the last one are forgotten."""

    def click(self, voxel: tuple[int, int, int], positive: bool = True) -> None:
        """Place a click at a voxel (i, j, k), and bring the whole volume's mask up to date."""

    @property
    def clicks(self) -> tuple[VoxelClick, ...]:
        """The clicks so far."""

    @property
    def mask(self) -> VolumeMask:
        """The current mask, (X, Y, Z) bool."""
