"""Where things are in a picture, stated once.

A position is (row, col) in pixels: row 0 is the top, col 0 the left, and integer coordinates are pixel
centres. A resize maps positions by the ratio of the sizes (``new / old``), unrounded, as the published
method does for clicks; the pictures themselves are resized with corners aligned.
"""

from dataclasses import dataclass


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
