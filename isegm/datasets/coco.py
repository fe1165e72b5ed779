"""COCO's and LVIS's annotation files.

A label map has one object a pixel, annotations may overlap: there the smaller object is seen, as the one in
front mostly is. Crowds are ignored where no object is. Whatever cannot be used is left out
and counted: a stray polygon of two corners, a box without an outline, a picture that is not there.
"""

import importlib
import itertools
import json
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from isegm.datasets.picture import LabelledPicture, check_objects
from isegm.errors import InputError
from isegm.limits import MOST_ANNOTATION_BYTES, MOST_PIXELS, read_bytes
from isegm.masks import Labels
from isegm.pictures import is_turned, read_image

Json = Any
Key = int | float | str
"""The types that an id can have."""


@dataclass(frozen=True)
class AnnotatedPicture:
    """One picture of an annotation file.

    Attributes:
        name: The picture's file without its suffix; with its folders, and then a number, where another one
            is called the same.
        image: The picture.
        annotations: The annotation file.
        height: By the annotation file.
        width: By the annotation file.
        objects: Its segmentations and whether each is a crowd, as compressed JSON: a whole file's would take
            gigabytes as objects.
    """

    name: str
    image: Path
    annotations: Path
    height: int
    width: int
    objects: bytes

    @property
    def files(self) -> tuple[Path, ...]:
        """Picture and annotation file."""
        return (self.image, self.annotations)

    def numbers(self) -> list[int]:
        """The numbers of the objects that are seen."""
        labels = self._labels()
        return [int(number) for number in np.unique(labels[labels > 0])]

    def read(self) -> LabelledPicture:
        """Read the picture and paint its objects."""
        image = read_image(self.image)
        if image.shape[:2] != (self.height, self.width):
            turned = " once turned by its EXIF orientation" if is_turned(self.image) else ""
            raise InputError(
                f"{self.image}: has {image.shape[0]} rows and {image.shape[1]} columns{turned}, but "
                f"{self.height} and {self.width} by {self.annotations}; take the original picture"
            )
        labels = self._labels()
        check_objects(self.annotations, labels)
        return LabelledPicture(image, labels)

    def _labels(self) -> Labels:
        return paint(json.loads(zlib.decompress(self.objects)), self.height, self.width)


def find_coco(
    annotations: Path, images: Path, categories: Sequence[str] = ()
) -> tuple[list[AnnotatedPicture], list[str]]:
    """Read an annotation file of COCO's or LVIS's format.

    Args:
        annotations: The JSON file.
        images: The folder of the pictures. A picture is looked for by its ``file_name``, else by the end of
            its ``coco_url`` (LVIS), with its folder (``train2017/1.jpg``) and without.
        categories: Names of the categories whose objects are wanted; none means all.

    Returns:
        The pictures with an object, and lines that the user should read: what was left out.

    Raises:
        InputError: pycocotools is missing; the file is missing, no JSON, or no such annotation file; it
            has no such category; or nothing of it can be used.
    """
    _coco_masks()
    content = _read_json(annotations)
    is_mapping = isinstance(content, dict)
    if not is_mapping or not all(isinstance(content.get(key), list) for key in ("images", "annotations")):
        raise InputError(
            f"{annotations}: not an annotation file of COCO's format (it has no lists of images and "
            "annotations); give instances_train2017.json, say"
        )
    wanted = _category_ids(annotations, content, categories)
    left_out: Counter[str] = Counter()
    entries = _entries_by_id(content["images"])
    given = content["annotations"]
    objects = _objects_by_picture(given, wanted, entries, left_out)
    found: list[AnnotatedPicture] = []
    paths = _find_images({key: entries[key] for key in objects}, images)
    names = _picture_names(paths, images)
    for key, own in objects.items():
        if all(crowd for _, crowd in own):
            continue
        if key not in paths:
            left_out[f"picture not in {images}"] += sum(not c for _, c in own)
            continue
        packed = zlib.compress(json.dumps(own).encode(), 1)
        _, height, width = entries[key]
        found.append(AnnotatedPicture(names[key], paths[key], annotations, height, width, packed))
    reasons = "; ".join(f"{reason} ({count})" for reason, count in left_out.most_common())
    if not found:
        why = f"; left out of {len(given)}: {reasons}" if reasons else "; is it the file of a training set?"
        raise InputError(f"{annotations}: holds no object that can be used{why}")
    return found, [f"{annotations}: left out of {len(given)} objects: {reasons}"] if reasons else []


def paint(objects: Iterable[tuple[Json, bool]], height: int, width: int) -> Labels:
    """Make one label map of a picture's objects.

    Args:
        objects: The segmentation of each (:func:`clean_segmentation`), and whether it is a crowd.
        height: Of the picture.
        width: Of the picture.

    Returns:
        The objects are numbered from 1 in their order, crowds counted.
    """
    masks = _coco_masks()
    codes, crowds = [], []
    for segmentation, crowd in objects:
        codes.append(_run_lengths(masks, segmentation, height, width))
        crowds.append(crowd)
    areas = masks.area(codes)
    labels = np.zeros((height, width), np.int32)
    for i in sorted(range(len(codes)), key=lambda i: (not crowds[i], -int(areas[i]))):
        labels[masks.decode(codes[i]) > 0] = -1 if crowds[i] else i + 1
    return labels


def clean_segmentation(segmentation: Json, height: int, width: int) -> tuple[Json, int]:
    """The part of a segmentation that can be painted.

    Args:
        segmentation: Polygons, or a run-length code, as an annotation file has it.
        height: Of the picture.
        width: Of the picture.

    Returns:
        The good polygons, or the code; and how many polygons were left out.

    Raises:
        ValueError: Nothing of it can be used; the message says why.
    """
    if isinstance(segmentation, dict):
        if segmentation.get("size") != [height, width]:
            raise ValueError("run lengths for another size")
        _run_length_counts(segmentation.get("counts"), height * width)
        return {"counts": segmentation["counts"]}, 0
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("no outline")
    good = [polygon for polygon in segmentation if _is_polygon(polygon, 2 * max(height, width))]
    if not good:
        raise ValueError("no polygon in the picture")
    return good, len(segmentation) - len(good)


def _is_polygon(polygon: Json, far: int) -> bool:
    """Whether these are three corners or more, two finite numbers each, none far outside of the picture.

    pycocotools reads beyond odd or too few numbers, and takes memory for every pixel along an outline.
    """
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    try:
        return math.isfinite(sum(polygon)) and -far < min(polygon) and max(polygon) < far
    except (TypeError, OverflowError):  # some are no numbers
        return False


def _run_length_counts(counts: Json, pixels: int) -> list[int]:
    """Run lengths as numbers, which must add up to so many pixels."""
    if isinstance(counts, str):
        counts = _decompress_counts(counts)
    # pycocotools leaves pixels that a code does not reach as it found the memory.
    if (
        not isinstance(counts, list)
        or not all(type(count) is int and count >= 0 for count in counts)
        or sum(counts) != pixels
    ):
        raise ValueError("run lengths that do not add up to the picture")
    return counts


def _run_lengths(masks: Any, segmentation: Json, height: int, width: int) -> Json:  # noqa: ANN401
    """A clean segmentation as pycocotools' compressed run-length code."""
    if isinstance(segmentation, list):
        return masks.merge(masks.frPyObjects(segmentation, height, width))
    counts = _run_length_counts(segmentation["counts"], height * width)
    return masks.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _decompress_counts(code: str) -> list[int]:
    """The run lengths of COCO's text code: base 32, little end first, from the third on as differences."""
    counts: list[int] = []
    value = shift = 0
    for byte in code.encode():
        digit = byte - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if shift > 60:
            raise ValueError("run lengths that do not add up to the picture")
        if digit & 0x20:
            continue
        if digit & 0x10:  # negative
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def _coco_masks() -> Any:  # noqa: ANN401 - pycocotools has no types
    try:
        return importlib.import_module("pycocotools.mask")
    except ImportError:
        raise InputError("COCO and LVIS need pycocotools; install it: pip install pycocotools") from None


def _read_json(path: Path) -> Json:
    try:
        return json.loads(read_bytes(path, MOST_ANNOTATION_BYTES))
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file; check the path") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); is it complete?") from None


def _category_ids(path: Path, content: Mapping[str, Json], names: Sequence[str]) -> set[int] | None:
    """The wanted categories' ids; None for all."""
    if not names:
        return None
    try:
        ids = {str(category["name"]): int(category["id"]) for category in content["categories"]}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{path}: its categories have no names and ids; leave categories= out") from None
    unknown = [name for name in names if name not in ids]
    if unknown:
        some = ", ".join(list(ids)[:10])
        raise InputError(f"{path}: has no category {unknown[0]!a}; it has {some}{', ...' * (len(ids) > 10)}")
    return {ids[name] for name in names}


class _Entry(NamedTuple):
    """A picture's entry in an annotation file: where it may lie in the folder of pictures, and its size."""

    names: list[str]
    height: int
    width: int


def _entries_by_id(given: Sequence[Json]) -> dict[Key, _Entry]:
    """The entries of pictures that have an id and a size."""
    entries = {}
    for entry in given:
        try:
            key, height, width = entry["id"], int(entry["height"]), int(entry["width"])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if isinstance(key, Key) and min(height, width) > 0 and height * width <= MOST_PIXELS:
            entries[key] = _Entry(_names(entry), height, width)
    return entries


def _objects_by_picture(
    given: Sequence[Json],
    wanted: set[int] | None,
    entries: Mapping[Key, _Entry],
    left_out: Counter[str],
) -> dict[Key, list[tuple[Json, bool]]]:
    """The usable segmentations of each picture, in the order of ``entries``, and whether each is a crowd."""
    objects: defaultdict[Key, list[tuple[Json, bool]]] = defaultdict(list)
    for annotation in given:
        if not isinstance(annotation, dict):
            left_out["no annotation"] += 1
            continue
        category = annotation.get("category_id")
        if wanted is not None and not (isinstance(category, Key) and category in wanted):
            continue
        key = annotation.get("image_id")
        if not isinstance(key, Key) or (entry := entries.get(key)) is None:
            left_out["no entry of the picture with its size"] += 1
            continue
        try:
            segmentation, strays = clean_segmentation(
                annotation.get("segmentation"), entry.height, entry.width
            )
        except ValueError as problem:
            left_out[str(problem)] += 1
            continue
        if strays:
            left_out["stray polygon, of two corners say"] += strays
        objects[key].append((segmentation, annotation.get("iscrowd") in (1, True)))
    return {key: objects[key] for key in entries if key in objects}


def _find_images(entries: Mapping[Key, _Entry], folder: Path) -> dict[Key, Path]:
    """The picture of each entry that has one."""
    listings: dict[Path, frozenset[str]] = {}

    def exists(path: Path) -> bool:
        # A folder is listed once: a look at each of 100,000 files takes minutes on a network's disk.
        if path.parent not in listings:
            files = path.parent.iterdir() if path.parent.is_dir() else ()
            listings[path.parent] = frozenset(file.name for file in files)
        return path.name in listings[path.parent]

    found = {}
    for key, entry in entries.items():
        path = next((folder / name for name in entry.names if exists(folder / name)), None)
        if path is not None:
            found[key] = path
    return found


def _picture_names(paths: Mapping[Key, Path], folder: Path) -> dict[Key, str]:
    """A name for each picture that no other one has: masks and results are kept by it."""
    stems = Counter(path.stem for path in paths.values())
    found: dict[Key, str] = {}
    taken: set[str] = set()
    for key, path in paths.items():
        name = (
            path.stem if stems[path.stem] == 1 else "_".join(path.relative_to(folder).with_suffix("").parts)
        )
        choices = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        found[key] = next(choice for choice in choices if choice not in taken)
        taken.add(found[key])
    return found


def _names(entry: Mapping[str, Json]) -> list[str]:
    """Where an entry's picture may lie in the folder; nowhere outside of it."""
    file_name, url = entry.get("file_name"), entry.get("coco_url")
    names = [file_name] if isinstance(file_name, str) else []
    if isinstance(url, str):
        parts = PurePosixPath(url.partition("://")[2]).parts
        names += ["/".join(parts[-2:]), *parts[-1:]]
    paths = [PurePosixPath(name) for name in names]
    return [
        str(path)
        for path in paths
        if path.name and str(path).isprintable() and not path.is_absolute() and ".." not in path.parts
    ]
