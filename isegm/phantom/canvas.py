"""A CT slice that shapes are painted on, with labels that agree with what is seen.

The painter's way: what is painted later lies on top. A pixel that a shape covers in part gets that part of
the shape's HU (partial volume), and its label where at least half is covered. Coordinates are pixels, pixel
centres at integers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from isegm.phantom.shapes import Field, Points, Tubes

Coverage = npt.NDArray[np.uint8]  # (H, W), 0 none, 255 all

_HALF = 128
# cv2 takes coordinates as integers with this many binary digits after the point: sixteenths of a pixel.
_SHIFT = 4


@dataclass(frozen=True)
class Patch:
    """Where a shape is on a canvas.

    Attributes:
        rows: Of its bounding box.
        cols: Of its bounding box.
        coverage: (rows, cols), 0 to 255.
    """

    rows: slice
    cols: slice
    coverage: Coverage


@dataclass
class Canvas:
    """A slice being painted.

    Attributes:
        hu: (H, W) HU so far.
        labels: (H, W), 0 where there is no object.
        grains: Unit noise fields (H, W) by name, for the texture of what is painted.
        regions: (H, W) coverage by name, that later shapes can be confined to.
    """

    hu: Field
    labels: npt.NDArray[np.int32]
    grains: Mapping[str, Field]
    regions: dict[str, Coverage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Kept between shapes: fresh memory for each would cost as much time as the painting.
        self._buffers = np.empty((2, self.hu.size), np.float32)

    @classmethod
    def blank(cls, height: int, width: int, hu: float, grains: Mapping[str, Field]) -> "Canvas":
        """A canvas of one HU without objects."""
        return cls(np.full((height, width), hu, np.float32), np.zeros((height, width), np.int32), grains)

    def cover(self, shape: Points | Tubes, ramp: int = 1, within: str | None = None) -> Patch | None:
        """Which part of each pixel a shape covers.

        cv2's fill reaches some half a pixel beyond an outline. HU and labels both follow the fill, so they
        agree with each other.

        Args:
            shape: An outline (N, 2) that is filled, or tubes; pixels.
            ramp: Pixels over which its edge goes from all to nothing: where a surface lies oblique in a
                thick slice, the part that it takes of the slice falls linearly.
            within: A region that the shape is confined to; where there is none of that name, nothing is
                covered.

        Returns:
            None when nothing of it is on the canvas.
        """
        if within is not None and within not in self.regions:
            return None
        corners = shape.segments.reshape(-1, 2) if isinstance(shape, Tubes) else shape
        if not len(corners):
            return None
        margin = 2 + ramp + (float(shape.widths.max()) / 2 if isinstance(shape, Tubes) else 0.0)
        rows, cols = (
            slice(max(0, int(low - margin)), min(size, int(high + margin) + 1))
            for low, high, size in zip(
                corners.min(axis=0)[::-1], corners.max(axis=0)[::-1], self.hu.shape, strict=True
            )
        )
        if rows.start >= rows.stop or cols.start >= cols.stop:
            return None
        coverage = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        origin = np.array((cols.start, rows.start))
        if isinstance(shape, Tubes):
            _stroke(coverage, shape, origin)
        else:
            cv2.fillPoly(coverage, [_fixed_point(shape - origin)], 255, cv2.LINE_AA, _SHIFT)
        if ramp > 1:
            coverage = np.asarray(cv2.blur(coverage, (ramp, ramp)), np.uint8)
        if within is not None:
            coverage = np.minimum(coverage, self.regions[within][rows, cols])
        return Patch(rows, cols, coverage)

    def paint(
        self, patch: Patch | None, hu: float, label: int | None = None, grain: str = "", grain_hu: float = 0.0
    ) -> None:
        """Paint a patch.

        Args:
            patch: Where; None paints nothing.
            hu: Its mean.
            label: Its object's; 0 for no object, None to leave the labels that are there (a vessel in the
                liver is liver).
            grain: Name of its texture.
            grain_hu: The texture's standard deviation.
        """
        if patch is None:
            return
        below = self.hu[patch.rows, patch.cols]
        weight, change = (buffer[: below.size].reshape(below.shape) for buffer in self._buffers)
        np.copyto(weight, patch.coverage)
        # below += coverage / 255 * (hu + grain - below), in cv2's passes: three times numpy's speed
        texture, strength = (self.grains[grain][patch.rows, patch.cols], grain_hu) if grain_hu else (below, 0)
        cv2.addWeighted(texture, strength / 255, below, -1 / 255, hu / 255, dst=change)
        cv2.accumulateProduct(change, weight, below)
        if label is not None:
            _, most = cv2.threshold(patch.coverage, _HALF - 1, 255, cv2.THRESH_BINARY)
            own = change.view(np.int32)
            own.fill(label)
            cv2.copyTo(own, most, self.labels[patch.rows, patch.cols])

    def add_region(self, name: str, patch: Patch | None) -> None:
        """Make a patch a region, or let an existing one grow by it."""
        if patch is None:
            return
        if name not in self.regions:
            self.regions[name] = np.zeros(self.hu.shape, np.uint8)
        part = self.regions[name][patch.rows, patch.cols]
        np.maximum(part, patch.coverage, out=part)


def _fixed_point(points: Points) -> npt.NDArray[np.int32]:
    # Far outside is as good as very far, and fits cv2's integers.
    return np.rint(np.clip(points, -20_000, 20_000) * (1 << _SHIFT)).astype(np.int32)


def _stroke(coverage: Coverage, tubes: Tubes, origin: npt.NDArray[np.int64]) -> None:
    """Draw tubes; those thinner than a pixel cover only that part of the pixels they pass."""
    pieces = _fixed_point(tubes.segments - origin)
    # In quarters of a pixel up to 1, then in whole pixels, which is what cv2 can draw.
    quarters = np.where(
        tubes.widths < 1, np.ceil(np.maximum(tubes.widths, 0.25) * 4), 4 * np.rint(tubes.widths)
    ).astype(int)
    # The faint first: cv2 replaces what is there.
    for width in sorted(set(quarters.tolist())):
        chosen = list(pieces[quarters == width])
        cv2.polylines(coverage, chosen, False, min(255, 64 * width), max(1, width // 4), cv2.LINE_AA, _SHIFT)


def tidy_labels(
    labels: npt.NDArray[np.int32], min_part: int, min_object: int, split: bool = False
) -> npt.NDArray[np.int32]:
    """Drop stray parts and tiny objects, and number what is left 1..n.

    Args:
        labels: (H, W), 0 where there is no object.
        min_part: Pixels of a part (4-connected) that is kept; it must also have a fifth of the object's
            largest part.
        min_object: Pixels that an object's kept parts must have together.
        split: Whether each part becomes an object of its own.

    Returns:
        (H, W), in the order of the given labels.
    """
    # A pixel whose right or lower neighbour is another object is taken away for now: then a component
    # holds one object only, and one pass finds the components of all.
    objects = labels > 0
    seeds = objects.copy()
    seeds[:, :-1] &= ~(objects[:, 1:] & (labels[:, 1:] != labels[:, :-1]))
    seeds[:-1] &= ~(objects[1:] & (labels[1:] != labels[:-1]))
    count, parts = cv2.connectedComponents(seeds.view(np.uint8), connectivity=4)
    # Runs of equal pixels in reading order: a hundred times fewer than pixels.
    flat = parts.reshape(-1)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(starts, append=flat.size)
    part_of_run = flat[starts]
    area = np.bincount(part_of_run, lengths, count).astype(np.int64)
    owner = np.zeros(count, np.int64)
    owner[part_of_run] = labels.reshape(-1)[starts]
    area[0], owner[0] = 0, 0

    group = np.arange(count) if split else owner
    size = max(count, int(owner.max(initial=0)) + 1)
    largest, total = np.zeros(size, np.int64), np.zeros(size, np.int64)
    np.maximum.at(largest, group, area)
    kept = (area >= min_part) & (5 * area >= largest[group])
    np.add.at(total, group, area * kept)
    kept &= total[group] >= min_object
    _, numbers = np.unique(group[kept], return_inverse=True)
    new = np.zeros(count, np.int32)
    new[kept] = numbers + 1
    tidy = np.repeat(new[part_of_run], lengths).reshape(labels.shape)
    _restore_borders(tidy, labels, np.flatnonzero(objects & ~seeds))
    return tidy


def _restore_borders(
    tidy: npt.NDArray[np.int32], labels: npt.NDArray[np.int32], missing: npt.NDArray[np.int64]
) -> None:
    """Give the pixels between touching objects back to the object on their left or above.

    Args:
        tidy: (H, W), edited in place.
        labels: (H, W), whose they were.
        missing: Their flat indices.
    """
    width = labels.shape[1]
    new, old = tidy.reshape(-1), labels.reshape(-1)
    for at_edge, back in ((missing % width == 0, 1), (missing < width, width)):
        here = missing[~at_edge]
        same = (old[here - back] == old[here]) & (new[here] == 0)
        new[here[same]] = new[here[same] - back]
