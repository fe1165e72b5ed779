"""Whether a volume's values can be HU: windows mean nothing on values of another scale.

HU are anchored: air lies at -1000, fat at -100, water at 0, soft tissue between 20 and 300. Values that were
shifted, normalised or never were CT miss one of these; docs/ct.md has the rule in words.
"""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isegm.errors import FileWarning
from isegm.volumes.volume import Voxels

# Rows and columns looked at in a slice.
_SIDE = 48
# Values kept of a volume.
_MOST = 1 << 17
# Nothing that was measured lies below; scanners pad with -1500, -2000, -2048, -3024, -8192.
_LOWEST_AIR = -1100.0


class HuCheck:
    """Gathers a sample of a volume's values as it is read.

    Args:
        path: The volume, for the message.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values = np.empty(0, np.float32)
        self._step = 1

    def add(self, voxels: Voxels) -> None:
        """Look at a slab (X, Y, slices): at some 2,000 voxels of each slice, at fewer in large volumes."""
        steps = tuple(slice(None, None, max(1, side // _SIDE)) for side in voxels.stored.shape[:2])
        with np.errstate(over="ignore"):  # infinity is left out later
            values = voxels[steps].hu().astype(np.float32).ravel()[:: self._step]
        self._values = np.concatenate((self._values, values))
        if self._values.size > _MOST:
            self._values, self._step = self._values[::2], 2 * self._step

    def reason(self) -> str:
        """Why what was looked at cannot be HU; empty where it can."""
        return why_not_hu(self._values)

    def warn(self) -> None:
        """Warn if what was looked at is not like HU.

        Warns:
            FileWarning: Why.
        """
        if reason := self.reason():
            text = (
                f"its values are not like HU, which windows are made for: {reason}; convert them to HU first"
            )
            warnings.warn(FileWarning(self._path, text), stacklevel=2)


def why_not_hu(values: npt.NDArray[np.floating]) -> str:
    """Tell why values cannot be HU; empty where they can.

    Args:
        values: A sample of a volume's values, (n,). NaN and infinity, and padding far below air, are left
            out.
    """
    values = values[np.isfinite(values)]
    _, counts = np.unique(values[(values > -2300) & (values < -1300)], return_counts=True)
    if counts.sum() - counts.max(initial=0) > values.size / 20:  # padding is one value
        return "many lie far below -1000, where there is nothing but padding"
    values = values[values >= _LOWEST_AIR]
    if not values.size or values.min() == values.max():
        return ""
    low, median, high = (float(value) for value in np.percentile(values, (0.1, 50, 99.9)))
    if abs(median) < 10 and high - low < 40 and not (values == np.rint(values)).all():
        return "nearly all lie within 40 of each other around 0, as if normalised"
    if low < -50:
        return ""
    upper = values[values > 500]
    quarter, middle, three_quarters = np.percentile(upper, (25, 50, 75)) if upper.size else (0, 0, 0)
    is_tissue = 850 <= middle <= 1200 and three_quarters - quarter <= 250
    if median > 700 or (is_tissue and upper.size > values.size / 30):
        return "soft tissue lies near or above 1000, as in HU + 1024 or values before rescaling"
    if high == values.max() == 255:
        return "none lies below 0 and many at 255 exactly, as in grey values"
    if -0.005 * high <= low <= 0.05 * high and (values <= low + 0.03 * high).mean() > 0.02:
        return "they begin at 0, but air, lung and fat lie below"
    return ""
