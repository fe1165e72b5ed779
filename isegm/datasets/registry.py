"""Which data sets there are: the benchmarks, and any other row of the config file as a folder of its own."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from isegm.config import Config
from isegm.datasets.coco import find_coco
from isegm.datasets.dataset import Dataset, DatasetProblems, Record, single_objects, whole_pictures
from isegm.datasets.davis585 import find_davis585
from isegm.datasets.instances import PASCAL_VOC, SBD
from isegm.datasets.picture_pairs import find_folder, find_pairs, read_any_colour, read_bright, read_trimap
from isegm.errors import InputError, InputWarning
from isegm.masks import Labels

_SUFFIX = "_PATH"

Find = Callable[[Path], list[Record]]


@dataclass(frozen=True)
class _Entry:
    """A data set that can be asked for: its name, its row in the config file, and how to find its samples."""

    name: str
    key: str
    find: Find


def _paired(images: str, masks: str, read_labels: Callable[[Path], Labels]) -> Find:
    """How a benchmark with one mask an image is found."""
    return lambda folder: whole_pictures(
        find_pairs(folder, images=images, masks=masks, read_labels=read_labels)
    )


_BENCHMARKS = (
    _Entry("GrabCut", "GRABCUT_PATH", _paired("data_GT", "boundary_GT", read_trimap)),
    _Entry("Berkeley", "BERKELEY_PATH", _paired("images", "masks", read_trimap)),
    _Entry("DAVIS", "DAVIS_PATH", _paired("img", "gt", read_any_colour)),
    _Entry("SBD", "SBD_PATH", SBD.find_objects),
    _Entry("PascalVOC", "PASCALVOC_PATH", PASCAL_VOC.find_objects),
    _Entry("COCO_MVal", "COCO_MVAL_PATH", _paired("img", "gt", read_bright)),
    _Entry("D585_SP", "DAVIS585_PATH", partial(find_davis585, initial="sp")),
    _Entry("D585_STM", "DAVIS585_PATH", partial(find_davis585, initial="stm")),
    _Entry("D585_ZERO", "DAVIS585_PATH", partial(find_davis585, initial=None)),
)


def available_datasets(config: Config) -> list[str]:
    """The names of the data sets whose folder (or annotation file) exists, in the order of the config file.

    Nothing in them is looked at: :func:`open_dataset` tells whether a data set is whole.

    Raises:
        InputError: A row takes the name of a benchmark that another row holds (``D585_SP_PATH``).
    """
    return [entry.name for entry in _entries(config) if _is_there(config.places[entry.key])]


def open_dataset(name: str, config: Config) -> Dataset:
    """Find a data set's samples and check, without decoding pictures, that all files are there and pair.

    SBD, PascalVOC and COCO's format are the exception: their labels are read to see which objects there are.

    Args:
        name: A benchmark's name or that of any other row ``<NAME>_PATH``, in any case. It is looked up in
            the config file only and never becomes part of a path.
        config: Where the data sets are.

    Raises:
        InputError: The data set is unknown, or its folder is missing.
        DatasetProblems: Its files do not fit together; every problem is listed.
    """
    entry = _entry(name, config)
    folder = config.places[entry.key]
    if not _is_there(folder):
        raise InputError(
            f"{entry.name}: there is no folder {folder}; put the data set there or change {entry.key} in "
            f"{config.path}"
        )
    return Dataset(entry.name, entry.find(folder), folder if folder.is_dir() else None)


def open_folder(folder: Path) -> Dataset:
    """Open a folder with ``images/`` and ``masks/`` as a data set of its name, whatever that is.

    Raises:
        DatasetProblems: Its files do not fit together; every problem is listed.
    """
    return Dataset(folder.resolve().name, _find_whole(folder), folder)


def _is_annotation_file(place: Path) -> bool:
    return place.suffix.lower() == ".json"


def _is_there(place: Path) -> bool:
    return place.is_file() if _is_annotation_file(place) else place.is_dir()


def _find_whole(folder: Path) -> list[Record]:
    """The samples of a folder with ``images/`` and ``masks/``."""
    return whole_pictures(find_folder(folder))


def _find_annotated(annotations: Path) -> list[Record]:
    """The samples of an annotation file of COCO's format, one an object.

    Beside it, or beside its folder ``annotations``, lies a folder ``images``, or that of each picture's
    address (``val2017``). A warning says what is left out.

    Raises:
        InputError: As :func:`isegm.datasets.coco.find_coco`.
    """
    root = annotations.parent
    root = root.parent if root.name == "annotations" else root
    images = root / "images"
    pictures, notes = find_coco(annotations, images if images.is_dir() else root)
    for note in notes:
        warnings.warn(InputWarning(note), stacklevel=2)
    problems: list[str] = []
    records = single_objects(pictures, problems)
    if problems:
        raise DatasetProblems(problems)
    return records


def _entry(name: str, config: Config) -> _Entry:
    wanted = name.lower()
    entries = _entries(config)
    for entry in entries:
        if entry.name.lower() == wanted:
            return entry
    for entry in _BENCHMARKS:
        if entry.name.lower() == wanted:
            raise InputError(f"{entry.name}: {config.path} has no row {entry.key}; add {entry.key}: <folder>")
    known = ", ".join(entry.name for entry in entries) or "none"
    raise InputError(
        f"{name!a}: no such data set in {config.path} (it has {known}); for a folder with images/ and masks/ "
        f"add a row <NAME>_PATH: <folder>"
    )


def _entries(config: Config) -> list[_Entry]:
    """Every data set that the config file has a row for, in its order.

    Raises:
        InputError: A row of the user's own takes the name of a benchmark that another row holds.
    """
    entries: list[_Entry] = []
    for key, place in config.dataset_places.items():
        name = key.removesuffix(_SUFFIX).lower()
        benchmarks = [entry for entry in _BENCHMARKS if entry.key == key]
        if not benchmarks and any(entry.name.lower() == name for entry in _BENCHMARKS):
            raise InputError(f"{config.path}: {key} would give a second data set {name}; rename the row")
        find = _find_annotated if _is_annotation_file(place) else _find_whole
        entries += benchmarks or [_Entry(name, key, find)]
    return entries
