"""Scenes from COCO's and LVIS's annotation files.

A label map has one object a pixel, annotations may overlap: there the smaller object is seen, as the one in
front mostly is. Crowds are ignored where no object is.
"""

import importlib
import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from isegm.errors import InputError
from isegm.limits import MOST_ANNOTATION_BYTES, read_bytes
from isegm.masks import Labels
from isegm.pictures import read_image
from isegm.training.scenes import Scene, check_scene

Json = Any


class AnnotatedImage(NamedTuple):
    """One picture of an annotation file.

    Attributes:
        path: The picture.
        size: Its (height, width), by the annotation file.
        annotations: Its annotations as compressed JSON: a whole file's would take gigabytes as objects.
    """

    path: Path
    size: tuple[int, int]
    annotations: bytes


class CocoSource:
    """Scenes from an annotation file, each picture with an object as often as any other.

    Args:
        name: What messages call it.
        annotations: The annotation file.
        images: Pictures with an object.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, name: str, annotations: Path, images: Sequence[AnnotatedImage]) -> None:
        self.name = name
        self._annotations = annotations
        self._images = images

    def draw(self, rng: np.random.Generator) -> Scene:
        """Draw a picture (:meth:`isegm.training.scenes.Source.draw`)."""
        path, size, compressed = self._images[int(rng.integers(len(self._images)))]
        image = read_image(path)
        height, width = image.shape[:2]
        if size != (height, width):
            raise InputError(
                f"{path}: has {height} rows and {width} columns, but {size[0]} and {size[1]} by "
                f"{self._annotations}; take the original picture"
            )
        try:
            labels = paint(json.loads(zlib.decompress(compressed)), height, width)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
            raise InputError(f"{self._annotations}: an object of {path.name}: {error}; mend it") from None
        check_scene(labels, self._annotations, image, path)
        return Scene(image, labels, is_ct=False)


def open_coco(name: str, annotations: Path, images: Path, categories: Sequence[str] = ()) -> CocoSource:
    """Read an annotation file of COCO's or LVIS's format.

    Args:
        name: What messages call it.
        annotations: The JSON file.
        images: The folder of the pictures. A picture is looked for by its ``file_name``, else by the end of
            its ``coco_url`` (LVIS), with its folder (``train2017/1.jpg``) and without.
        categories: Names of the categories whose objects are wanted; none means all.

    Raises:
        InputError: pycocotools is missing; the file is missing, no JSON, or no such annotation file; it
            has no such category, or no object; or a picture is missing.
    """
    _coco_masks()
    content = _read_json(annotations)
    try:
        wanted = _category_ids(annotations, content, categories)
        objects: defaultdict[int, list[Json]] = defaultdict(list)
        for annotation in content["annotations"]:
            if wanted is None or annotation["category_id"] in wanted:
                kept = {"segmentation": annotation["segmentation"], "crowd": annotation.get("iscrowd", 0)}
                objects[annotation["image_id"]].append(kept)
        with_object = [
            entry
            for entry in content["images"]
            if any(not annotation["crowd"] for annotation in objects[entry["id"]])
        ]
        if not with_object:
            raise InputError(f"{annotations}: holds no object; is it the file of a training set?")
        sizes = [(int(entry["height"]), int(entry["width"])) for entry in with_object]
        paths = _find_images(annotations, with_object, images)
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{annotations}: not an annotation file of COCO's format ({type(error).__name__}: {error}); give "
            "instances_train2017.json, say"
        ) from None
    return CocoSource(
        name,
        annotations,
        [
            AnnotatedImage(path, size, zlib.compress(json.dumps(objects[entry["id"]]).encode(), 1))
            for path, size, entry in zip(paths, sizes, with_object, strict=True)
        ],
    )


def paint(annotations: Sequence[Json], height: int, width: int) -> Labels:
    """Make one label map of a picture's annotations.

    Args:
        annotations: Each with its ``segmentation`` (polygons, or a run-length code) and ``crowd``.
        height: Of the picture.
        width: Of the picture.

    Returns:
        The objects are numbered in the order of ``annotations``, crowds counted.

    Raises:
        ValueError: A segmentation is neither, or of another size than the picture.
    """
    masks = _coco_masks()
    codes = [_run_lengths(masks, annotation["segmentation"], height, width) for annotation in annotations]
    areas = masks.area(codes)
    labels = np.zeros((height, width), np.int32)
    for i in sorted(range(len(codes)), key=lambda i: (not annotations[i]["crowd"], -int(areas[i]))):
        labels[masks.decode(codes[i]) > 0] = -1 if annotations[i]["crowd"] else i + 1
    return labels


def _run_lengths(masks: Any, segmentation: Json, height: int, width: int) -> Json:  # noqa: ANN401
    """A segmentation as pycocotools' compressed run-length code."""
    if isinstance(segmentation, list):
        # pycocotools reads beyond the numbers it is given if these are odd or too few.
        if not segmentation or any(len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
            raise ValueError("a polygon needs three corners, two numbers each")
        # It also takes memory for every pixel along an outline, however far that leads.
        far = 2 * max(height, width)
        if not all(-far < number < far for polygon in segmentation for number in polygon):
            raise ValueError("a polygon has a corner far outside of the picture")
        return masks.merge(masks.frPyObjects(segmentation, height, width))
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"its size {segmentation['size']} is not the picture's, {[height, width]}")
    counts = segmentation["counts"]
    if isinstance(counts, str):
        counts = _decompress_counts(counts.encode())
    # pycocotools leaves pixels that a code does not reach as it found the memory.
    if any(count < 0 for count in counts) or sum(counts) != height * width:
        raise ValueError("its run lengths do not add up to the picture's pixels")
    return masks.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _decompress_counts(code: bytes) -> list[int]:
    """The run lengths of COCO's text code: base 32, little end first, from the third on as differences."""
    counts: list[int] = []
    value = shift = 0
    for byte in code:
        digit = byte - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if shift > 60:
            raise ValueError("its run lengths are larger than any picture")
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


def _category_ids(path: Path, content: Json, names: Sequence[str]) -> set[int] | None:
    """The wanted categories' ids; None for all."""
    if not names:
        return None
    ids = {category["name"]: int(category["id"]) for category in content["categories"]}
    unknown = [name for name in names if name not in ids]
    if unknown:
        some = ", ".join(list(ids)[:10])
        raise InputError(f"{path}: has no category {unknown[0]!a}; it has {some}{', ...' * (len(ids) > 10)}")
    return {ids[name] for name in names}


def _find_images(annotations: Path, entries: Sequence[Mapping[str, Json]], folder: Path) -> list[Path]:
    """The picture of each entry."""
    listings: dict[Path, frozenset[str]] = {}

    def exists(path: Path) -> bool:
        # A folder is listed once: a look at each of 100,000 files takes minutes on a network's disk.
        if path.parent not in listings:
            entries = path.parent.iterdir() if path.parent.is_dir() else ()
            listings[path.parent] = frozenset(entry.name for entry in entries)
        return path.name in listings[path.parent]

    found = []
    missing = []
    for entry in entries:
        candidates = [folder / name for name in _names(entry)]
        path = next((candidate for candidate in candidates if exists(candidate)), None)
        if path is None:
            nowhere = f"image {entry['id']}, which has no name of a file in {folder},"
            missing.append(str(candidates[0]) if candidates else nowhere)
        else:
            found.append(path)
    if missing:
        raise InputError(
            f"{annotations}: {len(missing)} of its {len(entries)} pictures with objects are missing, "
            f"{missing[0]} for one; give their folder by images="
        )
    return found


def _names(entry: Mapping[str, Json]) -> list[str]:
    """Where an entry's picture may lie in the folder; nowhere outside of it."""
    if "file_name" in entry:
        names = [entry["file_name"]]
    else:
        parts = PurePosixPath(urlsplit(entry.get("coco_url", "")).path).parts
        names = ["/".join(parts[-2:]), *parts[-1:]]
    paths = [PurePosixPath(name) for name in names]
    return [str(path) for path in paths if path.name and not path.is_absolute() and ".." not in path.parts]
