"""Listing folders: each is read once, and what does not fit is noted as a problem rather than raised.

A problem is one line, ``file: what is wrong and what would fix it``. Hidden files are never looked at.
A link is followed, wherever it leads, but one that leads out of the data set is named in a warning.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from isegm.storage import warn_of_links
from isegm.wording import composed


def list_files(folder: Path, problems: list[str]) -> list[Path]:
    """The files in a folder, sorted by name; links are followed.

    Notes as problems a folder that is missing or cannot be read, and a link that leads nowhere.
    """
    return _list(folder, problems, os.DirEntry.is_file, os.DirEntry.is_dir)


def list_folders(folder: Path, problems: list[str]) -> list[Path]:
    """The folders in a folder, sorted by name; links and problems as with :func:`list_files`."""
    return _list(folder, problems, os.DirEntry.is_dir, os.DirEntry.is_file)


def by_stem(files: Iterable[Path], suffixes: frozenset[str], problems: list[str]) -> dict[str, Path]:
    """File by stem (the name without its last suffix), for files with one of ``suffixes`` in any case.

    Composed and decomposed characters (as in archives made on a Mac) give the same stem.

    Notes as problems two files of one stem, of which the first is kept, and a name that cannot be printed,
    which would break reports and is left out.

    Args:
        files: Files of one folder, sorted.
        suffixes: In lower case, with their dot.
        problems: Grows by what is found.
    """
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() not in suffixes:
            continue
        if file.stem.isprintable():
            found[composed(file.stem)].append(file)
        else:
            problems.append(f"{file.parent}: {file.name!a} is not printable; rename the file")
    for same in found.values():
        if len(same) > 1:
            others = ", ".join(file.name for file in same[1:])
            problems.append(f"{same[0]}: has the same name as {others}; keep one")
    return {stem: same[0] for stem, same in found.items()}


def files_of(folder: Path, suffixes: frozenset[str], problems: list[str]) -> dict[str, Path]:
    """File by stem of a folder that must hold some: :func:`list_files`, then :func:`by_stem`.

    Notes as a problem a folder without a file of one of ``suffixes``, next to what those two note.
    """
    before = len(problems)
    files = by_stem(list_files(folder, problems), suffixes, problems)
    if not files and len(problems) == before:
        problems.append(f"{folder}: holds no file of {', '.join(sorted(suffixes))}; the data set needs them")
    return files


def _list(
    folder: Path,
    problems: list[str],
    wanted: Callable[[os.DirEntry[str]], bool],
    unwanted: Callable[[os.DirEntry[str]], bool],
) -> list[Path]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(
                (entry for entry in scan if not entry.name.startswith(".")), key=lambda e: e.name
            )
        # What kind an entry is comes with the listing: only links cost a further look at the file system.
        listed = [Path(entry.path) for entry in entries if wanted(entry)]
        nowhere = [entry.name for entry in entries if not wanted(entry) and not unwanted(entry)]
    except FileNotFoundError:
        problems.append(f"{folder}: no such folder; the data set needs it")
        return []
    except OSError as error:
        problems.append(f"{error.filename or folder}: {error.strerror}")
        return []
    warn_of_links(folder, [Path(entry.path) for entry in entries if wanted(entry) and entry.is_symlink()])
    problems.extend(f"{folder}: the link {name!a} leads nowhere; fix or remove it" for name in nowhere)
    return listed
