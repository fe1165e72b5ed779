"""The one exception for what a user can mend, and what the operating system's errors mean to a user."""

import errno
import os

_SPACE = "free some space and run it again (an evaluation with --resume)"
_MENDS = {
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
    errno.ENAMETOOLONG: "shorten the name",
    errno.ELOOP: "mend the links, which go round in a circle",
    errno.EMFILE: "allow more open files (ulimit -n), or use fewer processes",
    errno.ENFILE: "allow more open files (ulimit -n), or use fewer processes",
    errno.EIO: "the disk or the connection to it fails: copy the file to another one",
    errno.ESTALE: "the disk or the connection to it fails: copy the file to another one",
}


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is a single line that names the file (or argument) and says what would mend it.
    Command-line tools print it on stderr and leave with exit status 2, without a traceback.
    """

    @property
    def lines(self) -> list[str]:
        """The message's lines: one, but where it lists several problems."""
        return [str(self)]


class InputWarning(UserWarning):
    """Something the user gave is used, but the user should know of it; one line, as an error's."""


def describe(error: OSError, path: str | os.PathLike[str] = "") -> str:
    """What the operating system would not do, in one line with its mend: ``file: reason; mend``.

    Args:
        error: What it said.
        path: The file that it was about, for errors that do not name theirs.
    """
    name = error.filename2 or error.filename or path  # of two, the second is the final name
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    where = f"{name}: " if name else ""
    mend = _MENDS.get(error.errno or 0, "")
    return f"{where}{error.strerror or error}{'; ' if mend else ''}{mend}"
