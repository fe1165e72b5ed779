"""On one row of 12 pixels whose first 8 are the object: a mask of the first k <= 8 has IoU k / 8."""

import math

import numpy as np
import pytest

from isegm.evaluation.click_loop import evaluate_sample, final_scores, simulator_for
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import FinalScores
from isegm.geometry import Click
from isegm.simulation.next_click import NextClick
from tests.evaluation.by_hand import ScriptedPredictor, row_of, sample_of

TRUTH = row_of(8)


def run(masks, sample=None, predictor=ScriptedPredictor, **settings):
    settings = {"n_clicks": 5, "target_iou": 0.75} | settings
    return evaluate_sample(predictor(masks), sample or sample_of(TRUTH), Protocol(**settings))


def test_clicking_stops_at_the_click_that_reaches_the_target():
    result, pictures = run([row_of(2), row_of(4), row_of(6), row_of(8)])
    assert result.name == "a"
    assert result.scores == (0.25, 0.5, 0.75)
    assert len(result.clicks) == len(result.seconds) == 3
    np.testing.assert_array_equal(pictures.mask, row_of(6))
    np.testing.assert_array_equal(pictures.probability, np.full((1, 12), 0.25, np.float32))


def test_each_click_is_in_the_middle_of_the_error_that_the_last_mask_left():
    # The picture is one pixel high, so every error is one wide and the first of its pixels is clicked; a
    # pixel is not clicked twice, and false positives win a tie.
    result, _ = run([row_of(2), row_of(10), row_of(8)])
    assert result.clicks == (Click(0, 0, True), Click(0, 2, True))
    assert result.scores == (0.25, 0.8)
    result, _ = run([row_of(2), row_of(10), row_of(8)], target_iou=1.0)
    assert result.clicks == (Click(0, 0, True), Click(0, 2, True), Click(0, 8, False))
    assert result.scores == (0.25, 0.8, 1.0)


def test_clicks_end_at_the_largest_number():
    result, _ = run([row_of(1)] * 9)
    assert result.scores == (0.125,) * 5
    assert [click.col for click in result.clicks] == [0, 1, 2, 3, 4]


def test_at_least_the_smallest_number_of_clicks_is_placed():
    masks = [row_of(7), row_of(6), row_of(5), row_of(8)]
    result, _ = run(masks, min_n_clicks=2)
    assert result.scores == (0.875, 0.75)
    result, _ = run(masks, min_n_clicks=3)
    assert result.scores == (0.875, 0.75, 0.625, 1.0)


def test_a_score_is_carried_on_where_no_click_is_left_to_place():
    result, _ = run([row_of(4), row_of(8), row_of(1)], target_iou=1.01)
    assert result.scores == (0.5, 1.0, 1.0, 1.0, 1.0)
    assert len(result.clicks) == len(result.seconds) == 2


def test_a_perfect_initial_mask_gets_no_click():
    sample = sample_of(TRUTH, initial=row_of(8))
    result, pictures = run([row_of(1)], sample)
    assert (result.scores, result.clicks, result.seconds) == ((1.0,), (), ())
    np.testing.assert_array_equal(pictures.mask, row_of(8))
    np.testing.assert_array_equal(pictures.probability, row_of(8).astype(np.float32))
    assert pictures.probability.dtype == np.float32
    result, _ = run([row_of(1)], sample, target_iou=1.01)
    assert (result.scores, result.clicks) == ((1.0,) * 5, ())


def test_a_poor_initial_mask_is_where_clicking_starts():
    result, _ = run([row_of(8)], sample_of(TRUTH, initial=row_of(10)))
    assert result.clicks == (Click(0, 8, False),)
    assert result.scores == (1.0,)


def test_a_good_initial_mask_is_clicked_on_all_the_same():
    result, _ = run([row_of(6)], sample_of(TRUTH, initial=row_of(7)))
    assert result.clicks == (Click(0, 7, True),)
    assert result.scores == (0.75,)


def test_ignored_pixels_count_neither_way():
    truth = TRUTH.copy()
    truth[0, 8:] = -1
    result, _ = run([row_of(12)], sample_of(truth))
    assert (result.scores, len(result.clicks)) == ((1.0,), 1)


def test_dice_takes_the_place_of_iou():
    # 2 * 4 / (4 + 8) = 2 / 3 and 2 * 5 / (5 + 8) = 10 / 13, the first at 0.75.
    masks = [row_of(4), row_of(5), row_of(8)]
    result, _ = run(masks, metric="dice")
    assert result.scores == (pytest.approx(2 / 3), pytest.approx(10 / 13))


def test_seconds_are_one_a_click_and_the_first_has_the_preparation(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("isegm.evaluation.click_loop.time.perf_counter", lambda: clock[0])

    class Slow(ScriptedPredictor):
        def set_image(self, image, previous_mask):
            clock[0] += 100
            super().set_image(image, previous_mask)

        def click(self, row, col, positive):
            clock[0] += 1 + len(self.placed)
            return super().click(row, col, positive)

    result, _ = run([row_of(1), row_of(2), row_of(8)], predictor=Slow)
    assert result.seconds == (101, 2, 3)


def test_the_final_mask_is_measured_and_only_it():
    # Of the two rows of boundary, 8 and 6 pixels of one row: pixels 6 and 7 of the truth are 1 and 2 away.
    result, _ = run([row_of(1), row_of(6)])
    assert result.final == FinalScores(
        dice=12 / 14, hd95=pytest.approx(np.percentile([0] * 6 + [1, 2], 95)), nsd=1.0
    )
    result, _ = run([row_of(1), row_of(1), row_of(1), row_of(1), row_of(5)], target_iou=1.0)
    assert result.final.nsd == 12 / 13  # pixel 7 is 3 away, beyond the tolerance of 2


def test_an_empty_final_mask_has_no_hd95():
    result, _ = run([row_of(0)] * 5)
    assert (result.final.dice, result.final.nsd) == (0.0, 0.0)
    assert math.isnan(result.final.hd95)


def test_ignored_pixels_are_left_out_of_both_masks_of_the_final_scores():
    truth = TRUTH.copy()
    truth[0, 6:11] = -1
    # Without pixels 6 to 10 both are the first 6; pixel 11 is a false positive, 6 from the others.
    assert final_scores(row_of(9).astype(bool), truth) == FinalScores(1.0, 0.0, 1.0)
    spilt = final_scores(row_of(12).astype(bool), truth)
    assert (spilt.dice, spilt.nsd) == (12 / 13, 12 / 13)
    assert spilt.hd95 == pytest.approx(np.percentile([0] * 6 + [6], 95))


def clicks_of(names, seed=0, **settings):
    """The clicks on samples of these names, evaluated in this order by one predictor: {name: clicks}."""
    predictor = ScriptedPredictor([row_of(k, 40) for k in (2, 5, 3, 6, 4)])
    protocol = Protocol(n_clicks=5, target_iou=1.01, **settings)
    samples = [sample_of(row_of(30, 40), name) for name in names]
    return {sample.name: evaluate_sample(predictor, sample, protocol, seed)[0].clicks for sample in samples}


def test_as_published_nothing_is_left_to_chance():
    assert isinstance(simulator_for(Protocol(), sample_of(TRUTH), 0), NextClick)
    assert clicks_of(["a"], seed=0) == clicks_of(["a"], seed=5)
    assert len(set(clicks_of(["a", "b"]).values())) == 1


@pytest.mark.parametrize("model", ["random", "jitter=3", "wrong=0.5", "random,jitter=3,wrong=0.5"])
def test_chance_depends_on_seed_and_name_and_not_on_what_was_evaluated_before(model):
    together = clicks_of("abcdefgh", seed=1, click_model=model)
    assert clicks_of("hgfedcba", seed=1, click_model=model) == together
    assert clicks_of("e", seed=1, click_model=model)["e"] == together["e"]
    assert len(set(together.values())) > 1
    assert clicks_of("abcdefgh", seed=2, click_model=model) != together


def test_results_of_less_precise_clicks_are_plain_numbers():
    """Files hold them as JSON, which knows no others."""
    clicks = clicks_of("a", click_model="random,jitter=3,wrong=0.5")["a"]
    assert {type(value) for click in clicks for value in (click.row, click.col, click.positive)} == {
        int,
        bool,
    }
