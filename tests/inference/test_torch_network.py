"""The network as it is run against the network as it is published, in float64."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from isegm.benchmark.clicked_pictures import masks_of
from isegm.geometry import Click
from isegm.inference.predictor import Predictor
from isegm.inference.torch_network import (
    InferenceModel,
    NarrowConv,
    TapsConv,
    draw_disks,
    fold_batch_norms,
    relative_distances,
)
from isegm.model.build import PRESETS
from isegm.model.click_maps import disks, encode_clicks, squared_distances
from isegm.model.correction.templates import relative_distance
from isegm.model.emc_click import EMCClickState

HEIGHT, WIDTH = 64, 48


class FrozenBatchNorm2d(nn.Module):
    """As torchvision and detectron2 have it: nothing of it is learned, and its class is no BatchNorm."""

    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(channels))

    def forward(self, x):
        parts = self.running_mean, self.running_var, self.weight, self.bias
        return F.batch_norm(x, *parts, training=False, eps=self.eps)


def points_of(*pictures):
    rows = [encode_clicks(clicks) for clicks in pictures]
    return torch.stack(rows)


SOME = [
    Click(20.3, 30.5, True),
    Click(1.0, 2.0, False),
    Click(50.5, 47.0, True),
    Click(63.0, 0.0, True),
]
OTHERS = [Click(10.0, 5.0, True), Click(31.0, 12.0, False), Click(30.0, 40.0, True), Click(0.0, 0.0, True)]


@pytest.mark.parametrize("name", PRESETS)
def test_a_network_that_is_run_gives_what_the_published_one_gives(name, untrained, picture):
    model = untrained(name)
    ready = InferenceModel(model)
    image = model.normalise(picture(2, HEIGHT, WIDTH))
    with torch.no_grad():
        points = points_of(SOME[:1], OTHERS[:1])
        first = model.encode(image, points)
        encoded = ready.encode(image, points)
        torch.testing.assert_close(encoded.coarse, first.coarse, rtol=1e-9, atol=1e-9)
        previous, ours = first.coarse, encoded.coarse
        for count in range(1, 5):
            points = points_of(SOME[:count], OTHERS[:count])
            previous = model.correct(image, points, EMCClickState(first.features, previous))
            ours = ready.correct(points, encoded, ours)
            torch.testing.assert_close(ours, previous, rtol=1e-7, atol=1e-7)


def test_the_network_that_is_made_ready_stays_as_it_was(untrained):
    model = copy.deepcopy(untrained("hr18s")).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ready = InferenceModel(model)
    assert model.training
    assert not ready.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.maps_transform.parameters())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("synchronised", [False, True])
def test_no_batch_norm_is_left(name, synchronised, untrained):
    model = copy.deepcopy(untrained(name))
    if synchronised:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    fold_batch_norms(model)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms == []


NORMS = {
    "1d behind a convolution": (nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), (2, 3, 9)),
    "1d behind a linear layer": (nn.Linear(3, 4), nn.BatchNorm1d(4), (5, 3)),
    "2d without weights": (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), (2, 3, 9, 8)),
    "2d behind a transposed convolution": (nn.ConvTranspose2d(3, 4, 3), nn.BatchNorm2d(4), (2, 3, 9, 8)),
    "3d": (nn.Conv3d(3, 4, 3, bias=False), nn.BatchNorm3d(4, eps=0.1), (2, 3, 5, 6, 7)),
    "synchronised": (nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4), (2, 3, 9, 8)),
    "frozen": (nn.Conv2d(3, 4, 3), FrozenBatchNorm2d(4), (2, 3, 9, 8)),
}


@pytest.mark.parametrize(("layer", "norm", "shape"), NORMS.values(), ids=NORMS)
def test_every_kind_of_batch_norm_is_folded(layer, norm, shape):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(copy.deepcopy(layer), copy.deepcopy(norm)).double().eval()
    for name, tensor in model[1].state_dict().items():
        if name != "num_batches_tracked":
            tensor.copy_(torch.rand(4, generator=generator) + 0.5)
    x = torch.randn(shape, generator=generator).double()
    with torch.no_grad():
        expected = model(x)
        fold_batch_norms(model)
        torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)
    assert isinstance(model[1], nn.Identity)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), "2: a BatchNorm behind ReLU cannot be folded"),
        ((nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)), "0: a BatchNorm behind Sequential cannot be folded"),
        ((nn.Conv2d(3, 5, 3), nn.BatchNorm2d(4)), "1: a BatchNorm behind Conv2d cannot be folded"),
        (
            (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
            "1: a BatchNorm without running statistics cannot be folded",
        ),
    ],
)
def test_a_batch_norm_that_cannot_be_folded_is_told(layers, message):
    with pytest.raises(ValueError, match=message):
        fold_batch_norms(nn.Sequential(*layers).eval())


def test_another_norm_in_the_heads_blocks_is_told(untrained):
    model = copy.deepcopy(untrained("hr18s"))
    model.refiner.image_conv2.norm1 = nn.GroupNorm(4, 64).double()
    with pytest.raises(ValueError, match="GroupNorm of a head's block is not folded"):
        InferenceModel(model)


def test_the_shipped_weights_with_synchronised_norms_give_identical_masks(shipped, clicked):
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(shipped))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in synchronised.refiner.modules())
    plain, ours = (Predictor(model, size=256) for model in (shipped, synchronised))
    for picture in clicked[:2]:
        for mask, expected in zip(masks_of(ours, picture), masks_of(plain, picture), strict=True):
            np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(ours.probability, plain.probability)


positions = st.floats(-3, 140, width=32)
clicks = st.lists(st.builds(Click, positions, positions, st.booleans()), max_size=9)


@settings(deadline=None)
@given(clicks, st.integers(1, 20), st.integers(1, 20))
def test_disks_that_are_drawn_are_those_that_are_measured(placed, rows, cols):
    points = encode_clicks(placed)[None]
    measured = disks(squared_distances(points, 4 * rows, 4 * cols))  # (1, 2, 4 * rows, 4 * cols)
    expected = F.pixel_unshuffle(measured, 4).permute(0, 2, 3, 1)  # (1, rows, cols, 32)
    torch.testing.assert_close(draw_disks(points, (rows, cols)), expected)


@pytest.mark.parametrize("out", [1, 4])
def test_a_convolution_by_taps_is_the_convolution(out):
    conv = nn.Conv2d(5, out, 3, padding=1).double()
    x = torch.randn(2, 5, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(TapsConv(conv)(x), conv(x))
    torch.testing.assert_close(NarrowConv(conv).double()(x), conv(x))


@settings(deadline=None)
@given(clicks, st.integers(1, 20), st.integers(1, 20))
def test_distances_of_the_pixels_between_are_those_of_the_whole_resized(placed, rows, cols):
    points = encode_clicks(placed)[None]
    whole = relative_distance(squared_distances(points, 4 * rows, 4 * cols), (rows, cols))
    torch.testing.assert_close(relative_distances(points, (rows, cols)), whole, rtol=1e-12, atol=1e-12)
