import math
from functools import partial

import numpy as np
import pytest

from isegm.evaluation.record import FinalScores
from isegm.metrics.bootstrap import Interval, mean_interval
from isegm.report import measures
from isegm.report.stored_run import read_run
from tests.evaluation.by_hand import result_of
from tests.report.by_hand import write_run


@pytest.fixture
def group_of(tmp_path):
    def group_of(results, **settings):
        run = read_run(write_run(tmp_path, {("hr32", "liver"): results}, **settings))
        return run.groups[0]

    return group_of


SOLVED = [0.5, 0.82, 0.9]  # NoC@90 3
LATE = [0.1, 0.2, 0.3, 0.9]  # NoC@90 4, by the last click
NEVER = [0.1, 0.84, 0.6, 0.7]  # fails


def test_every_measure_of_an_evaluation_by_hand(group_of):
    final = FinalScores(0.5, 6.0, 0.25)
    ((line,),) = group_of([result_of(NEVER, final=final)]).samples
    assert [measures.noc_at(t, line) for t in (0.8, 0.9)] == [2, 4]
    assert [measures.failed_at(t, line) for t in (0.8, 0.9)] == [0, 1]
    assert [measures.at_limit_at(t, line) for t in (0.8, 0.9)] == [0, 1]
    assert [measures.iou_after(k, line) for k in (1, 2, 4)] == [0.1, 0.84, 0.7]
    assert measures.dice_after(3, line) == pytest.approx(1.2 / 1.6)
    assert measures.auc_iou(line) == pytest.approx((0.05 + 0.84 + 0.6 + 0.35) / 3)
    assert measures.final_dice(line) == 0.5
    assert (measures.final_hd95(line), measures.final_nsd(line), measures.clicks_placed(line)) == (6, 0.25, 4)


def test_with_one_seed_a_samples_value_is_its_own(group_of):
    group = group_of([result_of(row, name=str(i)) for i, row in enumerate([SOLVED, LATE, NEVER])])
    noc90 = partial(measures.noc_at, 0.9)
    np.testing.assert_array_equal(measures.by_sample(group, noc90), [3, 4, 4])
    assert measures.mean(group, noc90) == pytest.approx(11 / 3)
    assert math.isnan(measures.spread(group, noc90))


def test_with_seeds_samples_are_means_over_them_and_the_spread_is_that_of_the_data_sets_mean(group_of):
    first = [result_of(SOLVED, name="a"), result_of(SOLVED, name="b")]  # mean 3
    second = [result_of(LATE, name="a"), result_of([0.9], name="b")]  # 4 and 1, mean 2.5
    group = group_of([first, second])
    noc90 = partial(measures.noc_at, 0.9)
    np.testing.assert_array_equal(measures.by_sample(group, noc90), [3.5, 2.0])
    np.testing.assert_array_equal(measures.by_seed(group, noc90), [3.0, 2.5])
    assert measures.spread(group, noc90) == pytest.approx(0.5 / math.sqrt(2))
    # Two samples, not four: the bootstrap's ends are the samples themselves.
    assert mean_interval(measures.by_sample(group, noc90)) == Interval(2.75, 2.0, 3.5)
    curve = measures.curves(group, measures.scores_of)
    np.testing.assert_allclose(curve, [[0.3, 0.51, 0.6, 0.9], [0.7, 0.86, 0.9, 0.9]])
    mean, low, high = measures.mean_curve(curve)
    np.testing.assert_allclose(mean, [0.5, 0.685, 0.75, 0.9])
    np.testing.assert_allclose((low, high), np.sort(curve, axis=0))


def test_a_seed_in_which_a_sample_has_no_result_or_no_hd95_counts_for_nothing(group_of):
    gone = FinalScores(0.0, math.nan, 0.0)
    first = [result_of(SOLVED, name="a", final=gone), result_of(SOLVED, name="b", final=gone)]
    second = [result_of(SOLVED, name="a", final=FinalScores(0.5, 8.0, 0.5))]
    group = group_of([first, second])
    np.testing.assert_equal(measures.by_sample(group, measures.final_hd95), [8.0, math.nan])
    np.testing.assert_equal(measures.by_seed(group, measures.final_hd95), [math.nan, 8.0])
    assert math.isnan(measures.spread(group, measures.final_hd95))
    np.testing.assert_equal(measures.by_sample(group, measures.final_dice), [0.25, 0.0])


@pytest.mark.parametrize(
    ("target", "known", "shown"), [(1.01, [0.8, 0.85, 0.9], 0.9), (0.85, [0.8, 0.85], 0.85), (0.5, [], 0.5)]
)
def test_thresholds_are_those_that_clicking_went_up_to(tmp_path, target, known, shown):
    run = read_run(write_run(tmp_path, {}, target_iou=target, n_clicks=5))
    assert measures.known_thresholds(run) == known
    assert measures.main_threshold(run) == shown
    assert measures.dice_clicks(run) == [1, 3, 5]
