"""What the times say, and who is asked what, in which order."""

import numpy as np
import pytest

from isegm.benchmark import timing
from isegm.benchmark.timing import in_turns, median_ratio, milliseconds, random_clicks, ratio, record

IMAGES = [np.zeros((6, 8, 3), np.uint8), np.ones((4, 5, 3), np.uint8)]


class Clock:
    """A clock that only segmenters move."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Scripted:
    """Takes so many seconds to set an image and for a click, and gives the same probability everywhere."""

    def __init__(self, name, log, clock, set_image=0.0, click=0.0, probability=0.0):
        self.name, self.log, self.clock = name, log, clock
        self.costs = {"set_image": set_image, "click": click}
        self.value = probability

    def set_image(self, image, previous_mask=None):
        self.log.append((self.name, "set", image.shape))
        self.clock.now += self.costs["set_image"]
        self.shape = image.shape[:2]

    def click(self, row, col, positive=True):
        self.log.append((self.name, "click", (row, col, positive)))
        self.clock.now += self.costs["click"]
        return np.full(self.shape, self.value, np.float32)

    @property
    def mask(self):
        return np.full(self.shape, self.value > 0.5)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", clock)
    return clock


def test_the_first_click_includes_setting_the_image_and_further_ones_do_not(clock):
    log = []
    slow = Scripted("slow", log, clock, set_image=3.0, click=2.0, probability=0.25)
    fast = Scripted("fast", log, clock, set_image=0.5, click=1.0, probability=0.75)
    result = record({"slow": slow, "fast": fast}, IMAGES, clicks=3, repeats=2)
    assert result["slow"].seconds == [[5.0, 2.0, 2.0], [5.0, 2.0, 2.0]]
    assert result["fast"].seconds == [[1.5, 1.0, 1.0], [1.5, 1.0, 1.0]]
    assert result["fast"].first == [1.5, 1.5]
    assert result["fast"].further == [1.0] * 4


def test_all_are_compared_with_the_first(clock):
    log = []
    first = Scripted("first", log, clock, probability=0.25)
    other = Scripted("other", log, clock, probability=0.75)
    result = record({"first": first, "other": other}, IMAGES, clicks=2, repeats=1)
    assert result["first"].differences == [0.0, 0.0]
    assert result["first"].mask_ious == [1.0, 1.0]  # two empty masks
    assert result["other"].differences == [0.5, 0.5]
    assert result["other"].mask_ious == [0.0, 0.0]


def test_each_click_is_done_by_all_before_the_next_and_images_are_taken_in_turn(clock):
    log, done = [], []
    pair = {name: Scripted(name, log, clock) for name in "ab"}
    record(pair, IMAGES, clicks=2, repeats=3, progress=lambda: done.append(len(log)))
    warm_up, rest = log[:6], log[6:]
    assert [entry[:2] for entry in warm_up] == [
        ("a", "set"), ("a", "click"), ("a", "click"), ("b", "set"), ("b", "click"), ("b", "click"),
    ]  # fmt: skip
    assert [entry[2] for entry in rest if entry[:2] == ("b", "set")] == [(6, 8, 3), (4, 5, 3), (6, 8, 3)]
    once = [("a", "set"), ("a", "click"), ("b", "set"), ("b", "click"), ("a", "click"), ("b", "click")]
    assert [entry[:2] for entry in rest] == 3 * once
    clicks = [[entry[2] for entry in rest if entry[:2] == (name, "click")] for name in "ab"]
    assert clicks[0] == clicks[1]
    assert done == [12, 18, 24]


def test_clicks_are_the_same_every_time_inside_the_image_and_of_alternate_polarity():
    clicks = random_clicks((20, 3), 50)
    assert clicks == random_clicks((20, 3), 50)
    assert clicks[:7] == random_clicks((20, 3), 7)
    assert [click.positive for click in clicks] == [True, False] * 25
    assert {click.row for click in clicks} <= set(range(20))
    assert {click.col for click in clicks} == {0, 1, 2}
    assert len({(click.row, click.col) for click in clicks}) > 25


def test_times_are_medians_and_quartiles_in_milliseconds():
    assert milliseconds([0.004, 0.001, 0.002, 0.003, 0.1]) == pytest.approx(
        {"median": 3.0, "q1": 2.0, "q3": 4.0, "count": 5}
    )
    assert milliseconds([]) == {"median": None, "q1": None, "q3": None, "count": 0}


def test_a_ratio_is_the_references_median_over_the_others():
    assert ratio(milliseconds([0.3, 0.1, 0.2]), milliseconds([0.05])) == pytest.approx(4.0)
    assert ratio(milliseconds([]), milliseconds([0.05])) is None
    assert ratio(milliseconds([0.05]), milliseconds([])) is None


def test_works_are_done_in_turns_after_one_that_is_not_timed():
    done = []
    seconds = in_turns([lambda: done.append("a"), lambda: done.append("b")], 2)
    assert done == ["a", "b"] * 3
    assert [len(times) for times in seconds] == [2, 2]
    assert min(map(min, seconds)) > 0


def test_the_ratio_of_two_works_is_taken_turn_by_turn():
    assert median_ratio([2.0, 9.0, 8.0], [1.0, 3.0, 8.0]) == 2.0
