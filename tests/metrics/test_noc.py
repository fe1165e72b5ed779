import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isegm.metrics.noc import NocSummary, failed, noc, summarise_noc

sequences = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("ious", "expected", "is_failure"),
    [
        ([0.95], 1, False),
        ([0.5, 0.9], 2, False),  # equal to the threshold is enough
        ([0.5, 0.91, 0.4], 2, False),  # what comes later does not matter
        ([0.1] * 19 + [0.9], 20, False),  # solved by the last click
        ([0.1] * 20, 20, True),
        ([0.1, 0.2], 20, True),  # ended early: stays where it was
        ([math.nan, 0.9], 2, False),
        ([math.nan], 20, True),
    ],
)
def test_noc_by_hand(ious, expected, is_failure):
    assert noc(ious, 0.9, 20) == expected
    assert failed(ious, 0.9) is is_failure


def test_the_summary_tells_failures_from_samples_solved_by_the_last_click():
    ious = [[0.9], [0.1, 0.2, 0.9], [0.1, 0.2, 0.3], [0.5, 0.95]]
    assert summarise_noc(ious, 0.9, 3) == NocSummary(
        threshold=0.9, max_clicks=3, samples=4, mean=9 / 4, at_limit=2, failures=1
    )


@pytest.mark.parametrize("ious", [[], [0.1] * 4])
def test_a_sequence_has_one_value_a_click(ious):
    with pytest.raises(ValueError, match="IoU values for 1 to 3 clicks"):
        noc(ious, 0.9, 3)


@pytest.mark.parametrize("threshold", [0, 1.01, 85, math.nan])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(ValueError, match="threshold"):
        noc([0.5], threshold, 20)
    with pytest.raises(ValueError, match="threshold"):
        failed([0.5], threshold)


def test_no_sample_has_no_mean():
    with pytest.raises(ValueError, match="no sample"):
        summarise_noc([], 0.9, 20)


@given(sequences, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_higher_threshold_never_takes_fewer_clicks(ious, one, other):
    assert noc(ious, min(one, other), 20) <= noc(ious, max(one, other), 20)


@given(sequences, st.floats(0.01, 1))
def test_stopping_at_the_target_changes_no_noc(ious, target):
    reached = noc(ious, target, 20)
    assert noc(ious[:reached], target, 20) == reached
    assert failed(ious[:reached], target) == failed(ious, target)


@given(st.lists(sequences, min_size=1, max_size=8), st.floats(0.01, 1))
def test_failures_are_among_those_at_the_limit(ious, threshold):
    summary = summarise_noc(ious, threshold, 20)
    assert 0 <= summary.failures <= summary.at_limit <= summary.samples
    assert 1 <= summary.mean <= 20
