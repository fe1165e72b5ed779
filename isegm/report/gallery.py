"""The gallery: which samples of an evaluation a page shows, and their pictures."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from isegm.datasets import Dataset, Sample
from isegm.errors import InputError
from isegm.evaluation.drawing import Picture, draw_contours, view
from isegm.evaluation.record import SampleResult
from isegm.metrics.noc import noc
from isegm.metrics.overlap import Mask
from isegm.pictures import read_grey, read_image
from isegm.report.stored_run import Group, Run

SHOWN = 12
"""Samples of each kind, worst and random, at most."""
PICTURES = 160
"""Pictures of a page at most, so that it stays a few megabytes large."""
HEIGHT, WIDTH = 360, 480
_SEED = 0
"""The seed of the random choice."""
_QUALITY = 80
_LEAST = 0.25
"""The smallest part of an image's shorter side that is shown, so that tiny objects have surroundings."""


@dataclass(frozen=True)
class Card:
    """A sample in the gallery.

    Attributes:
        line: The evaluation that is shown: of several seeds, that with the worst final mask.
        picture: A data URI; None where there is no picture.
        why: Why there is none.
    """

    line: SampleResult
    picture: str | None
    why: str = ""


@dataclass(frozen=True)
class Gallery:
    """The samples shown of one network on one data set, each kind worst first.

    Attributes:
        worst: Those with the worst final masks.
        random: Others, chosen at random.
        whole: Whether these are all samples.
    """

    worst: tuple[Card, ...]
    random: tuple[Card, ...]
    whole: bool


def make_gallery(run: Run, group: Group, dataset: Dataset | None, threshold: float) -> Gallery:
    """Choose samples and draw them.

    Args:
        run: The evaluation.
        group: Whose samples.
        dataset: Where the images and truths are; None for a gallery without pictures.
        threshold: Samples of equal final IoU are in the order of NoC at it, the largest first.
    """
    ranked = sorted(
        (min(lines, key=lambda line: rank(line, threshold)) for lines in group.samples),
        key=lambda line: rank(line, threshold),
    )
    each = max(3, min(SHOWN, PICTURES // (2 * len(run.groups))))
    chosen = np.random.default_rng(_SEED).permutation(np.arange(each, len(ranked)))[:each]
    positions = {} if dataset is None else {name: number for number, name in enumerate(dataset.names)}

    def card(line: SampleResult) -> Card:
        if dataset is None and not run.is_of_volumes:
            return Card(line, None)
        try:
            if dataset is None:
                return Card(line, data_uri(read_image(_file_of(run, group, line, "pictures", ".jpg"))))
            return Card(line, _draw(run, group, dataset, positions, line))
        except (InputError, OSError) as error:  # one picture that cannot be read costs no report
            return Card(line, None, str(error))

    return Gallery(
        worst=tuple(card(line) for line in ranked[:each]),
        random=tuple(card(ranked[number]) for number in sorted(chosen)),
        whole=len(ranked) <= 2 * each,
    )


def rank(line: SampleResult, threshold: float) -> tuple[float, int]:
    """Return what a gallery is sorted by: the final IoU, then NoC at a threshold, the largest first."""
    return line.ious[-1], -noc(line.scores, threshold, len(line.scores))


def _draw(run: Run, group: Group, dataset: Dataset, positions: Mapping[str, int], line: SampleResult) -> str:
    """Draw an evaluation and return the picture as a data URI.

    Raises:
        InputError: Image, truth or mask are not there, cannot be read or do not fit together.
    """
    if line.name not in positions:
        raise InputError(f"{dataset.name}: has no sample {line.name!a} any more")
    sample = dataset[positions[line.name]]
    path = mask_path(run, group, line)
    mask = read_grey(path) > 127
    if mask.shape != sample.truth.shape:
        raise InputError(f"{path}: is not of its image's size")
    return data_uri(draw(sample, mask, line))


def draw(sample: Sample, mask: Mask, line: SampleResult) -> Picture:
    """Draw the part of an image that matters, with both outlines and the clicks, within 480 x 360 pixels."""
    clicks = [click for click in line.clicks if click.row < mask.shape[0] and click.col < mask.shape[1]]
    marked = mask | (sample.truth == 1)
    for click in clicks:
        marked[int(click.row), int(click.col)] = True
    _widen(marked)
    rows, cols = view(marked, WIDTH / HEIGHT)
    part = Sample(sample.name, sample.image[rows, cols], sample.truth[rows, cols], None)
    moved = [replace(click, row=click.row - rows.start, col=click.col - cols.start) for click in clicks]
    return draw_contours(part, mask[rows, cols], moved, HEIGHT, WIDTH)


def _widen(marked: Mask) -> None:
    """Mark two corners of a square around the middle of the marks, so that enough of the image is shown."""
    half = round(_LEAST * min(marked.shape) / 2)
    middle = [int(places.min() + places.max()) // 2 for places in np.nonzero(marked)]
    for step in (-half, half):
        row, col = (
            int(np.clip(at + step, 0, side - 1)) for at, side in zip(middle, marked.shape, strict=True)
        )
        marked[row, col] = True


def mask_path(run: Run, group: Group, line: SampleResult) -> Path:
    """Find the final mask that the evaluation left.

    Raises:
        InputError: There is none, or a name cannot be part of a file's name.
    """
    return _file_of(run, group, line, "predictions", ".png")


def _file_of(run: Run, group: Group, line: SampleResult, kind: str, suffix: str) -> Path:
    """Find what the evaluation left of a sample in one of its folders."""
    names = group.model, group.dataset, line.name
    if any(set(name) & set("/\0") or name in ("", ".", "..") for name in names):
        raise InputError(f"{line.name!a}: cannot be the name of a file, so that its mask is not to be found")
    masks, what = run.folder / kind, {"predictions": "mask", "pictures": "picture"}[kind]
    places = [masks / group.model / group.dataset, masks / group.dataset]
    seeded = [place / f"seed_{line.seed}" for place in places]
    for place in [*seeded, *places] if len(group.seeds) > 1 else places:
        path = place / f"{line.name}{suffix}"
        if path.is_file():
            return path
    raise InputError(f"{places[1] / line.name}{suffix}: there is no such {what}")


def data_uri(picture: Picture) -> str:
    """Encode a picture (H, W, 3) to stand within a page's text."""
    settings = [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
    _, encoded = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
