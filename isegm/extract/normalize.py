"""Windowed 8-bit copies of CT volumes.

A volume passes through slab by slab: read as stored, windowed, written (and compressed) at once, so that
memory holds a slab and no volume, however large.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from isal import igzip
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from isegm.errors import InputError
from isegm.extract.batch import Outcome, run_batch
from isegm.limits import MOST_TEXT_BYTES, read_text
from isegm.storage import whole_file, write_text
from isegm.volumes.organs import window_of
from isegm.volumes.volume import Volume, check_finite, list_volumes, open_volume, read_slabs, stem
from isegm.volumes.windows import WINDOWS, Window, apply_window, parse_window

RECORD = "windows.json"

# Of isal's levels 0 to 3 the one that makes windowed CT smallest; level 3 is no smaller and slower.
_COMPRESSION = 2


@dataclass(frozen=True)
class NormalizeJob:
    """One volume to window.

    Attributes:
        path: The volume.
        output: Where its 8-bit copy goes; ``.gz`` compresses.
        window: Which HU become 0 to 255.
        force: Whether an existing ``output`` is replaced.
    """

    path: Path
    output: Path
    window: Window
    force: bool


@dataclass(frozen=True)
class Report:
    """What came of a run: how many volumes were written, into which folder, and lines about the others."""

    volumes: int
    folder: Path
    problems: list[str]


def parse_windows(organ: str) -> Window | dict[str, Window]:
    """What the ``organ`` argument means.

    Args:
        organ: A window's name, ``level,width``, a ``.json`` file that maps file names to windows, or an
            organ: lung has the lung window, every other one abdomen.

    Returns:
        One window for all volumes, or that of each file name.

    Raises:
        InputError: The text has no letter or has a comma but is not ``level,width``, or the JSON file is
            missing or malformed.
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
    try:
        content = json.loads(read_text(path, MOST_TEXT_BYTES))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; it should map file names to windows") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON ({error}); mend it") from None
    if not isinstance(content, dict):
        raise InputError(f'{path}: must be an object of file names and windows, {{"ct.nii": "lung"}} say')
    return {name: _window_from_json(path, name, value) for name, value in content.items()}


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
) -> Report:
    """Write windowed 8-bit copies of volumes, and the record of their windows beside them.

    Args:
        source: A volume, or a folder of them.
        target: A folder. For a single volume it may be a file name ending in ``.nii`` or ``.nii.gz``.
        windows: One for all, or that of each file name.
        force: Whether existing copies are replaced.
        workers: Processes; by default one a core.

    Raises:
        InputError: ``source`` is missing or holds no volume, ``target`` is another file or would have
            copies among the volumes they are made of, or the record there is malformed.
    """
    paths = list_volumes(source)
    outputs = {path: _output_path(source, path, target) for path in paths}
    folder = outputs[paths[0]].parent
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder")
    if folder.resolve() == paths[0].parent.resolve():
        raise InputError(f"{folder}: the volumes themselves are in this folder; write to another one")
    if (folder / RECORD).exists():
        read_windows(folder / RECORD)  # say now, not after hours, that it is malformed

    jobs: list[NormalizeJob] = []
    problems: dict[Path, str] = {}
    names = Counter(output.name for output in outputs.values())
    for path, output in outputs.items():
        window = windows if isinstance(windows, Window) else windows.get(path.name)
        if names[output.name] > 1:
            problems[path] = f"{path}: another volume has the same output {output.name}; rename one"
        elif window is None:
            problems[path] = f"{path}: the JSON file has no window for {path.name}; add one"
        else:
            jobs.append(NormalizeJob(path, output, window, force))

    outcomes: dict[int, Outcome[None]] = {}
    try:
        # One by one, so that what was done before an interrupt is known.
        for index, outcome in run_batch(normalize_volume, jobs, workers, "windows"):
            outcomes[index] = outcome  # noqa: PERF403
    finally:
        written = [jobs[index] for index, outcome in outcomes.items() if not outcome.problem]
        if written:
            _merge_record(folder / RECORD, written)
    problems |= {jobs[i].path: outcome.problem for i, outcome in outcomes.items() if outcome.problem}
    return Report(len(written), folder, [problems[path] for path in paths if path in problems])


def _output_path(source: Path, path: Path, target: Path) -> Path:
    if source.is_file() and target.name.lower().endswith((".nii", ".nii.gz")) and not target.is_dir():
        return target
    name = path.name
    if not name.lower().endswith((".nii", ".nii.gz")):  # a pair becomes a single file
        name = stem(name) + (".nii.gz" if name.lower().endswith(".gz") else ".nii")
    return target / name


def _merge_record(path: Path, written: list[NormalizeJob]) -> None:
    record = read_windows(path) if path.exists() else {}
    record |= {job.output.name: job.window for job in written}
    lines = {name: {"level": w.level, "width": w.width} for name, w in sorted(record.items())}
    write_text(path, json.dumps(lines, indent=2, ensure_ascii=False) + "\n")


def normalize_volume(job: NormalizeJob) -> None:
    """Write the windowed 8-bit copy of one volume, whole or not at all.

    Raises:
        InputError: The copy exists and is not to be replaced, the volume cannot be read, it is 8-bit
            already, or it has NaN.
    """
    if job.output.exists() and not job.force:
        raise InputError(f"{job.path}: {job.output} exists already; --force replaces it")
    volume = open_volume(job.path)
    if volume.is_8bit:
        raise InputError(
            f"{job.path}: 8-bit already, so it holds no HU to window; copy it if you want it there"
        )
    with whole_file(job.output) as temporary, _open_output(temporary) as file:
        windowed_header(volume, job.window).write_to(file)  # type: ignore[no-untyped-call]
        for start, slab in read_slabs(volume):
            for offset in range(slab.shape[2]):
                check_finite(volume, slab[:, :, offset], f"slice {start + offset} of axis 2")
            grey = apply_window(slab, job.window, volume.slope, volume.inter)
            file.write(grey.T.data)  # in Fortran order


def windowed_header(volume: Volume, window: Window) -> Nifti1Header:
    """The header of a volume's windowed copy: a single file, unscaled bytes.

    The geometry (shape, zooms, units, sform and qform with their codes), the byte order, the version of
    NIfTI and the extensions are those of the volume. The range to show becomes 0 to 255, and the
    description tells the window.
    """
    kind: Any = Nifti2Header if isinstance(volume.header, Nifti2Header) else Nifti1Header
    header: Any = kind(volume.header.binaryblock, volume.header.endianness, check=False)
    header.extensions.extend(volume.header.extensions)
    header["magic"] = kind.single_magic  # of a pair it is another
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header.set_data_offset(0)  # nibabel puts the voxels right behind the extensions
    header["cal_min"], header["cal_max"] = 0, 255
    header["descrip"] = f"window L={window.level:g} W={window.width:g}".encode()
    return cast("Nifti1Header", header)


@contextlib.contextmanager
def _open_output(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        if not path.name.lower().endswith(".gz"):
            yield file
            return
        # Neither name nor time in it, so that the same volume always gives the same bytes.
        compressed = igzip.IGzipFile("", "wb", _COMPRESSION, file, mtime=0)  # type: ignore[no-untyped-call]
        with compressed:
            yield cast("BinaryIO", compressed)
