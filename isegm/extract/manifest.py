"""``manifest.csv``: where each extracted picture came from."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from isegm.errors import InputError
from isegm.limits import MOST_TEXT_BYTES, read_text
from isegm.storage import write_csv

COLUMNS = (
    "name",
    "volume",
    "label",
    "slice",
    "axis",
    "height",
    "width",
    "spacing_row_mm",
    "spacing_col_mm",
    "window_level",
    "window_width",
    "orientation",
    "labels",
    "organ_pixels",
    "label_folder",
)

Row = Mapping[str, str]


def read_manifest(path: Path) -> list[Row]:
    """Read the rows of a manifest; none if there is no file.

    Raises:
        InputError: The file is not a manifest, or has a name that would not lie in the folder of pictures.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, MOST_TEXT_BYTES), newline=""))
        rows: list[Row] = list(reader)
        columns = tuple(reader.fieldnames or ())
    except FileNotFoundError:
        return []
    except (UnicodeDecodeError, csv.Error):
        columns, rows = (), []
    if columns != COLUMNS or any(None in row or None in row.values() for row in rows):
        raise InputError(f"{path}: not a manifest of this tool's; move it away or extract elsewhere")
    for row in rows:
        # Pictures that a new extraction leaves without a row are removed, so a name must not lead elsewhere.
        if not _is_file_name(row["name"]):
            raise InputError(f"{path}: {row['name']!a} is not the name of a picture; remove its row")
    return rows


def _is_file_name(name: str) -> bool:
    return name.isprintable() and name not in ("", ".", "..") and not {"/", "\\"} & set(name)


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write a manifest whole, a row a picture, sorted by name."""
    in_order = sorted(rows, key=lambda row: row["name"])
    write_csv(path, [COLUMNS, *([row[column] for column in COLUMNS] for row in in_order)])
