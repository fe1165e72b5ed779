import math

import numpy as np
import pytest

from isegm.compare.scores import Scores
from isegm.compare.summary import bootstrap_interval, summarise, summarise_scores
from isegm.metrics import bootstrap


def scores(name="a", dice=0.5, hd95=1.0, unit="mm", included=True):
    return Scores(name, dice, 0.4, 0.6, 0.7, hd95, 0.8, unit, 10, 12, 2.5, 3.0, 2, included)


def test_undefined_values_are_counted_and_not_averaged():
    result = summarise([0.2, math.nan, 0.4, 0.9, math.nan])
    assert result.mean == pytest.approx(0.5)
    assert result.median == 0.4
    assert result.std == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert (result.n, result.undefined) == (3, 2)


def test_one_value_has_no_spread():
    result = summarise([0.3])
    assert (result.mean, result.median, result.n) == (0.3, 0.3, 1)
    assert math.isnan(result.std)
    np.testing.assert_equal(result.ci95, (math.nan, math.nan))


@pytest.mark.parametrize(("values", "undefined"), [([], 0), ([math.nan] * 2, 2)])
def test_no_value_has_nothing(values, undefined):
    result = summarise(values)
    assert math.isnan(result.mean)
    assert math.isnan(result.median)
    assert (result.n, result.undefined) == (0, undefined)


def test_the_interval_is_the_same_every_time_and_holds_the_mean():
    values = np.random.default_rng(5).random(40)
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values)
    assert low < values.mean() < high


def test_the_interval_is_near_the_one_for_normal_values():
    values = np.random.default_rng(5).normal(10, 2, 400)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert bootstrap_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_the_interval_of_equal_values_is_a_point():
    assert bootstrap_interval(np.full(5, 0.25)) == (0.25, 0.25)


@pytest.mark.parametrize("at_once", [1, 1000, 77_777])
def test_the_interval_takes_all_resamples_whatever_fits_in_memory(at_once, monkeypatch):
    values = np.random.default_rng(5).random(20)
    whole = bootstrap_interval(values)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", at_once)
    assert bootstrap_interval(values) == pytest.approx(whole, rel=1e-12)


def test_units_are_never_mixed():
    result = summarise_scores([scores(hd95=2.0), scores(hd95=4.0), scores(hd95=100.0, unit="px")])
    assert list(result) == ["dice", "iou", "precision", "recall", "hd95_mm", "nsd_mm", "hd95_px", "nsd_px"]
    assert (result["hd95_mm"].mean, result["hd95_mm"].n) == (3, 2)
    assert (result["hd95_px"].mean, result["hd95_px"].n) == (100, 1)
    assert result["dice"].n == 3


def test_rows_left_out_enter_nothing():
    result = summarise_scores([scores(dice=0.5), scores(dice=0.1, unit="px", included=False)])
    assert (result["dice"].mean, result["dice"].n) == (0.5, 1)
    assert "hd95_px" not in result
