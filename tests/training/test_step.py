"""Simulated clicks and the pass that is differentiated, held against the scheme written out plainly."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isegm.geometry import Click
from isegm.inference.predictor import Predictor
from isegm.inference.propagation import anchors
from isegm.inference.volume_predictor import VolumePredictor
from isegm.model.backbones.first_stage import FirstStageOutput
from isegm.model.build import PRESETS, build_model
from isegm.model.emc_click import EMCClickState
from isegm.training.crops import TrainingSample
from isegm.training.given_masks import GivenMask
from isegm.training.losses import (
    LossWeights,
    corrected_loss,
    cross_entropy_loss,
    normalised_focal_loss,
    soft_iou_loss,
)
from isegm.training.step import (
    Batch,
    backward_after_each,
    graded_clicks,
    losses_after_last,
    mean_iou,
    place_next_clicks,
    simulate_clicks,
    stack_clicks,
)
from isegm.volumes.files import open_volume
from tests.training.small_run import freeze

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
PUBLISHED = LossWeights()


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def rngs(count=2, seed=0):
    return [np.random.default_rng([seed, i]) for i in range(count)]


def batch_of(dtype=torch.float64):
    """Two pictures of 48 x 64: a rectangle, and two of them beside ignored pixels."""
    label = torch.zeros(2, 1, 48, 64, dtype=torch.int8)
    label[0, 0, 10:40, 12:50] = 1
    label[1, 0, 4:20, 6:30] = 1
    label[1, 0, 30:44, 30:60] = 1
    label[1, 0, 20:24] = -1
    noise = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    image = (0.3 * noise + 0.5 * (label == 1)).to(dtype)
    return Batch(image, label, [Click(25, 30, True), Click(12, 18, True)])


class Fixed(nn.Module):
    """A network whose corrected masks are given, and which keeps what it was asked."""

    def __init__(self, corrected):
        super().__init__()
        self.sees_logits = True
        self.corrected = corrected
        self.asked = []
        self.encoded = 0

    def normalise(self, image):
        return image

    def encode(self, image, points):
        self.encoded += 1
        coarse = torch.zeros_like(self.corrected)
        return FirstStageOutput(torch.zeros_like(coarse), coarse, None)

    def correct(self, image, points, state):
        self.asked.append(points)
        return self.corrected


def buffers_of(model):
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def test_a_batch_is_made_of_samples():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    label = np.array([[1, 0, -1, 0, 0, 0]] * 4, np.int8)
    batch = Batch.of([TrainingSample(image, label, (1, 0)), TrainingSample(255 - image, label, (3, 0))], CPU)
    assert batch.image.shape == (2, 3, 4, 6)
    assert batch.image[0, 2, 1, 3].item() == pytest.approx(image[1, 3, 2] / 255)
    assert batch.label.shape == (2, 1, 4, 6)
    assert torch.equal(batch.label[1, 0], torch.from_numpy(label))
    assert batch.first_clicks == [Click(1, 0, True), Click(3, 0, True)]


def test_without_extra_clicks_there_is_the_first_click_and_no_previous_mask(pool):
    clicks, previous = simulate_clicks(None, batch_of(), 0, rngs(), pool)
    assert clicks == [[Click(25, 30, True)], [Click(12, 18, True)]]
    assert previous is None


def test_the_first_stage_runs_once_and_the_head_once_a_click(pool):
    model = Fixed(torch.full((2, 1, 12, 16), -10.0))
    clicks, _ = simulate_clicks(model, batch_of(), 5, rngs(), pool)
    assert model.encoded == 1
    assert [points.shape[1] // 2 for points in model.asked] == [2, 3, 4, 5, 6]  # one row more than clicks
    assert [len(placed) for placed in clicks] == [6, 6]
    assert all(click.positive for placed in clicks for click in placed)


def test_clicks_lie_on_errors_of_the_mask_above_0_49(pool):
    batch = batch_of()
    just_object = np.log(0.495 / 0.505)  # a probability of 0.495
    clicks, _ = simulate_clicks(Fixed(torch.full((2, 1, 12, 16), just_object)), batch, 4, rngs(), pool)
    for label, placed in zip(batch.label[:, 0], clicks, strict=True):
        assert len(placed) == 5
        assert not any(click.positive for click in placed[1:])
        assert all(label[click.row, click.col] == 0 for click in placed[1:])


def test_a_share_of_the_clicks_lies_in_the_middle_of_the_largest_error(pool):
    label = torch.zeros(200, 1, 11, 30, dtype=torch.int8)
    label[..., 1:10, 2:11] = 1  # missed: deepest in its middle (5, 6), 5 pixels
    logits = torch.full((200, 1, 11, 30), -5.0)
    logits[..., 4:7, 20:23] = 5  # false: too thin for any click of the training's rule
    middles = {}
    for share in (0.0, 0.5, 1.0):
        clicks = [[] for _ in label]
        place_next_clicks(clicks, logits, label, rngs(len(label)), pool, deepest_share=share)
        placed = [click for clicked in clicks for click in clicked]
        middles[share] = sum(click == Click(5, 6, positive=True) for click in placed)
        assert share == 1.0 or len({(click.row, click.col) for click in placed}) > 10
    assert middles[1.0] == 200
    assert middles[0.0] < 30
    assert 80 < middles[0.5] < 140


def test_a_perfect_mask_gets_no_click_while_the_others_do(pool):
    batch = batch_of()
    batch.label[0] = 1
    logits = torch.full((2, 1, 12, 16), 10.0)
    logits[1] = -10
    clicks, previous = simulate_clicks(Fixed(logits), batch, 3, rngs(), pool)
    assert [len(placed) for placed in clicks] == [1, 4]
    assert torch.equal(previous, logits)


def test_at_most_24_points_of_a_polarity(pool):
    model = Fixed(torch.full((2, 1, 12, 16), -10.0))
    clicks, _ = simulate_clicks(model, batch_of(), 23, rngs(), pool)
    assert [len(placed) for placed in clicks] == [24, 24]
    assert stack_clicks(clicks, CPU).shape == (2, 48, 3)
    assert (stack_clicks(clicks, CPU)[:, :24, 2] == torch.arange(24)).all()
    assert max(points.shape[1] for points in model.asked) == 48


def test_the_network_is_in_evaluation_mode_and_its_statistics_stay(untrained, pool):
    model = copy.deepcopy(untrained()).train()
    before = buffers_of(model)
    clicks, previous = simulate_clicks(model, batch_of(), 2, rngs(), pool)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    again = copy.deepcopy(untrained()).eval()
    expected, its_previous = simulate_clicks(again, batch_of(), 2, rngs(), pool)
    assert clicks == expected
    assert torch.equal(previous, its_previous)
    assert not previous.requires_grad


def test_the_same_generators_give_the_same_clicks_and_others_others(untrained, pool):
    runs = [simulate_clicks(untrained(), batch_of(), 3, rngs(seed=seed), pool)[0] for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_each_picture_has_its_own_generator(untrained, pool):
    """What falls to a picture does not depend on what else is in the batch."""
    batch = batch_of()
    both, _ = simulate_clicks(untrained(), batch, 3, rngs(), pool)
    alone = Batch(batch.image[1:], batch.label[1:], batch.first_clicks[1:])
    assert simulate_clicks(untrained(), alone, 3, rngs()[1:], pool)[0] == both[1:]


def test_the_previous_mask_is_the_one_before_the_last_click(untrained, pool):
    model, batch = untrained(), batch_of()
    clicks, previous = simulate_clicks(model, batch, 3, rngs(), pool)
    assert [len(placed) for placed in clicks] == [4, 4]
    with torch.no_grad():
        image = model.normalise(batch.image)
        first = model.encode(image, stack_clicks(clicks, CPU))
        masks = [first.coarse]
        for count in (1, 2, 3):
            points = stack_clicks([placed[:count] for placed in clicks], CPU)
            masks.append(model.correct(image, points, EMCClickState(first.features, masks[-1])))
    torch.testing.assert_close(previous, masks[3])
    assert not torch.allclose(previous, masks[2])


def test_one_row_more_than_clicks_does_what_24_rows_do(untrained):
    model, batch = untrained(), batch_of()
    clicks = [
        [Click(25, 30, True), Click(5, 5, False), Click(30, 20, True)],
        [Click(12, 18, True)],
    ]
    few = stack_clicks(clicks, CPU)
    assert few.shape == (2, 6, 3)
    many = torch.full((2, 2, 24, 3), -1.0)
    many[:, :, :3] = few.view(2, 2, 3, 3)
    with torch.no_grad():
        image = model.normalise(batch.image)
        first = model.encode(image, few)
        state = EMCClickState(first.features, first.coarse)
        corrected = [model.correct(image, points, state) for points in (few, many.flatten(1, 2))]
    torch.testing.assert_close(*corrected, rtol=0, atol=1e-12)


def test_clicks_are_laid_out_by_polarity_with_their_order():
    points = stack_clicks(
        [[Click(1, 2, True), Click(3, 4, False), Click(5, 6, False)], [Click(7, 8, True)]], CPU
    )
    none = [-1, -1, -1]
    assert points.tolist() == [
        [[1, 2, 0], none, none, [3, 4, 1], [5, 6, 2], none],
        [[7, 8, 0], none, none, none, none, none],
    ]


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("name", ["hr18s", "segb0", "lite0"])
def test_the_gradient_reaches_every_trained_parameter(name, extra, pool):
    torch.manual_seed(0)
    model = build_model(PRESETS[name])
    batch = batch_of(torch.float32)
    clicks, previous = simulate_clicks(model, batch, extra, rngs(), pool)
    points = stack_clicks(clicks, CPU)
    losses = losses_after_last(model.train(), batch.image, batch.label, points, previous, PUBLISHED)
    losses["total"].backward()
    for key, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key
        assert parameter.grad is None or parameter.grad.isfinite().all(), key
    assert ("auxiliary" in losses) == (name != "segb0")
    assert not losses["iou"].requires_grad


def test_mean_iou_by_hand_without_ignored_pixels():
    label = torch.tensor([[[[1, 1, 0, 0, -1]]], [[[1, 0, 0, 0, -1]]]], dtype=torch.int8)
    logits = torch.tensor([[[[2.0, -1.0, 0.5, 0.0, 3.0]]], [[[-1.0, 2.0, -3.0, -1.0, 9.0]]]])
    # The first has one pixel of three in common, the second none of two.
    assert mean_iou(logits, label).item() == pytest.approx((1 / 3 + 0) / 2)
    assert mean_iou(label.float() * 5, label).item() == 1


@pytest.mark.parametrize("with_previous", [False, True])
def test_losses_and_gradients_are_those_of_the_scheme_written_out(untrained, with_previous):
    batch = batch_of()
    points = stack_clicks([[Click(25, 30, True), Click(5, 5, False)], [Click(12, 18, True)]], CPU).double()
    previous = torch.randn(2, 1, 12, 16, generator=torch.Generator().manual_seed(1)).double()
    ours, plain = copy.deepcopy(untrained()), copy.deepcopy(untrained())

    torch.manual_seed(5)  # dropout
    given = previous if with_previous else None
    losses = losses_after_last(ours.train(), batch.image, batch.label, points, given, PUBLISHED)
    losses["total"].backward()

    torch.manual_seed(5)
    plain.train()
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.float64).view(
        2, 3, 1, 1
    )
    image = (batch.image - mean) / deviation
    first = plain.encode(image, points)
    before = previous if with_previous else first.coarse.detach()
    corrected = plain.correct(image, points, EMCClickState(first.features, before))
    whole = [
        F.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=True)
        for logits in (first.coarse, first.auxiliary, corrected)
    ]
    label = batch.label.float()
    expected = (
        normalised_focal_loss(whole[0], label).mean()
        + 0.4 * cross_entropy_loss(whole[1], label).mean()
        + normalised_focal_loss(whole[2], label).mean()
    )
    expected.backward()
    assert losses["total"].item() == pytest.approx(expected.item(), rel=1e-5)
    for (key, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=key)


def test_the_pass_in_bfloat16_has_losses_in_float32_and_every_gradient(pool):
    torch.manual_seed(0)
    model = build_model(PRESETS["hr18s"])
    batch = batch_of(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        clicks, previous = simulate_clicks(model, batch, 1, rngs(), pool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        points = stack_clicks(clicks, CPU)
        losses = losses_after_last(model.train(), batch.image, batch.label, points, previous, PUBLISHED)
    losses["total"].backward()
    assert losses["total"].dtype == torch.float32
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


def test_a_loss_after_every_click_is_the_mean_of_those_after_the_last(untrained, pool):
    batch, losses = batch_of(), []
    for extra in range(3):
        clicks, previous = simulate_clicks(untrained(), batch, extra, rngs(), pool)
        # Without batch statistics and dropout, so that clicks are simulated on the masks that are trained.
        model, points = untrained().eval(), stack_clicks(clicks, CPU).double()
        losses.append(losses_after_last(model, batch.image, batch.label, points, previous, PUBLISHED))
    every = backward_after_each(untrained().eval(), batch, 2, {0, 1, 2}, rngs(), pool, PUBLISHED)
    assert set(every) == set(losses[0])
    for name in ("coarse", "auxiliary"):
        assert every[name].item() == pytest.approx(losses[0][name].item(), rel=1e-5)
    corrected = [loss["corrected"].item() for loss in losses]
    assert len(set(corrected)) == 3
    assert every["corrected"].item() == pytest.approx(np.mean(corrected), rel=1e-5)
    assert every["iou"].item() == pytest.approx(losses[2]["iou"].item())
    total = every["coarse"] + 0.4 * every["auxiliary"] + every["corrected"]
    assert every["total"].item() == pytest.approx(total.item())
    assert not any(figure.requires_grad for figure in every.values())


WEIGHTS = LossWeights(soft_iou=0.5, clicked=0.1, worse=0.7)


@pytest.mark.parametrize("graded", [{0, 1, 2, 3}, {0, 3}, {3}])
def test_gradients_taken_after_each_click_are_those_of_all_losses_together(untrained, pool, graded):
    """Written out in one graph: simulated where there is no loss, and the mean where there is one."""
    batch = batch_of()
    ours, plain = copy.deepcopy(untrained()).train(), copy.deepcopy(untrained()).train()
    torch.manual_seed(3)
    losses = backward_after_each(ours, batch, 3, graded, rngs(), pool, WEIGHTS, deepest_share=0.5, share=0.5)

    torch.manual_seed(3)
    image, label, generators = plain.normalise(batch.image), batch.label.float(), rngs()
    clicks = [[click] for click in batch.first_clicks]
    first = plain.encode(image, stack_clicks(clicks, CPU))
    state, corrected = EMCClickState(first.features, first.coarse.detach()), []
    mask = F.interpolate(state.previous.float(), (48, 64), mode="bilinear", align_corners=True)
    seen = []  # soft IoU losses of the masks before
    for count in range(4):
        seen.append(soft_iou_loss(mask, label))
        if count:
            place_next_clicks(clicks, mask, batch.label, generators, pool, deepest_share=0.5)
        points = stack_clicks(clicks, CPU)
        plain.refiner.train(count in graded)
        logits = plain.correct(image, points, state)
        whole = F.interpolate(logits.float(), (48, 64), mode="bilinear", align_corners=True)
        if count in graded:
            corrected.append(corrected_loss(whole, torch.stack(seen).amin(0), points, label, WEIGHTS))
        state, mask = EMCClickState(first.features, logits.detach()), whole.detach()
    coarse, auxiliary = (
        F.interpolate(logits.float(), (48, 64), mode="bilinear", align_corners=True)
        for logits in (first.coarse, first.auxiliary)
    )
    total = (
        normalised_focal_loss(coarse, label).mean()
        + 0.5 * soft_iou_loss(coarse, label).mean()
        + 0.4 * cross_entropy_loss(auxiliary, label).mean()
        + 0.25 * soft_iou_loss(auxiliary, label).mean()
        + torch.stack(corrected).mean()
    )
    (0.5 * total).backward()
    assert losses["total"].item() == pytest.approx(total.item(), rel=1e-5)
    for (key, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=key)
    assert ours.refiner.training


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_with_losses_after_each_click_the_first_stage_runs_once_and_all_is_trained(
    extra, precision, pool, monkeypatch
):
    torch.manual_seed(0)
    model, batch = build_model(PRESETS["lite0"]), batch_of(torch.float32)
    encode, runs = model.encode, []
    monkeypatch.setattr(model, "encode", lambda *inputs: runs.append(1) or encode(*inputs))

    def autocast():
        return torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16)

    backward_after_each(model, batch, extra, {extra}, rngs(), pool, WEIGHTS, autocast=autocast)
    assert len(runs) == 1
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all(), key


def test_which_clicks_are_graded():
    rng = np.random.default_rng(0)
    assert [graded_clicks(extra, "every", rng) for extra in (0, 3)] == [{0}, {0, 1, 2, 3}]
    assert [graded_clicks(extra, "some", rng) for extra in (0, 1, 2)] == [{0}, {0, 1}, {0, 1, 2}]
    some = [graded_clicks(9, "some", rng) for _ in range(200)]
    assert all(len(graded) == 3 and {0, 9} < graded for graded in some)
    assert frozenset.union(*some) == set(range(10))


def test_some_pictures_begin_with_a_faulty_mask_and_a_click_on_its_error(pool):
    batch = batch_of(torch.float32)
    assert batch.with_previous_masks(0.0, rngs(), pool) is batch
    seen = set()
    for seed in range(20):
        begun = batch.with_previous_masks(0.6, rngs(seed=seed), pool)
        again = batch.with_previous_masks(0.6, rngs(seed=seed), pool)
        assert begun.first_clicks == again.first_clicks
        for picture, given in enumerate(begun.given or (None, None)):
            click, truth = begun.first_clicks[picture], batch.label[picture, 0]
            if given is None:
                assert click == batch.first_clicks[picture]
                seen.add("none")
                continue
            np.testing.assert_array_equal(given.mask, again.given[picture].mask)
            assert given.mask[given.middle.row, given.middle.col]
            if click == batch.first_clicks[picture]:
                seen.add("its own click")
            else:
                assert given.mask[click.row, click.col] != click.positive
                assert truth[click.row, click.col].item() == click.positive
                seen.add(click.positive)
    assert seen == {"none", "its own click", True, False}


CLICKS = [Click(37, 45, True), Click(12, 37, False), Click(35, 33, True)]


def step_against_predictor(model, mask, pool, monkeypatch):
    """Click on the second picture of a batch in training, and by a predictor, each from a mask or None.

    The network is asked the same, click after click, and a given mask becomes the same.
    """
    batch = batch_of()
    image = (255 * batch.image[1:]).round()
    batch = batch._replace(image=torch.cat([batch.image[:1], image / 255]))
    given = None if mask is None else GivenMask(mask.copy(), anchors(mask, ())[0])
    batch = batch._replace(given=(None, given), first_clicks=[batch.first_clicks[0], CLICKS[0]])

    def place(placed, *_, **__):
        placed[0].append(batch.first_clicks[0])
        placed[1].append(CLICKS[len(placed[1])])

    encoded, corrected, changed = [], [], []
    encode, correct, change = model.encode, model.correct, GivenMask.change
    monkeypatch.setattr(model, "encode", lambda *inputs: encoded.append(inputs) or encode(*inputs))
    monkeypatch.setattr(model, "correct", lambda *inputs: corrected.append(inputs) or correct(*inputs))
    monkeypatch.setattr(
        GivenMask, "change", lambda self, *args: change(self, *args) or changed.append(self.mask)
    )
    monkeypatch.setattr("isegm.training.step.place_next_clicks", place)
    freeze(model)
    backward_after_each(model, batch, 2, {2}, rngs(), pool, PUBLISHED)
    if given is not None:
        np.testing.assert_array_equal(given.mask, mask)  # the batch's own is left as it was

    predictor = Predictor(model.eval(), size=48, flip=False)
    asked = Asked(predictor.network)
    predictor.network = asked
    predictor.set_image(image[0].permute(1, 2, 0).numpy().astype(np.uint8), mask)
    assert len(corrected) == 3
    assert len(changed) == (0 if given is None else 3)
    for count, click in enumerate(CLICKS):
        predictor.click(click.row, click.col, positive=click.positive)
        points, previous = asked.corrected[-1]
        _, its_points, state = corrected[count]
        n = its_points.shape[1] // 2
        its_own = its_points[1].view(2, n, 3)[:, : points.shape[1] // 2].reshape(points.shape)
        torch.testing.assert_close(its_own, points.to(its_own))
        torch.testing.assert_close(state.previous[1].float(), previous[0].float(), atol=1e-4, rtol=0)
        if given is not None:
            np.testing.assert_array_equal(changed[count], predictor.mask)
    torch.testing.assert_close(encoded[0][1][1, :1], asked.encoded[0][0, :1].to(encoded[0][1]))
    return [state.previous[1] for _, _, state in corrected]


@pytest.mark.parametrize("name", ["hr18s", "lite0"])
def test_a_given_mask_is_corrected_as_a_predictor_corrects_it(name, untrained, pool, monkeypatch):
    mask = np.zeros((48, 64), np.bool_)
    mask[3:22, 10:40] = True
    step_against_predictor(copy.deepcopy(untrained(name)), mask, pool, monkeypatch)


@pytest.mark.parametrize("name", ["hr18s", "lite0"])
def test_from_nothing_a_picture_is_clicked_on_as_by_a_predictor(name, untrained, pool, monkeypatch):
    _, *shown = step_against_predictor(copy.deepcopy(untrained(name)), None, pool, monkeypatch)
    for previous in shown:
        assert set(previous.unique().tolist()) <= {-5.0, 0.0, 5.0} or name == "hr18s"


@pytest.mark.filterwarnings("ignore:.*not like HU")
def test_the_slice_beside_is_carried_over_as_a_volume_predictor_does(
    untrained, pool, monkeypatch, save_nifti, tmp_path
):
    """Of a volume of two slices, with the first one's mask given, the network is asked the same."""
    truth, beside = np.zeros((2, 48, 64), np.bool_)
    truth[10:40, 12:50] = True
    beside[8:38, 12:46] = True
    hu = np.stack([np.where(mask, 60, -60) for mask in (beside, truth)], axis=2)
    hu[25, 20, 1] = 300  # a vessel that looks otherwise
    hu[25:27, 20:23, 1] = 300
    # As it lies in the file, in LAS: columns are x, rows, from below, y.
    lying = hu.transpose(1, 0, 2)[:, ::-1].astype(np.int16)
    path = save_nifti(tmp_path / "ct.nii.gz", lying, np.diag([-1.0, 1, 2, 1]))
    model = copy.deepcopy(untrained()).eval()
    predictor = VolumePredictor(model, open_volume(path), size=48)
    grey = predictor.picture(1)
    predictor.set_mask(0, beside)
    asked = Asked(predictor._network._network)
    predictor._network._network = asked
    predictor.propagate()
    ((its_points, its_previous),) = asked.corrected

    image = torch.from_numpy(np.stack([grey] * 3)[None] / 255)
    label = torch.from_numpy(truth.astype(np.int8))[None, None]
    batch = Batch(image, label, [Click(20, 30, True)], beside=(beside,))
    begun = next(
        begun
        for seed in range(20)
        if (begun := batch.with_previous_masks(1.0, rngs(1, seed), pool)).given[0].carried
        and (begun.given[0].mask == beside).all()
    )
    assert begun.first_clicks == [begun.given[0].middle]
    corrected, changed = [], []
    correct, change = model.correct, GivenMask.change
    monkeypatch.setattr(model, "correct", lambda *inputs: corrected.append(inputs) or correct(*inputs))
    monkeypatch.setattr(
        GivenMask, "change", lambda self, *args: change(self, *args) or changed.append(self.mask)
    )
    backward_after_each(model, begun, 1, {1}, rngs(1), pool, PUBLISHED)
    _, points, state = corrected[0]
    n = its_points.shape[1] // 2
    its_own = points[0].view(2, -1, 3)[:, :n].reshape(its_points[0].shape)
    torch.testing.assert_close(its_own, its_points[0].to(its_own))
    torch.testing.assert_close(state.previous.float(), its_previous.float(), atol=1e-4, rtol=0)
    assert len(state.previous.unique()) >= 3  # the object, the vessel that may not be it, and the rest
    np.testing.assert_array_equal(changed[0], predictor.slice_mask(1))
    # From then on it is corrected like any mask.
    assert begun.given[0].carried is not None  # the batch's own is left as it was
    _, points, state = corrected[1]
    middle = begun.given[0].middle
    assert points[0].view(2, -1, 3)[0, 0, :2].tolist() == [middle.row, middle.col]
    assert set(state.previous.unique().tolist()) != set(corrected[0][2].previous.unique().tolist())


@pytest.mark.parametrize("case", ["elsewhere", "of another grey"])
def test_what_is_not_the_same_object_is_not_carried_over(case, pool):
    batch = batch_of(torch.float32)
    batch = Batch(torch.full((1, 3, 48, 64), 0.5), batch.label[:1], batch.first_clicks[:1])
    beside = np.zeros((48, 64), np.bool_)
    if case == "elsewhere":
        beside[2:9, 2:9] = True
    else:
        beside[10:40, 34:50] = True  # the lesser part of the object, and unlike the rest
        batch.image[0, :, 10:40, 12:34] = 1.0
    batch = batch._replace(beside=(beside,))
    begun = [batch.with_previous_masks(1.0, rngs(1, seed), pool).given[0] for seed in range(20)]
    assert all(mask is None or mask.carried is None for mask in begun)


class Asked:
    """A network that keeps what it is asked."""

    def __init__(self, network):
        self.network, self.encoded, self.corrected = network, [], []

    def __getattr__(self, name):
        return getattr(self.network, name)

    def encode(self, image, points):
        self.encoded.append(points)
        return self.network.encode(image, points)

    def correct(self, points, encoded, previous):
        self.corrected.append((points, previous))
        return self.network.correct(points, encoded, previous)
