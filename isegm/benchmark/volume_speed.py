"""Time a whole volume by clicks: until a click's own slice is shown, and until the volume is done.

The volume is a generated patient, magnified to 512 x 512 pixels a slice, of which only the part with the
liver is taken: it is in every slice, so that none is spared. Each repetition begins as a user does, who opens
a volume:

- *open*: reading and windowing it.
- *first click*: in the middle of the liver, until its slice has its mask.
- *further click*: on the same slice, until its mask is corrected.
- *volume*: propagating, until all slices are done; *slices done* are those that were computed.
- *correction*: a click ten slices on, and propagating what depends on it.
- *cancelling*: the longest that propagation went on without asking whether to stop.

Memory is the process's largest resident set, above what it was with the network loaded and above the
volume's own bytes, one a voxel.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import torch

from isegm.benchmark.memory import resident_set
from isegm.benchmark.timing import milliseconds, quartiles
from isegm.inference.load import load_network
from isegm.inference.network import Network
from isegm.inference.volume_predictor import VolumePredictor
from isegm.metrics.overlap import Mask
from isegm.phantom.patients import LABELS, random_patient
from isegm.tables import text_table
from isegm.volumes.files import open_volume

LEAST_SLICES = 24
"""The correction is ten slices from the middle."""

_SIDE, _MAGNIFIED = 128, 4
_ACROSS_MM = 409.6
_TURNS = ("open", "first click", "further click", "volume", "cancelling", "correction")


def measure_volumes(checkpoint: Path, slices: int, repeats: int, threads: int) -> dict[str, Any]:
    """Time clicks on a volume, and their propagation.

    Args:
        checkpoint: The network's.
        slices: Of the volume, each 512 x 512; at least ``LEAST_SLICES``.
        repeats: How often a volume is opened and clicked on.
        threads: That one click may use.

    Returns:
        Times in ms by what was timed, ``slices_done`` and ``memory_mb``.
    """
    torch.set_num_threads(threads)
    network = load_network(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patient.nii"
        liver = write_liver_volume(path, slices)
        base = resident_set()
        turns = [_one_turn(network, path, liver) for _ in range(repeats)]
        peak = resident_set("VmHWM")
    return {
        "milliseconds": {name: milliseconds([turn[name] for turn, _ in turns]) for name in _TURNS},
        "slices_done": turns[0][1],
        "memory_mb": (peak - base - liver.size) / 1e6,
    }


def _one_turn(network: Network, path: Path, liver: Mask) -> tuple[dict[str, float], int]:
    """Open a volume and click on it; return seconds by what was timed, and how many slices were computed."""
    seconds: dict[str, float] = {}

    def timed(name: str, *works: Callable[[], object]) -> None:
        started = time.perf_counter()
        for work in works:
            work()
        seconds[name] = time.perf_counter() - started

    started = time.perf_counter()
    predictor = VolumePredictor(network, open_volume(path))
    seconds["open"] = time.perf_counter() - started
    middle = liver.shape[2] // 2
    (i, j), further = _deepest(liver[..., middle]), _deepest(liver[..., middle + 10])
    timed("first click", lambda: predictor.click((i, j, middle)))
    timed("further click", lambda: predictor.click((i + _MAGNIFIED, j, middle)))
    asked: list[float] = []

    def go_on() -> bool:
        asked.append(time.perf_counter())
        return False

    timed("volume", lambda: predictor.propagate(cancel=go_on))
    seconds["cancelling"] = float(np.diff(asked).max())
    timed("correction", lambda: predictor.click((*further, middle + 10)), predictor.propagate)
    return seconds, len(asked)


def write_liver_volume(path: Path, slices: int) -> Mask:
    """Write a generated patient's liver and what is beside it, 512 x 512 x ``slices``; return where it is."""
    pixel = _ACROSS_MM / _SIDE
    patient = random_patient(np.random.default_rng(0), (_SIDE, _SIDE, 32), (pixel, pixel, 10.0))
    liver = patient.labels == LABELS["liver"]
    held = np.flatnonzero(liver.any(axis=(0, 1)))
    along_z = np.linspace(held[0], held[-1], slices).round().astype(int)

    def magnified(array: Any) -> Any:  # noqa: ANN401 - of whatever type
        return array[:, :, along_z].repeat(_MAGNIFIED, axis=0).repeat(_MAGNIFIED, axis=1)

    affine = np.diag([pixel / _MAGNIFIED, pixel / _MAGNIFIED, 10.0 * len(held) / slices, 1])
    nib.save(nib.Nifti1Image(magnified(patient.hu), affine), path)  # type: ignore[no-untyped-call]
    return np.asarray(magnified(liver))


def _deepest(mask: Mask) -> tuple[int, int]:
    depths = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.unravel_index(int(depths.argmax()), depths.shape)
    return int(row), int(column)


def format_volumes_speed(result: Mapping[str, Any]) -> str:
    """Lay the figures out as a table."""
    rows = [
        [name, f"{times['median'] / 1000:.2f}", quartiles(times)]
        for name, times in result["milliseconds"].items()
    ]
    table = text_table(("until it is done", "median, s", "quartiles, ms"), rows)
    figures = f"slices done: {result['slices_done']}\nmemory above the volume, MB: {result['memory_mb']:.0f}"
    return f"{table}\n{figures}"
