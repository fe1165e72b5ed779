"""How the networks behave, whatever their weights."""

import itertools

import pytest
import torch

from isegm.geometry import Click
from isegm.model.build import PRESETS, build_model
from isegm.model.click_maps import encode_clicks
from isegm.model.correction.head import CorrectionConfig, CorrectionHead
from isegm.model.emc_click import EMCClickState

NETWORKS = ["hr18s", "segb0"]
UNUSED = [-1.0, -1, -1]


def points_of(*clicks):
    return encode_clicks([Click(*click) for click in clicks])


CLICKS = points_of((8.2, 9.7, True), (20, 30, False), (26.5, 3, True), (4, 33, True), (30, 30, False))


def run(model, images, points):
    """All outputs of a first and a second call, by name."""
    if points.dim() == 2:
        points = points.expand(images.shape[0], -1, -1)
    with torch.no_grad():
        first = model(images, points)
        second = model(images, points, first.state)
    outputs = {
        "coarse": first.coarse,
        "corrected": first.corrected,
        "second": second.corrected,
        "features": first.state.features,
        "previous": first.state.previous,
    }
    if first.auxiliary is not None:
        outputs["auxiliary"] = first.auxiliary
    return outputs


def assert_same(ours, theirs, tolerance=1e-9):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(
            value,
            theirs[name],
            rtol=0,
            atol=tolerance,
            check_dtype=False,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.fixture(params=NETWORKS)
def model(request, untrained):
    return untrained(request.param)


def test_the_outputs_tell_these_inputs_apart(model, picture):
    """Guards the other tests: with these weights an output changes with the image and with every click."""
    images = picture(2, 32, 36)
    outputs = run(model, images, CLICKS)
    for value in outputs.values():
        assert (value[0] - value[1]).abs().max() > 1e-3
        assert value.std() > 1e-2
    without = [run(model, images, points_of((8.2, 9.7, True)))["corrected"]]
    without.append(run(model, images, points_of((8.2, 9.7, True), (20, 30, False)))["corrected"])
    for one, other in itertools.combinations([outputs["corrected"], outputs["second"], *without], 2):
        assert (one - other).abs().max() > 1e-3
    moved = run(model, images, points_of((8.2, 20, True)))
    assert (moved["coarse"] - outputs["coarse"]).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(32, 36), (4, 4), (64, 100), (4, 52), (36, 4)], ids=str)
def test_shapes_and_float32_against_float64(model, picture, size):
    height, width = size
    images = picture(2, height, width)
    points = points_of((0.6 * height, 0.3 * width, True), (0, width - 1, False), (height - 1, 0, True))
    exact = run(model, images, points)
    channels = PRESETS[model.name].first_stage.feature_channels
    assert exact["corrected"].shape == exact["coarse"].shape == exact["second"].shape == (2, 1, height, width)
    assert exact["previous"].shape == (2, 1, height // 4, width // 4)
    assert exact["features"].shape == (2, channels, height // 4, width // 4)
    assert all(value.isfinite().all() for value in exact.values())
    single = build_model(PRESETS[model.name]).eval()
    single.load_state_dict(model.state_dict())
    rounded = run(single, images.float(), points.float())
    assert all(value.dtype == torch.float32 for value in rounded.values())
    assert_same(rounded, exact, tolerance=1e-2)  # of logits that reach 20


@pytest.mark.parametrize("size", [(30, 36), (32, 35), (1, 4), (7, 7)], ids=str)
def test_sides_that_are_no_multiple_of_four_are_refused(model, picture, size):
    with pytest.raises(ValueError, match=f"multiples of 4, not {size[0]}x{size[1]}"):
        model(picture(1, *size), CLICKS[None])


def test_a_batch_of_two_is_each_alone(model, picture):
    images = picture(2, 32, 36)
    points = torch.stack(
        [CLICKS, points_of((1, 2, False), (3, 30, True), (30, 20, False), (15, 15, True), (20, 4, True))]
    )
    together = run(model, images, points)
    for index in range(2):
        alone = run(model, images[index : index + 1], points[index : index + 1])
        assert_same({name: value[index : index + 1] for name, value in together.items()}, alone)


def test_the_place_of_a_click_among_its_polaritys_rows_does_not_matter(model, picture):
    images = picture(1, 32, 36)
    expected = run(model, images, CLICKS)
    for order in ([1, 0, 2, 3, 4, 5], [2, 1, 0, 4, 3, 5], [0, 1, 2, 5, 4, 3]):
        assert_same(run(model, images, CLICKS[order]), expected)


def test_the_order_of_later_clicks_does_not_matter(model, picture):
    images = picture(1, 32, 36)
    reordered = CLICKS.clone()
    reordered[:, 2] = torch.where(reordered[:, 2] > 0, 5 - reordered[:, 2], reordered[:, 2])
    assert (reordered != CLICKS).any()
    assert_same(run(model, images, reordered), run(model, images, CLICKS))


def test_more_unused_rows_change_nothing_where_there_is_one(model, picture):
    images = picture(1, 32, 36)
    clicks = torch.tensor([[8, 9, 0], [26, 3, 2], UNUSED, [20, 30, 1], UNUSED, UNUSED]).double()
    more = torch.tensor([[8, 9, 0], [26, 3, 2], *[UNUSED] * 3, [20, 30, 1], *[UNUSED] * 4]).double()
    assert_same(run(model, images, more), run(model, images, clicks))


def test_the_first_stage_sees_the_first_click_only(model, picture):
    images = picture(1, 32, 36)
    one, many = run(model, images, points_of((8.2, 9.7, True))), run(model, images, CLICKS)
    for name in one.keys() & {"coarse", "features", "auxiliary"}:
        torch.testing.assert_close(one[name], many[name], rtol=0, atol=1e-12)


def test_after_a_negative_first_click_the_first_stage_sees_none(model, picture):
    images = picture(1, 32, 36)
    none = run(model, images, torch.tensor([UNUSED, UNUSED]).double())
    negative = run(model, images, points_of((20, 30, False), (8, 9, True)))
    for name in none.keys() & {"coarse", "features", "auxiliary"}:
        torch.testing.assert_close(negative[name], none[name], rtol=0, atol=1e-12)
    assert (negative["corrected"] - none["corrected"]).abs().max() > 1e-3


def test_a_fourth_channel_is_ignored(model, picture):
    images = picture(2, 32, 36, channels=4)
    assert_same(run(model, images, CLICKS), run(model, images[:, :3], CLICKS), tolerance=0)


def test_images_are_normalised_by_the_statistics_of_imagenet(model):
    image = torch.tensor([0.485, 0.456 + 0.224, 0.406 - 2 * 0.225, 17]).double().view(1, 4, 1, 1)
    normalised = model.normalise(image)
    torch.testing.assert_close(normalised.flatten(), torch.tensor([0.0, 1, -2]).double())


def test_the_state_is_the_last_mask_and_goes_on_without_gradient(untrained, picture):
    model, images, points = untrained("hr18s"), picture(1, 32, 36), CLICKS[None]
    first = model(images, points)
    assert first.corrected.requires_grad
    assert not first.state.previous.requires_grad
    assert first.state.features.requires_grad
    with torch.no_grad():
        second = model(images, points, first.state)
    assert second.auxiliary is None
    torch.testing.assert_close(second.coarse, first.corrected.detach(), rtol=0, atol=1e-12)
    assert second.state.features is first.state.features


@pytest.mark.parametrize("name", ["hr18s", "segb0"])
def test_the_coarse_mask_is_the_first_calls_previous_mask(name, untrained, picture):
    model, images, points = untrained(name), picture(1, 32, 36), CLICKS[None]
    with torch.no_grad():
        first = model.encode(model.normalise(images), points)
        given = model(images, points, EMCClickState(first.features, first.coarse))
        whole = model(images, points)
    torch.testing.assert_close(given.corrected, whole.corrected, rtol=0, atol=1e-12)
    torch.testing.assert_close(given.coarse, whole.coarse, rtol=0, atol=1e-12)


def test_the_sign_of_the_click_scale_does_not_matter(picture, untrained):
    model = build_model(PRESETS["hr18s"]).double().eval()
    model.load_state_dict(untrained("hr18s").state_dict())
    expected = run(model, picture(1, 32, 36), CLICKS)
    with torch.no_grad():
        model.maps_transform[3].scale.neg_()
    assert_same(run(model, picture(1, 32, 36), CLICKS), expected, tolerance=0)


def test_the_correlation_treats_both_polarities_by_one_block_positive_first():
    """Exchanging the polarities exchanges the two halves that reach the fusing block, and nothing else."""
    torch.manual_seed(0)
    head = CorrectionHead(CorrectionConfig(width=8, templates=6), 4).double().eval()
    features = torch.randn(1, 8, 3, 5).double()
    templates = torch.stack([torch.arange(6), torch.arange(8, 14)])[None]
    seen = []
    head.corr_fusion.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    head.correlate(features, templates)
    head.correlate(features, templates.flip(1))
    torch.testing.assert_close(seen[0], seen[1].roll(6, dims=1))
    queries, keys = head.feature_convq(features), head.feature_convk(features)
    by_hand = torch.stack([(queries[0, :, t // 5, t % 5, None, None] * keys[0]).sum(0) for t in range(6)])
    torch.testing.assert_close(seen[0][:, :6], head.corr_conv(by_hand[None]))


# --- training mode


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(32, 36), (64, 64)], ids=str)
def test_every_parameter_that_is_to_be_trained_gets_a_finite_gradient(name, size, picture):
    torch.manual_seed(0)
    model = build_model(PRESETS[name])
    other = points_of((3, 4, False), (9, 9, True), (30, 2, True), (1, 1, False), (5, 5, True))
    points = torch.stack([CLICKS, other]).float()
    output = model(picture(2, *size).float(), points)
    masks = [output.coarse, output.corrected]
    if output.auxiliary is not None:
        masks.append(output.auxiliary)
    loss = sum((mask.sigmoid() - 0.25).square().mean() for mask in masks)
    loss.backward()
    wanted = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    got = {key for key, parameter in model.named_parameters() if parameter.grad is not None}
    assert got == wanted
    broken = [key for key in got if not model.get_parameter(key).grad.isfinite().all()]
    assert broken == []
    # A bias in front of a BatchNorm, and that of a softmax's keys, change nothing; all weights do.
    idle = [key for key in got if key.endswith("weight") and not model.get_parameter(key).grad.any()]
    assert idle == []


def test_training_mode_is_random_and_evaluation_mode_is_not(picture, untrained):
    torch.manual_seed(0)
    model = build_model(PRESETS["segb0"]).double()
    images, points = picture(2, 64, 64), CLICKS.expand(2, -1, -1)
    with torch.no_grad():
        assert not torch.equal(model(images, points).coarse, model(images, points).coarse)
        model.eval()
        assert torch.equal(model(images, points).coarse, model(images, points).coarse)


def test_drop_path_rises_linearly_to_a_tenth():
    rates = [
        block.drop_path.rate
        for stage in range(1, 5)
        for block in getattr(build_model(PRESETS["segb0"]).feature_extractor.backbone, f"block{stage}")
    ]
    assert rates == pytest.approx([0.1 * index / 7 for index in range(8)])


def test_the_head_alone_runs_on_from_a_cached_state_in_training_mode(picture):
    """As training does: clicks simulated in evaluation mode, then one pass with the simulated mask."""
    torch.manual_seed(0)
    model = build_model(PRESETS["hr18s"])
    images, points = picture(2, 32, 36).float(), CLICKS.float().expand(2, -1, -1)
    with torch.no_grad():
        state = model.eval()(images, points).state
    model.train()
    image = model.normalise(images)
    first = model.encode(image, points)
    corrected = model.correct(image, points, EMCClickState(first.features, state.previous))
    (first.coarse.sum() + first.auxiliary.sum() + corrected.sum()).backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in model.parameters())
