"""Files that exist whole or not at all.

Everything the tools write goes through :func:`whole_file`: a reader, a second run or a crash never sees
half a file under its final name.
"""

import contextlib
import csv
import hashlib
import io
import os
import secrets
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from isegm.errors import InputWarning, naming

TEMPORARY_PREFIX = ".tmp-"
"""How the names of files that are still being written begin."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it becomes ``path`` when the block ends well.

    The temporary name keeps the suffixes of ``path``, because writers choose the format by them. On an
    exception the temporary file is removed and an existing ``path`` is left as it was.

    Args:
        path: The final name. Missing parent folders are made.

    Raises:
        OSError: The folder cannot be made or written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{path.name}")
    try:
        with naming(path):
            yield temporary
            temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):  # which nobody has asked for
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` as UTF-8 to ``path``, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows, the header first, as CSV to ``path``, whole or not at all; NaN becomes ``nan``."""
    content = io.StringIO(newline="")
    csv.writer(content, lineterminator="\n").writerows(rows)
    write_text(path, content.getvalue())


def write_through(file: io.FileIO, content: bytes) -> None:
    """Write all of ``content`` to an unbuffered file; it is on disk when this returns.

    Raises:
        OSError: It could not be written; some of it may have been.
    """
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())


def lock(file: IO[Any]) -> bool:
    """Lock a file against other processes until it is closed; False if one of them has it.

    Not all systems can: then nothing is locked.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def warn_of_links(folder: Path, links: Sequence[Path]) -> None:
    """Warn of links that lead out of a data set: what is read is then not what lies in its folder.

    A whole folder may be a link: what counts is where its files lie. Links within the folder, and to a folder
    beside it (from ``masks`` to ``images``, say), are fine.

    Args:
        folder: The listed folder.
        links: Those of its entries that are links.
    """
    if not links:
        return
    home = folder.resolve().parent
    out = [link for link in links if not link.resolve().is_relative_to(home)]
    if out:
        count = f"{len(out)} links lead" if len(out) > 1 else "a link leads"
        warnings.warn(
            InputWarning(
                f"{folder}: {count} out of the data set, {out[0].name!a} to {out[0].resolve()}; copy what "
                "you want to keep with it"
            ),
            stacklevel=2,
        )


def seen_from(here: Path, folder: Path) -> str:
    """The way from one folder to another, links followed."""
    try:
        return Path(os.path.relpath(folder.resolve(), here.resolve())).as_posix()
    except ValueError:  # on another drive
        return folder.resolve().as_posix()


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
