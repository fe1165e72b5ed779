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
    """How masks are read; what is left open here, each mask tells itself.

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
        levels: (n,): how bright each value is.
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
    values, labels = _read(path, reading)
    return np.take(np.sign(labels).astype(np.int8), values)


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
        reading: What is known about the masks; the rest each mask tells itself.

    Raises:
        InputError: The file is missing, unreadable or of another depth, or 255 may be an object or ignored.
    """
    values, labels = _read(path, reading)
    return np.take(labels, values)


def _read(path: Path, reading: MaskReading) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.int32]]:
    """Read a mask's values, (H, W), and the label of each value, (n,)."""
    stored = _read_stored(path)
    counts = np.bincount(stored.values.ravel(), minlength=stored.levels.size)
    found, brightest = np.flatnonzero(counts), int(stored.levels[counts > 0].max())
    is_one = is_jpeg(path) or (reading.kind == "binary" and brightest > _MIDDLE)
    is_several = np.count_nonzero(found) > 1
    if reading.kind == "auto" and not is_one and is_several and brightest > _MIDDLE:
        is_one = not _fills_areas(stored)
        if not is_one and stored.may_be_soft and reading.ignored is None:
            _refuse_scale(path, found)
        if stored.may_be_soft:
            _tell(path, is_one, ignores=USUAL_IGNORED in found and reading.ignored is None)
    labels = np.zeros(counts.size, np.int32)
    if is_one:
        labels[stored.levels > (_MIDDLE if brightest <= 0xFF else stored.most // 2)] = 1
    else:
        labels[found] = np.arange(found.size) + (found[0] != 0)
        if reading.kind == "binary":
            labels = np.sign(labels)
    ignored = reading.ignored
    if ignored is None and not is_one and is_several and stored.may_ignore and reading.kind != "binary":
        ignored = USUAL_IGNORED
    if isinstance(ignored, int) and ignored < labels.size:
        labels[ignored] = -1
    return stored.values, labels


def _read_stored(path: Path) -> _Stored:
    if (palette := read_palette(path)) is not None:
        indexes, colours = palette
        brightness = np.full(257, 0xFF)
        brightness[: len(colours)] = colours.max(axis=1)
        values = np.arange(256)
        values[0] = 256  # an object, if its colour is not black
        values[brightness[:256] == 0] = 0
        brightness[[0, 256]] = 0, brightness[0]
        return _Stored(values[indexes], brightness, 0xFF, may_ignore=True, may_be_soft=False)
    pixels = read_stored(path)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: a mask must be an 8- or 16-bit picture, not {depth_of(pixels)}")
    most = int(np.iinfo(pixels.dtype).max)
    if pixels.ndim == 3:
        red, green, blue = np.moveaxis(pixels[:, :, :3], 2, 0)
        if (red != green).any() or (green != blue).any():
            joined = red.astype(np.int64) << 32 | green.astype(np.int64) << 16 | blue
            found, positions = np.unique(joined, return_inverse=True)
            shift = int(found[0] != 0)  # without black there is no background
            levels = np.pad(np.maximum.reduce([found >> 32, found >> 16 & most, found & most]), (shift, 0))
            values = positions.reshape(joined.shape) + shift
            return _Stored(values, levels, most, may_ignore=False, may_be_soft=False)
        pixels = red
    if (bits := grey_depth(path)) < 8:
        pixels = pixels // (0xFF // (2**bits - 1))
    is_8_bit = most == 0xFF
    return _Stored(pixels, np.arange(most + 1), most, may_ignore=is_8_bit, may_be_soft=is_8_bit)


def _fills_areas(stored: _Stored) -> bool:
    """Whether most pixels that are neither black nor white lie in a square of 2 x 2 pixels of one value."""
    values = stored.values
    across, down = values[:, :-1] == values[:, 1:], values[:-1] == values[1:]
    corners = across[:-1] & across[1:] & down[:, :-1]
    flat = np.zeros(values.shape, np.bool_)
    for rows in (slice(None, -1), slice(1, None)):
        for cols in (slice(None, -1), slice(1, None)):
            flat[rows, cols] |= corners
    between = flat[((stored.levels > 0) & (stored.levels < stored.most))[values]]
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
