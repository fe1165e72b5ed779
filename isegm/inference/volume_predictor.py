"""The stateful predictor of volumes: a few clicks, then slice after slice by itself.

::

    predictor = VolumePredictor(load_network("weights/emcclick_ct_lite0.pth"), open_volume("ct.nii.gz"))
    predictor.click((210, 180, 40))
    predictor.propagate()
    predictor.click((190, 200, 55), positive=False)
    predictor.propagate()
    predictor.save("mask.nii.gz")

Where a person clicks, the correction head corrects that slice. From there the mask goes outward slice by
slice: each slice gets clicks in the middle of its neighbour's mask, and the head corrects the neighbour's
mask with them. Between two clicked slices masks come from both and meet in the middle; beyond the last one
they end where the object does.

Letters: X, Y and Z the volume's sides, H and W those of an upright slice.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import index as whole
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isegm.errors import FileWarning, InputError
from isegm.geometry import Click, VoxelClick, input_size
from isegm.inference.network import Network
from isegm.inference.progressive_merge import merge_change
from isegm.inference.propagation import (
    GIVEN_REACH,
    VOUCHED_MM,
    Appearance,
    anchors,
    bulk_of,
    denied,
    freed,
    has_ended,
    parts_clicked_on,
    parts_meeting,
    parts_mostly_in,
    stamped,
    to_carry,
    widened,
)
from isegm.inference.slice_network import KEPT_BYTES, SliceNetwork
from isegm.inference.torch_network import InferenceModel
from isegm.metrics.overlap import Mask, mask_dice
from isegm.model.click_maps import disk_radii
from isegm.model.correction.templates import STRIDE
from isegm.model.emc_click import EMCClick
from isegm.volumes.files import open_volume
from isegm.volumes.grid import common_grid
from isegm.volumes.label_mask import read_label_mask
from isegm.volumes.mask_writing import write_mask
from isegm.volumes.orientation import is_singular, upright
from isegm.volumes.volume import Volume
from isegm.volumes.windowed import read_pictures
from isegm.volumes.windows import Window, parse_window

MOST_OBJECTS = 255
"""Labels of objects are 1 to this, so that a voxel's label is a byte."""

OVERLAPS = ("later", "earlier")
"""Whose voxels those are that two objects claim: the object's that was begun later, or earlier."""

_NEAR_MM = 8.0
"""How far a negative click speaks for other slices, in millimetres."""

_MOVED = 0.25
"""How far a correction's outline may move from slice to slice, by the correction's depth."""

_REACH = 2.0
"""How far a correction goes on, by its depth in its own slice: faults are about as long as they are wide."""

Progress = Callable[[int, int], None]
"""Told the slices that are done and those that there may be in all; their number can only fall."""


class _Packed(NamedTuple):
    """A slice's mask, a bit a pixel."""

    bits: npt.NDArray[np.uint8]
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask: Mask) -> "_Packed":
        return cls(np.packbits(mask), (mask.shape[0], mask.shape[1]))

    def mask(self) -> Mask:
        height, width = self.shape
        return np.unpackbits(self.bits, count=height * width).reshape(self.shape).view(np.bool_)


class _Clicked(NamedTuple):
    """What a slice's next click goes on from."""

    anchors: tuple[Click, ...]
    """Those that it got from its mask when it was first clicked on, in the slice's pixels."""
    placed: tuple[Click, ...]
    """Those that a person placed."""
    logits: Tensor | None
    """The last click's; None where there was none, or where ``merges``: the mask is then gone on from."""
    merges: bool
    """Whether there was a mask before the first click, into which changes are merged."""
    is_given: bool = False
    """Whether that mask was drawn by hand or made by another tool, rather than propagated."""

    @property
    def is_sure(self) -> bool:
        """Whether a person has said where the object is on this slice, not only where it is not."""
        return self.is_given or any(click.positive for click in self.placed)


class _Gap(NamedTuple):
    """Slices between two that were clicked on, or between one and the volume's end."""

    below: int | None
    above: int | None


@dataclass(frozen=True)
class _Object:
    """One object: nothing in it is ever changed, so that keeping it is enough to come back to it."""

    clicked: Mapping[int, _Clicked] = field(default_factory=dict)
    masks: Mapping[int, _Packed] = field(default_factory=dict)
    """Of the slices where the object is."""
    done: frozenset[_Gap] = frozenset()
    """What has been propagated since its ends were clicked on."""
    returned: Mapping[_Gap, Mapping[int, float]] = field(default_factory=dict)
    """How well what was propagated came back, by slice: see :meth:`VolumePredictor.consistency`."""
    corrected: Mapping[int, _Packed | None] | None = None
    """Of an object that began as another tool's mask: the slices that were clicked on since the last
    propagation, each with its mask before. None of others."""

    def clicked_on(self, index: int, mask: Mask, clicked: _Clicked) -> "_Object":
        """The object with a slice's new mask, (H, W), and what there is to go on from."""
        corrected = self.corrected
        if corrected is not None and index not in corrected:
            corrected = {**corrected, index: self.masks.get(index)}
        return replace(
            self.with_mask(index, mask),
            clicked={**self.clicked, index: clicked},
            done=frozenset(gap for gap in self.done if index not in gap),
            returned={gap: dices for gap, dices in self.returned.items() if index not in gap},
            corrected=corrected,
        )

    def gaps(self) -> list[_Gap]:
        indices: list[int | None] = [None, *sorted(self.clicked), None]
        return [_Gap(*ends) for ends in itertools.pairwise(indices)]

    def with_mask(self, index: int, mask: Mask) -> "_Object":
        masks = {number: packed for number, packed in self.masks.items() if number != index}
        return replace(self, masks=masks | ({index: _Packed.of(mask)} if mask.any() else {}))


class VolumePredictor:
    """Segment objects in a volume by clicks.

    Clicks are voxel indices of the volume's array, whatever its orientation; the slices that the network sees
    are upright pictures. A slice that was clicked on is changed by clicks alone.

    Args:
        model: A network from ``load_model``, or one that is ready to be run, as ``load_network`` gives it.
        volume: As ``open_volume`` gives it. It is read as windowed bytes, which stay in memory.
        window: The CT window: a name, ``level,width`` in HU, or a ``Window``. Volumes of grey values have
            none.
        axis: Which slices: ``axial``, ``coronal`` or ``sagittal``; of an oblique volume the nearest ones.
        size: Pixels of the network input's shorter side.
        threshold: An object is where the probability is above this.
        overlap: One of ``OVERLAPS``.
        kept_bytes: How many bytes of slices' features may be kept for later clicks.

    Attributes:
        volume: The volume.
        plan: How slices are taken from its array.

    Raises:
        InputError: The volume has NaN, is of one grey everywhere, damaged, or so long and narrow that the
            network's input would be too large; or its affine is singular; or there is no such window.
        ValueError: Another argument is not one of its possible values.
    """

    def __init__(
        self,
        model: EMCClick | Network,
        volume: Volume,
        *,
        window: str | Window = "abdomen",
        axis: str = "axial",
        size: int = 384,
        threshold: float = 0.5,
        overlap: str = "later",
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1, not {threshold}")
        if overlap not in OVERLAPS:
            raise ValueError(f"overlap must be {' or '.join(OVERLAPS)}, not {overlap}")
        if size < STRIDE:
            raise ValueError(f"size must be at least {STRIDE} pixels, not {size}")
        self.volume = volume
        if is_singular(volume.affine):
            raise InputError(f"{volume.path}: its affine is singular or NaN; correct its header")
        if not volume.has_orientation:
            text = "does not say how it lies in the patient; LAS is taken"
            warnings.warn(FileWarning(volume.path, text), stacklevel=2)
        self.plan = upright(volume.affine, axis)
        self._pictures = read_pictures(
            volume, self.plan, parse_window(window) if isinstance(window, str) else window
        )
        self._count, height, width = self._pictures.shape
        self._shape = (height, width)
        # The network sees square pixels, which those of coronal slices are not.
        row_mm, col_mm = (volume.spacing_mm[axis] for axis in (self.plan.row_axis, self.plan.col_axis))
        finest = min(row_mm, col_mm)
        sides = (max(1, round(height * row_mm / finest)), max(1, round(width * col_mm / finest)))
        network = InferenceModel(model) if isinstance(model, EMCClick) else model
        inner = input_size(*sides, size, STRIDE)
        self._network = SliceNetwork(network, self._pictures, inner, kept_bytes=kept_bytes)
        # Of the click's disk, as the network sees it, in the slice's pixels.
        self._disk_radii = disk_radii(self._shape, inner)
        self._threshold = threshold
        self._overlap = overlap
        self._label = 1
        self._objects: dict[int, _Object] = {}  # in the order in which they were begun
        # Every click with its label, and what there was before it.
        self._history: list[tuple[VoxelClick, int, dict[int, _Object]]] = []

    @property
    def label(self) -> int:
        """Which object is clicked on and propagated, 1 to ``MOST_OBJECTS``."""
        return self._label

    @label.setter
    def label(self, label: int) -> None:
        if not 1 <= label <= MOST_OBJECTS:
            raise ValueError(f"label must be 1 to {MOST_OBJECTS}, not {label}")
        self._label = whole(label)

    @property
    def clicks(self) -> tuple[VoxelClick, ...]:
        """The clicks so far on all objects, in order."""
        return tuple(click for click, _, _ in self._history)

    @property
    def click_labels(self) -> tuple[int, ...]:
        """The labels of the objects that ``clicks`` were placed on."""
        return tuple(label for _, label, _ in self._history)

    @property
    def clicked_slices(self) -> tuple[int, ...]:
        """The slices that the object was clicked on: indices along the array's axis ``plan.axis``."""
        return tuple(sorted(self._object.clicked))

    def click(self, voxel: Sequence[int], positive: bool = True) -> None:
        """Place a click on the object; its own slice is corrected at once, others by :meth:`propagate`.

        On a slice that has a mask already, only the connected region of change that holds the click changes.

        Args:
            voxel: (i, j, k), indices of the volume's array.
            positive: True on the object, False on the background.

        Raises:
            ValueError: The voxel is outside the volume, or not three integers.
        """
        at = _voxel(voxel, self.volume.shape)
        index, row, col = self.plan.place(at, self.volume.shape)
        before = self._object
        after = self._corrected(before, index, Click(row, col, bool(positive)))
        # Nothing has been changed before all is computed: a failure above leaves everything as it was.
        self._history.append((VoxelClick(*at, positive=bool(positive)), self._label, self._objects))
        self._objects = {**self._objects, self._label: after}

    def _corrected(self, before: _Object, index: int, click: Click) -> _Object:
        """Correct an object's mask on a slice by a click."""
        mask, last = self._own_mask(before, index), before.clicked.get(index)
        known = self._known(before, index)
        if last is None:
            inside = tuple(a for a in anchors(mask, known) if (a.row, a.col) != (click.row, click.col))
            last = _Clicked(inside, (), None, merges=bool(mask.any()))
        clicked = last._replace(placed=(*last.placed, click))
        vouching = self._known(before, index, VOUCHED_MM)
        # What another tool has found is mostly right: a click means a piece of it.
        can_be_false = clicked.merges and not click.positive and before.corrected is None
        part = denied(mask, click, vouching) if can_be_false else None
        if part is not None and part.any() and not any(part[round(c.row), round(c.col)] for c in last.placed):
            made = mask & ~part
            left = tuple(a for a in last.anchors if not part[round(a.row), round(a.col)])
            clicked = clicked._replace(anchors=left)
        else:
            clicks = (*clicked.anchors, *clicked.placed)
            previous = freed(mask, click, clicks, GIVEN_REACH) if clicked.merges else last.logits
            probability, logits = self._network.correct(index, clicks, previous)
            clicked = clicked._replace(logits=None if clicked.merges else logits)
            made = probability > self._threshold
            if clicked.merges:
                made = merge_change(mask, made, round(click.row), round(click.col))
            else:
                # What is like the object but hangs together with no click is another one: of two organs, say.
                made = parts_clicked_on(made, clicked.placed)
            if made[round(click.row), round(click.col)] != click.positive:
                made = stamped(made, click, self._disk_radii)
        return before.clicked_on(index, made, clicked)

    def set_mask(self, index: int, mask: Mask, clicks: Sequence[Click] = ()) -> None:
        """Give the object its mask on a slice: one that was drawn by hand, or made by another tool.

        The slice then counts as clicked on: propagation begins from it, and leaves it as it is. Clicks
        correct it. :meth:`undo` takes back clicks, with what was set since.

        Args:
            index: Of the slice, along the array's axis ``plan.axis``.
            mask: (H, W), as the upright picture shows it.
            clicks: What is known to be the object and not, in the picture's pixels.

        Raises:
            ValueError: There is no such slice, the mask is not a boolean array of its size, or a click is
                outside it.
        """
        mask = np.asarray(mask)
        if mask.shape != self._shape or mask.dtype != np.bool_:
            raise ValueError(f"the mask must be {self._shape} bool, not {mask.shape} {mask.dtype}")
        height, width = self._shape
        for click in clicks:
            if not (0 <= click.row <= height - 1 and 0 <= click.col <= width - 1):
                raise ValueError(f"{click} is outside the slice of {height} x {width} pixels")
        inside = () if any(click.positive for click in clicks) else tuple(anchors(mask, ()))
        given = _Clicked(inside, tuple(clicks), None, merges=bool(mask.any()), is_given=not clicks)
        after = self._object.clicked_on(self._checked(index), mask, given)
        self._objects = {**self._objects, self._label: after}

    def start_from(self, mask: Mask | Path | str, labels: Sequence[int] | None = None) -> None:
        """Give the object the mask that another tool made of the whole volume, to be corrected.

        Clicks correct it slice by slice, and :meth:`propagate` takes each correction to the slices beside,
        as far as it is found there; all else stays as it is given. What was clicked on the object before is
        forgotten; :meth:`undo` takes back clicks, with what was given since.

        Args:
            mask: (X, Y, Z) bool; or a label volume of this volume's grid, NIfTI or DICOM SEG.
            labels: Which of the file's labels are the object; None for all but 0.

        Raises:
            InputError: The file cannot be used, lies on another grid, or has none of the labels.
            ValueError: The mask is not a boolean array of the volume's shape.
        """
        if not isinstance(mask, np.ndarray):
            volume = open_volume(mask).on_grid_of(self.volume)
            common_grid(volume, self.volume)
            mask = read_label_mask(volume, labels)
            if not mask.any():
                which = "any label" if labels is None else f"label {', '.join(map(str, labels))}"
                raise InputError(f"{volume.path}: no voxel has {which}; give the object's labels")
        if mask.shape != self.volume.shape or mask.dtype != np.bool_:
            raise ValueError(f"the mask must be {self.volume.shape} bool, not {mask.shape} {mask.dtype}")
        pictures = self.plan.pictures(mask)
        masks = {index: _Packed.of(picture) for index, picture in enumerate(pictures) if picture.any()}
        self._objects = {**self._objects, self._label: _Object(masks=masks, corrected={})}

    def propagate(
        self,
        *,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
        each: Callable[[int, Mask], None] | None = None,
    ) -> bool:
        """Take the object from the clicked slices to all others.

        It computes only slices whose nearest clicked slices have been clicked on since the last time.

        Args:
            progress: Called after every slice, with the slices done and those there may be in all.
            cancel: Called before every slice; true ends the propagation.
            each: Called with the index of every slice that is computed, and its mask (H, W), as soon as it is
                there.

        Returns:
            Whether it was finished. If it was cancelled, everything is as it was before.
        """
        before = self._object
        if before.corrected is None:
            stale = [gap for gap in before.gaps() if gap not in before.done and gap != (None, None)]
            ways = [way for gap in stale for way in self._ways(before, gap)]
            kept = {
                index: packed
                for index, packed in before.masks.items()
                if index in before.clicked or not any(self._lies_in(index, gap) for gap in stale)
            }
            gaps = frozenset(before.gaps())
            returned = {gap: dices for gap, dices in before.returned.items() if gap in gaps}
            after = replace(before, masks=kept, done=gaps, returned=returned)
        else:
            ways = [way for index in before.corrected for way in self._ways_from(before, index)]
            after = replace(before, corrected={})
        total, done = sum(len(way.slices) for way in ways), 0
        look = self._appearance(before)
        for way in ways:
            walked = 0
            is_new = before.corrected is None
            walk = self._walk(before, way, look) if is_new else self._carry(before, after, way)
            for index, mask in walk:
                if cancel is not None and cancel():
                    return False
                after = after.with_mask(index, mask)
                if each is not None:
                    each(index, mask)
                walked += 1
                done += 1
                if progress is not None:
                    progress(done, total)
            total -= len(way.slices) - walked
        if progress is not None:
            progress(done, total)
        self._objects = {**self._objects, self._label: after} if before.clicked else self._objects
        return True

    def consistency(self, cancel: Callable[[], bool] | None = None) -> dict[int, float] | None:
        """Propagate the object back, and compare: the slice whose mask agrees least needs a click most.

        From the slices where propagation ended, or met what came from the other side, masks are taken back to
        the clicked slices. It takes at most about as long as :meth:`propagate`, and only what was propagated
        since the last time is taken back.

        Args:
            cancel: Called before every slice; true ends it.

        Returns:
            By slice, the Dice of its mask and the one that came back. Slices that were clicked on, or that
            masks were taken back from, are not in it, nor is any slice of an object that began as another
            tool's mask. None if it was cancelled.
        """
        one = self._object
        look = self._appearance(one)
        for gap in one.gaps():
            if gap not in one.done or gap in one.returned:
                continue
            dices: dict[int, float] = {}
            for index, dice in self._taken_back(one, gap, look):
                if cancel is not None and cancel():
                    return None
                dices[index] = dice
            one = replace(one, returned={**one.returned, gap: dices})
            self._objects = {**self._objects, self._label: one}
        return {index: dice for dices in one.returned.values() for index, dice in dices.items()}

    def undo(self) -> None:
        """Take back the last click on any object, and what was propagated since.

        Raises:
            RuntimeError: There is no click to take back.
        """
        if not self._history:
            raise RuntimeError("there is no click to undo")
        _, self._label, self._objects = self._history.pop()

    def reset(self) -> None:
        """Take back all clicks on all objects."""
        self._history.clear()
        self._objects = {}

    @property
    def mask(self) -> Mask:
        """The object ``label``, (X, Y, Z), without the voxels that another one takes from it."""
        return self.labels == self._label

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """All objects, (X, Y, Z): 0 where there is none."""
        pictures = np.zeros(self._pictures.shape, np.uint8)
        for index in {index for one in self._objects.values() for index in one.masks}:
            pictures[index] = self._slice_labels(index)
        return np.asfortranarray(self.plan.array(pictures))

    def slice_mask(self, index: int) -> Mask:
        """The object ``label`` on a slice as the upright picture shows it, (H, W).

        Args:
            index: Of the slice, along the array's axis ``plan.axis``.

        Raises:
            ValueError: There is no such slice.
        """
        return self._slice_labels(self._checked(index)) == self._label

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """A slice as the network sees it: windowed and upright, (H, W).

        Raises:
            ValueError: There is no such slice.
        """
        return self._pictures[self._checked(index)].copy()

    def prepare(self, index: int) -> None:
        """Compute ahead what no click on a slice will change, so that the first one is answered sooner.

        Raises:
            ValueError: There is no such slice.
        """
        self._network.prepare(self._checked(index))

    def save(self, path: Path | str) -> None:
        """Write all objects' labels in the volume's own geometry, whole or not at all.

        Args:
            path: Where to: ``.nii`` or ``.nii.gz``; of a DICOM series also ``.dcm``, a DICOM SEG. A file
                that is there is replaced.

        Raises:
            InputError: The path is the volume's own, or of another suffix; or a DICOM SEG cannot be written.
            OSError: The file cannot be written.
        """
        write_mask(path, self.volume, self.labels)

    @property
    def _object(self) -> _Object:
        return self._objects.get(self._label, _Object())

    def _checked(self, index: int) -> int:
        try:
            number = whole(index)
        except TypeError:
            raise ValueError(f"a slice is a whole number, not {index}") from None
        if not 0 <= number < self._count:
            raise ValueError(f"slice {number} is outside the volume, which has {self._count}")
        return number

    def _own_mask(self, one: _Object, index: int) -> Mask:
        """An object's mask on a slice, whatever other objects claim."""
        return one.masks[index].mask() if index in one.masks else np.zeros(self._shape, np.bool_)

    def _known(self, one: _Object, index: int, within_mm: float = math.inf) -> list[Click]:
        """A person's positive clicks on slices near by, the nearest slice's first."""
        return [click for click in self._placed_near(one, index, within_mm) if click.positive]

    def _against(self, one: _Object, index: int, seen: Mask) -> list[Click]:
        """A person's negative clicks on slices near by, where the object is not seen either."""
        clicks = self._placed_near(one, index, _NEAR_MM)
        return [
            click for click in clicks if not click.positive and not seen[round(click.row), round(click.col)]
        ]

    def _placed_near(self, one: _Object, index: int, within_mm: float) -> list[Click]:
        """What a person has clicked on slices so near, the nearest slice's first."""
        reach = within_mm / self.volume.spacing_mm[self.plan.axis]
        near = sorted((abs(clicked - index), clicked) for clicked in one.clicked)
        return [click for far, at in near if far <= reach for click in one.clicked[at].placed]

    def _slice_labels(self, index: int) -> npt.NDArray[np.uint8]:
        labels = np.zeros(self._shape, np.uint8)
        objects = self._objects.items()
        # What is drawn last stays.
        for label, one in objects if self._overlap == "later" else reversed(objects):
            if index in one.masks:
                labels[one.masks[index].mask()] = label
        return labels

    @staticmethod
    def _lies_in(index: int, gap: _Gap) -> bool:
        return (gap.below is None or gap.below < index) and (gap.above is None or index < gap.above)

    def _ways(self, one: _Object, gap: _Gap) -> Iterator["_Way"]:
        """How the slices of a gap are reached."""
        first = 0 if gap.below is None else gap.below + 1
        last = self._count if gap.above is None else gap.above
        from_below, from_above = (end is not None and end in one.masks for end in gap)
        is_between = from_below and from_above
        sure = [end is not None and end in one.masks and one.clicked[end].is_sure for end in gap]
        if is_between and any(sure):
            # What is left where a person has only said what is wrong is worth less than what is known.
            from_below, from_above = sure
            is_between = all(sure)
        middle = (first + last + 1) // 2 if is_between else (last if from_below else first)
        if from_below and gap.below is not None:
            yield _Way(gap.below, range(first, middle), is_between)
        if from_above and gap.above is not None:
            yield _Way(gap.above, range(last - 1, middle - 1, -1), is_between)

    def _taken_back(self, one: _Object, gap: _Gap, look: Appearance | None) -> Iterator[tuple[int, float]]:
        """Each slice that masks are taken back to, and the Dice of the mask that was there."""
        for way in self._ways(one, gap):
            step, beyond = way.slices.step, way.slices.stop
            reached = [index for index in way.slices if index in one.masks]
            if way.is_between and beyond in one.masks:
                reached.append(beyond)  # which was reached from the other side
            if len(reached) < 2:
                continue
            last = reached.pop()
            back = _Way(last, range(last - step, way.start, -step), is_between=True)
            for index, mask in self._walk(one, back, look):
                if index in reached:
                    reached.remove(index)
                    yield index, mask_dice(mask, self._own_mask(one, index))
            yield from ((index, 0.0) for index in reached)

    def _ways_from(self, one: _Object, index: int) -> Iterator["_Way"]:
        """How a correction goes on from a slice to the next ones that a person has clicked on."""
        below = max((other for other in one.clicked if other < index), default=-1)
        above = min((other for other in one.clicked if other > index), default=self._count)
        yield _Way(index, range(index - 1, below, -1), is_between=False)
        yield _Way(index, range(index + 1, above), is_between=False)

    def _carry(self, before: _Object, after: _Object, way: "_Way") -> Iterator[tuple[int, Mask]]:
        """Take a correction from a slice to one after the other, as far as it is found there.

        Args:
            before: With the slices' masks before they were corrected.
            after: With the masks that other corrections have reached already.
            way: From the corrected slice.
        """
        corrected = before.corrected or {}
        packed = corrected[way.start]
        was = np.zeros(self._shape, np.bool_) if packed is None else packed.mask()
        meant, depth = bulk_of(was != self._own_mask(before, way.start))
        margin = 1 + round(_MOVED * depth)  # 1 for the rim, whose smoothed greys are mixed
        row_mm, col_mm = (self.volume.spacing_mm[axis] for axis in (self.plan.row_axis, self.plan.col_axis))
        reach = _REACH * depth * math.sqrt(row_mm * col_mm) / self.volume.spacing_mm[self.plan.axis]
        now, last = was ^ meant, way.start
        for index in way.slices[: max(1, round(reach))]:
            mask = self._own_mask(after, index)
            added, removed = now & ~was & ~mask, was & ~now & mask
            if added.any():
                added = Appearance.of(self._pictures[last], now).seen_in(self._pictures[index], added)
            if removed.any():
                false = Appearance.of(self._pictures[last], was & ~now)
                removed = false.seen_in(self._pictures[index], removed)
                removed |= parts_mostly_in(mask, removed)
            if has_ended(was != now, added | removed):
                return
            places = [*anchors(added, ()), *(replace(at, positive=False) for at in anchors(removed, ()))]
            clicks = [*anchors(mask & ~removed, self._known(before, index)), *places]
            # A change may have moved a little, but must not grow from slice to slice.
            may_come, may_go = widened(added, margin) & ~mask, widened(removed, margin) & mask
            previous = np.where(may_come | may_go, np.float32(0.5), mask)
            probability, _ = self._network.correct(index, clicks, previous)
            made = probability > self._threshold
            was, now, last = mask, (mask | (may_come & made)) & ~(may_go & ~made), index
            yield index, now

    def _appearance(self, one: _Object) -> Appearance | None:
        """How an object looks where it is most uniform, of the slices where a person has said where it is.

        A mask that has run into something else there has greys of both, and whatever looks like either would
        be taken for the object in the slices beside.
        """
        sure = [index for index in one.masks if index in one.clicked and one.clicked[index].is_sure]
        looks = [Appearance.of(self._pictures[at], self._own_mask(one, at)) for at in sure]
        return min(looks, key=lambda look: look.spread, default=None)

    def _walk(self, one: _Object, way: "_Way", appearance: Appearance | None) -> Iterator[tuple[int, Mask]]:
        """Take a clicked slice's mask to one slice after the other, until the object ends."""
        mask = self._own_mask(one, way.start)
        appearance = appearance or Appearance.of(self._pictures[way.start], mask)
        for index in way.slices:
            seen = appearance.seen_in(self._pictures[index], mask)
            if has_ended(mask, seen):
                if not way.is_between:
                    return
                seen = mask
            places = anchors(seen, self._known(one, index))
            against = self._against(one, index, seen)
            probability, _ = self._network.correct(index, [*places, *against], to_carry(mask, seen))
            mask = parts_meeting(probability > self._threshold, mask)
            yield index, mask
            if not mask.any():
                return


class _Way(NamedTuple):
    """Slices in the order in which they are reached from a clicked one."""

    start: int
    slices: range
    is_between: bool
    """Whether the object is known to go on, as another clicked slice lies behind."""


def _voxel(voxel: Sequence[int], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    try:
        i, j, k = (whole(index) for index in voxel)
    except (TypeError, ValueError):
        raise ValueError(f"a voxel is three whole numbers (i, j, k), not {voxel}") from None
    if not all(0 <= index < side for index, side in zip((i, j, k), shape, strict=True)):
        sides = " x ".join(map(str, shape))
        raise ValueError(f"voxel ({i}, {j}, {k}) is outside the volume of {sides} voxels")
    return i, j, k
