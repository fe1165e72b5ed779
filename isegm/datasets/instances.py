"""Data sets of many objects an image, each a sample of its own: SBD and PascalVOC.

Which objects an image has is only in its label picture, so opening one of these data sets reads every label
picture of its list once, some milliseconds each. Nothing is cached on disk: data folders may be read-only.
"""

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.datasets.dataset import DatasetProblems, Record
from isegm.datasets.listing import JPEG_SUFFIXES, files_of
from isegm.datasets.matlab import read_struct_field
from isegm.errors import InputError
from isegm.limits import MOST_PICTURE_BYTES, MOST_TEXT_BYTES, read_bytes, read_text
from isegm.masks import Truth
from isegm.pictures import read_palette

BACKGROUND = 0
VOC_BORDER = 255

Labels = npt.NDArray[np.integer[Any]]
ReadLabels = Callable[[Path], Labels]


def find_sbd(folder: Path) -> list[Record]:
    """The samples of SBD: every object of every image listed in ``val.txt``, called ``<image>_<id>``.

    Images are ``img/<image>.jpg``, label pictures ``inst/<image>.mat``; no pixel is ignored.

    Raises:
        DatasetProblems: The list or a folder is missing, a listed image or label picture is missing or comes
            twice, a label picture is corrupt, or there is no object at all.
    """
    return _find_instances(
        folder,
        image_list="val.txt",
        images="img",
        labels="inst",
        label_suffix=".mat",
        read_labels=read_sbd_labels,
        ignored=None,
    )


def find_pascal_voc(folder: Path) -> list[Record]:
    """The samples of PascalVOC: every object of every image of the segmentation ``val`` list.

    Images are ``JPEGImages/<image>.jpg``, label pictures ``SegmentationObject/<image>.png``; samples are
    called ``<image>_<id>``. The border that is drawn around objects is ignored.

    Raises:
        DatasetProblems: As :func:`find_sbd`.
    """
    return _find_instances(
        folder,
        image_list="ImageSets/Segmentation/val.txt",
        images="JPEGImages",
        labels="SegmentationObject",
        label_suffix=".png",
        read_labels=read_voc_labels,
        ignored=VOC_BORDER,
    )


def read_sbd_labels(path: Path) -> Labels:
    """Read ``GTinst.Segmentation`` of a MATLAB file: (H, W), 0 background, 1..n the objects.

    Raises:
        InputError: The file cannot be read, or it is not such a MATLAB file.
    """
    try:
        return read_struct_field(read_bytes(path, MOST_PICTURE_BYTES), "GTinst", "Segmentation")
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: {reason}; take the original file of SBD") from None


def read_voc_labels(path: Path) -> Labels:
    """Read the palette indexes of a PNG: (H, W) uint8, 0 background, 255 border, others the objects.

    The indexes are the labels and the colours only their looks.

    Raises:
        InputError: The file cannot be read, is not a PNG with a palette, or claims too many pixels.
    """
    palette = read_palette(path)
    if palette is None:
        raise InputError(f"{path}: has no palette, whose indexes are the objects; take the original file")
    return palette[0]


def _find_instances(
    folder: Path,
    *,
    image_list: str,
    images: str,
    labels: str,
    label_suffix: str,
    read_labels: ReadLabels,
    ignored: int | None,
) -> list[Record]:
    problems: list[str] = []
    listed = read_list(folder / image_list, problems)
    image_files = files_of(folder / images, JPEG_SUFFIXES, problems)
    label_files = files_of(folder / labels, frozenset({label_suffix}), problems)
    records = []
    for name in listed:
        if image_files and name not in image_files:
            problems.append(f"{folder / image_list}: lists {name!a}, but {folder / images} has no such image")
        if label_files and name not in label_files:
            problems.append(f"{folder / image_list}: lists {name!a}, but {folder / labels} has no such file")
        if name in image_files and name in label_files:
            image, mask = image_files[name], label_files[name]
            records += [
                Record(
                    f"{name}_{i}", image, mask, functools.partial(_read_truth, mask, read_labels, i, ignored)
                )
                for i in _object_ids(mask, read_labels, ignored, problems)
            ]
    if not records and not problems:
        problems.append(f"{folder / image_list}: lists no image with an object; take the original file")
    if problems:
        raise DatasetProblems(problems)
    return records


def read_list(path: Path, problems: list[str]) -> list[str]:
    """Read a list of image names, one a line; what is wrong with it is added to ``problems``."""
    try:
        text = read_text(path, MOST_TEXT_BYTES)
        names = [line.strip() for line in text.splitlines() if line.strip()]
    except InputError as error:
        problems.append(str(error))
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        problems.append(f"{path}: {reason}; the list of images is needed, one name a line")
        return []
    repeated = [name for name, count in Counter(names).items() if count > 1]
    problems.extend(f"{path}: lists {name!a} more than once; keep one line" for name in repeated)
    return names


def _object_ids(path: Path, read_labels: ReadLabels, ignored: int | None, problems: list[str]) -> list[int]:
    try:
        ids = np.unique(read_labels(path)).tolist()
    except InputError as error:
        problems.append(str(error))
        return []
    return [i for i in ids if i not in (BACKGROUND, ignored)]


def _read_truth(path: Path, read_labels: ReadLabels, object_id: int, ignored: int | None) -> Truth:
    labels = read_labels(path)
    truth = np.zeros(labels.shape, np.int8)
    truth[labels == object_id] = 1
    if ignored is not None:
        truth[labels == ignored] = -1
    return truth
