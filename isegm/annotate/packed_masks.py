"""The masks of a case's objects, a bit a voxel, and what an action changes in them.

Masks lie as the pictures of the case's main view do: (slices, rows, columns), a *stack*. A change is kept as
the bits that differ, in a box, compressed: made again it is undone. Rows are padded to whole bytes.
"""

import base64
import binascii
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.json_object import JsonObject
from isegm.metrics.overlap import Mask
from isegm.volumes.orientation import SlicePlan

Bits = npt.NDArray[np.uint8]
Box = tuple[slice, slice, slice]

MOST_NUMBER = 255
"""Objects are numbered from 1 to this: saved label volumes are bytes."""


@dataclass(frozen=True)
class Patch:
    """What changes in an object's mask: bits that are flipped.

    Attributes:
        object: The object's number.
        start: The box's first (slice, row, byte of a row).
        shape: The box's (slices, rows, bytes of a row).
        flipped: The box's bits, compressed.
    """

    object: int
    start: tuple[int, int, int]
    shape: tuple[int, int, int]
    flipped: bytes

    @property
    def box(self) -> Box:
        """Where it lies among the packed bits."""
        z, y, x = (slice(first, first + side) for first, side in zip(self.start, self.shape, strict=True))
        return z, y, x

    def bits(self) -> Bits:
        """The bits that are flipped, packed, of the box's shape."""
        size = math.prod(self.shape)
        return np.frombuffer(zlib.decompress(self.flipped, bufsize=size), np.uint8)[:size].reshape(self.shape)

    def as_json(self) -> dict[str, Any]:
        """The patch for a line of a journal."""
        content = base64.b64encode(self.flipped).decode()
        return {"object": self.object, "start": self.start, "shape": self.shape, "flipped": content}

    @classmethod
    def from_json(cls, entry: JsonObject, shape: tuple[int, int, int]) -> "Patch":
        """The patch of a journal's line.

        Args:
            entry: What :meth:`as_json` gave.
            shape: Of the packed masks that it must fit.

        Raises:
            InputError: It is no patch, or does not fit.
        """
        start, sides = (tuple(int(n) for n in entry.numbers(key, 2**31)) for key in ("start", "shape"))
        if len(start) != 3 or len(sides) != 3 or not all(sides):
            raise entry.wrong("shape", "three sides above 0")
        if any(a + b > side for a, b, side in zip(start, sides, shape, strict=True)):
            raise entry.wrong("start", "within the case")
        try:
            flipped = base64.b64decode(entry.text("flipped"), validate=True)
            stream = zlib.decompressobj()
            size = len(stream.decompress(flipped, math.prod(sides) + 1))
        except (binascii.Error, zlib.error, ValueError):
            raise entry.wrong("flipped", "compressed bits") from None
        if size != math.prod(sides):
            raise entry.wrong("flipped", f"{math.prod(sides)} bytes of bits")
        z, y, x = start
        return cls(
            entry.integer("object", 1, MOST_NUMBER), (z, y, x), (sides[0], sides[1], sides[2]), flipped
        )


@dataclass(frozen=True)
class Edit:
    """A part of an object's mask as it is to be.

    Attributes:
        object: The object's number.
        box: Where, among the packed bits.
        bits: What the box is to hold, packed.
    """

    object: int
    box: Box
    bits: Bits


class PackedMasks:
    """The masks of a case.

    Args:
        shape: (slices, rows, columns) of the stack.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.packed_shape = (shape[0], shape[1], -(-shape[2] // 8))
        self._objects: dict[int, Bits] = {}

    def objects(self) -> list[int]:
        """The numbers of the objects that ever held a voxel."""
        return sorted(self._objects)

    def bits(self, number: int) -> Bits:
        """An object's packed mask, for reading; zeros if it has none."""
        if number not in self._objects:
            self._objects[number] = np.zeros(
                self.packed_shape, np.uint8
            )  # the system gives pages when written
        return self._objects[number]

    def slices(self, number: int) -> npt.NDArray[np.intp]:
        """The slices of the main view in which an object has a voxel."""
        if number not in self._objects:
            return np.empty(0, np.intp)
        return np.flatnonzero(self._objects[number].any(axis=(1, 2)))

    def stack(self, number: int) -> Mask:
        """An object's mask, (slices, rows, columns)."""
        return np.unpackbits(self.bits(number), axis=2, count=self.shape[2]).view(np.bool_)

    def picture(self, number: int, view: SlicePlan, index: int) -> Mask:
        """An object in one picture of a view of the stack, (H, W)."""
        if number not in self._objects:
            sides = self.shape[view.row_axis], self.shape[view.col_axis]
            return np.zeros(sides, np.bool_)
        bits = self._objects[number]
        if view.axis == 2:
            part = (bits[:, :, index >> 3] >> (7 - (index & 7))) & 1
            return view.picture(part.view(np.bool_))
        across = np.take(bits, index, axis=view.axis)
        return view.picture(np.unpackbits(across, axis=1, count=self.shape[2]).view(np.bool_))

    def edit(self, number: int, view: SlicePlan, index: int, mask: Mask) -> Edit:
        """The edit that makes an object's picture ``mask``, (H, W)."""
        part = view.array(mask[np.newaxis])  # one voxel thick along the view's axis
        if view.axis == 2:
            box = (slice(None), slice(None), slice(index >> 3, (index >> 3) + 1))
            place = np.uint8(0x80 >> (index & 7))
            bits = (self.bits(number)[box] & ~place) | (part * place)
            return Edit(number, box, bits.astype(np.uint8))
        thin = slice(index, index + 1)
        box = (thin, slice(None), slice(None)) if view.axis == 0 else (slice(None), thin, slice(None))
        return Edit(number, box, np.packbits(part, axis=2))

    def patches(self, edit: Edit, protected: Iterable[int], yielding: Iterable[int]) -> list[Patch]:
        """The patches that make an edit true.

        Args:
            edit: What is to be.
            protected: Objects whose voxels are not taken.
            yielding: Objects that give up what the edited one gets.
        """
        before, after = self.bits(edit.object)[edit.box], edit.bits
        for number in protected:
            after = before ^ ((before ^ after) & ~(self.bits(number)[edit.box] & ~before))
        found = [self._patch(edit.object, edit.box, before ^ after)]
        gained = after & ~before
        found += [
            self._patch(number, edit.box, self._objects[number][edit.box] & gained)
            for number in yielding
            if number in self._objects
        ]
        return [patch for patch in found if patch is not None]

    def apply(self, patch: Patch) -> None:
        """Flip a patch's bits; a second time undoes it."""
        self.bits(patch.object)[patch.box] ^= patch.bits()

    def _patch(self, number: int, box: Box, flipped: Bits) -> Patch | None:
        held = [np.flatnonzero(flipped.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
        if not held[0].size:
            return None
        low = [int(part[0]) for part in held]
        sides = [int(part[-1]) + 1 - first for part, first in zip(held, low, strict=True)]
        inner = flipped[tuple(slice(a, a + b) for a, b in zip(low, sides, strict=True))]
        z, y, x = (a + (part.start or 0) for a, part in zip(low, box, strict=True))
        content = zlib.compress(np.ascontiguousarray(inner).data, 1)
        return Patch(number, (z, y, x), (sides[0], sides[1], sides[2]), content)
