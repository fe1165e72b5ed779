"""One sample of a data set: what a simulated annotator segments."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isegm.masks import Truth


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with one object in it.

    Attributes:
        name: Unique in its data set, and usable as the name of a file.
        image: (H, W, 3) RGB uint8.
        truth: (H, W): 1 object, 0 background, -1 ignored (counts neither way).
        initial_mask: (H, W) bool, the mask that the annotator starts from; None where there is none. It may
            be empty.
    """

    name: str
    image: npt.NDArray[np.uint8]
    truth: Truth
    initial_mask: npt.NDArray[np.bool_] | None
