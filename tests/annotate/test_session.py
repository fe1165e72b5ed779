"""A session: clicks, edits, undo across slices and objects, and all of it again after a kill."""

import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from isegm.annotate.cases import find_cases
from isegm.annotate.saving import label_stack, save_case, save_clicks
from isegm.annotate.session import Session
from isegm.errors import InputError
from isegm.volumes.windows import Window
from tests.annotate.conftest import SHAPE, volume_values, write_picture, write_volume
from tests.annotate.flooding import Flooding

WINDOW = Window(40, 350)


def open_first(session):
    return session.open(0, lambda _: None)


def seen(case):
    """All of a case that must be the same after a kill."""
    return (
        {
            number: case.masks.stack(number).tobytes()
            for number in case.masks.objects()
            if case.masks.stack(number).any()
        },
        dict(case.marks),
        set(case.checked),
        case.clicks(),
        dict(case.settings),
        case.can_undo,
        len(case.undone),
        case.revision,
    )


def test_a_click_floods_its_slice_and_undo_takes_it_back(volume_case, computing):
    case = volume_case
    case.click(1, (5, 20, 20), True, WINDOW, computing)
    expected = case.pixels.values[5] == 60
    np.testing.assert_array_equal(case.masks.stack(1)[5], expected)
    assert case.masks.slices(1).tolist() == [5]
    assert case.mark(1, 5) == "clicked"
    assert case.undo() == 5
    assert case.masks.slices(1).size == 0
    assert case.mark(1, 5) == ""
    assert case.undo() is None
    assert case.redo() == 5
    np.testing.assert_array_equal(case.masks.stack(1)[5], expected)


def test_clicks_of_one_slice_count_together_until_something_else_changes_it(volume_case):
    started = []

    class Recorder(Flooding):
        def click(self, start, clicks):
            started.append((start.mask is not None, len(clicks)))
            return super().click(start, clicks)

    computing = Recorder(None)
    case = volume_case
    case.click(1, (5, 20, 20), True, WINDOW, computing)
    case.click(1, (6, 20, 20), True, WINDOW, computing)
    case.click(1, (5, 2, 2), True, WINDOW, computing)
    case.undo()
    case.click(1, (5, 3, 3), True, WINDOW, computing)
    assert started == [(False, 1), (False, 1), (False, 2), (False, 2)]
    case.draw(1, "axial", 5, np.eye(36, 40, dtype=bool), add=False)
    case.click(1, (5, 2, 2), True, WINDOW, computing)
    case.click(1, (5, 2, 3), True, WINDOW, computing)
    assert started[4:] == [(True, 1), (True, 2)]


def test_later_objects_take_voxels_but_not_from_locked_ones(volume_case, computing):
    case, session = volume_case, volume_case._session
    case.click(1, (5, 20, 20), True, WINDOW, computing)
    case.click(2, (5, 20, 20), True, WINDOW, computing)
    assert case.masks.slices(1).size == 0
    case.undo()
    session.change_label(1, locked=True)
    case.click(2, (5, 20, 20), True, WINDOW, computing)
    assert case.masks.slices(2).size == 0
    with pytest.raises(ValueError, match="liver is locked"):
        case.clear(1, 5)


def test_earlier_objects_keep_voxels_where_that_is_asked_for(tmp_path, start, computing):
    session = start(write_volume(tmp_path / "p.nii.gz"), labels=["a", "b"], overlap="earlier")
    case = open_first(session)
    case.click(1, (5, 20, 20), True, WINDOW, computing)
    case.click(2, (5, 20, 20), True, WINDOW, computing)
    assert case.masks.slices(2).size == 0
    assert case.masks.slices(1).tolist() == [5]


def test_edits_of_a_slice(volume_case, computing):
    case = volume_case
    case.click(1, (5, 20, 20), True, WINDOW, computing)
    before = case.masks.stack(1)[5]
    case.fill(1, 5)
    filled = case.masks.stack(1)[5]
    assert filled.sum() > before.sum()
    speck = np.zeros_like(before)
    speck[0, :2] = True
    case.draw(1, "axial", 5, speck, add=True)
    assert case.masks.stack(1)[5].sum() == filled.sum() + 2
    case.keep_largest(1, 5)
    np.testing.assert_array_equal(case.masks.stack(1)[5], filled)
    case.copy(1, 6, 5)
    np.testing.assert_array_equal(case.masks.stack(1)[6], filled)
    assert case.mark(1, 6) == "edited"
    case.clear(1, 5)
    assert case.masks.slices(1).tolist() == [6]
    assert case.clicks() == ()  # of a slice that was cleared
    for _ in range(5):
        case.undo()
    np.testing.assert_array_equal(case.masks.stack(1)[5], before)


def test_drawing_in_another_view_marks_the_slices_it_touches(volume_case):
    case = volume_case
    stroke = np.zeros((12, 40), bool)  # coronal: slices down, columns across, the head up
    stroke[2, 7] = stroke[3, 7] = True
    case.draw(2, "coronal", 4, stroke, add=True)
    assert np.argwhere(case.masks.stack(2)).tolist() == [[8, 4, 7], [9, 4, 7]]
    assert sorted(case.marks) == [(2, 8), (2, 9)]


def test_propagation_leaves_what_people_made_and_is_one_step_to_undo(volume_case, computing):
    case = volume_case
    case.click(1, (5, 20, 20), True, WINDOW, computing)
    speck = np.zeros(case.pixels.shape[1:], bool)
    speck[3, 3] = True
    case.draw(1, "axial", 7, speck, add=True)
    before = seen(case)
    assert case.propagate(1, computing, lambda *_: None, lambda: False)
    assert case.masks.stack(1)[7].sum() == 1
    assert case.mark(1, 4) == "propagated"
    assert case.mark(1, 5) == "clicked"
    case.undo()
    assert seen(case)[:4] == before[:4]
    assert not case.propagate(1, computing, lambda *_: None, lambda: True)
    assert seen(case)[:4] == before[:4]
    with pytest.raises(ValueError, match="click on the object"):
        case.propagate(2, computing, lambda *_: None, lambda: False)


def test_slices_are_kept_as_they_are_found_and_are_one_step_after_a_kill(volume_case, computing, monkeypatch):
    monkeypatch.setattr("isegm.annotate.session._KEPT_EVERY", -1)
    case = volume_case
    case.click(1, (5, 20, 20), True, WINDOW, computing)
    before, sizes = seen(case), []
    case.propagate(1, computing, lambda *_: sizes.append(case.masks.slices(1).size), lambda: len(sizes) > 2)
    assert sizes == [2, 3, 4]
    assert [action.do for action in case.actions] == ["click", "propagate"]
    session = case._session
    session.close()
    again = open_first(Session(session.cases, session.output))
    assert seen(again) == seen(case)
    again.undo()
    assert seen(again)[:4] == before[:4]
    again.redo()
    assert seen(again)[:4] == seen(case)[:4]


def test_deleting_an_object_can_be_undone(volume_case, computing):
    case = volume_case
    for z in (4, 5):
        case.click(1, (z, 20, 20), True, WINDOW, computing)
    before = seen(case)
    case.delete(1)
    assert case.masks.slices(1).size == 0
    assert not case.marks
    assert case.clicks() == ()
    case.undo()
    assert seen(case)[:4] == before[:4]


def test_nothing_outside_and_no_unknown_object_can_be_changed(volume_case, computing):
    case = volume_case
    before = seen(case)
    for refused in (
        lambda: case.click(1, (12, 0, 0), True, WINDOW, computing),
        lambda: case.click(3, (5, 0, 0), True, WINDOW, computing),
        lambda: case.draw(1, "axial", 12, np.zeros((36, 40), bool), add=True),
        lambda: case.draw(1, "axial", 1, np.zeros((3, 4), bool), add=True),
        lambda: case.draw(1, "oblique", 1, np.zeros((36, 40), bool), add=True),
        lambda: case.check(-1, True),
        lambda: case.set("note", "x" * 20_001),
        lambda: case.set("../note", "x"),
    ):
        with pytest.raises(ValueError, match=r"."):
            refused()
    assert seen(case) == before


def test_masks_of_another_tool_are_corrected_and_undo_stops_before_them(tmp_path, start, computing):
    volume = write_volume(tmp_path / "images" / "p_0000.nii.gz")
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:20, 12:28, 3:6] = 4
    write_volume(tmp_path / "masks" / "p.nii.gz", values=labels)
    write_volume(tmp_path / "masks" / "other.nii.gz", values=labels)
    case = open_first(start(volume.parent, masks=tmp_path / "masks"))
    assert case.masks.slices(4).tolist() == [3, 4, 5]
    assert case._session.labels[4].name == "label 4"
    assert not case.can_undo
    case.click(4, (4, 20, 25), True, WINDOW, computing)
    case.undo()
    np.testing.assert_array_equal(case.pixels.plan.array(label_stack(case)), labels)
    again = open_first(start(volume.parent, masks=tmp_path / "masks"))
    np.testing.assert_array_equal(again.pixels.plan.array(label_stack(again)), labels)


ORIENTATIONS = {
    "LAS": [[-0.8, 0, 0], [0, 0.8, 0], [0, 0, 2.5]],
    "RPI": [[0.8, 0, 0], [0, -0.8, 0], [0, 0, -2.5]],
    "sagittal stored": [[0, 0, 2.5], [0.8, 0, 0], [0, -0.8, 0]],
    "oblique": [[0.78, -0.17, 0], [0.17, 0.78, 0], [0.02, 0, 2.5]],
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_mask_saved_is_the_mask_seen_in_every_orientation(name, tmp_path, start, computing):
    affine = np.eye(4)
    affine[:3, :3] = ORIENTATIONS[name]
    affine[:3, 3] = (-30, 12, 5)
    path = write_volume(tmp_path / "patient.nii.gz", affine)
    session = start(path)
    case = open_first(session)
    slices, rows, columns = case.pixels.shape
    case.click(1, (slices // 2, rows // 2, columns // 2), True, WINDOW, computing)
    random = np.random.default_rng(0)
    for view, index in (("axial", 2), ("coronal", 5), ("sagittal", 7)):
        plan = case.pixels.views[view].plan
        size = case.pixels.shape[plan.row_axis], case.pixels.shape[plan.col_axis]
        case.draw(1, view, index, random.random(size) < 0.3, add=True)
    (saved,) = save_case(session, case)
    mask, image = nib.load(saved), nib.load(path)
    np.testing.assert_array_equal(mask.affine, image.affine)
    assert mask.header["sform_code"] == image.header["sform_code"] == 1
    voxels = np.asarray(mask.dataobj)
    assert voxels.dtype == np.uint8
    # Voxel by voxel, where the page says it is.
    stack = case.masks.stack(1)
    for z, y, x in np.ndindex(*case.pixels.shape):
        voxel = case.pixels.plan.voxel((z, y, x), voxels.shape)
        assert voxels[voxel] == stack[z, y, x]
        assert volume_values()[voxel] == case.pixels.values[z, y, x]


def test_pictures_are_saved_as_the_evaluation_and_the_training_read_them(tmp_path, start, computing):
    from isegm.datasets import open_folder

    for number, name in enumerate("ab"):
        write_picture(tmp_path / "in" / f"{name}.png", number)
    session = start(tmp_path / "in")
    masks = []
    for index in range(2):
        case = session.open(index, lambda _: None)
        case.click(1, (0, 20, 30), True, None, computing)
        masks.append(case.masks.stack(1)[0])
        save_case(session, case)
    dataset = open_folder(session.output)
    assert list(dataset.names) == ["a", "b"]
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(dataset.part(index, index + 1)[0].truth == 1, mask)


def test_clicks_are_written_with_times_and_what_was_undone(tmp_path, start, computing):
    session = start(write_volume(tmp_path / "p.nii.gz"))
    case = open_first(session)
    case.click(1, (5, 20, 20), True, WINDOW, computing)
    case.click(1, (5, 2, 2), False, WINDOW, computing)
    case.undo()
    case.click(1, (6, 3, 3), False, WINDOW, computing)
    case.undo()
    case.redo()
    clicks = [json.loads(line) for line in save_clicks(session).read_text().splitlines()]
    assert [(c["slice"], c["row"], c["positive"], c["undone"]) for c in clicks] == [
        (5, 20, True, False),
        (5, 2, False, True),
        (6, 3, False, False),
    ]
    assert clicks[0]["window"] == [40, 350]
    assert clicks[0]["time"] < clicks[1]["time"] or clicks[0]["time"] == clicks[1]["time"]


def test_a_folder_has_one_session_at_a_time_and_tells_what_is_done(tmp_path, start, computing):
    for number, name in enumerate("abc"):
        write_picture(tmp_path / "in" / f"{name}.png", number)
    session = start(tmp_path / "in")
    with pytest.raises(InputError, match="another isegm annotate"):
        Session(find_cases([tmp_path / "in"]), session.output)
    open_first(session).click(1, (0, 20, 30), True, None, computing)
    session.open(2, lambda _: None).set("done", "yes")
    assert [session.status(index) for index in range(3)] == ["started", "left", "done"]
    session.open(2, lambda _: None).set("done", "no")
    assert session.status(2) == "left"


class Everything(RuleBasedStateMachine):
    """Any actions in any order; after each the session that is opened again from the disk is the same."""

    @initialize()
    def begin(self):
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path = write_volume(Path(self.folder.name) / "p.nii.gz")
        self.computing = Flooding(None)
        self.session = None
        self.restart()

    def restart(self):
        if self.session is not None:
            self.session.close()
        self.session = Session(
            find_cases([self.path]), self.path.parent / "out", [] if self.session else ["a", "b"]
        )
        self.case = open_first(self.session)

    def teardown(self):
        if hasattr(self, "session"):
            self.session.close()
            self.folder.cleanup()

    @rule(
        number=st.integers(1, 2),
        z=st.integers(0, 11),
        y=st.integers(0, 35),
        x=st.integers(0, 39),
        positive=st.booleans(),
    )
    def click(self, number, z, y, x, positive):
        self.case.click(number, (z, y, x), positive, WINDOW, self.computing)

    @rule(number=st.integers(1, 2), index=st.integers(0, 35), seed=st.integers(0, 99), add=st.booleans())
    def draw(self, number, index, seed, add):
        self.case.draw(number, "coronal", index, np.random.default_rng(seed).random((12, 40)) < 0.2, add)

    @rule(
        number=st.integers(1, 2),
        z=st.integers(0, 10),
        what=st.sampled_from(["fill", "keep_largest", "clear", "copy"]),
    )
    def edit(self, number, z, what):
        self.case.copy(number, z, z + 1) if what == "copy" else getattr(self.case, what)(number, z)

    @rule(number=st.integers(1, 2), seconds=st.sampled_from([-1, 9]), last=st.integers(0, 12))
    def propagate(self, number, seconds, last):
        """At once, or slice by slice; to its end, or cancelled before."""
        if any(
            owner == number and mark in ("clicked", "edited") for (owner, _), mark in self.case.marks.items()
        ):
            done = []
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("isegm.annotate.session._KEPT_EVERY", seconds)
                cancel = lambda: len(done) >= last  # noqa: E731
                self.case.propagate(number, self.computing, lambda *_: done.append(1), cancel)

    @rule(z=st.integers(0, 11), checked=st.booleans())
    def check(self, z, checked):
        self.case.check(z, checked)

    @rule()
    def undo(self):
        self.case.undo()

    @rule()
    def redo(self):
        self.case.redo()

    @rule()
    def undo_and_redo_all(self):
        before, count = seen(self.case), len(self.case.actions)
        for _ in range(count):
            self.case.undo()
        assert not self.case.masks.stack(1).any()
        assert not self.case.marks
        for _ in range(count):
            self.case.redo()
        after = seen(self.case)
        assert after[:4] == before[:4]

    @invariant()
    def objects_do_not_meet(self):
        assert not (self.case.masks.stack(1) & self.case.masks.stack(2)).any()

    @rule()
    def kill(self):
        before = seen(self.case)
        self.restart()
        assert seen(self.case) == before


Everything.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
test_everything = Everything.TestCase
