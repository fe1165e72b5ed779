"""Where things are: reads ``config.yml``, which holds places only and no hyper-parameters."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from isegm.errors import InputError
from isegm.limits import MOST_CONFIG_BYTES, read_bytes

MODELS_KEY = "INTERACTIVE_MODELS_PATH"
EXPERIMENTS_KEY = "EXPS_PATH"

_ROW_NAME = re.compile(r"[A-Z0-9][A-Z0-9_-]*_PATH", re.ASCII | re.IGNORECASE)
_TEXT_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Config:
    """The places that a config file names.

    Attributes:
        path: The config file, for messages.
        places: Folder by row name in upper case (``GRABCUT_PATH``), in the order of the file.
    """

    path: Path
    places: Mapping[str, Path]

    @property
    def dataset_places(self) -> dict[str, Path]:
        """The rows that are data sets: all but the models' and the experiments' folders."""
        return {key: place for key, place in self.places.items() if key not in (MODELS_KEY, EXPERIMENTS_KEY)}

    def place(self, key: str) -> Path:
        """The folder of one row, whether it exists or not.

        Raises:
            InputError: The config file has no such row.
        """
        try:
            return self.places[key]
        except KeyError:
            raise InputError(f"{self.path}: has no row {key}; add one: {key}: <folder>") from None


def read_config(path: Path) -> Config:
    """Read a config file: a flat YAML mapping of rows ``<NAME>_PATH: <folder>``.

    Relative folders are relative to the config file's own folder, and a leading ``~`` is the user's home.
    Nothing has to exist. Row names are read in any case and kept in upper case.

    Raises:
        InputError: The file is missing, is not YAML or not a mapping; or a row is repeated, is not called
            ``<NAME>_PATH`` (letters, digits, ``_`` and ``-``) or has a value that is not a text.
        OSError: The file cannot be read.
    """
    try:
        # Nodes only, no objects: aliases within aliases stay as small as they were written.
        root = yaml.compose(read_bytes(path, MOST_CONFIG_BYTES), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such config file; check the path") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; write one row <NAME>_PATH: <folder> a line") from None
    except yaml.YAMLError as error:
        raise InputError(
            f"{path}: {_what_is_wrong(error)}; write one row <NAME>_PATH: <folder> a line"
        ) from None
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{path}: not a mapping; write one row <NAME>_PATH: <folder> a line")

    # The nodes are read rather than the mapping made of them, because that would hide a row that comes twice.
    places: dict[str, Path] = {}
    for name, value in root.value:
        key, place = _read_row(f"{path}: line {name.start_mark.line + 1}", name, value)
        if key in places:
            raise InputError(f"{path}: line {name.start_mark.line + 1}: {key} comes twice; keep one")
        places[key] = path.parent / place
    return Config(path, places)


def _what_is_wrong(error: yaml.YAMLError) -> str:
    """A YAML error in one line, with the number of the file's line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"not YAML (line {error.problem_mark.line + 1}: {error.problem})"
    return f"not YAML ({' '.join(str(error).split())})"


def _read_row(where: str, name: yaml.Node, value: yaml.Node) -> tuple[str, Path]:
    """The row's name in upper case and its folder as written, ``~`` expanded."""
    if not isinstance(name, yaml.ScalarNode) or not _ROW_NAME.fullmatch(name.value):
        shown = ascii(name.value) if isinstance(name, yaml.ScalarNode) else "a nested key"
        raise InputError(f"{where}: {shown} is not the name of a row; rows are called <NAME>_PATH")
    if not isinstance(value, yaml.ScalarNode) or value.tag != _TEXT_TAG or not value.value.strip():
        raise InputError(f"{where}: {name.value} must be the path of a folder, as text")
    if not value.value.isprintable():
        raise InputError(f"{where}: {name.value} has a character that cannot be printed; rename the folder")
    folder = os.path.expanduser(value.value)  # noqa: PTH111 - Path.expanduser raises for an unknown user
    return name.value.upper(), Path(folder)
