"""The journal of a case: a line of JSON for everything that was done, on disk before it is acknowledged.

A line that a kill has torn has no end and was never acknowledged: it is cut off when the file is opened
again. Anything else that is not as it was written is an error.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isegm.errors import InputError
from isegm.json_object import JsonObject, read_json_object
from isegm.storage import write_through

_FIX = "put back a copy of it, or move it away to begin this case again"
_MOST_LINE_BYTES = 2**28


class ActionLog:
    """A case's journal.

    Args:
        path: Its file, made if there is none.
        header: What the first line says; a file that says otherwise belongs to another case.

    Raises:
        InputError: The file is damaged, or another case's.
        OSError: It cannot be read or written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0)
        self._size = self._without_torn_line()
        if self._size == 0:
            self.append(header)
        stored = self.read(0).values
        if dict(stored) != json.loads(json.dumps(header)):
            self.close()
            raise InputError(
                f"{path}: was begun on another picture or volume of this name; name another output folder"
            )

    def append(self, entry: Mapping[str, Any]) -> int:
        """Write an entry, and return where it begins; it is on disk when this returns.

        Raises:
            OSError: It could not be written; the file is as before.
        """
        line = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        start = self._size
        try:
            self._file.seek(start)
            write_through(self._file, line)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(start)
            if error.filename is None and error.errno is not None:
                error.filename = str(self.path)
            raise
        self._size = start + len(line)
        return start

    def read(self, start: int) -> JsonObject:
        """The entry that begins there.

        Raises:
            InputError: It is damaged.
        """
        self._file.seek(start)
        with os.fdopen(os.dup(self._file.fileno()), "rb") as file:
            return _entry(self.path, start, file.readline(_MOST_LINE_BYTES))

    def entries(self) -> Iterator[tuple[int, JsonObject]]:
        """Each entry after the first line, with where it begins.

        Raises:
            InputError: One is damaged.
        """
        return entries_of(self.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _without_torn_line(self) -> int:
        """Cut off what follows the last end of a line; return what is left."""
        size = left = os.fstat(self._file.fileno()).st_size
        while left:
            step = min(left, 1 << 16)
            self._file.seek(left - step)
            end = self._file.read(step).rfind(b"\n")
            if end >= 0:
                left += end + 1 - step
                break
            left -= step
        if left < size:
            self._file.truncate(left)
        return left


def entries_of(path: Path) -> Iterator[tuple[int, JsonObject]]:
    """Each entry of a journal after its first line, with where it begins; a torn last line is left out.

    Raises:
        InputError: One is damaged.
    """
    with path.open("rb") as file:
        start = len(file.readline(_MOST_LINE_BYTES))
        while (line := file.readline(_MOST_LINE_BYTES)).endswith(b"\n"):
            yield start, _entry(path, start, line)
            start += len(line)


def _entry(path: Path, start: int, line: bytes) -> JsonObject:
    return read_json_object(f"{path}: byte {start}", line, _FIX)
