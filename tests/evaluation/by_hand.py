"""A predictor and samples whose every figure can be worked out by hand."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from isegm.datasets import Sample
from isegm.evaluation.record import FinalScores, SampleResult
from isegm.geometry import Click


class ScriptedPredictor:
    """Stands in for a ``Predictor``: its masks come from a list, whatever is clicked."""

    def __init__(self, masks: Sequence[npt.ArrayLike]) -> None:
        self.script = [np.asarray(mask, np.bool_) for mask in masks]
        self.placed: list[Click] = []

    def set_image(
        self, image: npt.NDArray[np.uint8], previous_mask: npt.NDArray[np.bool_] | None = None
    ) -> None:
        self.placed = []
        self.first = np.zeros(image.shape[:2], np.bool_) if previous_mask is None else previous_mask

    def click(self, row: float, col: float, positive: bool) -> npt.NDArray[np.float32]:
        self.placed.append(Click(row, col, positive))
        return np.full(self.first.shape, 0.25, np.float32)

    @property
    def clicks(self) -> tuple[Click, ...]:
        return tuple(self.placed)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        return self.script[len(self.placed) - 1] if self.placed else self.first

    @property
    def probability(self) -> npt.NDArray[np.float32] | None:
        return np.full(self.first.shape, 0.25, np.float32) if self.placed else None


def row_of(count: int, width: int = 12) -> npt.NDArray[np.int8]:
    """One row of pixels, the first ``count`` of them object."""
    return (np.arange(width) < count).astype(np.int8)[None]


def sample_of(truth: npt.NDArray[np.int8], name: str = "a", initial: npt.ArrayLike | None = None) -> Sample:
    image = np.zeros((*truth.shape, 3), np.uint8)
    return Sample(name, image, truth, None if initial is None else np.asarray(initial, np.bool_))


FINAL = FinalScores(0.75, 3.0, 0.5)


def result_of(
    scores: Sequence[float],
    name: str = "a",
    clicks: int | None = None,
    seconds: float = 0.5,
    final: FinalScores = FINAL,
) -> SampleResult:
    """A result with these scores; as many clicks as scores unless said otherwise, each of so many seconds."""
    count = len(scores) if clicks is None else clicks
    placed = tuple(Click(float(i), float(2 * i), i % 2 == 0) for i in range(count))
    return SampleResult(name, placed, tuple(scores), (seconds,) * count, final)
