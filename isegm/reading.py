"""``reading.yml`` of a data set: what its pictures and masks mean, where they do not say it themselves.

All of it may be left out::

    window: abdomen    # pictures that are not of 8 bits: a window's name, or its level,width
    offset: -32768     # added to their values it gives HU (here DeepLesion's)
    masks: labels      # or binary: one object a mask
    ignore: 255        # the value of ignored pixels in masks, or none
"""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import yaml

from isegm.errors import InputError
from isegm.limits import MOST_CONFIG_BYTES, read_bytes
from isegm.masks import AUTOMATIC, MaskReading
from isegm.volumes.windows import Window, parse_window

READING_FILE = "reading.yml"
_KEYS = ("window", "offset", "masks", "ignore")


@dataclass(frozen=True)
class Reading:
    """How the files of a data set are read.

    Attributes:
        masks: How its masks are.
        window: What becomes black and white in pictures that are not of 8 bits.
        offset: What is added to their values before; None where nothing says that this gives HU.
        path: The file that says it; None where there is none.
    """

    masks: MaskReading = AUTOMATIC
    window: Window | None = None
    offset: float | None = None
    path: Path | None = None


NOTHING_SAID = Reading()
"""For a data set without the file."""


def read_reading(folder: Path) -> Reading:
    """Read ``reading.yml`` in a data set's folder; without such a file nothing is known.

    Raises:
        InputError: It is not YAML, has other keys than the four, or a value that cannot be used.
        OSError: It cannot be read.
    """
    path = folder / READING_FILE
    try:
        content = yaml.safe_load(read_bytes(path, MOST_CONFIG_BYTES))
    except FileNotFoundError:
        return NOTHING_SAID
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: not YAML ({' '.join(str(error).split())}); write one key: value a line"
        ) from None
    if not isinstance(content, dict) or not set(content) <= set(_KEYS):
        raise InputError(f"{path}: must have lines key: value, with the keys {', '.join(_KEYS)} only")
    try:
        window = parse_window(str(content["window"])) if "window" in content else None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    offset, masks, ignored = content.get("offset"), content.get("masks", "auto"), content.get("ignore")
    if offset is not None and (type(offset) not in (int, float) or not math.isfinite(offset)):
        raise InputError(f"{path}: offset must be a number, not {offset!r}")
    if masks not in ("auto", "labels", "binary"):
        raise InputError(f"{path}: masks must be labels or binary, not {masks!r}")
    if (
        ignored is not None and ignored != "none" and (type(ignored) is not int or ignored < 1)
    ):  # no yes or no
        raise InputError(f"{path}: ignore must be a whole number from 1 on, or none, not {ignored!r}")
    kind = cast("Literal['auto', 'labels', 'binary']", masks)
    return Reading(MaskReading(kind, ignored), window, offset, path)


@functools.cache
def read_reading_beside(masks: Path) -> Reading:
    """Read ``reading.yml`` for a folder of masks: in the folder itself, or else beside it; once a process.

    Raises:
        InputError: As :func:`read_reading`.
        OSError: It cannot be read.
    """
    masks = masks.resolve()
    return read_reading(masks if (masks / READING_FILE).is_file() else masks.parent)
