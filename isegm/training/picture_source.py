"""Scenes from the pictures of data sets, whichever reader of :mod:`isegm.datasets` gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from isegm.datasets.picture import StoredPicture
from isegm.training.ct_appearance import WindowJitter, random_window, vary_tone
from isegm.training.phantom_source import only_visible
from isegm.training.scenes import Scene

Content = Literal["auto", "ct", "photo"]
"""What pictures show; ``auto`` takes grey ones for CT."""

CONTENTS: tuple[Content, ...] = get_args(Content)

USUAL_JITTER = WindowJitter()


@dataclass(frozen=True)
class PictureSource:
    """Scenes from a data set, each picture as often as any other.

    Attributes:
        name: What messages call it.
        pictures: Its pictures.
        content: What those show that have grey values or colours.
        jitter: How far the windows of those that have HU are varied.
        notes: Lines that the user should read.
        any_window: Show HU in windows that depend on the objects, not on what was asked for.
    """

    name: str
    pictures: Sequence[StoredPicture]
    content: Content = "auto"
    jitter: WindowJitter = USUAL_JITTER
    notes: tuple[str, ...] = ()
    any_window: bool = False

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw a picture (:meth:`isegm.training.scenes.Source.draw`).

        Of HU the window is drawn, too; of CT that was windowed before the tone is varied instead.
        """
        picture = self.pictures[int(rng.integers(len(self.pictures)))].read()
        if picture.window is not None and self.any_window:
            hu = float(rng.choice(picture.pixels[picture.labels > 0]))
            image = picture.image(random_window(hu, self.jitter, rng))
            visible = only_visible(picture.labels, image[:, :, 0])
            return Scene(image, visible, is_ct=True, beside=picture.beside)
        if picture.window is not None:
            image = picture.image(self.jitter.draw(picture.window, rng))
            return Scene(image, picture.labels, is_ct=True, beside=picture.beside)
        image = picture.image()
        is_ct = self.content == "ct" or (self.content == "auto" and _is_grey(image))
        return Scene(vary_tone(image, rng) if is_ct else image, picture.labels, is_ct, picture.beside)


def _is_grey(image: npt.NDArray[Any]) -> bool:
    return bool((image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 1] == image[:, :, 2]).all())
