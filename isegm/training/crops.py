"""Training samples: crop, choice of the object, variation, first click.

Source: EMC-Click, section 4.1, with the ranges of RITM's released recipes, from which it descends.

Sample ``index`` is a function of the seed and ``index`` alone. There is no other random state: any number of
processes in any order makes the same samples, and a run that is resumed needs to know no more than its step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.masks import Labels
from isegm.metrics.overlap import Mask
from isegm.simulation.train_clicks import first_click
from isegm.training.faint_objects import make_faint
from isegm.training.scenes import Scene, Source

_SCENES_A_SAMPLE = 100
_CROPS_A_SCENE = 10


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How a sample is made of a scene; the recipe checks it. The defaults are the published ones."""

    crop: tuple[int, int] = (320, 480)
    """Height and width of a sample, in pixels."""
    shorter_side: int = 0
    """Pixels to which a picture's shorter side is resized first, as the evaluation does; 0 leaves it."""
    scale: tuple[float, float] = (0.75, 1.40)
    """Least and greatest factor by which a picture is then resized before it is cropped."""
    min_object_pixels: int = 1000
    """Objects of fewer pixels in the crop are not chosen."""
    merge_probability: float = 0.15
    """How often two objects of a crop, where it has two, are taken as one."""
    off_centre_probability: float = 0.0
    """How often the first click may be anywhere in the object, not in its inner part only."""
    degraded_share: float = 0.0
    """How many samples are made worse to look at by :func:`degrade`."""
    faint_share: float = 0.0
    """In how many samples the object hardly shows, by :func:`isegm.training.faint_objects.make_faint`."""
    flip_probability: float = 0.5
    """How often a sample is mirrored left to right."""
    colour_probability: float = 0.75
    """How often brightness and contrast of a photograph are varied; likewise its colours."""
    brightness: tuple[float, float] = (-0.25, 0.25)
    """What is added to all channels, as a part of 255."""
    contrast: tuple[float, float] = (-0.15, 0.40)
    """Channels are multiplied by 1 more than this."""
    rgb_shift: float = 10.0
    """What is at most added to, or taken from, each channel on its own, of 255."""


@dataclass(frozen=True, eq=False)
class TrainingSample:
    """One object to be segmented.

    Attributes:
        image: (H, W, 3) RGB uint8, of the crop's size.
        label: (H, W) int8: 1 object, 0 background, -1 ignored.
        first_click: Its (row, col), in whole pixels.
        beside: (H, W), where the object is in the slice beside; None where that is not known, or
            it is not there.
        problems: Lines about files that were drawn before and could not be used. They are part of the
            sample because another process may make it than the one that can speak to the user
            (:class:`SkippedFiles`).
    """

    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int8]
    first_click: tuple[int, int]
    beside: Mask | None = None
    problems: tuple[str, ...] = ()


class TrainingSamples:
    """An endless, map-style data set.

    Args:
        source: Where scenes come from.
        settings: What becomes of them.
        seed: At least 0; another seed gives other samples.
    """

    def __init__(self, source: Source, settings: SampleSettings, seed: int) -> None:
        self._source = source
        self._settings = settings
        self._seed = seed

    def __getitem__(self, index: int) -> TrainingSample:
        """Make a sample.

        Where a scene has no object that is large enough in any of ten crops, and where its files cannot be
        used, another is drawn: one bad file, or a hundred, does not end a run that takes days.

        Args:
            index: At least 0.

        Raises:
            InputError: A hundred scenes gave no sample.
        """
        rng = np.random.default_rng([self._seed, index])
        problems: list[str] = []
        for _ in range(_SCENES_A_SAMPLE):
            try:
                scene = self._source.draw(rng)
            except InputError as error:
                problems.append(str(error))
                continue
            except OSError as error:
                problems.append(f"{error.filename or self._source.name}: {error.strerror or error}")
                continue
            sample = _make_sample(scene, self._settings, rng, problems)
            if sample is not None:
                return sample
        raise self._no_sample(problems)

    def _no_sample(self, problems: list[str]) -> InputError:
        least = self._settings.min_object_pixels
        small = _SCENES_A_SAMPLE - len(problems)
        reasons = []
        if problems:
            reasons.append(f"{len(problems)} could not be used, the last because of {problems[-1]}")
        if small:
            reasons.append(f"{small} have no object of {least} pixels in the crop; lower min_object_pixels?")
        return InputError(
            f"{self._source.name}: {_SCENES_A_SAMPLE} pictures drawn, none to train on: {'; '.join(reasons)}"
        )


class SkippedFiles:
    """The files that a run could not use so far. A few are reported and left out; many end the run.

    Args:
        most: So many different ones are let pass in any case.
        share: Beyond that, the run ends when this part of all draws failed: a disk that is gone, a folder of
            empty masks.
    """

    def __init__(self, most: int = 100, share: float = 0.1) -> None:
        self._most = most
        self._share = share
        self._known: set[str] = set()
        self._samples = 0
        self._draws = 0

    def __len__(self) -> int:
        """How many different problems there were."""
        return len(self._known)

    def note(self, samples: Iterable[Sequence[str]]) -> list[str]:
        """Count samples, of each of which the problems are given.

        Returns:
            The problems that are new, one line each.

        Raises:
            InputError: There are too many.
        """
        new: list[str] = []
        for problems in samples:
            self._samples += 1
            self._draws += len(problems)
            new += [line for line in dict.fromkeys(problems) if line not in self._known]
            self._known.update(problems)
        failed = self._draws / max(1, self._draws + self._samples)
        if len(self._known) > self._most and failed > self._share:
            raise InputError(
                f"{len(self._known)} different files could not be used, {failed:.0%} of all draws, the last "
                f"because of {(new or sorted(self._known))[-1]}; fix or remove them, then resume"
            )
        return new


class _Strip(NamedTuple):
    """A crop along one axis: ``start`` to ``stop`` of the picture becomes ``size`` pixels from ``at`` on."""

    start: int
    stop: int
    at: int
    size: int


def _make_sample(
    scene: Scene, settings: SampleSettings, rng: np.random.Generator, problems: list[str]
) -> TrainingSample | None:
    for _ in range(_CROPS_A_SCENE):
        rows, cols = _draw_crop(scene.labels.shape, settings, rng)
        # The labels alone show whether a crop can be used, and they are quickly cropped.
        # (INTER_NEAREST would shift them by up to half a pixel against the image.)
        labels = _cut(scene.labels, rows, cols, settings.crop, cv2.INTER_NEAREST_EXACT)
        chosen = _choose_objects(labels, settings, rng)
        if not chosen:
            continue
        label = np.isin(labels, chosen).astype(np.int8)
        label[labels < 0] = -1
        image = scene.image if scene.is_ct else _vary_colours(scene.image, settings, rng)
        image = _cut(image, rows, cols, settings.crop, cv2.INTER_LINEAR)
        beside = None
        if scene.beside is not None:
            beside = np.isin(_cut(scene.beside, rows, cols, settings.crop, cv2.INTER_NEAREST_EXACT), chosen)
        if rng.random() < settings.flip_probability:
            image, label = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(label[:, ::-1])
            beside = None if beside is None else np.ascontiguousarray(beside[:, ::-1])
        if settings.faint_share > 0 and rng.random() < settings.faint_share:
            image = make_faint(image, label == 1, rng)
        if settings.degraded_share > 0 and rng.random() < settings.degraded_share:
            image = degrade(image, rng)
        off_centre = settings.off_centre_probability > 0 and rng.random() < settings.off_centre_probability
        click = first_click(label == 1, rng, anywhere=off_centre)
        beside = beside if beside is not None and beside.any() else None
        return TrainingSample(image, label, (int(click.row), int(click.col)), beside, tuple(problems))
    return None


def _draw_crop(
    shape: tuple[int, ...], settings: SampleSettings, rng: np.random.Generator
) -> tuple[_Strip, _Strip]:
    """Draw a scale, and a crop of the picture at that scale."""
    scale = rng.uniform(*settings.scale)
    if settings.shorter_side:
        scale *= settings.shorter_side / min(shape)
    height, width = settings.crop
    return _draw_strip(shape[0], height, scale, rng), _draw_strip(shape[1], width, scale, rng)


def _draw_strip(length: int, crop: int, scale: float, rng: np.random.Generator) -> _Strip:
    wanted = max(1, round(crop / scale))
    if wanted < length:
        start = int(rng.integers(length - wanted + 1))
        return _Strip(start, start + wanted, 0, crop)
    size = min(crop, max(1, round(length * scale)))
    return _Strip(0, length, (crop - size) // 2, size)


def _cut(
    picture: npt.NDArray[Any], rows: _Strip, cols: _Strip, crop: tuple[int, int], interpolation: int
) -> npt.NDArray[Any]:
    """Cut a crop out of a picture and resize it; where the picture is smaller, zeros are around it."""
    part = picture[rows.start : rows.stop, cols.start : cols.stop]
    resized = cv2.resize(part, (cols.size, rows.size), interpolation=interpolation)
    if (rows.size, cols.size) == crop:
        return resized
    padded = np.zeros((*crop, *picture.shape[2:]), picture.dtype)
    padded[rows.at : rows.at + rows.size, cols.at : cols.at + cols.size] = resized
    return padded


def _choose_objects(labels: Labels, settings: SampleSettings, rng: np.random.Generator) -> list[int]:
    """One object, or sometimes two, of those that are large enough; none if there are none."""
    pixels = np.bincount(labels[labels > 0])
    candidates = np.flatnonzero(pixels >= settings.min_object_pixels)
    if len(candidates) == 0:
        return []
    merge = len(candidates) > 1 and rng.random() < settings.merge_probability
    return [int(value) for value in rng.choice(candidates, 2 if merge else 1, replace=False)]


def _vary_colours(
    image: npt.NDArray[np.uint8], settings: SampleSettings, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Vary brightness and contrast, then the channels' levels."""
    levels = np.repeat(np.arange(256.0)[:, None], 3, axis=1)  # (256, channel)
    if rng.random() < settings.colour_probability:
        levels *= 1 + rng.uniform(*settings.contrast)
        levels += 255 * rng.uniform(*settings.brightness)
        levels.clip(0, 255, out=levels)
    if rng.random() < settings.colour_probability:
        levels += rng.uniform(-settings.rgb_shift, settings.rgb_shift, 3)
    table = np.rint(levels.clip(0, 255)).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def degrade(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Blur a picture, make it noisy or coarse, or compress it: one of the four, more or less strongly.

    Noise is the same in all channels, as CT's is grey.

    Args:
        image: (H, W, 3) RGB.
        rng: Where choice and strength come from.
    """
    how, strength = int(rng.integers(4)), float(rng.random())
    worse: npt.NDArray[Any] | None
    if how == 0:
        worse = cv2.GaussianBlur(image, (0, 0), 0.4 + 1.4 * strength)
    elif how == 1:
        noise = rng.normal(0, 3 + 15 * strength, (*image.shape[:2], 1))
        worse = np.rint((image + noise).clip(0, 255)).astype(np.uint8)
    elif how == 2:
        height, width = image.shape[:2]
        part = 0.8 - 0.5 * strength
        small = (max(1, round(part * width)), max(1, round(part * height)))
        coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        worse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, round(90 - 70 * strength)])
        worse = cv2.imdecode(file, cv2.IMREAD_COLOR)
    return np.asarray(worse, np.uint8)
