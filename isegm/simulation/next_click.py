"""The evaluation's click simulator: in the middle of the largest error.

Source: EMC-Click's evaluation protocol, which RITM's is too (Sofiiuk et al., 2021, section 4).
"""

import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.simulation.deepest import deepest_pixel


class NextClick:
    """Place click after click on one image, each where the mask is wrong by the widest margin.

    Args:
        truth: (H, W), 1 object, 0 background, -1 ignored.

    Raises:
        ValueError: ``truth`` is not two-dimensional.
    """

    def __init__(self, truth: npt.NDArray[np.generic]) -> None:
        if truth.ndim != 2:
            raise ValueError(f"the truth must be (H, W), not {truth.shape}")
        self._object = truth == 1
        self._background = truth == 0
        self._unclicked = np.ones(truth.shape, np.bool_)

    def click(self, mask: npt.NDArray[np.bool_]) -> Click | None:
        """Place the next click.

        False negatives and false positives (ignored pixels are neither) each have their widest point: the
        pixel furthest from where that error ends, the picture's border being such an end. The wider one of
        the two is clicked, at its first pixel in row-major order; a tie goes to the false positives. No
        pixel is clicked twice.

        Args:
            mask: The current mask, (H, W).

        Returns:
            The click, in whole pixels, positive on a false negative; None where there is no error that has
            not been clicked.

        Raises:
            ValueError: ``mask`` is not a boolean array of the truth's shape.
        """
        click = self.aim(mask)
        if click is not None:
            self.mark(int(click.row), int(click.col))
        return click

    def aim(self, mask: npt.NDArray[np.bool_]) -> Click | None:
        """Say where :meth:`click` would click, without clicking."""
        if mask.shape != self._object.shape or mask.dtype != np.bool_:
            raise ValueError(f"the mask must be {self._object.shape} bool, not {mask.shape} {mask.dtype}")
        # The larger error is likely the deeper one: of the other it is then soon known that it is not.
        errors = [(self.error(mask, positive=positive), positive) for positive in (True, False)]
        errors.sort(key=lambda error: np.count_nonzero(error[0]), reverse=True)
        squared, row, col, positive = 0, 0, 0, False
        for error, is_missed in errors:
            found = deepest_pixel(error, self._unclicked, at_least=squared + is_missed)  # extra wins a tie
            if found[0]:
                (squared, row, col), positive = found, is_missed
        if not squared:
            return None
        return Click(row, col, positive)

    def mark(self, row: int, col: int) -> None:
        """Remember that a pixel was clicked."""
        self._unclicked[row, col] = False

    def error(self, mask: npt.NDArray[np.bool_], *, positive: bool) -> npt.NDArray[np.bool_]:
        """The errors that clicks of one polarity are for, (H, W): false negatives, or false positives."""
        return self._object & ~mask if positive else self._background & mask

    @property
    def unclicked(self) -> npt.NDArray[np.bool_]:
        """Where no click has been placed, (H, W); for reading only."""
        return self._unclicked
