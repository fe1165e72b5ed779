"""Runs that can be worked out by hand, and what holds for all."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isegm.benchmark.hand_out import Costs, deal_out, hand_out_one_by_one, ideal_wall

FREE = Costs()


def outcome(run):
    return run.wall, run.busy.tolist(), run.taken.tolist()


def test_one_by_one_by_hand():
    # Rank 0 takes 3, rank 1 takes 1 and, being free first, 2; then both are free at 3, and rank 0 takes 2.
    run = hand_out_one_by_one(np.array([3.0, 1, 2, 2]), [1, 1], FREE)
    assert outcome(run) == (5, [5, 3], [2, 2])
    assert run.worst_idle == pytest.approx(0.4)


def test_dealt_out_by_hand():
    seconds = np.array([3.0, 1, 2, 2, 1])
    assert outcome(deal_out(seconds, [1, 1], FREE, in_blocks=True)) == (6, [6, 3], [3, 2])
    assert outcome(deal_out(seconds, [1, 1], FREE, in_blocks=False)) == (6, [6, 3], [3, 2])
    assert outcome(deal_out(seconds, [1, 1, 1], FREE, in_blocks=True)) == (4, [4, 4, 1], [2, 2, 1])
    assert outcome(deal_out(seconds, [1, 1, 1], FREE, in_blocks=False)) == (5, [5, 2, 2], [2, 2, 1])


def test_a_slow_rank_takes_fewer_where_they_are_handed_out():
    ones = np.ones(6)
    assert outcome(hand_out_one_by_one(ones, [0.5, 1], FREE)) == (4, [4, 4], [2, 4])
    assert outcome(deal_out(ones, [0.5, 1], FREE, in_blocks=True)) == (6, [6, 3], [3, 3])
    assert ideal_wall(ones, [0.5, 1]) == 4


def test_start_latency_and_a_store_that_serves_one_at_a_time():
    costs = Costs(start_up=10, service=1, latency=2)
    # The store serves rank 0 from 10 to 11 and rank 1 from 11 to 12; they begin at 13 and 14 and end at 18
    # and 19. Rank 0 asks at 18 and begins at 21.
    run = hand_out_one_by_one(np.array([5.0, 5, 5]), [1, 1], costs)
    assert outcome(run) == (26, [10, 5], [2, 1])
    assert run.worst_idle == pytest.approx(1 - 5 / 26)
    assert deal_out(np.array([5.0, 5, 5]), [1, 1], costs, in_blocks=True).wall == 20


def test_a_store_that_is_asked_too_much_decides_the_wall_time():
    run = hand_out_one_by_one(np.full(100, 0.001), [1.0] * 50, Costs(service=1))
    assert run.wall == pytest.approx(100.001)


def test_more_ranks_than_samples():
    assert outcome(hand_out_one_by_one(np.array([2.0, 1]), [1] * 4, FREE)) == (2, [2, 1, 0, 0], [1, 1, 0, 0])
    assert outcome(deal_out(np.array([2.0, 1]), [1] * 4, FREE, in_blocks=True))[0] == 2
    empty = hand_out_one_by_one(np.array([]), [1, 1], FREE)
    assert (empty.wall, empty.worst_idle) == (0, 0)


works = st.lists(st.floats(0, 100), min_size=1, max_size=60).map(np.array)
ranks_of = st.integers(1, 12)


@settings(deadline=None)
@given(works, ranks_of)
def test_handing_out_is_within_the_bound_of_list_scheduling(seconds, ranks):
    """No rank is idle while samples are left: the wall time is sum / m and (1 - 1/m) of a sample at most."""
    wall = hand_out_one_by_one(seconds, [1.0] * ranks, FREE).wall
    assert wall <= seconds.sum() / ranks + (1 - 1 / ranks) * seconds.max() + 1e-6
    assert wall >= max(seconds.sum() / ranks, seconds.max()) - 1e-6


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(1, 3))
def test_handing_out_is_within_2_minus_1_over_m_of_the_best_of_all_schedules(seconds, ranks):
    best = min(
        max(sum(s for s, own in zip(seconds, owner, strict=True) if own == rank) for rank in range(ranks))
        for owner in itertools.product(range(ranks), repeat=len(seconds))
    )
    wall = hand_out_one_by_one(np.array(seconds, float), [1.0] * ranks, FREE).wall
    assert best <= wall <= (2 - 1 / ranks) * best + 1e-9


@settings(deadline=None)
@given(
    works,
    st.lists(st.floats(0.1, 1), min_size=1, max_size=8),
    st.builds(Costs, start_up=st.floats(0, 5), service=st.floats(0, 1), latency=st.floats(0, 1)),
)
def test_all_work_is_done_once_whatever_it_costs(seconds, speeds, costs):
    runs = [hand_out_one_by_one(seconds, speeds, costs)]
    runs += [deal_out(seconds, speeds, costs, in_blocks=in_blocks) for in_blocks in (True, False)]
    for run in runs:
        assert run.taken.sum() == len(seconds)
        assert (run.busy * speeds).sum() == pytest.approx(seconds.sum())
        assert run.wall >= costs.start_up + run.busy.max() - 1e-6
        assert run.wall >= ideal_wall(seconds, speeds) - 1e-6
        assert 0 <= run.worst_idle <= 1
    assert runs[0].wall >= costs.start_up + len(seconds) * costs.service - 1e-6  # one store serves all
    assert runs[0].wall <= hand_out_one_by_one(seconds, [min(speeds)], costs).wall + 1e-6


@given(works, st.builds(Costs, start_up=st.floats(0, 5), service=st.floats(0, 1), latency=st.floats(0, 1)))
def test_one_rank_takes_the_sum(seconds, costs):
    dealt = costs.start_up + seconds.sum()
    for in_blocks in (True, False):
        assert deal_out(seconds, [1.0], costs, in_blocks=in_blocks).wall == pytest.approx(dealt)
    asked = dealt + len(seconds) * (costs.service + costs.latency)
    assert hand_out_one_by_one(seconds, [1.0], costs).wall == pytest.approx(asked)
