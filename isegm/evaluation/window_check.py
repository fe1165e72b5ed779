"""Whether a network has seen CT in the window of the data that it is evaluated on.

Grey values mean something else in every window. Extracted slices say theirs in ``manifest.csv``, and
checkpoints trained here say theirs in their metadata; where either says nothing, nothing is checked.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isegm.datasets import Dataset
from isegm.errors import InputError, InputProblems
from isegm.extract.manifest import read_manifest
from isegm.inference.onnx_pair import read_pair
from isegm.model.checkpoint import read_metadata
from isegm.reading import read_reading
from isegm.volumes.windows import WINDOWS, Window

USUAL_SHIFT, USUAL_STRETCH = 0.2, 1.5
"""How training varies windows where nothing else is asked for."""

# Windows that differ no more than this count as the same, even in training that varied none.
_SAME_SHIFT, _SAME_STRETCH = 0.1, 1.2

_ROUNDING = 1e-9


@dataclass(frozen=True)
class TrainedWindow:
    """A window that a network was trained in, and how far it was varied.

    Attributes:
        window: The window itself.
        shift: Its level was moved up and down by up to so many of its widths.
        stretch: Its width was divided and multiplied by up to so much.
    """

    window: Window
    shift: float = USUAL_SHIFT
    stretch: float = USUAL_STRETCH

    def covers(self, other: Window) -> bool:
        """Whether another window counts as seen.

        It does if its level is within ``shift`` widths and its width within a factor of ``stretch``; a tenth
        of a width and a factor of 1.2 are always within.
        """
        moved = abs(other.level - self.window.level) / self.window.width
        stretched = max(other.width / self.window.width, self.window.width / other.width)
        return (
            moved <= max(self.shift, _SAME_SHIFT) + _ROUNDING
            and stretched <= max(self.stretch, _SAME_STRETCH) + _ROUNDING
        )

    def as_json(self) -> dict[str, float]:
        """The entry of a checkpoint's metadata."""
        return {**_as_json(self.window), "shift": self.shift, "stretch": self.stretch}


@dataclass(frozen=True)
class WindowReport:
    """The windows in an evaluation, as far as they are known.

    Attributes:
        data: The windows of each data set, by its name; none where they are not known.
        trained: Those that each network was trained in, by its name; none where they are not known.
        warnings: A line for every network on every data set in a window that it has not seen.
    """

    data: Mapping[str, Sequence[Window]]
    trained: Mapping[str, Sequence[TrainedWindow]]
    warnings: Sequence[str]

    def added_to(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """What ``results.json`` says besides the figures, with the windows added.

        Each data set has its own as ``window``, each checkpoint as ``windows``, null where they are not
        known; ``warnings`` has the lines.
        """
        data = {name: [_as_json(window) for window in own] or None for name, own in self.data.items()}
        trained = {name: [one.as_json() for one in own] or None for name, own in self.trained.items()}
        return {
            **about,
            "checkpoints": [{**row, "windows": trained[row["name"]]} for row in about["checkpoints"]],
            "datasets": [{**row, "window": data[row["name"]]} for row in about["datasets"]],
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """The warnings as they stand below the table."""
        return [f"warning: {warning}" for warning in self.warnings]


def check_windows(
    checkpoints: Mapping[str, Path], datasets: Iterable[Dataset], *, strict: bool = False
) -> WindowReport:
    """Compare the windows of data sets with those that networks were trained in.

    Args:
        checkpoints: Each network's file, by its name.
        datasets: The data sets.
        strict: Refuse what is otherwise a warning.

    Raises:
        InputError: A manifest or a checkpoint cannot be read; or, if ``strict``, a window has not been seen.
            The message then has a line for each warning.
    """
    data = {dataset.name: data_windows(dataset) for dataset in datasets}
    trained = {name: trained_windows(path) for name, path in checkpoints.items()}
    return report_windows(data, trained, strict=strict)


def report_windows(
    data: Mapping[str, Sequence[Window]], trained: Mapping[str, Sequence[TrainedWindow]], *, strict: bool
) -> WindowReport:
    """Compare windows that are known already.

    Args:
        data: As for :func:`window_warnings`.
        trained: As for the same.
        strict: Refuse what is otherwise a warning.

    Raises:
        InputError: As :func:`check_windows`, if ``strict``.
    """
    warnings = window_warnings(data, trained)
    if strict and warnings:
        raise InputProblems(warnings)
    return WindowReport(data, trained, warnings)


def data_windows(dataset: Dataset) -> tuple[Window, ...]:
    """The windows of a data set's pictures, by the manifest or ``reading.yml`` in its folder.

    None where neither says anything, or what is shown is no HU.

    Raises:
        InputError: As for :func:`manifest_windows`; or ``reading.yml`` cannot be used.
    """
    if dataset.folder is None:
        return ()
    reading = read_reading(dataset.folder)
    if reading.window is not None:
        return (reading.window,) if reading.offset is not None else ()
    return manifest_windows(dataset.folder, set(dataset.names))


def manifest_windows(folder: Path, names: set[str] | None = None) -> tuple[Window, ...]:
    """The windows that the manifest in a folder names, each once, in the order of levels and widths.

    A file of that name without a column ``window_level`` is somebody else's and says nothing, and neither
    does the row of a volume that was 8-bit already.

    Args:
        folder: Where ``images/`` and ``masks/`` are.
        names: The pictures to look at; None for all.

    Raises:
        InputError: The manifest is damaged, or a window in it is none.
        OSError: It cannot be read.
    """
    path = folder / "manifest.csv"
    if not _names_windows(path):
        return ()
    found = set()
    for row in read_manifest(path):
        level, width = row["window_level"], row["window_width"]
        if (level or width) and (names is None or row["name"] in names):
            try:
                found.add(Window(float(level), float(width)))
            except ValueError:  # also an InputError
                raise InputError(
                    f"{path}: {row['name']!a} has window_level {level!a} and window_width {width!a}, "
                    "which is no window; extract it again or fix the row"
                ) from None
    return tuple(sorted(found, key=lambda window: (window.level, window.width)))


def trained_windows(path: Path) -> tuple[TrainedWindow, ...]:
    """The windows that a network was trained in, by its file's metadata.

    Args:
        path: A checkpoint, or one of a pair of ONNX files.

    Returns:
        The windows; none where the file says nothing, or nothing that can be understood.

    Raises:
        InputError: The file cannot be used.
    """
    if path.suffix != ".onnx":
        return windows_in_metadata(read_metadata(path))
    try:
        recorded = json.loads(read_pair(path).metadata.get("windows", "{}"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        return ()
    return windows_in_metadata({"windows": recorded})


def windows_in_metadata(metadata: Mapping[str, Any]) -> tuple[TrainedWindow, ...]:
    """The windows in a checkpoint's metadata, each once.

    ``windows`` has an entry, or a list of them, by source of training pictures: ``{"level": 40, "width": 350,
    "shift": 0.2, "stretch": 1.5}``, the last two perhaps missing, or ``[40, 350]``. Older files do not say
    there which windows generated CT was seen in: the named ones, as every file's recipe tells.
    """
    recorded = metadata.get("windows")
    by_source = dict(recorded) if isinstance(recorded, Mapping) else {}
    for source in _sources(metadata):
        if source.partition(":")[0] == "phantom" and source not in by_source:
            by_source[source] = [_as_json(window) for window in WINDOWS.values()]
    entries: list[object] = []
    for value in by_source.values():
        is_list = isinstance(value, list) and not all(isinstance(number, (int, float)) for number in value)
        entries += value if is_list else [value]
    return tuple(dict.fromkeys(window for entry in entries if (window := _read_entry(entry))))


def window_warnings(
    data: Mapping[str, Sequence[Window]], trained: Mapping[str, Sequence[TrainedWindow]]
) -> list[str]:
    """A line for every network on every data set of which a window is not one that it has seen.

    Args:
        data: The windows of each data set, by its name; none where they are not known.
        trained: Those that each network was trained in, by its name; none where they are not known.
    """
    warnings = []
    for model, seen in trained.items():
        for dataset, windows in data.items():
            unseen = [window for window in windows if not any(one.covers(window) for one in seen)]
            if seen and unseen:
                known = _listed(dict.fromkeys(one.window for one in seen))
                warnings.append(
                    f"{dataset}: its CT is windowed at {_listed(unseen)}, which {model} was not trained in "
                    f"(it was in {known}); extract the slices in one of these, or use another checkpoint"
                )
    return warnings


def _names_windows(path: Path) -> bool:
    """Whether a manifest is there, and is this project's."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"window_level" in file.readline(1 << 16)


def _sources(metadata: Mapping[str, Any]) -> list[str]:
    """The sources in a checkpoint's recipe, without their weights; none where there is no recipe."""
    recipe = metadata.get("recipe")
    sources = recipe.get("sources") if isinstance(recipe, Mapping) else None
    found = sources if isinstance(sources, (list, tuple)) else ()
    return [source.rpartition("@")[0] or source for source in found if isinstance(source, str)]


def _read_entry(entry: object) -> TrainedWindow | None:
    """A window of the metadata; None for what is none."""
    if isinstance(entry, (list, tuple)) and len(entry) == 2:
        entry = {"level": entry[0], "width": entry[1]}
    if not isinstance(entry, Mapping):
        return None
    usual = {"shift": USUAL_SHIFT, "stretch": USUAL_STRETCH}
    try:
        level, width, shift, stretch = (
            float((usual | dict(entry))[name]) for name in ("level", "width", "shift", "stretch")
        )
        is_variation = 0 <= shift < math.inf and 1 <= stretch < math.inf
        return TrainedWindow(Window(level, width), shift, stretch) if is_variation else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _as_json(window: Window) -> dict[str, float]:
    return {"level": window.level, "width": window.width}


def _listed(windows: Iterable[Window]) -> str:
    return "; ".join(map(str, windows))
