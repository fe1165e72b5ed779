"""What the parts of the correction head are given, and in which order, derived by hand on a tiny head."""

import pytest
import torch
import torch.nn.functional as F

from isegm.model.click_maps import squared_distances
from isegm.model.correction.head import ATTENTION_HEADS, CorrectionConfig, CorrectionHead

WIDTH, TEMPLATES, CACHED = 8, 3, 5
HEIGHT, SIDE = 8, 12
POINTS = torch.tensor([[[1.0, 2, 0], [-1, -1, -1], [7, 9, 1], [-1, -1, -1]]]).double()


@pytest.fixture
def head():
    torch.manual_seed(0)
    return CorrectionHead(CorrectionConfig(width=WIDTH, templates=TEMPLATES), CACHED).double().eval()


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 3, HEIGHT, SIDE), (1, CACHED, 2, 3), (1, 1, 2, 3))
    return [torch.randn(shape, generator=generator).double() for shape in shapes]


def inputs_of(module, run):
    """What ``module`` is given while ``run`` runs."""
    seen = []
    handle = module.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        result = run()
    handle.remove()
    (only,) = seen
    return only, result


def test_the_image_the_disks_and_the_last_masks_probability_are_encoded(head, given):
    image, cached, previous = given
    seen, _ = inputs_of(head.image_conv1[0], lambda: head(image, POINTS, cached, previous))
    assert seen.shape == (1, 6, HEIGHT, SIDE)
    disks = (squared_distances(POINTS, HEIGHT, SIDE) <= 25).double()
    large = F.interpolate(previous, size=(HEIGHT, SIDE), mode="bilinear", align_corners=True)
    torch.testing.assert_close(seen, torch.cat([image, disks, large.sigmoid()], dim=1))


def test_the_cached_features_come_first(head, given):
    image, cached, previous = given
    seen, _ = inputs_of(head.fusion1, lambda: head(image, POINTS, cached, previous))
    assert seen.shape == (1, 2 * WIDTH, 2, 3)
    with torch.no_grad():
        torch.testing.assert_close(seen[:, :WIDTH], head.refine_fusion(cached))


def test_the_attended_features_come_before_the_correlated_ones(head):
    attended, correlated = torch.randn(2, 1, WIDTH, 2, 3).double()
    seen, _ = inputs_of(head.all_fusion, lambda: head.decode(attended, correlated))
    torch.testing.assert_close(seen, torch.cat([attended, correlated], dim=1))


def test_every_pixel_attends_to_the_templates_and_adds_the_answer(head):
    features = torch.randn(1, WIDTH, 2, 3).double()
    templates = torch.tensor([[[0, 4, 5], [2, 1, 0]]])
    attention = head.cross_attention
    pixels = features[0].flatten(1).T  # (6, M)
    chosen = pixels[[0, 4, 5, 2, 1, 0]]
    with torch.no_grad():
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        query, key, value = (
            F.linear(x, weight, bias)
            for x, weight, bias in zip((pixels, chosen, chosen), weights, biases, strict=True)
        )
        each = WIDTH // ATTENTION_HEADS
        answers = []
        for q, k, v in zip(query.split(each, 1), key.split(each, 1), value.split(each, 1), strict=True):
            answers.append((q @ k.T / each**0.5).softmax(1) @ v)
        expected = pixels + attention.out_proj(torch.cat(answers, dim=1))
        attended = head.attend(features, templates)
    torch.testing.assert_close(attended[0].flatten(1).T, expected)


def test_published_number_of_attention_heads():
    assert ATTENTION_HEADS == 4


def test_nothing_stands_between_the_blocks_first_norm_and_its_second_convolution(head):
    block = head.image_conv2
    x = torch.randn(1, WIDTH, 4, 5).double()
    with torch.no_grad():
        seen, out = inputs_of(block.conv3x3_2, lambda: block(x))
        torch.testing.assert_close(seen, block.norm1(block.conv3x3_1(x)))
        assert seen.min() < 0  # no ReLU before it
        torch.testing.assert_close(out, block.norm2(block.conv1x1(block.conv3x3_2(seen))).relu())
