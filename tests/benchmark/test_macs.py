"""Counted multiply-accumulates against those worked out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isegm.benchmark.macs import count_macs, network_macs, reference_macs
from isegm.benchmark.ways import untrained_model
from isegm.inference.torch_network import InferenceModel
from isegm.model.layers import DepthwiseSeparableBlock


def test_a_depthwise_separable_block():
    # On each of 8 x 6 pixels: two depthwise 3x3 of 10 channels, then 10 channels to 7.
    block = DepthwiseSeparableBlock(10, 7).eval()
    macs = count_macs(lambda: block(torch.zeros(3, 10, 8, 6)))
    assert macs == 3 * 8 * 6 * (2 * 9 * 10 + 10 * 7)


def test_an_attention_by_torchs_own_function():
    # 2 pictures, 4 heads, 50 queries, 12 keys: similarities over 16 channels, then sums of 16 channels.
    query, key, value = torch.zeros(2, 4, 50, 16), torch.zeros(2, 4, 12, 16), torch.zeros(2, 4, 12, 16)
    macs = count_macs(lambda: F.scaled_dot_product_attention(query, key, value))
    assert macs == 2 * 4 * 50 * 12 * (16 + 16)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_multi_head_attention_counts_the_same_whether_it_stores_its_weights(need_weights):
    attention = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    pixels, chosen = torch.zeros(1, 50, 64), torch.zeros(1, 12, 64)
    macs = count_macs(lambda: attention(pixels, chosen, chosen, need_weights=need_weights))
    projections = (50 + 12 + 12 + 50) * 64 * 64
    assert macs == projections + 50 * 12 * 64 * 2


def test_products_of_matrices():
    a, b, c = torch.zeros(2, 5, 7), torch.zeros(2, 7, 3), torch.zeros(2, 5, 3)
    assert count_macs(lambda: a @ b) == 2 * 5 * 7 * 3
    assert count_macs(lambda: torch.baddbmm(c, a, b)) == 2 * 5 * 7 * 3
    assert count_macs(lambda: nn.Linear(7, 3)(a)) == 2 * 5 * 7 * 3
    assert count_macs(lambda: a[0] @ b[0]) == 5 * 7 * 3


def test_a_dense_convolution_and_one_in_channels_last():
    conv = nn.Conv2d(5, 6, 3, padding=1)
    image = torch.zeros(1, 5, 8, 9)
    assert count_macs(lambda: conv(image)) == 8 * 9 * 5 * 6 * 9
    last = image.to(memory_format=torch.channels_last)
    assert count_macs(lambda: conv(last)) == 8 * 9 * 5 * 6 * 9


def test_the_correction_head_of_hr18s_as_published():
    # 16 x 16 feature pixels; blocks X(in -> out) cost in * (9 + 9 + out) a pixel; M = K = 64, C = 96.
    def block(channels, width=64):
        return channels * (9 + 9 + width)

    blocks = block(96) + block(64) + block(128) + block(64)  # image, mask, fusion
    blocks += 96 * 64  # the cached features
    blocks += 2 * 64 * 64 + 2 * 64 * 64  # queries and keys; each polarity's correlation
    blocks += 2 * block(64) + block(128)  # on the correlation maps
    attention = 64 * 64 + 2 * 128 * 64 + 64 * 64  # queries, similarities and sums over 128 templates, out
    decoder = block(128) + 2 * block(64) + 9 * 64
    pixels = 16 * 16
    templates = 2 * 128 * 64 * 64  # their keys and values
    similarity = 2 * 64 * pixels  # of all pixels to one row for each polarity
    expected = pixels * (blocks + attention + decoder) + templates + similarity
    assert reference_macs(untrained_model("hr18s"), 64).correct == expected


def test_what_is_run_computes_less_a_click_and_a_little_more_an_image():
    model = untrained_model("hr18s")
    published, run = reference_macs(model, 64), network_macs(InferenceModel(model), 64)
    assert run.correct < published.correct
    assert published.encode < run.encode < published.encode + published.correct


def test_counting_leaves_nothing_behind():
    conv = nn.Conv2d(1, 1, 1)
    image = torch.zeros(1, 1, 2, 2)
    assert [count_macs(lambda: conv(image)) for _ in range(2)] == [4, 4]
