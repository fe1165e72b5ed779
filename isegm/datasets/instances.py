"""Data sets of many objects an image, each a sample of its own: SBD and PascalVOC.

Which objects an image has is only in its label picture, so the evaluation of one of these data sets begins
by reading every label picture of its list, some milliseconds each. Nothing is cached on disk: data folders
may be read-only.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isegm.datasets.dataset import DatasetProblems, Record, single_objects
from isegm.datasets.listing import files_of
from isegm.datasets.matlab import read_struct_field
from isegm.datasets.picture import PictureFiles
from isegm.errors import InputError
from isegm.limits import MOST_PICTURE_BYTES, MOST_TEXT_BYTES, read_bytes, read_text
from isegm.masks import Labels
from isegm.pictures import JPEG_SUFFIXES, read_palette

VOC_BORDER = 255


@dataclass(frozen=True)
class ListedLayout:
    """How such a data set lies in its folder.

    Attributes:
        image_list: The list of a split, ``{split}`` in its name.
        images: The folder of ``<name>.jpg``.
        labels: The folder of the label pictures.
        label_suffix: Of those.
        read_labels: Reads one.
    """

    image_list: str
    images: str
    labels: str
    label_suffix: str
    read_labels: Callable[[Path], Labels]

    def find_pictures(self, folder: Path, split: str) -> list[PictureFiles]:
        """The pictures of a list, in its order; labels are not read.

        Raises:
            DatasetProblems: The list or a folder is missing or empty, or a listed image or label picture is
                missing or comes twice; every problem is listed.
        """
        problems: list[str] = []
        pictures = self._find(folder, split, problems)
        if problems:
            raise DatasetProblems(problems)
        return pictures

    def find_objects(self, folder: Path, split: str = "val") -> list[Record]:
        """A sample for every object of every picture of a list, called ``<picture>_<number>``.

        Raises:
            DatasetProblems: As :meth:`find_pictures`; or a label picture is corrupt, or there is no object.
        """
        problems: list[str] = []
        records = single_objects(self._find(folder, split, problems), problems)
        if not records and not problems:
            path = folder / self.image_list.format(split=split)
            problems.append(f"{path}: lists no image with an object; take the original file")
        if problems:
            raise DatasetProblems(problems)
        return records

    def _find(self, folder: Path, split: str, problems: list[str]) -> list[PictureFiles]:
        image_list = folder / self.image_list.format(split=split)
        listed = read_list(image_list, problems)
        image_files = files_of(folder / self.images, JPEG_SUFFIXES, problems)
        label_files = files_of(folder / self.labels, frozenset({self.label_suffix}), problems)
        for files, place in ((image_files, self.images), (label_files, self.labels)):
            problems += [
                f"{image_list}: lists {name!a}, but {folder / place} has no such file"
                for name in listed
                if files and name not in files
            ]
        if not listed and not problems:
            problems.append(f"{image_list}: lists no image; take the original file")
        return [
            PictureFiles(name, image_files[name], label_files[name], self.read_labels)
            for name in listed
            if name in image_files and name in label_files
        ]


def read_sbd_labels(path: Path) -> Labels:
    """Read ``GTinst.Segmentation`` of a MATLAB file: (H, W), 0 background, 1..n the objects.

    Raises:
        InputError: The file cannot be read, or it is not such a MATLAB file.
    """
    try:
        content = read_bytes(path, MOST_PICTURE_BYTES)
        return read_struct_field(content, "GTinst", "Segmentation").astype(np.int32)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: {reason}; take the original file of SBD") from None


def read_voc_labels(path: Path) -> Labels:
    """Read the palette indexes of a PNG: (H, W), 0 background, -1 border (255), others the objects.

    The indexes are the labels and the colours only their looks.

    Raises:
        InputError: The file cannot be read, is not a PNG with a palette, or claims too many pixels.
    """
    palette = read_palette(path)
    if palette is None:
        raise InputError(f"{path}: has no palette, whose indexes are the objects; take the original file")
    labels = palette[0].astype(np.int32)
    labels[labels == VOC_BORDER] = -1
    return labels


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


SBD = ListedLayout("{split}.txt", "img", "inst", ".mat", read_sbd_labels)
"""SBD: no pixel is ignored."""

PASCAL_VOC = ListedLayout(
    "ImageSets/Segmentation/{split}.txt", "JPEGImages", "SegmentationObject", ".png", read_voc_labels
)
"""PascalVOC: the border that is drawn around objects is ignored."""
