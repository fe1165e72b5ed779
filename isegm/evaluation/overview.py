"""One picture of an evaluation: of each data set a sample, and what its first clicks and the last led to."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isegm.config import Config
from isegm.datasets import Sample, open_dataset
from isegm.evaluation.click_loop import initial_mask_of
from isegm.evaluation.drawing import (
    LEGEND,
    NEGATIVE_COLOUR,
    POSITIVE_COLOUR,
    Picture,
    draw_areas,
    enlarged,
    enlargement,
    view,
)
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import SampleResult, read_records
from isegm.evaluation.workers import one_thread_a_sample, predictor_for
from isegm.geometry import Click
from isegm.inference.load import load_network
from isegm.inference.segmenter import Segmenter
from isegm.metrics.overlap import Mask
from isegm.wording import counted

PANEL_WIDTH, PANEL_HEIGHT = 285, 214
GAP = 12
CAPTION_HEIGHT = 38
BACKGROUND = (16, 18, 22)
_COLUMNS = 4
_FONT_SIZE = 21
_INK = (232, 234, 238)
_WHITE = (255, 255, 255)
_DISK, _LINE = 6.5, 1.5
"""Radius of a click's disk and width of an outline, in pixels of the overview."""


class Panel(NamedTuple):
    """One of the overview's pictures, (``PANEL_HEIGHT``, ``PANEL_WIDTH``, 3), and what stands below it."""

    picture: Picture
    caption: str


def draw_overview(results: Path, config: Config) -> Picture:
    """Draw a row a data set: a sample's image, then its masks after one, two and all clicks.

    The sample is the data set's first with a result, and its clicks are those on the first network's masks.
    That network is run again, on the CPU, because an evaluation keeps only the final masks.

    Args:
        results: The folder of an evaluation by IoU on CT slices; its ``results.json`` and ``samples.jsonl``
            are read.
        config: Where its data sets are.

    Returns:
        (H, W, 3) RGB, the data sets in the evaluation's order.

    Raises:
        InputError: The checkpoint or a data set is no longer there, or cannot be used.
        OSError: The evaluation's files cannot be read.
    """
    about = json.loads((results / "results.json").read_text(encoding="utf-8"))
    network, protocol = about["checkpoints"][0], Protocol(**about["settings"])
    firsts: dict[str, tuple[int, SampleResult]] = {}
    samples = results / "samples.jsonl"
    for _, record in read_records(samples, protocol.metric, protocol.n_clicks, "evaluate again"):
        if record.job.model == network["name"] and isinstance(record.outcome, SampleResult):
            firsts.setdefault(record.job.dataset, (record.index, record.outcome))

    ready = load_network(
        Path(network["path"]), backend=protocol.backend, precision=protocol.precision, threads=1
    )
    rows = []
    for name, (index, result) in firsts.items():
        dataset = open_dataset(name, config)
        sample = dataset[index]
        begun = replace(sample, initial_mask=initial_mask_of(sample, protocol))
        masks = replay(predictor_for(ready, dataset, protocol), begun, result.clicks)
        rows.append(panels(name, sample, result.clicks, masks, result.ious))
    return arrange(rows)


def replay(predictor: Segmenter, sample: Sample, clicks: Iterable[Click]) -> list[Mask]:
    """The mask (H, W) after each click."""
    masks = []
    with one_thread_a_sample():  # as in the evaluation: the last bits depend on it, and masks may on them
        predictor.set_image(sample.image, sample.initial_mask)
        for click in clicks:
            predictor.click(click.row, click.col, click.positive)
            masks.append(predictor.mask)
    return masks


def panels(
    dataset: str, sample: Sample, clicks: Sequence[Click], masks: Sequence[Mask], ious: Sequence[float]
) -> list[Panel]:
    """Draw a row: the image, then the masks after one, two and all clicks; fewer if there are fewer.

    Args:
        dataset: The data set's name.
        sample: The image (H, W, 3) and its truth (H, W).
        clicks: All clicks, in the image's pixels.
        masks: The mask (H, W) after each click.
        ious: IoU after each click; there may be more of them than clicks, as in ``samples.jsonl``.
    """
    stages = sorted({count for count in (1, 2, len(clicks)) if 0 < count <= len(clicks)})
    marked = np.logical_or.reduce([sample.truth == 1, *(masks[count - 1] for count in stages)])
    for click in clicks:
        marked[round(click.row), round(click.col)] = True
    rows, cols = view(marked, PANEL_WIDTH / PANEL_HEIGHT)
    part = Sample(sample.name, sample.image[rows, cols], sample.truth[rows, cols], None)
    moved = [replace(click, row=click.row - rows.start, col=click.col - cols.start) for click in clicks]
    found = [Panel(fit(enlarged(part.image)), f"{dataset}, CT slice")]
    for count in stages:
        picture = fit(_draw_marks(part, masks[count - 1][rows, cols], moved[:count]))
        found.append(Panel(picture, f"{counted(count, 'click')}: IoU {ious[count - 1]:.2f}"))
    return found


def _draw_marks(part: Sample, mask: Mask, clicks: Sequence[Click]) -> Picture:
    """A result as ``--vis`` draws it, with outlines and clicks that stay visible at a panel's size."""
    factor = enlargement(*mask.shape)
    scale = max(factor * mask.shape[0] / PANEL_HEIGHT, factor * mask.shape[1] / PANEL_WIDTH)
    picture = draw_areas(part, mask, round(_LINE * scale))
    for click in clicks:
        centre = round((click.col + 0.5) * factor), round((click.row + 0.5) * factor)
        _draw_click(picture, centre, click.positive, scale)
    return picture


def _draw_click(picture: Picture, centre: tuple[int, int], positive: bool, scale: float) -> None:
    """A disk with a plus or a minus, for those who do not tell red from green."""
    (x, y), arm = centre, round(0.55 * _DISK * scale)
    colour = POSITIVE_COLOUR if positive else NEGATIVE_COLOUR
    cv2.circle(picture, centre, round((_DISK + _LINE) * scale), _WHITE, -1, cv2.LINE_AA)
    cv2.circle(picture, centre, round(_DISK * scale), colour, -1, cv2.LINE_AA)
    cv2.line(picture, (x - arm, y), (x + arm, y), _WHITE, round(_LINE * scale))
    if positive:
        cv2.line(picture, (x, y - arm), (x, y + arm), _WHITE, round(_LINE * scale))


def fit(picture: Picture) -> Picture:
    """The picture (H, W, 3) as large as a panel holds it, in the middle, on black."""
    factor = min(PANEL_HEIGHT / picture.shape[0], PANEL_WIDTH / picture.shape[1])
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    top, left = (PANEL_HEIGHT - height) // 2, (PANEL_WIDTH - width) // 2
    panel = np.zeros((PANEL_HEIGHT, PANEL_WIDTH, 3), np.uint8)
    panel[top : top + height, left : left + width] = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA
    )
    return panel


def arrange(rows: Sequence[Sequence[Panel]]) -> Picture:
    """All panels in a grid with their captions, and what the colours mean at the foot."""
    from matplotlib import get_data_path  # slow to import

    font = ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), _FONT_SIZE)
    step_x, step_y = PANEL_WIDTH + GAP, PANEL_HEIGHT + CAPTION_HEIGHT + GAP
    size = GAP + _COLUMNS * step_x, GAP + len(rows) * step_y + CAPTION_HEIGHT
    overview = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(overview)
    for row, found in enumerate(rows):
        for column, panel in enumerate(found):
            left, top = GAP + column * step_x, GAP + row * step_y
            overview.paste(Image.fromarray(panel.picture), (left, top))
            at = left + PANEL_WIDTH / 2, top + PANEL_HEIGHT + CAPTION_HEIGHT / 2
            pen.text(at, panel.caption, _INK, font, anchor="mm")
    x, y = float(GAP), size[1] - GAP - CAPTION_HEIGHT / 2
    for meaning, colour in LEGEND.items():
        pen.ellipse((x, y - _DISK, x + 2 * _DISK, y + _DISK), colour)
        x += 2 * _DISK + 0.7 * GAP
        pen.text((x, y), meaning, _INK, font, anchor="lm")
        x += font.getlength(meaning) + 3 * GAP
    return np.asarray(overview)
