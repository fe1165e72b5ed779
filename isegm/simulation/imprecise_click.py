"""A click simulator that clicks less precisely than the published one, as people do."""

import hashlib

import cv2
import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.simulation.click_model import ClickModel
from isegm.simulation.next_click import NextClick


class ImpreciseClick:
    """Place click after click on one image, each at or near the error that the published simulator clicks.

    A click comes about in this order:

    1. The published simulator (:class:`NextClick`) decides which error is clicked, where its middle is and
       which polarity is meant. Where it places no click, none is placed.
    2. ``random``: in place of the middle any pixel is aimed at, all alike, of the part of the error that
       holds the middle (pixels that touch by a corner belong together) and that has not been clicked. It is
       not any wrong pixel: nearly all masks are wrong along their outline, where nobody would click.
    3. ``jitter``: the hand slips, by a normal deviate along the rows and another along the columns, rounded
       to whole pixels, and no further than to the picture's edge. The click may so land outside the error,
       or where the truth is ignored; the polarity stays the one that was meant.
    4. A pixel that was clicked already is not clicked again: the click goes to the nearest one that was not,
       the first in row-major order among equally near ones. Only where clicks landed counts as clicked, not
       where they were aimed at.
    5. ``wrong``: the wrong mouse button is pressed. The first click is exempt: the network's first stage sees
       nothing but that, positive, and any user would notice at once and start again. So what is measured is
       the correction that follows a mistake.

    What is left to chance is a function of the seed, the sample's name and the number of the click, and each
    of the three has chances of its own: a click slips by the same deviate whatever else the model says.

    Args:
        truth: (H, W), 1 object, 0 background, -1 ignored.
        model: What is left to chance.
        seed: Which of many users this is, at least 0.
        name: The sample's name.

    Raises:
        ValueError: ``truth`` is not two-dimensional.
    """

    def __init__(self, truth: npt.NDArray[np.generic], model: ClickModel, seed: int, name: str) -> None:
        self._published = NextClick(truth)
        self._model = model
        self._seed = seed
        self._name = name
        self._placed = 0

    def click(self, mask: npt.NDArray[np.bool_]) -> Click | None:
        """Place the next click.

        Args:
            mask: The current mask, (H, W).

        Returns:
            The click, in whole pixels; None where there is no error that has not been clicked.

        Raises:
            ValueError: ``mask`` is not a boolean array of the truth's shape.
        """
        middle = self._published.aim(mask)
        if middle is None:
            return None
        chance = _chance(self._seed, self._name, self._placed)
        button, choice = chance.random(2)
        slip = chance.standard_normal(2) * self._model.jitter
        row, col = int(middle.row), int(middle.col)
        if self._model.random:
            error = self._published.error(mask, positive=middle.positive)
            row, col = _any_pixel(_part_with(error, row, col) & self._published.unclicked, choice)
        row, col = (_slipped(*axis) for axis in zip((row, col), slip, mask.shape, strict=True))
        row, col = _nearest(self._published.unclicked, row, col)
        self._published.mark(row, col)
        is_wrong = self._placed > 0 and bool(button < self._model.wrong)
        self._placed += 1
        return Click(row, col, middle.positive != is_wrong)


def _chance(seed: int, name: str, number: int) -> np.random.Generator:
    """The chances of one click: the same in every process, on every machine."""
    # A name from the file system may hold what is no valid text.
    identity = f"{seed}\0{number}\0{name}".encode("utf-8", "surrogatepass")
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(identity).digest(), "big")))


def _part_with(error: npt.NDArray[np.bool_], row: int, col: int) -> npt.NDArray[np.bool_]:
    """The connected part of an error, (H, W), that holds one of its pixels."""
    _, parts = cv2.connectedComponents(error.view(np.uint8), connectivity=8)
    return np.asarray(parts == parts[row, col])


def _any_pixel(pixels: npt.NDArray[np.bool_], choice: float) -> tuple[int, int]:
    """One of the pixels that are set, by ``choice``, a fraction below 1 of the way through all of them."""
    places = np.flatnonzero(pixels)
    row, col = divmod(int(places[int(choice * places.size)]), pixels.shape[1])
    return row, col


def _slipped(place: int, slip: float, size: int) -> int:
    """A row or column after a slip, within the picture."""
    return round(min(max(place + slip, 0.0), size - 1.0))


def _nearest(unclicked: npt.NDArray[np.bool_], row: int, col: int) -> tuple[int, int]:
    """The pixel that is set nearest to a place, the first of equals in row-major order; one has to be set."""
    if unclicked[row, col]:
        return row, col
    rows, cols = np.nonzero(unclicked)
    nearest = int(((rows - row) ** 2 + (cols - col) ** 2).argmin())
    return int(rows[nearest]), int(cols[nearest])
