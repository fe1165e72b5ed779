"""Where things are in a picture and in a volume, stated once.

A position in a picture is (row, col) in pixels: row 0 is the top, col 0 the left, and integer coordinates are
pixel centres. A resize maps positions by the ratio of the sizes (``new / old``), unrounded, as the published
method does for clicks; the pictures themselves are resized with corners aligned.

A position in a volume is (i, j, k), the indices of a voxel in the array (X, Y, Z) as it is stored, whichever
way that lies in the patient.
"""

from dataclasses import dataclass

from isegm.errors import InputError
from isegm.limits import MOST_INPUT_SIDE


@dataclass(frozen=True)
class Click:
    """One click.

    Attributes:
        row: Pixels from the top.
        col: Pixels from the left.
        positive: True marks the object, False the background.
    """

    row: float
    col: float
    positive: bool

    def scaled(self, row_ratio: float, col_ratio: float) -> "Click":
        """The same click in a picture resized by (new height / old height, new width / old width)."""
        return Click(self.row * row_ratio, self.col * col_ratio, self.positive)

    def mirrored(self, width: int) -> "Click":
        """The same click in the picture mirrored left to right, ``width`` columns wide."""
        return Click(self.row, width - 1 - self.col, self.positive)


@dataclass(frozen=True)
class VoxelClick:
    """One click in a volume.

    Attributes:
        i: Index along the first axis.
        j: Index along the second axis.
        k: Index along the third axis.
        positive: True marks the object, False the background.
    """

    i: int
    j: int
    k: int
    positive: bool

    @property
    def voxel(self) -> tuple[int, int, int]:
        """The clicked voxel's indices."""
        return self.i, self.j, self.k


def input_size(height: int, width: int, shorter: int, multiple: int) -> tuple[int, int]:
    """The size of the network's input for an image: the published ``round(side * scale) // 4 * 4``.

    Args:
        height: Of the image, in pixels; at least 1.
        width: Of the image, in pixels; at least 1.
        shorter: What the shorter side becomes before it is cut down to a multiple.
        multiple: What both sides have to be multiples of.

    Returns:
        Height and width of the input in pixels.

    Raises:
        InputError: The longer side would exceed ``MOST_INPUT_SIDE``.
    """
    longer = max(height, width) * shorter / min(height, width)
    if longer > MOST_INPUT_SIDE:
        raise InputError(
            f"too long and narrow: {height}x{width} pixels would become {longer:,.0f} on the longer side for "
            f"the network, and {MOST_INPUT_SIDE:,} is the limit; crop it, pad it, or use a smaller input size"
        )
    rows, cols = (
        round(side * shorter / min(height, width)) // multiple * multiple for side in (height, width)
    )
    return rows, cols
