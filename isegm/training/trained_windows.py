"""The CT windows of sources of training pictures, as they are kept in a checkpoint's metadata.

Data sets are then checked against them (:mod:`isegm.evaluation.window_check`).
"""

from collections.abc import Sequence
from pathlib import Path

from isegm.evaluation.window_check import TrainedWindow, manifest_windows
from isegm.reading import read_reading
from isegm.training.ct_appearance import CONTRAST
from isegm.training.sources import SourceSpec, config_of, nifti_window, parse_source, window_jitter
from isegm.volumes.windows import WINDOWS


def windows_of_sources(sources: Sequence[str]) -> dict[str, list[dict[str, float]]]:
    """The windows of every source that has some, by what was written without the weight.

    Volumes have the one that was asked for, and generated CT and volumes in random windows the named ones,
    each varied; half of the latter are seen in windows that depend on the picture, and these are left out. A
    folder or data set of slices has those of its manifest; its grey values are varied by contrast.

    Args:
        sources: As the user wrote them.

    Raises:
        InputError: A source is written wrong, or a config file or manifest cannot be used.
    """
    found = {spec.text: _windows_of(spec) for spec in map(parse_source, sources)}
    return {text: [window.as_json() for window in windows] for text, windows in found.items() if windows}


def _windows_of(spec: SourceSpec) -> list[TrainedWindow]:
    if spec.kind in ("folder", "data"):
        folder: Path | None = Path(spec.path)
        if spec.kind == "data":
            folder = config_of(spec).dataset_places.get(f"{spec.path.upper()}_PATH")
        if folder is None or not folder.is_dir():
            return []
        reading = read_reading(folder)
        if reading.window is not None:
            jitter = window_jitter(spec)
            shown = TrainedWindow(reading.window, jitter.shift, jitter.stretch)
            return [] if reading.offset is None else [shown]
        return [TrainedWindow(window, 0.0, CONTRAST) for window in manifest_windows(folder)]
    if spec.kind not in ("nifti", "phantom"):
        return []
    window = nifti_window(spec) if spec.kind == "nifti" else None
    windows = list(WINDOWS.values()) if window is None else [window]
    jitter = window_jitter(spec)
    return [TrainedWindow(window, jitter.shift, jitter.stretch) for window in windows]
