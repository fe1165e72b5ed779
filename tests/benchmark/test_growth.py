"""Which points the curves of growth have, with stand-ins for networks and clocks."""

import numpy as np
import pytest
import torch

from isegm.benchmark import growth
from isegm.benchmark.growth import by_clicks, by_size, by_threads, by_views
from isegm.benchmark.timing import Recording
from isegm.benchmark.ways import NetworkSettings
from isegm.inference.torch_network import Encoded

MODES = ["reference", "torch"]
SETTINGS = NetworkSettings(checkpoint="some.pth", size=64, threads=2)
IMAGES = [np.zeros((8, 8, 3), np.uint8)]


@pytest.fixture
def recorded(monkeypatch):
    """The settings that are loaded; a click takes so many seconds as its number, times the size."""
    loaded = []

    def load(mode, settings):
        loaded.append((mode, settings))
        return settings

    def record(segmenters, images, clicks, repeats):
        return {
            mode: Recording([[settings.size * number for number in range(clicks)]] * repeats)
            for mode, settings in segmenters.items()
        }

    monkeypatch.setattr(growth, "load_segmenter", load)
    monkeypatch.setattr(growth, "record", record)
    return loaded


def test_by_clicks_a_point_is_the_click_after_so_many(recorded):
    steps = []
    rows = by_clicks(MODES, SETTINGS, IMAGES, [1, 3], 2, lambda: steps.append(1))
    medians = [(row["mode"], row["clicks"], row["further_click_ms"]["median"]) for row in rows]
    assert medians == [
        ("reference", 1, 64_000), ("torch", 1, 64_000), ("reference", 3, 192_000), ("torch", 3, 192_000),
    ]  # fmt: skip
    assert len(steps) == 1


def test_by_size_each_point_is_measured_at_its_size(recorded):
    steps = []
    rows = by_size(["torch"], SETTINGS, IMAGES, [32, 48], 1, lambda: steps.append(1))
    assert [settings.size for _, settings in recorded] == [32, 48]
    assert [(row["size"], row["further_click_ms"]["median"]) for row in rows] == [(32, 96_000), (48, 144_000)]
    assert len(steps) == 2


def test_by_threads_each_point_is_measured_with_so_many(recorded):
    threads = torch.get_num_threads()
    rows = by_threads(MODES, SETTINGS, IMAGES, [1, 2], 1, lambda: None)
    torch.set_num_threads(threads)
    assert [(mode, settings.threads) for mode, settings in recorded] == [
        ("reference", 1), ("torch", 1), ("reference", 2), ("torch", 2),
    ]  # fmt: skip
    assert [(row["mode"], row["threads"]) for row in rows] == [(m, n) for n in (1, 2) for m in MODES]


@pytest.mark.parametrize(
    ("given", "exact"), [("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_by_views_times_are_of_one_picture_and_the_first_call_is_not_timed(given, exact, monkeypatch):
    now, calls = [0.0], []

    class Network:
        device, dtype = torch.device("cpu"), getattr(torch, given)

        def encode(self, image, points):
            assert image.shape[2:] == (64, 64)
            assert (image.dtype, points.dtype) == (self.dtype, getattr(torch, exact))
            calls.append(("encode", image.shape[0], points.shape[0]))
            now[0] += image.shape[0] * (100.0 if len(calls) == 1 else 2.0)
            return Encoded(image, image, image[:, :1])

        def correct(self, points, encoded, previous):
            calls.append(("correct", previous.shape[0], points.shape[0]))
            now[0] += points.shape[0] * 0.5

    monkeypatch.setattr(growth, "load_backend", lambda backend, settings: Network())
    monkeypatch.setattr(growth.time, "perf_counter", lambda: now[0])
    rows = by_views(["torch"], SETTINGS, [1, 4], 2, lambda: None)
    assert calls == 3 * [("encode", 1, 1), ("correct", 1, 1)] + 3 * [("encode", 4, 4), ("correct", 4, 4)]
    for row, views in zip(rows, (1, 4), strict=True):
        assert (row["mode"], row["views"]) == ("torch", views)
        assert (row["encode_ms"]["median"], row["correct_ms"]["median"]) == (2000, 500)
        assert (row["encode_ms"]["q3"], row["encode_ms"]["count"]) == (2000, 2)
