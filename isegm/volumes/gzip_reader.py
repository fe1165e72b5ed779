"""Decompressing a gzip file front to back, with what follows its stream told apart from damage.

Files that were padded, or had a line added by a transfer, are whole all the same: gzip, ITK and nibabel read
them. Python's and isal's own readers refuse them, isal's before the last of the data.
"""

import gzip
import zlib
from typing import BinaryIO

from isal import igzip_lib, isal_zlib

GZIP_MAGIC = b"\x1f\x8b"
GZIP_ERRORS: tuple[type[Exception], ...] = (
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    isal_zlib.error,  # type: ignore[assignment]  # isal's stubs take the class for an instance
)

_CHUNK = 1 << 19


class GzipReader:
    """The decompressed content of a gzip file of one or more members.

    Args:
        file: The compressed file, at its beginning.

    Attributes:
        has_other_bytes: Whether anything but zeros follows the stream; known once it has been read to
            its end.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.has_other_bytes = False
        self._file = file
        self._waiting = b""
        self._member = _begin_member()
        self._position = 0
        self._has_ended = False

    def tell(self) -> int:
        """How many bytes have been read."""
        return self._position

    def seek(self, position: int) -> None:
        """Read forward to a position."""
        while self._position < position and self.read(min(_CHUNK, position - self._position)):
            pass

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, or what is left.

        Raises:
            EOFError: The file ends within a member. isal has an error of its own for what is damaged.
        """
        parts: list[bytes] = []
        left = size
        while left and not self._has_ended:
            compressed = self._waiting or (self._file.read(_CHUNK) if self._member.needs_input else b"")
            if not compressed and self._member.needs_input:
                raise EOFError("it ends too soon")
            self._waiting = b""
            parts.append(self._member.decompress(compressed, left))
            left -= len(parts[-1])
            if self._member.eof:
                self._end_member()
        self._position += size - left
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end_member(self) -> None:
        rest = self._member.unused_data.lstrip(b"\0")
        while len(rest) < len(GZIP_MAGIC) and (more := self._file.read(_CHUNK)):
            rest = (rest + more).lstrip(b"\0")
        if rest.startswith(GZIP_MAGIC):
            self._member, self._waiting = _begin_member(), rest
        else:
            self._has_ended, self.has_other_bytes = True, bool(rest)


def _begin_member() -> igzip_lib.IgzipDecompressor:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)  # which verifies the checksum
