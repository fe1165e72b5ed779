"""The predictor's life cycle, what it hands out, and how it fails."""

import copy
import functools
import itertools
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import isegm
from isegm.errors import InputError
from isegm.geometry import Click
from isegm.inference.predictor import Predictor
from isegm.inference.torch_network import InferenceModel
from isegm.model.build import PRESETS, build_model
from isegm.model.click_maps import encode_clicks
from isegm.model.emc_click import EMCClick

CLICKS = [(5, 9, True), (20, 3, False), (11.5, 30.25, True), (0, 0, False), (27, 36, True)]


def picture(height=28, width=37, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def model(untrained):
    """A network ready to be run, which making a predictor of it does not copy."""
    return InferenceModel(untrained("hr18s"))


@pytest.fixture
def predictor(model):
    predictor = Predictor(model, size=32)
    predictor.set_image(picture())
    return predictor


def click_all(predictor, clicks):
    return [predictor.click(*click) for click in clicks]


def state_of(predictor):
    return predictor.clicks, predictor.probability, predictor.mask


def assert_same_state(predictor, state):
    clicks, probability, mask = state
    assert predictor.clicks == clicks
    assert (predictor.probability is None) == (probability is None)
    if probability is not None:
        np.testing.assert_array_equal(predictor.probability, probability)
    np.testing.assert_array_equal(predictor.mask, mask)


# --- life cycle


def test_the_package_offers_it():
    assert isegm.Predictor is Predictor


def test_what_is_known_before_and_after_a_click(predictor):
    assert predictor.clicks == ()
    assert predictor.probability is None
    assert predictor.mask.shape == (28, 37)
    assert predictor.mask.dtype == np.bool_
    assert not predictor.mask.any()
    probability = predictor.click(5, 9)
    assert probability.shape == (28, 37)
    assert probability.dtype == np.float32
    assert 0 <= probability.min() < probability.max() <= 1
    assert predictor.clicks == (Click(5.0, 9.0, True),)
    np.testing.assert_array_equal(predictor.probability, probability)
    np.testing.assert_array_equal(predictor.mask, probability > 0.5)
    predictor.click(20, 3, positive=False)
    assert predictor.clicks == (Click(5.0, 9.0, True), Click(20.0, 3.0, False))


def test_each_click_changes_the_prediction(predictor):
    """Guards the other tests: their equalities are not those of a constant."""
    probabilities = click_all(predictor, CLICKS)
    for before, after in itertools.pairwise(probabilities):
        assert np.abs(before - after).max() > 0.01


def test_a_network_that_is_being_trained_predicts_as_in_evaluation_mode(untrained, predictor):
    model = copy.deepcopy(untrained("hr18s")).train()
    training = Predictor(model, size=32)
    training.set_image(picture())
    np.testing.assert_array_equal(training.click(5, 9), predictor.click(5, 9))
    assert model.training


def test_reset_keeps_the_image_and_forgets_the_clicks(predictor):
    before = state_of(predictor)
    first = click_all(predictor, CLICKS[:3])
    predictor.reset()
    assert_same_state(predictor, before)
    for ours, theirs in zip(click_all(predictor, CLICKS[:3]), first, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def fresh_state(model):
    """``fresh_state(clicks, merging)``: the state of a new predictor after these clicks."""

    @functools.cache
    def state(clicks, merging):
        predictor = Predictor(model, size=32)
        predictor.set_image(picture(), np.eye(28, 37, dtype=np.bool_) if merging else None)
        click_all(predictor, clicks)
        return state_of(predictor)

    return state


@settings(max_examples=25, deadline=None)
@given(
    actions=st.lists(st.sampled_from(["undo", "undo", "reset", *CLICKS[:2], *CLICKS[1:3]]), max_size=9),
    merging=st.booleans(),
)
def test_any_history_of_clicks_undos_and_resets_leaves_what_its_clicks_alone_would(
    model, fresh_state, actions, merging
):
    predictor = Predictor(model, size=32)
    predictor.set_image(picture(), np.eye(28, 37, dtype=np.bool_) if merging else None)
    clicks = []
    for action in actions:
        if action == "reset":
            predictor.reset()
            clicks.clear()
        elif action != "undo":
            predictor.click(*action)
            clicks.append(action)
        elif clicks:
            predictor.undo()
            clicks.pop()
        else:
            with pytest.raises(RuntimeError):
                predictor.undo()
    assert_same_state(predictor, fresh_state(tuple(clicks), merging))


def test_a_new_image_forgets_all(predictor, model):
    click_all(predictor, CLICKS[:2])
    predictor.set_image(picture(30, 24, seed=1), np.ones((30, 24), np.bool_))
    predictor.set_image(picture(25, 33, seed=2))
    fresh = Predictor(model, size=32)
    fresh.set_image(picture(25, 33, seed=2))
    assert_same_state(predictor, state_of(fresh))
    predictor.click(*CLICKS[0])  # the same first click as on the last image
    fresh.click(*CLICKS[0])
    assert_same_state(predictor, state_of(fresh))


# --- how often things are computed


@pytest.fixture
def calls(monkeypatch):
    """How often each part has run."""
    count = {"first stage": 0, "head": 0, "normalise": 0}

    def counting(part, function):
        def counted(*args):
            count[part] += 1
            return function(*args)

        return counted

    encode, correct = (
        counting(*pair) for pair in (("first stage", InferenceModel.encode), ("head", InferenceModel.correct))
    )
    monkeypatch.setattr(InferenceModel, "encode", encode)
    monkeypatch.setattr(InferenceModel, "correct", correct)
    monkeypatch.setattr(EMCClick, "normalise", staticmethod(counting("normalise", EMCClick.normalise)))
    return count


@pytest.mark.parametrize("flip", [True, False])
def test_the_first_stage_runs_once_an_image_and_the_head_once_a_click(model, calls, flip):
    predictor = Predictor(model, size=32, flip=flip)
    predictor.set_image(picture())
    assert calls == {"first stage": 0, "head": 0, "normalise": 1}
    click_all(predictor, CLICKS)
    assert calls == {"first stage": 1, "head": 5, "normalise": 1}
    for _ in CLICKS:
        predictor.undo()
    click_all(predictor, CLICKS[:2])  # the same first click
    predictor.reset()
    click_all(predictor, CLICKS[:1])
    assert calls == {"first stage": 1, "head": 8, "normalise": 1}
    predictor.reset()
    predictor.click(*CLICKS[1])  # another one
    assert calls == {"first stage": 2, "head": 9, "normalise": 1}
    predictor.set_image(picture())  # even if it is the same
    predictor.click(*CLICKS[1])
    assert calls == {"first stage": 3, "head": 10, "normalise": 2}


def test_a_first_click_at_the_same_place_of_the_other_polarity_is_another_one(model, calls):
    predictor = Predictor(model, size=32)
    predictor.set_image(picture())
    predictor.click(5, 9, positive=True)
    predictor.undo()
    predictor.click(5, 9, positive=False)
    assert calls["first stage"] == 2


# --- what it hands out is the caller's


def test_what_is_given_in_and_handed_out_may_be_changed(model):
    image, previous = picture(), np.zeros((28, 37), np.bool_)
    previous[3:9, 4:12] = True
    untouched = Predictor(model, size=32)
    untouched.set_image(image.copy(), previous.copy())
    predictor = Predictor(model, size=32)
    predictor.set_image(image, previous)
    image[:] = 0
    previous[:] = True
    predictor.mask[:] = True
    for click in CLICKS[:3]:
        predictor.click(*click)[:] = 7
        predictor.probability[:] = 7
        predictor.mask[:] = ~predictor.mask
        untouched.click(*click)
        assert_same_state(predictor, state_of(untouched))


def test_arrays_of_any_memory_layout_and_read_only_ones_are_taken(model):
    image = picture()
    expected = Predictor(model, size=32)
    expected.set_image(image)
    probability = expected.click(5, 9)
    layouts = [np.asfortranarray(image), image[::-1].copy()[::-1], np.dstack([image, image])[..., :3]]
    frozen = image.copy()
    frozen.setflags(write=False)
    for given_image in (*layouts, frozen):
        predictor = Predictor(model, size=32)
        predictor.set_image(given_image)
        np.testing.assert_array_equal(predictor.click(5, 9), probability)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_grey_image_is_its_own_three_channels(model, frozen):
    grey = picture()[..., 1].copy()
    grey.setflags(write=not frozen)
    probabilities = []
    for image in (grey, np.dstack([grey] * 3)):
        predictor = Predictor(model, size=32)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            predictor.set_image(image)
        probabilities.append(predictor.click(5, 9))
    np.testing.assert_array_equal(*probabilities)


# --- options


@pytest.mark.parametrize("threshold", [0, 0.2, 0.49, 0.9])
def test_the_mask_is_where_the_probability_is_above_the_threshold(model, threshold):
    predictor = Predictor(model, size=32, threshold=threshold)
    predictor.set_image(picture())
    probability = predictor.click(5, 9)
    np.testing.assert_array_equal(predictor.mask, probability > np.float32(threshold))


def test_a_probability_of_exactly_the_threshold_is_no_object(model, monkeypatch):
    monkeypatch.setattr(
        InferenceModel, "correct", lambda self, points, encoded, previous: torch.zeros_like(previous)
    )
    predictor = Predictor(model, size=32)
    predictor.set_image(picture())
    assert (predictor.click(5, 9) == 0.5).all()
    assert not predictor.mask.any()


@pytest.fixture
def seen(model, monkeypatch):
    """Pictures, height and width, and the points, of every call of the correction head."""
    points_seen = []
    correct = InferenceModel.correct

    def recording(self, points, encoded, previous):
        size = [4 * side for side in previous.shape[2:]]
        points_seen.append(((len(previous), *size), points.tolist()))
        return correct(self, points, encoded, previous)

    monkeypatch.setattr(InferenceModel, "correct", recording)
    return points_seen


def test_clicks_are_scaled_unrounded_and_mirrored_by_hand(model, seen):
    predictor = Predictor(model, size=16)
    predictor.set_image(picture(10, 21))  # 16 x round(33.6) = 34, cut down to 32
    predictor.click(9, 20)
    predictor.click(2.5, 0, positive=False)
    shape, points = seen[-1]
    assert shape == (2, 16, 32)
    plain = [[9 * 1.6, 20 * 32 / 21, 0], [2.5 * 1.6, 0, 1]]
    mirrored = [[9 * 1.6, 31 - 20 * 32 / 21, 0], [2.5 * 1.6, 31, 1]]
    np.testing.assert_allclose(points, [plain, mirrored], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("image", "size", "network"),
    [
        ((10, 21), 16, (16, 32)),
        ((21, 10), 16, (32, 16)),
        ((28, 37), 32, (32, 40)),  # 42.3 is cut down to 40
        ((30, 30), 35, (32, 32)),
        ((64, 64), 32, (32, 32)),
        ((1, 1), 32, (32, 32)),
        ((4, 400), 16, (16, 1600)),
        ((400, 4), 4, (400, 4)),
        ((3, 5), 7, (4, 12)),  # 7 and 11.67 -> 12
    ],
)
def test_the_networks_input_has_the_shorter_side_cut_down_to_fours(model, seen, image, size, network):
    predictor = Predictor(model, size=size, flip=False)
    predictor.set_image(picture(*image))
    probability = predictor.click(image[0] - 1, image[1] - 1)
    assert seen[-1][0] == (1, *network)
    assert probability.shape == image
    assert np.isfinite(probability).all()
    assert predictor.click(0, 0, positive=False).shape == image


def test_only_so_many_clicks_of_each_polarity_reach_the_network(model, seen):
    predictor = Predictor(model, size=28, flip=False, clicks_limit=1)
    predictor.set_image(picture(28, 36))
    click_all(predictor, [(1, 2, False), (3, 4, True), (5, 6, True), (7, 8, False)])
    assert [points for _, points in seen] == [
        [[[-1, -1, -1], [1, 2, 0]]],
        [[[3, 4, 1], [1, 2, 0]]],
        [[[3, 4, 1], [1, 2, 0]]],
        [[[3, 4, 1], [1, 2, 0]]],
    ]
    assert len(predictor.clicks) == 4


def by_the_book(model, image, clicks, size, flip):
    """The protocol of prediction, written down once more without a state."""
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].double() / 255
    pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=True)
    ratios = size[0] / image.shape[0], size[1] / image.shape[1]
    logits = []
    for mirrored in (False, True)[: 1 + flip]:
        state = None
        for number in range(1, len(clicks) + 1):
            placed = [
                Click(row * ratios[0], col * ratios[1], positive) for row, col, positive in clicks[:number]
            ]
            if mirrored:
                placed = [Click(at.row, size[1] - 1 - at.col, at.positive) for at in placed]
            with torch.no_grad():
                output = model(pixels.flip(3) if mirrored else pixels, encode_clicks(placed)[None], state)
            state = output.state
        logits.append(output.corrected.flip(3) if mirrored else output.corrected)
    probability = (sum(logits) / len(logits)).sigmoid()
    return F.interpolate(probability, size=image.shape[:2], mode="bilinear", align_corners=True)[0, 0].numpy()


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("name", ["hr18s", "segb0"])
@pytest.mark.parametrize("first", [0, 1])
def test_prediction_follows_the_published_protocol(untrained, name, flip, first):
    model, image = untrained(name), picture()
    predictor = Predictor(model, size=32, flip=flip)
    predictor.set_image(image)
    clicks = CLICKS[first:4]
    for number, click in enumerate(clicks, start=1):
        probability = predictor.click(*click)
        expected = by_the_book(model, image, clicks[:number], (32, 40), flip)
        np.testing.assert_allclose(probability, expected, rtol=0, atol=1e-6)


def test_with_the_mirrored_view_a_mirrored_image_gives_the_mirrored_answer(model):
    image = picture(32, 40)
    predictor = Predictor(model, size=32)
    predictor.set_image(image)
    predictor.click(5, 9)
    expected = predictor.click(20, 3, positive=False)
    predictor.set_image(image[:, ::-1])
    predictor.click(5, 30)
    mirrored = predictor.click(20, 36, positive=False)
    np.testing.assert_allclose(mirrored[:, ::-1], expected, rtol=0, atol=1e-6)


# --- previous masks


def test_the_previous_mask_is_the_mask_until_a_click_and_after_a_reset(model):
    previous = np.zeros((28, 37), np.bool_)
    previous[3:9, 4:12] = True
    predictor = Predictor(model, size=32)
    predictor.set_image(picture(), previous)
    np.testing.assert_array_equal(predictor.mask, previous)
    assert predictor.probability is None
    predictor.click(5, 9)
    predictor.undo()
    np.testing.assert_array_equal(predictor.mask, previous)
    predictor.click(20, 3, positive=False)
    predictor.reset()
    np.testing.assert_array_equal(predictor.mask, previous)


def test_the_head_corrects_the_mask_that_is_seen_in_both_views(model, shown):
    """Its logits are +-5 at the size of the coarse ones, and 0 where the click may change it."""
    mask = np.zeros((32, 32), np.bool_)
    mask[:, 20:] = True  # deepest, and first so, at (5, 25)
    rows, columns = np.indices((32, 32))
    for row, col, positive, radius in ((5, 9, True, 18), (16, 22, False, 9)):  # three times its depth
        predictor = Predictor(model, size=32)
        predictor.set_image(picture(32, 32), mask)
        predictor.click(row, col, positive)
        distance = (rows - row) ** 2 + (columns - col) ** 2
        unknown = (mask != positive) & (distance <= radius**2)
        if not positive:  # no further than half-way to the middle
            unknown &= distance < (rows - 5) ** 2 + (columns - 25) ** 2
        places = np.linspace(0, 31, 8)  # of the image, corners aligned
        level = np.where(unknown, 0, np.where(mask, 5.0, -5.0))
        across = np.array([np.interp(places, np.arange(32), line) for line in level])
        expected = np.array([np.interp(places, np.arange(32), line) for line in across.T]).T
        assert shown[-1].shape == (2, 1, 8, 8)
        np.testing.assert_allclose(shown[-1][0, 0], expected, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(shown[-1][1], shown[-1][0].flip(2))


def test_with_a_previous_mask_the_first_stage_looks_at_its_middle(model, monkeypatch):
    """Wherever the first click is, and whatever it says, the object is known already."""
    encoded = []
    encode = InferenceModel.encode

    def spy(self, image, points):
        encoded.append(points.tolist())
        return encode(self, image, points)

    monkeypatch.setattr(InferenceModel, "encode", spy)
    mask = np.zeros((32, 32), np.bool_)
    mask[4:13, 10:19] = True
    mask[20:23, 20:23] = True  # a smaller part
    for click in ((30, 2, False), (8, 20, True)):
        predictor = Predictor(model, size=32, flip=False)
        predictor.set_image(picture(32, 32), mask)
        predictor.click(*click)
        predictor.click(*CLICKS[2])
    assert encoded == [[[[8, 14, 0], [-1, -1, -1]]]] * 2


def test_a_previous_mask_is_merged_click_after_click(model):
    previous = np.zeros((28, 37), np.bool_)
    previous[3:9, 4:12] = True
    merging = Predictor(model, size=32)
    merging.set_image(picture(), previous)
    mask = previous
    differs = False
    for row, col, positive in [*CLICKS, (14, 20, True), (25, 10, False)]:
        probability = merging.click(row, col, positive)
        regions, _ = ndimage.label(mask != (probability > 0.5), structure=np.ones((3, 3)))
        region = regions == regions[round(row), round(col)]
        mask = np.where(region & (regions > 0), probability > 0.5, mask)
        np.testing.assert_array_equal(merging.mask, mask)
        differs = differs or bool((mask != (probability > 0.5)).any())
    assert differs


def test_merging_by_hand(model, monkeypatch):
    """The network says: object in the left and the right quarter. One click takes one of them over."""
    logits = torch.full((1, 1, 4, 8), -9.0, dtype=torch.float64)
    logits[..., :2] = logits[..., 6:] = 9.0
    monkeypatch.setattr(InferenceModel, "correct", lambda self, points, encoded, previous: logits)
    previous = np.zeros((16, 32), np.bool_)
    previous[4:8, 14:16] = True
    predictor = Predictor(model, size=16, flip=False)
    predictor.set_image(picture(16, 32), previous)
    left, right = np.zeros((2, 16, 32), np.bool_)
    left[:, :7] = True  # 31 / 7 = 4.43 columns a logit: the sign changes in the middle of 4.43 and 8.86
    right[:, 25:] = True
    np.testing.assert_array_equal(predictor.click(0, 0) > 0.5, left | right)
    np.testing.assert_array_equal(predictor.mask, previous | left)
    predictor.click(15, 31)
    np.testing.assert_array_equal(predictor.mask, previous | left | right)
    predictor.click(0, 12, positive=False)  # neither the mask nor the proposal changes there
    np.testing.assert_array_equal(predictor.mask, previous | left | right)
    predictor.click(4, 14, positive=False)
    np.testing.assert_array_equal(predictor.mask, left | right)
    predictor.undo()
    np.testing.assert_array_equal(predictor.mask, previous | left | right)


def test_an_empty_previous_mask_merges_too(model):
    merging = Predictor(model, size=32)
    merging.set_image(picture(), np.zeros((28, 37), np.bool_))
    proposed = merging.click(5, 9) > 0.5
    regions, _ = ndimage.label(proposed, structure=np.ones((3, 3)))
    assert regions.max() > 1
    np.testing.assert_array_equal(merging.mask, (regions == regions[5, 9]) & (regions > 0))


# --- errors, after which all is as it was


@pytest.mark.parametrize(
    ("row", "col"),
    [(-0.001, 5), (27.001, 5), (5, -1), (5, 36.5), (float("nan"), 5), (5, float("nan")), (float("inf"), 5)],
)
def test_a_click_outside_the_image_is_refused(predictor, row, col):
    predictor.click(5, 9)
    state = state_of(predictor)
    with pytest.raises(ValueError, match="outside the image of 28x37 pixels"):
        predictor.click(row, col)
    assert_same_state(predictor, state)


def test_the_corners_are_inside(predictor):
    for row, col in ((0, 0), (0, 36), (27, 0), (27.0, 36.0)):
        predictor.click(row, col)
    assert len(predictor.clicks) == 4


def good_mask():
    return np.zeros((28, 37), np.bool_)


@pytest.mark.parametrize(
    ("image", "previous", "message"),
    [
        (picture().astype(np.float32), None, "must be a uint8 array, not float32; window CT volumes"),
        (picture().astype(np.int16), None, "must be a uint8 array, not int16"),
        (picture().tolist(), None, "must be a uint8 array, not list"),
        (None, None, "must be a uint8 array, not NoneType"),
        (np.zeros((28, 37, 4), np.uint8), None, r"must be \(H, W, 3\) or \(H, W\), not \(28, 37, 4\)"),
        (np.zeros((28, 37, 1), np.uint8), None, r"not \(28, 37, 1\)"),
        (np.zeros((2, 28, 37, 3), np.uint8), None, r"not \(2, 28, 37, 3\)"),
        (np.zeros(28, np.uint8), None, r"not \(28,\)"),
        (np.zeros((0, 37, 3), np.uint8), None, r"is empty: \(0, 37, 3\)"),
        (np.zeros((28, 0), np.uint8), None, r"is empty: \(28, 0\)"),
        (picture(), good_mask()[:-1], r"must be 28x37 bool, not \(27, 37\) bool"),
        (picture(), good_mask().T, r"must be 28x37 bool, not \(37, 28\) bool"),
        (picture(), good_mask()[..., None], r"must be 28x37 bool, not \(28, 37, 1\) bool"),
        (picture(), good_mask().astype(np.uint8), r"must be 28x37 bool, not \(28, 37\) uint8"),
        (picture(), [[True, False]], r"must be 28x37 bool, not \(1, 2\) bool"),
    ],
)
def test_an_image_or_previous_mask_of_the_wrong_kind_leaves_the_last_one_set(
    predictor, image, previous, message
):
    click_all(predictor, CLICKS[:2])
    state = state_of(predictor)
    with pytest.raises(ValueError, match=message):
        predictor.set_image(image, previous)
    assert_same_state(predictor, state)
    expected = predictor.click(*CLICKS[2])
    predictor.undo()
    np.testing.assert_array_equal(predictor.click(*CLICKS[2]), expected)


def test_without_an_image_it_says_so(model):
    predictor = Predictor(model)
    assert predictor.clicks == ()
    assert predictor.probability is None
    for use in (lambda: predictor.click(0, 0), lambda: predictor.mask):
        with pytest.raises(RuntimeError, match="no image is set: call set_image first"):
            use()
    with pytest.raises(RuntimeError, match="there is no click to undo"):
        predictor.undo()
    predictor.reset()


@pytest.mark.parametrize("shape", [(3, 600), (8000, 40), (1, 193)])
def test_a_picture_too_narrow_for_the_network_is_refused_and_the_last_one_stays(predictor, shape):
    predictor.click(*CLICKS[0])
    before = state_of(predictor)
    with pytest.raises(InputError, match=f"^too long and narrow: {shape[0]}x{shape[1]} pixels would become"):
        predictor.set_image(picture(*shape))
    assert_same_state(predictor, before)


def bytes_held(value, seen):
    """Bytes of all arrays and tensors that hang on a value, each memory counted once."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
    elif isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        key, size = value.ctypes.data, value.nbytes
    elif isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return sum(bytes_held(part, seen) for part in parts)
    else:
        return 0
    return 0 if key in seen or seen.add(key) else size


@pytest.mark.parametrize("previous_mask", [None, np.eye(512, dtype=np.bool_)], ids=["none", "mask"])
def test_a_click_that_can_be_undone_costs_its_logits_alone(model, previous_mask):
    predictor = Predictor(model, size=32)
    predictor.set_image(picture(512, 512), previous_mask)
    held = []
    for row, col, positive in CLICKS:
        predictor.click(row, col, positive)
        held.append(bytes_held({k: v for k, v in vars(predictor).items() if k != "network"}, set()))
    logits = 2 * 8 * 8 * 8  # both views, (8, 8), float64
    assert np.diff(held).tolist() == [logits] * (len(CLICKS) - 1)


@pytest.mark.parametrize("previous_mask", [None, picture(seed=5)[..., 0] > 128], ids=["none", "mask"])
def test_undone_and_done_again_everything_is_as_it_was_bit_for_bit(model, previous_mask):
    predictor = Predictor(model, size=32)
    predictor.set_image(picture(), previous_mask)
    states = [state_of(predictor)]
    for click in CLICKS:
        predictor.click(*click)
        states.append(state_of(predictor))
    for back in (1, 3, len(CLICKS)):
        for _ in range(back):
            predictor.undo()
        assert_same_state(predictor, states[-1 - back])
        for click, state in zip(CLICKS[len(CLICKS) - back :], states[len(states) - back :], strict=True):
            predictor.click(*click)
            assert_same_state(predictor, state)
    predictor.undo()
    predictor.undo()  # and without looking in between
    predictor.click(*CLICKS[-2])
    assert_same_state(predictor, states[-2])


def test_undo_without_a_click_is_refused(predictor):
    predictor.click(5, 9)
    predictor.undo()
    state = state_of(predictor)
    with pytest.raises(RuntimeError, match="there is no click to undo"):
        predictor.undo()
    assert_same_state(predictor, state)


@pytest.mark.parametrize("part", ["encode", "correct"])
def test_a_network_that_fails_leaves_the_clicks_as_they_were(predictor, monkeypatch, part):
    def fails(*_):
        raise torch.OutOfMemoryError("no memory")

    if part == "correct":
        predictor.click(*CLICKS[0])
    state = state_of(predictor)
    with monkeypatch.context() as patch:
        patch.setattr(InferenceModel, part, fails)
        with pytest.raises(torch.OutOfMemoryError):
            predictor.click(*CLICKS[1])
    assert_same_state(predictor, state)
    probability = predictor.click(*CLICKS[1])
    predictor.undo()
    np.testing.assert_array_equal(predictor.click(*CLICKS[1]), probability)


def test_an_image_that_cannot_be_prepared_leaves_the_last_one_set(predictor, monkeypatch):
    click_all(predictor, CLICKS[:2])
    expected = predictor.click(*CLICKS[2])
    predictor.undo()
    state = state_of(predictor)

    def fails(*_):
        raise torch.OutOfMemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(EMCClick, "normalise", fails)
        with pytest.raises(torch.OutOfMemoryError):
            predictor.set_image(picture(40, 50), np.ones((40, 50), np.bool_))
    assert_same_state(predictor, state)
    np.testing.assert_array_equal(predictor.click(*CLICKS[2]), expected)


def test_another_size_holds_from_the_next_image_on(predictor):
    first = predictor.click(*CLICKS[0])
    predictor.reset()
    predictor.size = 64
    np.testing.assert_array_equal(predictor.click(*CLICKS[0]), first)
    predictor.set_image(picture())
    assert np.abs(predictor.click(*CLICKS[0]) - first).max() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3}, "size must be at least 4 pixels, not 3"),
        ({"threshold": -0.1}, "threshold must be at least 0 and below 1, not -0.1"),
        ({"threshold": 1.0}, "threshold must be at least 0 and below 1, not 1.0"),
        ({"threshold": float("nan")}, "threshold must be at least 0 and below 1, not nan"),
        ({"clicks_limit": 0}, "clicks_limit must be at least 1, not 0"),
    ],
)
def test_options_out_of_range_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        Predictor(model, **options)


# --- devices and data types


def test_a_float32_network_gives_the_float64_networks_probabilities():
    # As torch previousises it: in other random networks rounding grows until it chooses other templates.
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build_model(PRESETS["hr18s"]).eval()
    single, double = (Predictor(network, size=64) for network in (model, copy.deepcopy(model).double()))
    for predictor in (single, double):
        predictor.set_image(picture())
    for ours, theirs in zip(click_all(single, CLICKS), click_all(double, CLICKS), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
        assert np.ptp(theirs) > 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", ["hr18s", "segb0"])
def test_on_a_gpu_the_probabilities_are_those_of_the_cpu(untrained, name):
    probabilities = []
    for device in ("cpu", "cuda"):
        predictor = Predictor(copy.deepcopy(untrained(name)).to(device), size=32)
        predictor.set_image(picture())
        probabilities.append(click_all(predictor, CLICKS))
    np.testing.assert_allclose(*probabilities, rtol=0, atol=1e-5)
