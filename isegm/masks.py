"""Reading mask pictures: which pixels are object and which are ignored, decided once for every tool."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError, InputWarning
from isegm.pictures import depth_of, grey_depth, is_jpeg, read_palette, read_stored

Labels = npt.NDArray[np.int32]
"""(H, W): 0 background, 1..n the objects, -1 ignored."""

Truth = npt.NDArray[np.int8]
"""(H, W): 1 object, 0 background, -1 ignored (counts neither way)."""

USUAL_IGNORED = 255
"""The label of ignored pixels in most label maps of 8 bits."""

_MIDDLE = 127
_FLAT_SHARE = 0.5
_SMALL_LABEL = 63

_told: set[tuple[Path, bool]] = set()


@dataclass(frozen=True)
class MaskReading:
    """How masks are read; what is not said is told by each mask itself.

    Attributes:
        kind: ``labels``: every value but 0 is an object of its own; ``binary``: one object, above 127, or
            everything but 0 where nothing is; ``auto``: as the values look.
        ignored: The value (palette index) of ignored pixels, or ``none``. By default 255 in a label map of 8
            bits that has other objects.
    """

    kind: Literal["auto", "labels", "binary"] = "auto"
    ignored: int | Literal["none"] | None = None

    def overruled_by(self, other: "MaskReading | None") -> "MaskReading":
        """The same, but with what ``other`` says."""
        if other is None:
            return self
        kind = self.kind if other.kind == "auto" else other.kind
        return MaskReading(kind, self.ignored if other.ignored is None else other.ignored)


AUTOMATIC = MaskReading()


class _Stored(NamedTuple):
    """The content of a mask file.

    Attributes:
        values: (H, W): 0 background, equal values are one label, numbered so that they stay small.
        levels: (H, W): how bright each pixel is.
        most: The brightest that a level can be.
        may_ignore: Whether 255 among other values usually means ignored.
        may_be_soft: Whether the values are grey levels of 8 bits, which are labels or soft edges.
    """

    values: npt.NDArray[np.integer[Any]]
    levels: npt.NDArray[np.integer[Any]]
    most: int
    may_ignore: bool
    may_be_soft: bool


def read_mask(path: Path, reading: MaskReading = AUTOMATIC) -> Truth:
    """Read a mask picture as one object: every object of :func:`read_labels` is part of it.

    Raises:
        InputError: As :func:`read_labels`.
    """
    return np.sign(read_labels(path, reading)).astype(np.int8)


def read_labels(path: Path, reading: MaskReading = AUTOMATIC) -> Labels:
    """Read a mask picture as objects, numbered from 1 in the order of their values.

    - A JPEG holds one object, above 127, because compression makes values of its own.
    - 0 and one other value, whichever, is one object.
    - Several values, none above 127, are labels: each is an object. In a PNG with a palette labels are the
      indexes, in a colour picture the colours; black is the background. Grey PNGs of 2 and 4 bits have the
      values that were written, 1 to 15.
    - Several values, some above 127, are either labels or one object with soft edges. Labels fill areas, the
      values of soft edges change from pixel to pixel: it is a label map if half of the pixels between black
      and white lie in a square of 2 x 2 equal ones. Otherwise the object is what is brighter than the middle.
      For grey masks a warning says, once a folder, which it was.
    - In a label map of 8 bits with other objects 255 is ignored. In a grey mask there must be small labels
      beside it, up to 63: of 0, 128 and 255 nobody can tell whether 255 or 128 is the object.

    Args:
        path: The picture, of at most 8 bits, or 16.
        reading: What is known better.

    Raises:
        InputError: The file is missing, unreadable or of another depth, or 255 may be an object or ignored.
    """
    stored = _read_stored(path)
    values, levels = stored.values, stored.levels
    if is_jpeg(path):
        return _ignore((levels > _MIDDLE).astype(np.int32), levels, reading)
    found = np.flatnonzero(np.bincount(values.ravel()))
    numbers = np.cumsum(found != 0, dtype=np.int32) * (found != 0)
    is_bright = levels.max() > _MIDDLE
    is_one = reading.kind == "binary" and bool(is_bright)
    if reading.kind == "auto" and numbers.max() > 1 and is_bright:
        is_one = not _fills_areas(stored)
        if not is_one and stored.may_be_soft and reading.ignored is None:
            _refuse_scale(path, found)
        if stored.may_be_soft:
            _tell(path, is_one, ignores=USUAL_IGNORED in found and reading.ignored is None)
    if is_one:
        threshold = _MIDDLE if levels.max() <= 0xFF else stored.most // 2
        return _ignore((levels > threshold).astype(np.int32), values, reading)
    if isinstance(reading.ignored, int):
        numbers[found == reading.ignored] = -1
    elif reading.ignored is None and stored.may_ignore and reading.kind != "binary" and numbers.max() > 1:
        numbers[found == USUAL_IGNORED] = -1
    table = np.zeros(found[-1] + 1, np.int32)
    table[found] = numbers
    labels = table[values]
    return np.sign(labels) if reading.kind == "binary" else labels


def _ignore(labels: Labels, values: npt.NDArray[np.integer[Any]], reading: MaskReading) -> Labels:
    if isinstance(reading.ignored, int):
        labels[values == reading.ignored] = -1
    return labels


def _read_stored(path: Path) -> _Stored:
    if (palette := read_palette(path)) is not None:
        indexes, colours = palette
        values = np.arange(256)
        values[0] = 256  # an object, if its colour is not black
        values[: len(colours)][~colours.any(axis=1)] = 0
        brightness = np.full(256, 0xFF)
        brightness[: len(colours)] = colours.max(axis=1)
        return _Stored(values[indexes], brightness[indexes], 0xFF, may_ignore=True, may_be_soft=False)
    pixels = read_stored(path)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: a mask must be an 8- or 16-bit picture, not {depth_of(pixels)}")
    most = int(np.iinfo(pixels.dtype).max)
    levels = pixels if pixels.ndim == 2 else pixels[:, :, :3].max(axis=2)
    if pixels.ndim == 3:
        red, green, blue = np.moveaxis(pixels[:, :, :3].astype(np.int64), 2, 0)
        if (red != green).any() or (green != blue).any():
            found, positions = np.unique(red << 32 | green << 16 | blue, return_inverse=True)
            values = positions.reshape(levels.shape) + (found[0] != 0)
            return _Stored(values, levels, most, may_ignore=False, may_be_soft=False)
    if (bits := grey_depth(path)) < 8:
        levels = levels // (0xFF // (2**bits - 1))
    is_8_bit = pixels.dtype == np.uint8
    return _Stored(levels, levels, most, may_ignore=is_8_bit, may_be_soft=is_8_bit)


def _fills_areas(stored: _Stored) -> bool:
    """Whether most pixels that are neither black nor white lie in a square of 2 x 2 pixels of one value."""
    values = stored.values
    across, down = values[:, :-1] == values[:, 1:], values[:-1] == values[1:]
    corners = across[:-1] & across[1:] & down[:, :-1]
    flat = np.zeros(values.shape, np.bool_)
    for rows in (slice(None, -1), slice(1, None)):
        for cols in (slice(None, -1), slice(1, None)):
            flat[rows, cols] |= corners
    between = flat[(stored.levels > 0) & (stored.levels < stored.most)]
    return between.size == 0 or bool(between.mean() >= _FLAT_SHARE)


def _refuse_scale(path: Path, found: npt.NDArray[np.integer[Any]]) -> None:
    """Refuse a scale of greys up to 255, as trimaps and label maps made for the eye have it."""
    labels = found[found > 0]
    if labels[-1] == USUAL_IGNORED and labels[0] > _SMALL_LABEL:
        raise InputError(
            f"{path}: has the values {', '.join(map(str, found))}; write into reading.yml beside its folder "
            "whether 255 is ignored (ignore: 255) or an object (ignore: none), or, of a trimap, masks: "
            "binary and the ignored value (ignore: 128)"
        )


def _tell(path: Path, is_one: bool, *, ignores: bool) -> None:
    """Say, once a folder, how masks are read that could be meant otherwise."""
    if (path.parent, is_one) in _told:
        return
    _told.add((path.parent, is_one))
    if is_one:
        what, other = f"one object with soft edges, above {_MIDDLE}", "labels"
    else:
        ignored = f", {USUAL_IGNORED} ignored" if ignores else ""
        what, other = f"a label map, every value but 0 an object{ignored}", "binary"
    warnings.warn(
        InputWarning(
            f"{path}: has values on both sides of {_MIDDLE} and is read as {what}, as are others like it; if "
            f"that is wrong, write masks: {other} in reading.yml beside their folder"
        ),
        stacklevel=3,
    )
