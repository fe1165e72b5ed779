"""How evaluations that take turns are counted and compared."""

import pytest

from isegm.benchmark import evaluation_speed
from isegm.benchmark.evaluation_speed import agreement, measure_in_turns
from isegm.datasets import Dataset
from isegm.datasets.dataset import Record
from isegm.datasets.picture import PictureFiles
from isegm.datasets.picture_pairs import read_bright
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import SampleResult
from isegm.geometry import Click
from tests.evaluation.by_hand import FINAL

PROTOCOL = Protocol(n_clicks=4)
A, B = Click(1.0, 2.0, True), Click(3.0, 4.0, False)


def result(clicks, scores):
    return SampleResult("name", tuple(clicks), tuple(scores), (0.1,) * len(clicks), FINAL)


def test_noc_its_difference_and_the_share_of_images_with_the_same_clicks():
    alike = result([A], [0.95])
    reference = [alike, alike, alike, result([A, B], [0.5, 0.86, 0.86, 0.86])]
    own = [alike, alike, result([B], [0.95]), result([A, A], [0.5, 0.95])]
    assert agreement(own, reference, 4) == {
        "noc85": 1.25,
        "noc85_difference": 0.0,
        "noc90": 1.25,
        "noc90_difference": 1.25 - 1.75,
        "same_clicks": 0.5,
    }


def test_ways_take_turns_and_all_see_all_samples_in_order(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(evaluation_speed.time, "perf_counter", lambda: now[0])
    dataset = Dataset(
        "set", [Record(name, PictureFiles(name, tmp_path, tmp_path, read_bright)) for name in "abcde"]
    )
    turns = []

    def way(name, seconds):
        def evaluate(part):
            turns.append((name, "".join(part.names)))
            now[0] += seconds * len(part)
            return [result([A], [0.9]) for _ in part.names]

        return evaluate

    found = measure_in_turns(
        dataset, {"reference": way("reference", 2.0), "torch": way("torch", 0.5)}, PROTOCOL, 2
    )
    assert turns == [
        ("reference", "a"), ("torch", "a"),  # not timed
        ("reference", "ab"), ("torch", "ab"),
        ("reference", "cd"), ("torch", "cd"),
        ("reference", "e"), ("torch", "e"),
    ]  # fmt: skip
    assert (found["dataset"], found["images"]) == ("set", 5)
    reference, torch = found["modes"]
    assert (reference["mode"], reference["seconds"], reference["images_per_second"]) == ("reference", 10, 0.5)
    assert (torch["seconds"], torch["images_per_second"]) == (2.5, 2.0)
    assert (reference["ratio"], torch["ratio"]) == (1.0, 4.0)
    assert torch["same_clicks"] == pytest.approx(1.0)
