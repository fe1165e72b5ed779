"""What a session's masks are computed by: the predictors of pictures and volumes."""

import time

import numpy as np
import pytest

from isegm.annotate.computing import NetworkComputing
from isegm.annotate.saving import label_stack
from isegm.annotate.session import Start
from isegm.commands.places import default_weights
from isegm.errors import InputError
from isegm.geometry import Click
from isegm.inference.predictor import Predictor
from isegm.inference.volume_predictor import VolumePredictor
from isegm.volumes.files import open_volume
from isegm.volumes.windows import Window
from tests.annotate.conftest import write_volume
from tests.inference.test_volume_predictor import ONE, OTHER, SIDE, drawn
from tests.inference.thresholding import Thresholding

WINDOW = Window(40, 350)


@pytest.fixture
def network(monkeypatch):
    network = Thresholding()
    monkeypatch.setattr("isegm.inference.load.load_network", lambda path: network)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # without OpenVINO
    return network


@pytest.fixture
def thresholding(network, tmp_path):
    computing = NetworkComputing(tmp_path / "weights.pth", size=32)
    yield computing
    computing.close()


def squares():
    image = np.zeros((32, 32), np.uint8)
    image[4:12, 4:12] = image[20:28, 20:28] = 200
    return image


def test_clicks_are_the_predictors_whatever_was_clicked_before(thresholding, network):
    start = Start("key", squares, None)
    clicks = [Click(6, 6, True), Click(24, 24, True), Click(24, 25, False)]
    for wanted in (clicks[:1], clicks[:2], clicks[:1], [clicks[0], clicks[2]], clicks, clicks[1:]):
        predictor = Predictor(network, size=32, flip=False)
        predictor.set_image(squares())
        for click in wanted:
            predictor.click(*(click.row, click.col, click.positive))
        np.testing.assert_array_equal(thresholding.click(start, wanted), predictor.mask)


def test_a_mask_to_begin_with_reaches_the_network_and_stays_elsewhere(thresholding, network):
    mask = np.zeros((32, 32), bool)
    mask[20:28, 20:24] = True
    made = thresholding.click(Start("other", squares, mask), [Click(6, 6, True)])
    assert made[4:12, 4:12].all()
    np.testing.assert_array_equal(made[16:], mask[16:])
    assert (network.corrected[-1] > 0).any()


def test_what_is_prepared_is_not_computed_again(thresholding, network):
    start = Start("key", squares, None)
    thresholding.wait()
    thresholding.prepare(start)
    assert network.encoded == 1
    thresholding.click(start, [Click(6, 6, True)])
    thresholding.click(start, [Click(24, 24, True)])
    assert network.encoded == 1


def test_a_case_is_propagated_as_its_volume_predictor_does(tmp_path, start, thresholding):
    session = start(write_volume(tmp_path / "patient.nii.gz"), labels=["liver", "spleen"])
    case = session.open(0, lambda _: None)
    case.click(1, (5, 24, 15), True, WINDOW, thresholding)
    told = []
    assert case.propagate(1, thresholding, lambda *args: told.append(args), lambda: False)
    assert told[-1][0] == told[-1][1]
    object_slices = np.flatnonzero((case.pixels.values == 60).any(axis=(1, 2)))
    np.testing.assert_array_equal(case.masks.slices(1), object_slices)
    assert {case.mark(1, z) for z in object_slices} <= {"clicked", "propagated", "doubtful"}
    before = case.masks.stack(1)
    case.undo()
    assert not case.propagate(1, thresholding, lambda *_: None, lambda: True)
    assert case.masks.slices(1).tolist() == [5]
    # What the predictor has found already is found once more, without the network.
    marks = {**case.marks}
    assert case.propagate(1, thresholding, lambda *_: None, lambda: False)
    np.testing.assert_array_equal(case.masks.stack(1), before)
    case.undo()
    assert case.marks == marks
    case.redo()
    np.testing.assert_array_equal(case.masks.stack(1), before)


def test_propagation_begins_from_what_was_drawn(tmp_path, start, thresholding, network):
    case = start(write_volume(tmp_path / "patient.nii.gz"), labels=["liver"]).open(0, lambda _: None)
    drawn = case.pixels.values[5] == 60
    drawn[:, :20] = False
    case.draw(1, "axial", 5, drawn, add=True)
    assert case.propagate(1, thresholding, lambda *_: None, lambda: False)
    np.testing.assert_array_equal(case.masks.stack(1)[5], drawn)
    assert {4, 6} <= set(case.masks.slices(1).tolist())
    # Only what a further slice changes is computed again.
    count = len(network.corrected)
    assert case.propagate(1, thresholding, lambda *_: None, lambda: False)
    assert len(network.corrected) == count
    case.draw(1, "axial", 8, case.pixels.values[8] == 60, add=True)
    case.propagate(1, thresholding, lambda *_: None, lambda: False)
    assert count < len(network.corrected) < 2 * count + 2


def test_another_tools_mask_is_corrected_as_by_the_volume_predictor(tmp_path, start, network):
    hu, (one, other) = drawn(ONE, OTHER)
    affine = np.diag([1.0, 1, 2, 1])
    volume = write_volume(tmp_path / "images" / "patient.nii.gz", affine, hu)
    labels = (one + 2 * other).astype(np.uint8)
    labels[:, 30:] = 0  # half of one object
    masks = write_volume(tmp_path / "masks" / "patient.nii.gz", affine, labels)
    computing = NetworkComputing(tmp_path / "weights.pth", size=SIDE)
    session = start(volume, masks=masks)
    case = session.open(0, lambda _: None)
    plan = case.pixels.plan
    predictor = VolumePredictor(network, open_volume(volume), window=WINDOW, size=SIDE)
    predictor.start_from(masks, labels=[1])
    seen = []

    def same():
        np.testing.assert_array_equal(case.masks.stack(1), plan.pictures(predictor.mask))

    def correct(voxel, positive):
        seen.append(label_stack(case))
        network.corrected.clear()
        predictor.click(voxel, positive)
        place = np.zeros(hu.shape, bool)
        place[voxel] = True
        z, y, x = np.argwhere(plan.pictures(place))[0].tolist()
        case.click(1, (z, y, x), positive, WINDOW, computing)
        same()
        return network.corrected

    def propagate(*, cancelled=False):
        seen.append(label_stack(case))
        network.corrected.clear()
        assert case.propagate(1, computing, lambda *_: None, lambda: cancelled) != cancelled

    with pytest.raises(ValueError, match="click on the object"):
        propagate()
    seen.clear()
    theirs, ours = correct((15, 35, 6), True)
    assert (ours == 0).any()  # the pixels that the click may change
    np.testing.assert_array_equal(ours, theirs)
    propagate(cancelled=True)
    np.testing.assert_array_equal(label_stack(case), seen.pop())
    propagate()
    predictor.propagate()
    same()
    assert (label_stack(case) != seen[-1]).any(axis=(1, 2)).sum() == 5
    assert {case.mark(1, z) for z in (3, 4, 5, 7, 8)} == {"propagated"}
    propagate()
    assert network.corrected == []  # what has been taken on is not computed again
    seen.pop()
    # Another object that takes voxels of this one as it is propagated does not end what is to be done here.
    correct((15, 25, 4), False)
    seen.append(label_stack(case))
    corner = np.zeros(hu.shape, bool)
    corner[10:16, 20:26, 8] = True
    case.draw(2, "axial", 8, plan.pictures(corner)[8], add=True)
    seen.append(label_stack(case))
    assert case.propagate(2, computing, lambda *_: None, lambda: False)
    assert (seen[-1][7] != label_stack(case)[7]).any()
    propagate()
    assert case.masks.slices(1).tolist() == [6, 7, 8]
    session.close()
    again = start(volume, masks=masks).open(0, lambda _: None)
    np.testing.assert_array_equal(label_stack(again), label_stack(case))
    for expected in reversed(seen):
        again.undo()
        np.testing.assert_array_equal(label_stack(again), expected)
    assert not again.can_undo
    computing.close()


def test_clicks_on_a_volume_do_what_those_of_the_volume_predictor_do(tmp_path, start, network):
    # One object goes on as something that looks alike, on which nobody has clicked; another lies beside it.
    hu, _ = drawn(((10, 24), (20, 40), (1, 12)), OTHER)
    volume = write_volume(tmp_path / "patient.nii.gz", np.diag([1.0, 1, 10, 1]), hu)
    computing = NetworkComputing(tmp_path / "weights.pth", size=SIDE)
    session = start(volume, labels=["liver"])
    case = session.open(0, lambda _: None)
    plan = case.pixels.plan
    predictor = VolumePredictor(network, open_volume(volume), window=WINDOW, size=SIDE)
    seen = [label_stack(case)]

    def same():
        seen.append(label_stack(case))
        np.testing.assert_array_equal(seen[-1], plan.pictures(predictor.mask))

    def click(voxel, positive):
        predictor.click(voxel, positive)
        case.click(1, plan.place(voxel, hu.shape), positive, WINDOW, computing)
        same()

    def propagate():
        predictor.propagate()
        assert case.propagate(1, computing, lambda *_: None, lambda: False)
        same()

    click((15, 30, 4), True)
    assert seen[-1].any()
    propagate()
    click(
        (16, 31, 5), False
    )  # near the place that is known to be the object: a piece, the network says which
    click((16, 31, 5), True)
    click((17, 30, 9), False)  # in the middle, far from it: none of that is the object
    assert not case.masks.stack(1)[9].any()
    assert case.masks.stack(1)[10].any()
    propagate()
    assert case.masks.slices(1).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    click((17, 30, 9), True)
    click((40, 30, 4), True)  # where the network sees nothing, a click is still what it says
    session.close()
    again = start(volume).open(0, lambda _: None)
    np.testing.assert_array_equal(label_stack(again), seen.pop())
    for expected in reversed(seen):
        again.undo()
        np.testing.assert_array_equal(label_stack(again), expected)
    assert [c.z for c in case.clicks()] == [4, 5, 5, 9, 9, 4]
    computing.close()


def test_slices_whose_mask_does_not_come_back_are_doubtful(tmp_path, start, network):
    # Two boxes, of which one is clicked on, lie in slices 2 to 6 beside each other; in 7 and 8 they are one.
    hu, _ = drawn(((10, 20), (20, 40), (2, 7)), ((26, 36), (20, 40), (2, 7)), ((10, 36), (20, 40), (7, 9)))
    volume = write_volume(tmp_path / "patient.nii.gz", np.diag([1.0, 1, 2, 1]), hu)
    computing = NetworkComputing(tmp_path / "weights.pth", size=SIDE)
    case = start(volume, labels=["liver"]).open(0, lambda _: None)
    case.click(1, case.pixels.plan.place((15, 30, 4), hu.shape), True, WINDOW, computing)
    assert case.propagate(1, computing, lambda *_: None, lambda: False)
    doubtful = {5: "doubtful", 6: "doubtful"}
    assert {z: case.mark(1, z) for z in range(2, 9)} == {
        **dict.fromkeys((2, 3, 7, 8), "propagated"),
        4: "clicked",
        **doubtful,
    }
    case.undo()
    assert case.masks.slices(1).tolist() == [4]
    case.redo()
    assert {z: case.mark(1, z) for z in (5, 6)} == doubtful
    # Propagated once more they stay so, without the network.
    network.corrected.clear()
    assert case.propagate(1, computing, lambda *_: None, lambda: False)
    assert {z: case.mark(1, z) for z in (5, 6)} == doubtful
    assert network.corrected == []
    computing.close()


def test_masks_stay_where_looking_for_doubtful_ones_is_cancelled(tmp_path, start, thresholding):
    case = start(write_volume(tmp_path / "patient.nii.gz"), labels=["liver"]).open(0, lambda _: None)
    case.click(1, (5, 24, 15), True, WINDOW, thresholding)
    thresholding.doubtful = lambda cancel: None
    assert case.propagate(1, thresholding, lambda *_: None, lambda: False)
    assert len(case.masks.slices(1)) > 1
    assert "doubtful" not in case.marks.values()


def test_a_checkpoint_that_cannot_be_used_is_said_where_a_click_is_asked_for(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"nothing")
    computing = NetworkComputing(tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"weights\.pth"):
        computing.click(Start("key", squares, None), [Click(6, 6, True)])
    assert "weights.pth" in computing.status
    computing.close()


@pytest.mark.parametrize("fails", [False, True])
def test_openvino_runs_the_correction_head_where_it_can(fails, monkeypatch, tmp_path):
    torchs, openvinos = Thresholding(), Thresholding()

    def run(pair, threads):
        if fails:
            raise RuntimeError("it is not for this processor")
        return {"the pair": openvinos}[pair]

    monkeypatch.setattr("isegm.inference.load.load_network", lambda path: torchs)
    monkeypatch.setattr("isegm.model.checkpoint.load_model", {tmp_path / "weights.pth": "a model"}.get)
    monkeypatch.setattr("isegm.inference.onnx_pair.export_pair", {"a model": "the pair"}.get)
    monkeypatch.setattr("isegm.inference.runtimes.OpenVinoNetwork", run)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "openvino")
    computing = NetworkComputing(tmp_path / "weights.pth", size=32)
    computing._thread.join()
    torchs.corrected.clear()
    openvinos.corrected.clear()
    made = computing.click(Start("key", squares, None), [Click(6, 6, True)])
    assert made[4:12, 4:12].all()
    assert (len(torchs.corrected), len(openvinos.corrected)) == ((1, 0) if fails else (0, 1))
    assert openvinos.encoded == 0


def test_the_network_loads_while_the_session_begins(monkeypatch, tmp_path):
    def slow(_, **settings):
        time.sleep(0.2)
        return Thresholding()

    monkeypatch.setattr("isegm.inference.load.load_network", slow)
    computing = NetworkComputing(tmp_path / "weights.pth", size=32)
    assert computing.status == "loading"
    computing.prepare(Start("key", squares, None))  # does not wait
    assert computing.status == "loading"
    computing.click(Start("key", squares, None), [Click(6, 6, True)])
    assert (computing.status, computing.preset) == ("ready", "thresholding")
    computing.close()


def test_where_openvino_cannot_be_used_one_line_says_so_and_torch_answers(monkeypatch, caplog):
    def unusable(*_, **__):
        raise RuntimeError("this processor\n  is not supported")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("isegm.inference.onnx_pair.export_pair", unusable)
    computing = NetworkComputing(default_weights(), size=32)
    try:
        mask = computing.click(Start("key", squares, None), [Click(6, 6, True)])
        until = time.monotonic() + 60
        while not caplog.records and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        computing.close()
    assert mask.shape == (32, 32)
    (line,) = [record.getMessage() for record in caplog.records if "OpenVINO" in record.getMessage()]
    assert line == "OpenVINO cannot be used (this processor is not supported); clicks take somewhat longer"
