"""What training pictures are made of: a picture with all its objects, and where such pictures come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from isegm.masks import Labels


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with all its objects.

    Attributes:
        image: (H, W, 3) RGB uint8; CT is windowed.
        labels: (H, W): 0 background, 1..n the objects (numbers may be missing), -1 ignored.
        is_ct: Whether it is CT, whose grey values have been varied already (its window was) and whose
            colours mean nothing.
        beside: (H, W), where the objects are in the slice beside; None where that is not known.
    """

    image: npt.NDArray[np.uint8]
    labels: Labels
    is_ct: bool
    beside: Labels | None = None

    @classmethod
    def of_ct(cls, grey: npt.NDArray[np.uint8], labels: Labels, beside: Labels | None = None) -> "Scene":
        """The scene of a windowed CT slice, (H, W)."""
        return cls(
            np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8), labels, is_ct=True, beside=beside
        )

    def moved(self, image: npt.NDArray[np.uint8], move: Callable[[Labels], Labels]) -> "Scene":
        """The scene with another image, and with what became of its labels on the way to that."""
        beside = None if self.beside is None else move(self.beside)
        return Scene(image, move(self.labels), self.is_ct, beside)


class Source(Protocol):
    """Where scenes come from. A source holds no random state and travels to other processes."""

    @property
    def name(self) -> str:
        """What messages call it: what the user asked for."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines that the user should read before training on it."""

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw a scene.

        Args:
            rng: The only source of chance: the same state gives the same scene.

        Raises:
            InputError: The files it fell upon cannot be used; the line names the file.
            OSError: They cannot be read.
        """


@dataclass(frozen=True)
class Altered:
    """A source whose scenes are altered after they are drawn.

    Attributes:
        source: Where scenes come from.
        alter: What becomes of each.
    """

    source: Source
    alter: Callable[[Scene, np.random.Generator], Scene]

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def notes(self) -> tuple[str, ...]:
        """The source's notes."""
        return self.source.notes

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw a scene and alter it (:meth:`Source.draw`)."""
        return self.alter(self.source.draw(rng), rng)
