"""Time the CT tools on volumes, against decompressing and compressing the same bytes alone.

In turns, in one process and on one core: what extracting a slice takes by what decompressing label and image
takes; what windowing takes by what decompressing the image and compressing its windowed copy takes.
"""

import functools
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from isal import igzip

from isegm.benchmark.timing import in_turns, median_ratio, milliseconds
from isegm.extract.normalize import NormalizeJob, normalize_volume
from isegm.extract.slices import Extraction, ExtractionJob, extract_volume
from isegm.extract.volume_pairs import VolumePair
from isegm.pictures import read_grey, write_image
from isegm.tables import text_table
from isegm.volumes.nifti import open_nifti_volume
from isegm.volumes.organs import find_organ, window_of

_HEADER = (
    "volume", "MB", "extract, ms", "by reading", "with pictures", "window, ms", "by reading and writing"
)  # fmt: skip

# As much at once, and as much compressed, as the tools read and write.
_CHUNK = 1 << 19
_LEVEL = 2


def format_volumes(volumes: Sequence[Mapping[str, Any]]) -> str:
    """Lay the figures of volumes out as a table."""
    rows = [
        [
            volume["volume"],
            f"{volume['megabytes']:.1f}",
            f"{volume['extract']['median']:.1f}",
            f"{volume['extract_by_reading']:.2f}",
            f"{volume['extract_by_reading_and_pictures']:.2f}",
            f"{volume['window']['median']:.1f}",
            f"{volume['window_by_reading_and_writing']:.2f}",
        ]
        for volume in volumes
    ]
    return text_table(_HEADER, rows)


def measure_volume(pair: VolumePair, organ: str, repeats: int) -> dict[str, Any]:
    """Time both tools' work on one volume.

    Args:
        pair: Its label and its image, compressed.
        organ: Whose slice is extracted.
        repeats: Turns.

    Returns:
        ``volume``; ``megabytes`` of label and image, decompressed; times ``extract``, ``read`` (label and
        image), ``pictures`` (writing the slice and its mask), ``window``, ``recompress``; and ratios
        ``extract_by_reading``, ``extract_by_reading_and_pictures``, ``window_by_reading_and_writing``.
    """
    cv2.setNumThreads(1)
    label, image = pair.label, pair.image
    window = window_of(organ)
    volumes = [open_nifti_volume(path) for path in (label, image)]
    grey = b"".join(slab.windowed(window).T.tobytes() for _, slab in volumes[1].slabs())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extraction = ExtractionJob(pair, Extraction(organ=find_organ(organ), folder=folder, force=True))
        windowing = NormalizeJob(image, folder / "windowed.nii.gz", window, force=True)
        extract_volume(extraction)
        pictures = {path: read_grey(path) for path in folder.rglob("*.png")}

        def read_both() -> None:
            decompress(label)
            decompress(image)

        def write_pictures() -> None:
            for path, picture in pictures.items():
                write_image(path, picture)

        def recompress() -> None:
            decompress(image)
            compress(grey, folder / "x.gz")

        works = (
            functools.partial(extract_volume, extraction),
            read_both,
            write_pictures,
            functools.partial(normalize_volume, windowing),
            recompress,
        )
        extract, read, write, normalize, recompressed = in_turns(works, repeats)
    return {
        "volume": label.name,
        "megabytes": sum(math.prod(volume.shape) * volume.dtype.itemsize for volume in volumes) / 1e6,
        "extract": milliseconds(extract),
        "read": milliseconds(read),
        "pictures": milliseconds(write),
        "window": milliseconds(normalize),
        "recompress": milliseconds(recompressed),
        "extract_by_reading": median_ratio(extract, read),
        "extract_by_reading_and_pictures": median_ratio(
            extract, [a + b for a, b in zip(read, write, strict=True)]
        ),
        "window_by_reading_and_writing": median_ratio(normalize, recompressed),
    }


def decompress(path: Path) -> None:
    """Read a gzip file to its end, checksum included, and do nothing with it."""
    with igzip.open(path) as stream:  # type: ignore[no-untyped-call]
        while stream.read(_CHUNK):
            pass


def compress(content: bytes, path: Path) -> None:
    """Write a gzip file as the windowing tool does."""
    with path.open("wb") as file, igzip.IGzipFile("", "wb", _LEVEL, file, mtime=0) as stream:  # type: ignore[no-untyped-call]
        for start in range(0, len(content), _CHUNK):
            stream.write(content[start : start + _CHUNK])  # type: ignore[no-untyped-call]
