"""A session of annotating: cases with their objects and clicks, and a journal of everything that was done.

It knows nothing of HTTP, and of networks only what :class:`Computing` says. An action changes masks, marks
and clicks; it is written to the case's journal first and then made, so that a case opened again, after a kill
say, is what its journal says. Undoing flips the same bits again, which are read back from the journal:
memory holds no history but where its lines begin.
"""

import contextlib
import datetime
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from isegm.annotate.action_log import ActionLog
from isegm.annotate.cases import AXIAL, CaseFiles, Pixels, read_case, read_masks
from isegm.annotate.packed_masks import MOST_NUMBER, Edit, PackedMasks, Patch
from isegm.errors import InputError
from isegm.geometry import Click
from isegm.inference.propagation import VOUCHED_MM, denied
from isegm.json_object import JsonObject, read_json_object
from isegm.limits import MOST_CONFIG_BYTES, read_bytes
from isegm.metrics.overlap import Mask
from isegm.storage import lock, write_text
from isegm.volumes.windows import Window

CLICKED, EDITED, PROPAGATED, DOUBTFUL, GIVEN = "clicked", "edited", "propagated", "doubtful", "given"
"""How an object's mask in a slice came about."""

BY_HAND = frozenset({CLICKED, EDITED})
"""Of these slices no propagation changes the mask."""

COLOURS = (
    "#4cc9f0",
    "#f9844a",
    "#90be6d",
    "#f94f8b",
    "#ffd166",
    "#b388ff",
    "#43aa8b",
    "#ff6b6b",
    "#7bdff2",
    "#c0ca33",
)

_FOLDER = ".annotate"
_CHECKED = "checked"
_MOST_TEXT = 20_000
_KEPT_EVERY = 0.25
"""Seconds after which slices that a propagation has found are kept and shown."""


@dataclass(frozen=True)
class Label:
    """What an object is.

    Attributes:
        number: 1 to ``MOST_NUMBER``: its value where it is saved.
        name: For people.
        colour: ``#rrggbb``.
        hidden: Not drawn.
        locked: Not changed by anything, also not where other objects grow.
    """

    number: int
    name: str
    colour: str
    hidden: bool = False
    locked: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.number <= MOST_NUMBER:
            raise ValueError(f"a label's number is 1 to {MOST_NUMBER}, not {self.number}")
        # What it is made of may be JSON that anyone has written.
        is_name = isinstance(self.name, str) and self.name.strip() and self.name.isprintable()
        if not is_name or len(self.name) > 80:
            raise ValueError("a label's name has 1 to 80 characters that can be printed")
        if not isinstance(self.colour, str) or not re.fullmatch("#[0-9a-f]{6}", self.colour):
            raise ValueError("a label's colour is #rrggbb")
        if {type(self.hidden), type(self.locked)} != {bool}:
            raise ValueError("a label is hidden or not, and locked or not: true or false")


class PlacedClick(NamedTuple):
    """A click in a stack."""

    object: int
    z: int
    y: int
    x: int
    positive: bool
    window: Window | None


class Start(NamedTuple):
    """What clicks on a slice begin with.

    Attributes:
        key: Equal keys have equal images and masks: what was computed for one may be used for the other.
        image: Gives the image, (H, W) or (H, W, 3).
        mask: The mask before the first click, (H, W); None for nothing.
        is_slice: Whether it is a volume's, on which clicks are those of the volume predictor.
    """

    key: Hashable
    image: Callable[[], npt.NDArray[np.uint8]]
    mask: Mask | None
    is_slice: bool = False


class Computing(Protocol):
    """What computes masks for a session; :mod:`isegm.annotate.computing` does it by a network."""

    checkpoint: Path
    """The network's file."""
    preset: str
    """Which network it is; empty until it is loaded."""

    @property
    def status(self) -> str:
        """``ready``, ``loading``, or the line that says why masks cannot be computed."""

    def click(self, start: Start, clicks: Sequence[Click]) -> Mask:
        """The mask (H, W) that clicks, all that count in their order, make of a start."""

    def prepare(self, start: Start) -> None:
        """Compute ahead of a first click what does not depend on it."""

    def propagate(
        self,
        pixels: Pixels,
        number: int,
        window: Window | None,
        clicks: Mapping[int, Sequence[Click]],
        by_hand: Mapping[int, Mask],
        given: Mask | None,
        found: Callable[[int, Mask], None],
        progress: Callable[[int, int], None],
        cancel: Callable[[], bool],
    ) -> bool:
        """Find an object's masks in all slices but those that people made; return whether it was finished.

        Of an object that another tool made, only corrections are taken on to the slices beside.

        Args:
            pixels: The volume.
            number: The object's number.
            window: What is seen black and white; None for grey values.
            clicks: The clicks on it by slice, in order.
            by_hand: Its masks in the slices that people clicked or drew.
            given: What another tool made of it, with what was propagated since, but as it was before the
                corrections that were not propagated yet, (slices, rows, columns); None of other objects.
            found: Told each slice and its mask, as soon as it is there.
            progress: Told the slices that are done, and how many are known of.
            cancel: Asked now and then whether to stop.
        """

    def doubtful(self, cancel: Callable[[], bool]) -> Collection[int] | None:
        """Slices of the object that was propagated last whose masks somebody should look at.

        Args:
            cancel: Asked now and then whether to stop; None is returned then.
        """


class Action(NamedTuple):
    """What memory holds of an action: enough to find it in the journal, and to know what it touched.

    Attributes:
        starts: Where its lines begin: a propagation has several, as its slices come.
        do: What was done.
        object: To which object; 0 to none.
        touched: Objects and slices whose masks it changed.
        click: The click, if it is one.
        marks: Objects, slices, and how their masks came about before and after.
    """

    starts: tuple[int, ...]
    do: str
    object: int
    touched: frozenset[tuple[int, int]]
    click: PlacedClick | None
    marks: tuple[tuple[int, int, str, str], ...]


class Case:
    """A case that is open: everything that is done to it goes through here.

    Methods may be called from several threads; those that compute should come from one, in order.

    Args:
        files: What was found of it.
        pixels: Its content.
        journal: Where its journal is.
        session: Whose it is.
    """

    def __init__(self, files: CaseFiles, pixels: Pixels, journal: Path, session: "Session") -> None:
        self.files, self.pixels = files, pixels
        self.masks = PackedMasks(pixels.shape)
        self.lock = threading.RLock()
        self.revision = 0
        self.changed = np.zeros(pixels.shape[0], np.int64)
        self.marks: dict[tuple[int, int], str] = {}
        self.checked: set[int] = set()
        self.settings: dict[str, str] = {}
        self.actions: list[Action] = []
        self.undone: list[Action] = []
        self._session = session
        self._standing: tuple[int, tuple[PlacedClick, ...]] = (-1, ())
        is_new = not journal.exists() or not journal.stat().st_size
        header = {"journal": 1, "shape": list(pixels.shape), "case": str(files.path.resolve())}
        if files.series is not None:
            header["series"] = files.series
        if files.untilt:
            header["untilt"] = True
        self._log = ActionLog(journal, header)
        with self._problems_named():
            for start, entry in self._log.entries():
                self._replay(start, entry)
        if is_new or not (self.actions or self.undone):
            self._begin()

    # -- what it holds

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to undo."""
        return bool(self.actions) and self.actions[-1].do != "given"

    def clicks(self) -> tuple[PlacedClick, ...]:
        """The clicks that count: not undone, and the object not cleared in their slice since."""
        with self.lock:
            if self._standing[0] != self.revision:
                cleared: set[tuple[int, int]] = set()
                found = []
                for action in reversed(self.actions):
                    if action.click is not None and (action.click.object, action.click.z) not in cleared:
                        found.append(action.click)
                    elif action.do in ("clear", "delete", "copy"):
                        cleared |= action.touched
                self._standing = self.revision, tuple(reversed(found))
            return self._standing[1]

    @property
    def is_saved(self) -> bool:
        """Whether what was saved last is what the masks are now."""
        return self.settings.get("saved", "0") == str(self.revision)

    def mark(self, number: int, index: int) -> str:
        """How an object's mask in a slice came about; empty where it has none."""
        return self.marks.get((number, index), "")

    # -- actions

    def click(
        self,
        number: int,
        place: tuple[int, int, int],
        positive: bool,
        window: Window | None,
        computing: Computing,
    ) -> None:
        """Click on an object, and let its slice's mask follow.

        In a volume a click that says that a whole part of a mask is none of the object takes that part away,
        as :meth:`VolumePredictor.click` does.

        Args:
            number: The object's number.
            place: (slice, row, column) in the stack.
            positive: Whether the place belongs to the object.
            window: What is seen black and white there; the first click on a slice decides for those after.
            computing: What computes the mask.

        Raises:
            ValueError: The place is outside the case, the object is locked, or there is no such object.
        """
        z, y, x = place
        if not all(0 <= at < side for at, side in zip(place, self.pixels.shape, strict=True)):
            raise ValueError(f"{place} is outside the case")
        start, run, window = self._start(number, z, window)
        new = PlacedClick(number, z, y, x, positive, window)
        part = self._denied(new) if start.is_slice and start.mask is not None else None
        if part is None:
            do, mask = "click", computing.click(start, [_of_picture(one) for one in (*run, new)])
        else:
            do, mask = "deny", self.masks.picture(number, self.pixels.views[AXIAL].plan, z) & ~part
        self._act(do, [self._edit(number, z, mask)], {(number, z): CLICKED}, click=new)

    def prepare(self, number: int, index: int, window: Window | None, computing: Computing) -> None:
        """Have computed ahead what a click on a slice will need; arguments as for :meth:`click`."""
        self._view(AXIAL, index)
        computing.prepare(self._start(number, index, window)[0])

    def propagate(
        self,
        number: int,
        computing: Computing,
        progress: Callable[[int, int], None],
        cancel: Callable[[], bool],
    ) -> bool:
        """Carry an object through the volume from what people clicked or drew, which stays as it is.

        Slices are changed as they are found, and all together are one action. Of a propagation that is
        cancelled, or killed, stays what was found. An object that another tool made stays as it is, but for
        corrections, which reach the slices beside all at once: cancelled, they are still to be propagated.
        When all are found, doubtful ones are marked; if that is cancelled, marks stay as they are.

        Returns:
            Whether all slices were found.

        Raises:
            ValueError: The object is locked, or nobody has clicked or drawn it anywhere.
        """
        with self.lock:
            self._check_unlocked(number)
            hands = [z for (owner, z), mark in self.marks.items() if owner == number and mark in BY_HAND]
            if not hands:
                raise ValueError("click on the object in a slice, or draw it, first")
            view = self.pixels.views[AXIAL].plan
            by_hand = {z: self.masks.picture(number, view, z) for z in sorted(hands)}
            given = self._given(number, hands)
            placed = [one for one in self.clicks() if one.object == number and one.z in by_hand]
            window = placed[-1].window if placed else self.pixels.window
            clicks: dict[int, list[Click]] = {}
            for one in placed:
                clicks.setdefault(one.z, []).append(_of_picture(one))
        edits: list[Edit] = []
        marks: dict[tuple[int, int], str] = {}
        kept_at, has_begun = time.monotonic(), False

        def keep() -> None:
            nonlocal kept_at, has_begun
            has_begun |= self._act("propagate", edits, marks, goes_on=has_begun)
            edits.clear()
            marks.clear()
            kept_at = time.monotonic()

        def found(z: int, mask: Mask) -> None:
            mark = self.mark(number, z)
            if mask.any() or mark:
                edits.append(self._edit(number, z, mask))
                found_so = mark if mark == DOUBTFUL else PROPAGATED  # until it is looked for again
                marks[number, z] = found_so if mask.any() else ""
            if given is None and time.monotonic() - kept_at > _KEPT_EVERY:
                keep()

        is_finished = computing.propagate(
            self.pixels, number, window, clicks, by_hand, given, found, progress, cancel
        )
        if is_finished or given is None:
            keep()
        doubtful = computing.doubtful(cancel) if is_finished and given is None else None
        if doubtful is not None:
            with self.lock:
                for (owner, z), mark in self.marks.items():
                    if owner == number and mark in (PROPAGATED, DOUBTFUL):
                        marks[owner, z] = DOUBTFUL if z in doubtful else PROPAGATED
            keep()
        return is_finished

    def draw(self, number: int, view: str, index: int, pixels: Mask, add: bool) -> None:
        """Add pixels of a view's picture to an object, or take them away.

        Args:
            number: The object's number.
            view: One of the views.
            index: Which of its pictures.
            pixels: (H, W) which.
            add: Whether they are added.

        Raises:
            ValueError: The object is locked, or there is no such object, view or picture, or of another size.
        """
        plan = self._view(view, index)
        with self.lock:
            self._check_unlocked(number)
            before = self.masks.picture(number, plan, index)
            if before.shape != pixels.shape:
                raise ValueError(f"the picture is {before.shape}, not {pixels.shape}")
            after = before | pixels if add else before & ~pixels
            touched = np.flatnonzero(plan.array((before != after)[np.newaxis]).any(axis=(1, 2)))
            slices = [index] if plan.axis == 0 else touched.tolist()
            marks = {(number, z): EDITED for z in slices} if touched.size else {}
            self._act("draw", [self.masks.edit(number, plan, index, after)], marks)

    def fill(self, number: int, index: int) -> None:
        """Fill the holes of an object in a slice; errors as for :meth:`draw`."""
        self._change("fill", number, index, ndimage.binary_fill_holes)

    def keep_largest(self, number: int, index: int) -> None:
        """Keep the largest connected part of an object in a slice; errors as for :meth:`draw`."""

        def largest(mask: Mask) -> Mask:
            parts, count = ndimage.label(mask, np.ones((3, 3)))
            return parts == 1 + np.bincount(parts[parts > 0] - 1).argmax() if count else mask

        self._change("largest", number, index, largest)

    def clear(self, number: int, index: int) -> None:
        """Remove an object from a slice; errors as for :meth:`draw`."""
        self._change("clear", number, index, np.zeros_like, "")

    def copy(self, number: int, index: int, source: int) -> None:
        """Give an object in a slice the mask it has in another; errors as for :meth:`draw`."""
        plan = self._view(AXIAL, source)
        self._change("copy", number, index, lambda _: self.masks.picture(number, plan, source))

    def delete(self, number: int) -> None:
        """Remove an object from the case, its whole mask and its clicks, and its label off the list.

        The last label stays; cases that have an object of it bring it back when they are opened.

        Raises:
            ValueError: It is locked, or there is no such object.
        """
        with self.lock:
            self._check_unlocked(number)
            plan = self.pixels.views[AXIAL].plan
            empty = np.zeros(self.pixels.shape[1:], np.bool_)
            edits = [self.masks.edit(number, plan, int(z), empty) for z in self.masks.slices(number)]
            marks = {key: "" for key in self.marks if key[0] == number}
            label = self._session.labels[number]
            self._act("delete", edits, marks, label=asdict(label))
            self._session.remove_label(number)

    def check(self, index: int, checked: bool) -> None:
        """Say that a slice is as it should be, or take that back.

        Raises:
            ValueError: There is no such slice.
        """
        self._view(AXIAL, index)
        self._act("check", [], {(0, index): _CHECKED if checked else ""})

    def undo(self) -> int | None:
        """Undo the last action that is not undone; return a slice that it changed, if any."""
        with self.lock:
            return self._turn("undo") if self.can_undo else None

    def redo(self) -> int | None:
        """Make the action again that was undone last; return a slice that it changed, if any."""
        with self.lock:
            return self._turn("redo") if self.undone else None

    def set(self, key: str, value: str) -> None:
        """Keep a text of the case: its ``note``, whether it is ``done``, how it is seen, what is ``saved``.

        Raises:
            ValueError: There is no such text, or it is too long.
        """
        if key not in ("note", "done", "view", "saved") or len(value) > _MOST_TEXT:
            raise ValueError(f"{key}: is not kept, or longer than {_MOST_TEXT} characters")
        with self.lock:
            if self.settings.get(key, "") != value:
                self._log.append({"do": "set", "key": key, "value": value})
                self.settings[key] = value

    def close(self) -> None:
        """Close its journal."""
        self._log.close()

    # -- how an action is made

    def _change(
        self, do: str, number: int, index: int, change: Callable[[Mask], Mask], mark: str = EDITED
    ) -> None:
        plan = self._view(AXIAL, index)
        with self.lock:
            self._check_unlocked(number)
            before = self.masks.picture(number, plan, index)
            after = np.asarray(change(before), np.bool_)
            if (before != after).any() or mark != self.mark(number, index):
                self._act(
                    do, [self._edit(number, index, after)], {(number, index): mark if after.any() else ""}
                )

    def _begin(self) -> None:
        """Take the masks that the case begins with; undoing does not go behind them."""
        plan = self.pixels.views[AXIAL].plan
        edits, marks = [], {}
        for number, stack in read_masks(self.files, self.pixels).items():
            self._session.require_label(number)
            for z in np.flatnonzero(stack.any(axis=(1, 2))):
                edits.append(self.masks.edit(number, plan, int(z), stack[z]))
                marks[number, int(z)] = GIVEN
        if edits:
            self._act("given", edits, marks)

    def _act(
        self,
        do: str,
        edits: Sequence[Edit],
        marks: Mapping[tuple[int, int], str],
        click: PlacedClick | None = None,
        label: Mapping[str, Any] | None = None,
        *,
        goes_on: bool = False,
    ) -> bool:
        """Do something, and say whether it changes anything; what goes on is part of the action before it."""
        with self.lock:
            others = self._session.labels
            patches: list[Patch] = []
            for edit in edits:
                locked = [n for n, label in others.items() if label.locked and n != edit.object]
                rest = [n for n in self.masks.objects() if n != edit.object and n not in locked]
                keeps = self._session.overlap == "earlier"
                patches += self.masks.patches(edit, locked + rest * keeps, () if keeps else rest)
            changed = [
                [number, z, before, after]
                for (number, z), after in marks.items()
                if (before := self._mark_of(number, z)) != after
            ]
            if not patches and not changed and click is None and label is None:
                return False
            entry: dict[str, Any] = {"do": do, "time": _now(), "patches": [p.as_json() for p in patches]}
            if label is not None:
                entry["label"] = label
            if changed:
                entry["marks"] = changed
            if click is not None:
                window = None if click.window is None else [click.window.level, click.window.width]
                entry["click"] = {**click._asdict(), "window": window}
            if goes_on:
                entry["goes_on"] = True
            start = self._log.append(entry)
            self._make(_action(start, do, patches, changed, click), patches, goes_on=goes_on)
            return True

    def _make(self, action: Action, patches: Sequence[Patch], *, goes_on: bool) -> None:
        self.undone.clear()
        self._flip(patches)
        for number, z, _, after in action.marks:
            self._set_mark(number, z, after)
        self._revise(action)
        if goes_on:
            begun = self.actions.pop()
            action = begun._replace(
                starts=begun.starts + action.starts,
                touched=begun.touched | action.touched,
                marks=begun.marks + action.marks,
            )
        self.actions.append(action)

    def _turn(self, do: str, *, is_replayed: bool = False) -> int | None:
        """Undo the last action or redo the one undone last; both flip the same bits."""
        undoes = do == "undo"
        source, target = (self.actions, self.undone) if undoes else (self.undone, self.actions)
        action = source[-1]
        if not is_replayed:
            self._log.append({"do": do, "time": _now()})
            if action.do == "delete":
                label = self._log.read(action.starts[0]).object("label").values
                if undoes:
                    self._session.change_label(**label)
                else:
                    self._session.remove_label(int(label["number"]))
        target.append(source.pop())
        for start in action.starts:
            self._flip(self._patches(self._log.read(start)))
        for number, z, before, after in action.marks[:: -1 if undoes else 1]:
            self._set_mark(number, z, before if undoes else after)
        return self._revise(action)

    def _replay(self, start: int, entry: JsonObject) -> None:
        do = entry.text("do")
        if do == "set":
            self.settings[entry.text("key")] = entry.text("value")
        elif do in ("undo", "redo"):
            if not (self.actions if do == "undo" else self.undone):
                raise entry.wrong("do", f"possible: there is nothing to {do}")
            self._turn(do, is_replayed=True)
        else:
            patches = self._patches(entry)
            goes_on = entry.values.get("goes_on") is True
            if goes_on and not self.actions:
                raise entry.wrong("goes_on", "possible: there is nothing to go on with")
            marks = entry.values.get("marks", [])
            click = _read_click(entry.object("click")) if "click" in entry.values else None
            if not isinstance(marks, list) or not all(_is_mark(mark, self.pixels.shape[0]) for mark in marks):
                raise entry.wrong("marks", "a list of changes")
            self._make(_action(start, do, patches, marks, click), patches, goes_on=goes_on)
            for number in {patch.object for patch in patches}:
                self._session.require_label(number)

    def _patches(self, entry: JsonObject) -> list[Patch]:
        return [Patch.from_json(each, self.masks.packed_shape) for each in entry.objects("patches")]

    def _flip(self, patches: Sequence[Patch]) -> None:
        for patch in patches:
            self.masks.apply(patch)

    def _revise(self, action: Action) -> int | None:
        self.revision += 1
        slices = sorted({z for _, z in action.touched} | {z for _, z, *_ in action.marks})
        self.changed[slices] = self.revision
        return slices[0] if slices else None

    def _run(self, number: int, z: int) -> tuple[list[PlacedClick], Mask]:
        """The clicks on an object's slice since it was last changed otherwise, and its mask before them.

        The one that took a part away is the first of them, and the mask is what it left.
        """
        run: list[PlacedClick] = []
        actions = []
        for action in reversed(self.actions):
            if action.click is not None and (action.click.object, action.click.z) == (number, z):
                run.append(action.click)
                if action.do == "deny":
                    break
                actions.append(action)
            elif (number, z) in action.touched:
                break
        return run[::-1], self._before(actions, number, z)

    def _before(self, last: Sequence[Action], number: int, z: int) -> Mask:
        """An object's mask in a slice as it was before the last actions."""
        bits = self.masks.bits(number)[z].copy()
        for start in (start for action in last if (number, z) in action.touched for start in action.starts):
            for patch in self._patches(self._log.read(start)):
                slices, rows, columns = patch.box
                if patch.object == number and slices.start <= z < slices.stop:
                    bits[rows, columns] ^= patch.bits()[z - slices.start]
        return np.unpackbits(bits, axis=1, count=self.pixels.shape[2]).view(np.bool_)

    def _is_given(self, number: int) -> bool:
        """Whether an object is another tool's mask, however it was corrected."""
        is_gone = any(action.do == "delete" and action.object == number for action in self.actions)
        begun = [action for action in self.actions[:1] if action.do == "given"]
        return not is_gone and any(owner == number for action in begun for owner, _ in action.touched)

    def _given(self, number: int, hands: Sequence[int]) -> Mask | None:
        """What :meth:`Computing.propagate` is to know of another tool's mask."""
        if not self._is_given(number):
            return None
        carried = [
            place
            for place, action in enumerate(self.actions)
            if action.do == "propagate" and action.object == number
        ]
        stack = self.masks.stack(number)
        for z in hands:
            stack[z] = self._before(self.actions[carried[-1] + 1 if carried else 1 :], number, z)
        return stack

    def _start(
        self, number: int, z: int, window: Window | None
    ) -> tuple[Start, list[PlacedClick], Window | None]:
        """What the clicks on a slice begin with, those that were made already, and their window."""
        with self.lock:
            self._check_unlocked(number)
            run, base = self._run(number, z)
        window = run[0].window if run else window if self.pixels.window else None
        mask = base if base.any() else None
        key = (id(self), z, window, b"" if mask is None else mask.tobytes())
        is_slice = self.pixels.volume is not None
        return Start(key, lambda: self.pixels.image(z, window), mask, is_slice), run, window

    def _denied(self, click: PlacedClick) -> Mask | None:
        """The part of an object's mask that a click takes away as a whole, (H, W); None if it does not."""
        with self.lock:
            if click.positive or self._is_given(click.object):
                return None
            mask = self.masks.picture(click.object, self.pixels.views[AXIAL].plan, click.z)
            others = [one for one in self.clicks() if one.object == click.object]
        spacing = self.pixels.spacing[0] if self.pixels.spacing else 1.0
        near = [one for one in others if abs(one.z - click.z) * spacing <= VOUCHED_MM]
        part = denied(mask, _of_picture(click), [_of_picture(one) for one in near if one.positive])
        is_clicked = any(part[one.y, one.x] for one in near if one.z == click.z)
        return part if part.any() and not is_clicked else None

    def _edit(self, number: int, index: int, mask: Mask) -> Edit:
        return self.masks.edit(number, self.pixels.views[AXIAL].plan, index, mask)

    def _view(self, view: str, index: int) -> Any:  # noqa: ANN401 - a SlicePlan
        plan = self.pixels.views[view].plan if view in self.pixels.views else None
        if plan is None or not 0 <= index < self.pixels.shape[plan.axis]:
            raise ValueError(f"there is no picture {index} in a view {view}")
        return plan

    def _check_unlocked(self, number: int) -> None:
        label = self._session.labels.get(number)
        if label is None:
            raise ValueError(f"there is no label {number}")
        if label.locked:
            raise ValueError(f"{label.name} is locked")

    def _mark_of(self, number: int, z: int) -> str:
        return self.mark(number, z) if number else _CHECKED * (z in self.checked)

    def _set_mark(self, number: int, z: int, mark: str) -> None:
        if number == 0:
            (self.checked.add if mark else self.checked.discard)(z)
        elif mark:
            self.marks[number, z] = mark
        else:
            self.marks.pop((number, z), None)

    @contextlib.contextmanager
    def _problems_named(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, IndexError) as error:  # of a journal that something else has written
            raise InputError(f"{self._log.path}: is damaged ({error}); put back a copy of it") from None


class Session:
    """Cases, their labels, and the folder where everything of them is kept.

    Args:
        cases: What can be annotated.
        output: The folder; made if there is none.
        labels: Names of labels to begin with; a folder that has labels already keeps them.
        overlap: Whose the voxels are where objects meet: ``later``, of the one edited later, or ``earlier``,
            of the one that had them.

    Raises:
        InputError: Another session has the folder, or what it holds is damaged.
        OSError: It cannot be written to.
    """

    def __init__(
        self, cases: Sequence[CaseFiles], output: Path, labels: Sequence[str] = (), overlap: str = "later"
    ) -> None:
        self.cases, self.output, self.overlap = list(cases), output, overlap
        self.lock = threading.RLock()
        self._folder = output / _FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._exclusive = (self._folder / "lock").open("w")
        if not lock(self._exclusive):
            raise InputError(
                f"{output}: another isegm annotate works in it; end that, or name another --output"
            )
        self.labels: dict[int, Label] = self._read_labels()
        if not self.labels:
            self._name_labels(labels or ["object"])
        self._open: dict[int, Case] = {}
        self._opening = threading.Lock()
        self._statuses: dict[int, tuple[int, int, str]] = {}

    def open(self, index: int, progress: Callable[[float], None]) -> Case:
        """Open a case, by its place in ``cases``; the one that was opened before the last is closed.

        Raises:
            InputError: It cannot be read, its masks do not fit, or its journal is damaged.
        """
        with contextlib.suppress(KeyError):
            return self._open[index]
        with self._opening:
            if index not in self._open:
                files = self.cases[index]
                case = Case(files, read_case(files, progress), self.journal(index), self)
                while len(self._open) > 1:  # two tabs may have two cases
                    self._open.pop(next(iter(self._open))).close()
                self._open[index] = case
            return self._open[index]

    def opened(self) -> list[Case]:
        """The cases that are open."""
        return list(self._open.values())

    def status(self, index: int) -> str:
        """Whether a case is ``done``, ``started``, or ``left``, by its journal alone."""
        path = self.journal(index)
        if not path.is_file():
            return "left"
        stat = path.stat()
        known = self._statuses.get(index)
        if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
            status = "left"
            is_done = False
            with path.open("rb") as file:
                for line in file:
                    if line.startswith(b'{"do":"set","key":"done"'):
                        is_done = b'"value":"yes"' in line
                    elif line.startswith(b'{"do":') and not line.startswith(b'{"do":"set"'):
                        status = "started"
            known = (stat.st_size, stat.st_mtime_ns, "done" if is_done else status)
            self._statuses[index] = known
        return known[2]

    def journal(self, index: int) -> Path:
        """Where a case's journal is."""
        return self._folder / f"{self.cases[index].name}.jsonl"

    def secret(self, name: str, make: Callable[[], str]) -> str:
        """A text that stays the same when the session is started again; only the user may read it."""
        path = self._folder / name
        if not path.is_file():
            write_text(path, make())
            path.chmod(0o600)
        return read_bytes(path, MOST_CONFIG_BYTES).decode().strip()

    def require_label(self, number: int) -> None:
        """See that there is a label of that number."""
        with self.lock:
            if number not in self.labels:
                self.change_label(number)

    def change_label(self, number: int, **changes: Any) -> None:  # noqa: ANN401 - a label's attributes
        """Change a label, or add it.

        Raises:
            ValueError: What it is to be cannot be.
        """
        with self.lock:
            label = self.labels.get(number) or Label(number, f"label {number}", _colour(number))
            self._write_labels({**self.labels, number: replace(label, **changes)})

    def remove_label(self, number: int) -> None:
        """Take a label off the list, unless it is the last one."""
        with self.lock:
            if len(self.labels) == 1:
                return
            self._write_labels({n: label for n, label in self.labels.items() if n != number})

    def close(self) -> None:
        """Close what is open, and leave the folder to others."""
        with self.lock:
            for case in self._open.values():
                case.close()
            self._open.clear()
            self._exclusive.close()

    def _name_labels(self, names: Sequence[str]) -> None:
        if len(set(names)) < len(names):
            raise InputError(f"--labels {' '.join(names)}: a name comes twice; keep one")
        try:
            found = [Label(number, name, _colour(number)) for number, name in enumerate(names, start=1)]
        except ValueError as error:
            raise InputError(f"--labels: {error}; give other names") from None
        self._write_labels({label.number: label for label in found})

    def _read_labels(self) -> dict[int, Label]:
        path = self._folder / "labels.json"
        if not path.is_file():
            return {}
        entry = read_json_object(
            str(path), read_bytes(path, MOST_CONFIG_BYTES), "remove it, and name them again"
        )
        try:
            found = [Label(**each.values) for each in entry.objects("labels")]
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: holds no labels ({error}); remove it, and name them again") from None
        return {label.number: label for label in found}

    def _write_labels(self, labels: Mapping[int, Label]) -> None:
        ordered = dict(sorted(labels.items()))
        content = {"labels": [asdict(label) for label in ordered.values()]}
        write_text(self._folder / "labels.json", json.dumps(content, ensure_ascii=False, indent=1))
        self.labels = ordered


def _action(
    start: int, do: str, patches: Sequence[Patch], marks: Sequence[Sequence[Any]], click: PlacedClick | None
) -> Action:
    touched = {(p.object, z) for p in patches for z in range(p.start[0], p.start[0] + p.shape[0])}
    if click is not None:
        touched.add((click.object, click.z))
    changes = tuple((int(n), int(z), str(before), str(after)) for n, z, before, after in marks)
    # The object's own patch comes before those of the objects that yield.
    number = patches[0].object if patches else changes[0][0] if changes else 0
    return Action((start,), do, number, touched=frozenset(touched), click=click, marks=changes)


def _of_picture(click: PlacedClick) -> Click:
    return Click(float(click.y), float(click.x), click.positive)


def _read_click(entry: JsonObject) -> PlacedClick:
    window = entry.values["window"]
    z, y, x = (entry.integer(axis, 0, 2**31) for axis in "zyx")
    level_width = None if window is None else Window(float(window[0]), float(window[1]))
    return PlacedClick(
        entry.integer("object", 1, MOST_NUMBER), z, y, x, bool(entry.values["positive"]), level_width
    )


def _is_mark(mark: object, slices: int) -> bool:
    return (
        isinstance(mark, list)
        and len(mark) == 4
        and all(isinstance(n, int) for n in mark[:2])
        and 0 <= mark[1] < slices
        and all(isinstance(text, str) for text in mark[2:])
    )


def _colour(number: int) -> str:
    return COLOURS[(number - 1) % len(COLOURS)]


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
