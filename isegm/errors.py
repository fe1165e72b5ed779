"""The one exception for what a user can fix, and what the operating system's errors mean to a user."""

import contextlib
import errno
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence

_SPACE = "free some space and run it again; evaluations and trainings can be resumed"
_FIXES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EROFS: "name a folder that can be written to",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: what should be a folder is a file",
    errno.EISDIR: "name a file",
    errno.EEXIST: "name another",
    errno.ENOMEM: "use fewer processes or pictures at once, smaller files, or a larger machine",
    errno.ENAMETOOLONG: "shorten the name",
    errno.ELOOP: "fix the links, which go round in a circle",
    errno.EMFILE: "allow more open files (ulimit -n), or use fewer processes",
    errno.ENFILE: "allow more open files (ulimit -n), or use fewer processes",
    errno.EIO: "the disk or the connection to it fails: copy the file to another one",
    errno.ESTALE: "the disk or the connection to it fails: copy the file to another one",
}

_NO_MEMORY = (
    "out of memory",  # torch on a GPU, and CUDA itself
    "not enough memory",  # torch on Windows and macOS
    "can't allocate memory",  # torch on Linux
    "cannot allocate memory",  # the operating system
    "alloc_failed",  # cuBLAS, cuDNN
    "failed to allocate",  # OpenCV, ONNX Runtime, OpenVINO
    "insufficient memory",  # OpenCV
    "unable to allocate",  # NumPy
    "bad_alloc",  # C++
    "bad allocation",  # C++ on Windows
)


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is a single line that names the file (or argument) and says what would fix it.
    Command-line tools print it on stderr and leave with exit status 2, without a traceback.
    """

    @property
    def lines(self) -> list[str]:
        """The message's lines: one, but where it lists several problems."""
        return [str(self)]


class InputProblems(InputError):  # noqa: N818 - it is a list of them
    """Several things that cannot be used; the message lists them, one a line.

    Attributes:
        problems: The lines, ``file: what is wrong and what would fix it``.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)

    @property
    def lines(self) -> list[str]:
        """The problems."""
        return self.problems


class SettingError(InputError):
    """A setting that is out of range: ``n_clicks: must be at least 1, not 0``.

    Command lines show it as their option: ``--n-clicks: must be at least 1, not 0``.

    Attributes:
        option: The setting as a command line's option.
        said: What is wrong with it.
    """

    def __init__(self, setting: str, said: str) -> None:
        super().__init__(f"{setting}: {said}")
        self.option = f"--{setting.replace('_', '-')}"
        self.said = said


class InputWarning(UserWarning):
    """Something the user gave is used, but the user should know of it; one line, as an error's."""


class FileWarning(InputWarning):
    """A file is used, but the user should know something of it.

    Attributes:
        path: The file.
        text: What to know; the line is ``path: text``.
    """

    def __init__(self, path: str | os.PathLike[str], text: str) -> None:
        super().__init__(path, text)  # so that it travels between processes
        self.path, self.text = path, text

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def warn_together(caught: Iterable[Warning]) -> None:
    """Issue warnings that were held back; what is the same of many files is said once, with their number."""
    by_text: dict[str, list[Warning]] = {}
    for warning in caught:
        by_text.setdefault(warning.text if isinstance(warning, FileWarning) else str(warning), []).append(
            warning
        )
    for same in by_text.values():
        first, others = same[0], len({str(warning) for warning in same}) - 1
        if isinstance(first, FileWarning) and others:
            first = FileWarning(first.path, f"{first.text} (and {others} more)")
        warnings.warn(first, stacklevel=2)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let what the operating system refuses name the file: a read or a write that fails does not.

    Raises:
        OSError: Whatever was raised within, with the file's name.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def describe(error: OSError, path: str | os.PathLike[str] = "") -> str:
    """Say in one line what the operating system refused, and the fix: ``file: reason; fix``.

    Args:
        error: What it said.
        path: The file that it was about, for errors that do not name theirs.
    """
    name = error.filename2 or error.filename or path  # of two, the second is the final name
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    where = f"{name}: " if name else ""
    fix = _FIXES.get(error.errno or 0, "")
    return f"{where}{error.strerror or error}{'; ' if fix else ''}{fix}"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory, the processor's or a GPU's, did not suffice.

    Libraries written in C++ have no type for it, or one that they would have to be imported for: their words
    decide.
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, InputError):
        return False  # its words are ours, and may be a file's name
    said = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or any(words in said for words in _NO_MEMORY)
