"""Where things are: reads ``config.yml``, which holds places only and no hyper-parameters."""

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from isegm.errors import InputError, InputWarning
from isegm.limits import MOST_CONFIG_BYTES, read_bytes

MODELS_KEY = "INTERACTIVE_MODELS_PATH"
EXPERIMENTS_KEY = "EXPS_PATH"

_ROW_NAME = re.compile(r"[A-Z0-9][A-Z0-9_-]*_PATH", re.ASCII | re.IGNORECASE)
_TEXT_TAG = "tag:yaml.org,2002:str"
_SHOWN = 10


@dataclass(frozen=True)
class Config:
    """The places that a config file names; ``config.LIVER_PATH`` is one of them.

    Attributes:
        path: The config file, for messages.
        places: Folder by row name in upper case (``GRABCUT_PATH``), in the order of the file.
    """

    path: Path
    places: Mapping[str, Path]

    def __getattr__(self, key: str) -> Path:
        """The folder of one row, as an attribute."""
        places: Mapping[str, Path] = self.__dict__.get("places", {})
        if key not in places:
            raise AttributeError(f"{self.__dict__.get('path')}: has no row {key}")
        return places[key]

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
    """Read a config file: a YAML mapping with rows ``<NAME>_PATH: <folder>``.

    Relative folders are relative to the config file's own folder, and a leading ``~`` is the user's home.
    Nothing has to exist. Row names (letters, digits, ``_`` and ``-``) are read in any case and kept in upper
    case. Rows of other kinds, as configs of related projects have them, are left out with a warning.

    Raises:
        InputError: The file is missing, is not YAML or not a mapping; or a row is repeated, or has a folder
            that cannot be printed.
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
    unused: list[str] = []
    misread: list[str] = []  # 2024, yes and [a, b] are no texts to YAML
    for name, value in root.value:
        where = f"{path}: line {name.start_mark.line + 1}"
        if not _is_place(name, value):
            unused.append(ascii(name.value)[1:-1] if isinstance(name, yaml.ScalarNode) else "a nested key")
            if _ROW_NAME.fullmatch(unused[-1]):
                misread.append(unused[-1])
            continue
        key = name.value.upper()
        if key in places:
            raise InputError(f"{where}: {key} comes twice; keep one")
        if not value.value.isprintable():
            raise InputError(f"{where}: {key} has a character that cannot be printed; rename the folder")
        folder = os.path.expanduser(value.value)  # noqa: PTH111 - Path.expanduser raises for an unknown user
        places[key] = path.parent / folder
    if unused:
        some = ", ".join(unused[:_SHOWN]) + ", ..." * (len(unused) > _SHOWN)
        fix = f"; if {misread[0]} is to be used, put its one folder in quotes" if misread else ""
        said = f"{path}: only rows <NAME>_PATH: <folder> are used, not {some}{fix}"
        warnings.warn(InputWarning(said), stacklevel=2)
    return Config(path, places)


def _what_is_wrong(error: yaml.YAMLError) -> str:
    """A YAML error in one line, with the number of the file's line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"not YAML (line {error.problem_mark.line + 1}: {error.problem})"
    return f"not YAML ({' '.join(str(error).split())})"


def _is_place(name: yaml.Node, value: yaml.Node) -> bool:
    """Whether a row is called ``<NAME>_PATH`` and its value is a text."""
    return (
        isinstance(name, yaml.ScalarNode)
        and _ROW_NAME.fullmatch(name.value) is not None
        and isinstance(value, yaml.ScalarNode)
        and value.tag == _TEXT_TAG
        and bool(value.value.strip())
    )
