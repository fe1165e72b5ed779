"""Windowed 8-bit copies of CT volumes.

A volume passes through slab by slab: read as stored, windowed, written (and compressed) at once, so that
memory holds a slab and no volume, however large.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.errors import InputError
from isegm.extract.batch import JobOutcome, run_batch
from isegm.extract.volume_pairs import list_images
from isegm.limits import MOST_TEXT_BYTES, read_text
from isegm.storage import seen_from, write_text
from isegm.volumes.files import open_volume, stem
from isegm.volumes.hu_check import HuCheck
from isegm.volumes.nifti import write_nifti
from isegm.volumes.organs import window_of
from isegm.volumes.volume import Volume
from isegm.volumes.windows import WINDOWS, Window, parse_window
from isegm.wording import composed

RECORD = "windows.json"


@dataclass(frozen=True)
class NormalizeJob:
    """One volume to window.

    Attributes:
        path: The volume.
        output: Where its 8-bit copy goes; ``.gz`` compresses.
        window: Which HU become 0 to 255.
        force: Whether an existing ``output`` is replaced.
        series: Of DICOM, as for :func:`isegm.volumes.files.open_volume`.
        untilt: The same.
    """

    path: Path
    output: Path
    window: Window
    force: bool
    series: str | None = None
    untilt: bool = False


@dataclass(frozen=True)
class WindowingReport:
    """What came of a run: how many volumes were written, into which folder, and lines about the others."""

    volumes: int
    folder: Path
    problems: list[str]


def parse_windows(organ: str) -> Window | dict[str, Window]:
    """Find the windows that the ``organ`` argument asks for.

    Args:
        organ: A window's name, ``level,width``, a ``.json`` file that maps file names to windows, or an
            organ whose window is known.

    Returns:
        One window for all volumes, or that of each file name.

    Raises:
        InputError: The text looks like ``level,width`` but is not, the organ's window is not known, or the
            JSON file is missing or malformed.
    """
    if organ.lower().endswith(".json"):
        return read_windows(Path(organ))
    if organ in WINDOWS or "," in organ or not any(character.isalpha() for character in organ):
        return parse_window(organ)
    return window_of(organ)


def read_windows(path: Path) -> dict[str, Window]:
    """Read a JSON object of file names and windows.

    A window is a name, ``"level,width"``, ``[level, width]`` or ``{"level": L, "width": W}``.

    Raises:
        InputError: The file is missing, or is not that.
    """
    return {name: _window_from_json(path, name, value) for name, value in _read_object(path).items()}


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object, its keys as :func:`_key` has them."""
    try:
        content = json.loads(read_text(path, MOST_TEXT_BYTES))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; it should map file names to windows") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON ({error}); correct it") from None
    if not isinstance(content, dict):
        raise InputError(f'{path}: must be an object of file names and windows, {{"ct.nii": "lung"}} say')
    return {composed(name): value for name, value in content.items()}


def _window_from_json(path: Path, name: str, value: object) -> Window:
    numbers = [value.get("level"), value.get("width")] if isinstance(value, dict) else value
    try:
        if isinstance(numbers, str):
            return parse_window(numbers)
        if isinstance(numbers, list) and len(numbers) == 2:
            return Window(float(numbers[0]), float(numbers[1]))
    except (InputError, TypeError, ValueError, OverflowError):
        pass
    raise InputError(
        f"{path}: {name}: {value!r} is no window; give a name, or [level, width] with width above 0"
    )


def normalize(
    source: Path,
    target: Path,
    windows: Window | Mapping[str, Window],
    force: bool = False,
    workers: int | None = None,
    series: str | None = None,
    untilt: bool = False,
) -> WindowingReport:
    """Write windowed 8-bit copies of volumes, and the record of their windows beside them.

    Args:
        source: A volume, a folder of them, or a folder with one folder a patient: see
            :func:`isegm.extract.volume_pairs.list_images`.
        target: A folder. For a single volume it may be a file name ending in ``.nii`` or ``.nii.gz``.
        windows: One for all, or that of each file name (the copy's or the volume's), as
            :func:`read_windows` gives them.
        force: Whether existing copies of the same volumes are replaced.
        workers: Processes; by default one a core.
        series: Of volumes that are DICOM, as for :func:`isegm.volumes.files.open_volume`.
        untilt: The same.

    Raises:
        InputError: ``source`` is missing or holds no volume, ``target`` is another file or would have
            copies among the volumes they are made of, or the record there is malformed.
    """
    prefixes = list_images(source, wants_dicom=series is not None or untilt)
    paths = list(prefixes)
    outputs = {path: _output_path(source, path, target, prefix) for path, prefix in prefixes.items()}
    folder = outputs[paths[0]].parent
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder")
    if folder.resolve() in {(path if path.is_dir() else path.parent).resolve() for path in paths}:
        raise InputError(f"{folder}: the volumes themselves are in this folder; write to another one")
    record = _read_object(folder / RECORD) if (folder / RECORD).exists() else {}
    for name, value in record.items():
        _window_from_json(folder / RECORD, name, value)  # say now, not after hours, that it is malformed

    jobs: list[NormalizeJob] = []
    problems: dict[Path, str] = {}
    names = Counter(composed(output.name) for output in outputs.values())
    for path, output in outputs.items():
        name = composed(output.name)
        window = (
            windows if isinstance(windows, Window) else windows.get(name, windows.get(composed(path.name)))
        )
        earlier = record.get(name) if output.exists() else None
        made_of = earlier.get("volume") if isinstance(earlier, dict) else None
        if names[name] > 1:
            problems[path] = f"{path}: another volume has the same output {output.name}; rename one"
        elif made_of not in (None, _origin(folder, path)):
            problems[path] = (
                f"{path}: {output} is the copy of another volume, {made_of}; write to another folder, or "
                "rename one"
            )
        elif window is None:
            problems[path] = f"{path}: the JSON file has no window for {path.name}; add one"
        else:
            jobs.append(NormalizeJob(path, output, window, force, series, untilt))

    outcomes: dict[int, JobOutcome[None]] = {}
    try:
        # One by one, so that what was done before an interrupt is known.
        for index, outcome in run_batch(normalize_volume, jobs, workers, "windows"):
            outcomes[index] = outcome  # noqa: PERF403
    finally:
        written = [jobs[index] for index, outcome in outcomes.items() if not outcome.problem]
        if written:
            _merge_record(folder / RECORD, written)
    problems |= {jobs[i].path: outcome.problem for i, outcome in outcomes.items() if outcome.problem}
    return WindowingReport(len(written), folder, [problems[path] for path in paths if path in problems])


def _output_path(source: Path, path: Path, target: Path, prefix: str) -> Path:
    is_single = source.is_file() or path.resolve() == source.resolve()  # a file, or a DICOM series' folder
    if is_single and target.name.lower().endswith((".nii", ".nii.gz")) and not target.is_dir():
        return target
    name = path.name
    if path.is_dir():
        name += ".nii.gz"
    elif not name.lower().endswith((".nii", ".nii.gz")):  # a pair becomes a single file
        name = stem(name) + (".nii.gz" if name.lower().endswith((".gz", ".dcm")) else ".nii")
    return target / f"{prefix}{name}"


def _origin(folder: Path, path: Path) -> str:
    """Where a volume lies, seen from the folder of its copy; as in a manifest, not where a link leads."""
    return f"{seen_from(folder, path.parent)}/{path.name}"


def _merge_record(path: Path, written: list[NormalizeJob]) -> None:
    record = _read_object(path) if path.exists() else {}
    for job in written:
        window, volume = job.window, _origin(path.parent, job.path)
        record[composed(job.output.name)] = {"level": window.level, "width": window.width, "volume": volume}
    write_text(path, json.dumps(dict(sorted(record.items())), indent=2, ensure_ascii=False) + "\n")


def normalize_volume(job: NormalizeJob) -> None:
    """Write the windowed 8-bit copy of one volume, whole or not at all.

    Raises:
        InputError: The copy exists and is not to be replaced, the volume cannot be read, it is 8-bit
            already, or it has NaN.
    """
    if job.output.exists() and not job.force:
        raise InputError(f"{job.path}: {job.output} exists already; `force` replaces it")
    volume = open_volume(job.path, job.series, untilt=job.untilt)
    if volume.is_8bit:
        raise InputError(
            f"{job.path}: 8-bit already, so it holds no HU to window; copy it if you want it there"
        )
    window = job.window
    description = f"window L={window.level:g} W={window.width:g}"
    slabs = _windowed(volume, window)
    write_nifti(job.output, volume, slabs, description=description, shown=(0, 255))


def _windowed(volume: Volume, window: Window) -> Iterator[npt.NDArray[np.uint8]]:
    check = HuCheck(volume.path)
    for start, slab in volume.slabs():
        for offset in range(slab.stored.shape[2]):
            slab[:, :, offset].check_finite(f"slice {start + offset} of axis 2")
        check.add(slab)
        yield slab.windowed(window)
    check.warn()
