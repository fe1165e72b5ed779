import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isegm.metrics import bootstrap
from isegm.metrics.bootstrap import Interval, bootstrap_band, mean_interval, mean_intervals


def test_of_two_values_a_quarter_of_all_resamples_is_one_of_them_alone():
    # Means 0, 1/2 and 1 have shares 1/4, 1/2, 1/4: 2.5 % lie well within the first, 97.5 % within the last.
    assert mean_interval(np.array([0.0, 1.0])) == Interval(0.5, 0.0, 1.0)


def test_of_two_hundred_coin_tosses_the_interval_is_that_of_the_binomial():
    heads = np.repeat([0.0, 1.0], [150, 50])
    interval = mean_interval(heads)
    # 38 and 62 heads are the 2.5 % and 97.5 % points of 200 tosses with probability 1/4.
    assert interval.mean == 0.25
    assert (interval.low, interval.high) == pytest.approx((38 / 200, 62 / 200), abs=0.006)


def test_the_interval_covers_the_true_mean_nearly_as_often_as_it_says():
    generator = np.random.default_rng(3)
    trials = generator.exponential(2.0, (400, 60))
    bands = [bootstrap_band(trial[:, None], resamples=400) for trial in trials]
    covered = np.mean([low[0] <= 2.0 <= high[0] for low, high in bands])
    assert 0.90 <= covered <= 0.97  # a percentile interval of a skewed distribution covers a little less


def test_it_is_the_plain_bootstrap_of_the_same_draws():
    values = np.random.default_rng(5).random((30, 3))
    drawn = np.random.default_rng(0).integers(30, size=(10_000, 30))
    low, high = bootstrap_band(values)
    wanted = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975], axis=0)
    np.testing.assert_allclose([low, high], wanted, rtol=1e-12)


def test_samples_are_drawn_whole_so_that_columns_keep_together():
    column = np.random.default_rng(5).random(25)
    low, high = bootstrap_band(np.stack([column, column + 1, 2 * column], axis=1))
    np.testing.assert_allclose(low, [low[0], low[0] + 1, 2 * low[0]])
    np.testing.assert_allclose(high, [high[0], high[0] + 1, 2 * high[0]])
    # A difference of paired columns is as sure as their difference, not as the two apart.
    low, high = bootstrap_band((column + 1 - column)[:, None])
    np.testing.assert_allclose((low, high), 1)


@pytest.mark.parametrize("at_once", [1, 700, 12_345])
def test_all_resamples_are_taken_whatever_fits_in_memory(at_once, monkeypatch):
    values = np.random.default_rng(5).random((20, 2))
    whole = bootstrap_band(values)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", at_once)
    np.testing.assert_allclose(bootstrap_band(values), whole, rtol=1e-12)


def test_the_order_of_samples_changes_ends_as_another_seed_does_and_means_not_at_all():
    values = np.random.default_rng(5).normal(10, 2, 300)
    there, back = mean_interval(values), mean_interval(values[::-1])
    assert there.mean == pytest.approx(back.mean, rel=1e-12)
    assert (there.low, there.high) == pytest.approx((back.low, back.high), abs=0.03)
    low, high = bootstrap_band(values[:, None], seed=1)
    assert (there.low, there.high) == pytest.approx((low[0], high[0]), abs=0.03)


def test_of_normal_values_the_interval_is_near_the_textbook_s():
    values = np.random.default_rng(5).normal(10, 2, 400)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    interval = mean_interval(values)
    assert (interval.low, interval.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.02
    )


def test_several_measures_have_the_intervals_that_each_has_alone():
    generator = np.random.default_rng(5)
    whole, gaps, other = generator.random((3, 30))
    gaps[[2, 7]] = other[5] = math.nan
    measures = [whole, gaps, 2 * whole, other, gaps + 1, np.full(30, math.nan)]
    for found, measure in zip(mean_intervals(measures), measures, strict=True):
        alone = mean_interval(measure)
        np.testing.assert_allclose(
            (found.mean, found.low, found.high), (alone.mean, alone.low, alone.high), rtol=1e-12
        )
    assert mean_intervals([]) == []


def test_undefined_values_are_left_out():
    with_gaps = np.array([math.nan, 0.2, 0.4, math.nan, 0.9])
    assert mean_interval(with_gaps) == mean_interval(np.array([0.2, 0.4, 0.9]))


@pytest.mark.parametrize(("values", "mean"), [([], math.nan), ([math.nan], math.nan), ([0.5], 0.5)])
def test_too_few_samples_say_nothing_of_their_spread(values, mean):
    interval = mean_interval(np.array(values))
    np.testing.assert_equal((interval.mean, interval.low, interval.high), (mean, math.nan, math.nan))


@given(arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=st.floats(0, 1)))
def test_the_band_lies_within_what_was_measured(values):
    low, high = bootstrap_band(values, resamples=50)
    assert (values.min(axis=0) - 1e-12 <= low).all()
    assert (low <= high).all()
    assert (high <= values.max(axis=0) + 1e-12).all()
