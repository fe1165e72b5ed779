"""Generated CT slices with clicks on an organ, placed as the evaluation places them.

Two ways to compute a trained network are compared on these: the outputs of an untrained one hardly vary.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from isegm.geometry import Click
from isegm.inference.segmenter import Segmenter
from isegm.metrics.overlap import Mask
from isegm.phantom.slices import random_slice
from isegm.simulation.next_click import NextClick
from isegm.volumes.windows import WINDOWS, apply_window


class ClickedPicture(NamedTuple):
    """A picture and the clicks on it.

    Attributes:
        image: (H, W) uint8, windowed for the abdomen.
        truth: (H, W) bool, its largest organ.
        clicks: In the picture's pixels.
    """

    image: npt.NDArray[np.uint8]
    truth: Mask
    clicks: tuple[Click, ...]


def clicked_pictures(
    segmenter: Segmenter, sizes: Sequence[tuple[int, int]], clicks: int
) -> list[ClickedPicture]:
    """Generate slices and click on them.

    Args:
        segmenter: Whose masks are corrected by the clicks.
        sizes: The (height, width) of each picture, in pixels; the n-th picture of a size is always the same.
        clicks: How many at most; fewer where a mask has no error left.
    """
    pictures = []
    for seed, (height, width) in enumerate(sizes):
        drawn = random_slice(np.random.default_rng(seed), height, width, "anatomy")
        image = apply_window(drawn.hu, WINDOWS["abdomen"])
        truth = drawn.labels == np.bincount(drawn.labels[drawn.labels > 0]).argmax()
        segmenter.set_image(image)
        simulator, placed = NextClick(truth.astype(np.int8)), list[Click]()
        while len(placed) < clicks and (click := simulator.click(segmenter.mask)) is not None:
            segmenter.click(click.row, click.col, click.positive)
            placed.append(click)
        pictures.append(ClickedPicture(image, truth, tuple(placed)))
    return pictures


def masks_of(segmenter: Segmenter, picture: ClickedPicture) -> Iterator[Mask]:
    """Repeat the clicks on a picture: the mask after each."""
    segmenter.set_image(picture.image)
    for click in picture.clicks:
        segmenter.click(click.row, click.col, click.positive)
        yield segmenter.mask
