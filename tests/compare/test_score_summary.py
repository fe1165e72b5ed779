import math

import numpy as np
import pytest

from isegm.compare.scores import Scores
from isegm.compare.summary import summarise, summarise_scores
from isegm.metrics.bootstrap import mean_interval


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


def test_the_interval_is_that_of_every_tool():
    values = np.random.default_rng(5).random(40)
    interval = mean_interval(values)
    assert summarise([*values, math.nan]).ci95 == (interval.low, interval.high)


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
