import dataclasses
import hashlib
import math

import pytest

from isegm.evaluation.figures import (
    Figures,
    FinalMean,
    carry_on,
    clicks_sha256,
    figures_of,
    format_mean_scores,
    format_spreads,
    format_table,
    mean_curves,
)
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import FinalScores, SampleFailure
from isegm.metrics.noc import NocSummary
from tests.evaluation.by_hand import result_of


def figures(results, seconds=7.0, **settings):
    protocol = Protocol(**({"n_clicks": 4} | settings))
    return figures_of("hr32", "hr18s", "liver", dict(enumerate(results)), protocol, seconds)


SOLVED = result_of([0.5, 0.82, 0.9], seconds=0.5)  # NoC 2, 3, 3
AT_THE_LAST_CLICK = result_of([0.1, 0.2, 0.3, 0.9], seconds=1.0)  # NoC 4, 4, 4
NEVER = result_of([0.1, 0.84, 0.6, 0.7], seconds=0.25)  # NoC 2, 4, 4
# Mean Dice, 2 IoU / (1 + IoU), after each click.
DICE = [
    sum(2 * iou / (1 + iou) for iou in column) / 3
    for column in ((0.5, 0.1, 0.1), (0.82, 0.2, 0.84), (0.9, 0.3, 0.6), (0.9, 0.9, 0.7))
]
BROKEN = SampleFailure("b", "b.png: not a readable picture; is it complete?")


def test_figures_are_those_of_the_samples_that_have_a_result():
    found = figures([SOLVED, BROKEN, AT_THE_LAST_CLICK, NEVER])
    assert found == Figures(
        model="hr32",
        preset="hr18s",
        dataset="liver",
        samples=3,
        noc=(
            NocSummary(0.80, 4, 3, pytest.approx(8 / 3), 1, 0),
            NocSummary(0.85, 4, 3, pytest.approx(11 / 3), 2, 1),
            NocSummary(0.90, 4, 3, pytest.approx(11 / 3), 2, 1),
        ),
        mean_scores=(pytest.approx(0.7 / 3), pytest.approx(1.86 / 3), 0.6, pytest.approx(2.5 / 3)),
        auc_iou=pytest.approx((0.7 / 6 + 1.86 / 3 + 0.6 + 2.5 / 6) / 3),
        auc_dice=pytest.approx((DICE[0] / 2 + DICE[1] + DICE[2] + DICE[3] / 2) / 3),
        dice_at={1: pytest.approx(DICE[0]), 3: pytest.approx(DICE[2])},
        final={"dice": FinalMean(0.75, 0), "hd95": FinalMean(3.0, 0), "nsd": FinalMean(0.5, 0)},
        seconds_a_click=pytest.approx((1.5 + 4 + 1) / 11),
        seconds=7.0,
        problems=("b.png: not a readable picture; is it complete?",),
        clicks_sha256=clicks_sha256([SOLVED, AT_THE_LAST_CLICK, NEVER]),
    )


def test_the_hash_of_the_clicks_is_that_of_names_and_clicks_alone():
    two = result_of([0.5, 0.9], name="a", clicks=2)
    line = b'[["a", [[0.0, 0.0, true], [1.0, 2.0, false]]]]'
    assert clicks_sha256([two]) == hashlib.sha256(line).hexdigest()
    assert clicks_sha256([result_of([0.1, 0.2], name="a", seconds=9.0)]) == clicks_sha256([two])
    moved = dataclasses.replace(two, clicks=(two.clicks[0], dataclasses.replace(two.clicks[1], col=3.0)))
    renamed = dataclasses.replace(two, name="b")
    others = [[moved], [renamed], [two, renamed], [renamed, two], []]
    assert len({clicks_sha256(results) for results in [[two], *others]}) == 6


@pytest.mark.parametrize(
    ("target", "known"),
    [
        (0.79, []),
        (0.8, [0.8]),
        (0.85, [0.8, 0.85]),
        (0.9, [0.8, 0.85, 0.9]),
        (1.01, [0.8, 0.85, 0.9]),
    ],
)
def test_nothing_is_said_of_thresholds_that_clicking_did_not_go_up_to(target, known):
    assert [summary.threshold for summary in figures([SOLVED], target_iou=target).noc] == known


def test_samples_are_counted_even_where_no_threshold_is_known():
    found = figures([SOLVED, NEVER, BROKEN], target_iou=0.5)
    assert (found.samples, found.noc) == (2, ())


def test_without_any_result_there_are_no_figures_but_problems():
    found = figures([BROKEN, BROKEN])
    assert (found.samples, found.noc, found.mean_scores, found.seconds_a_click) == (0, (), (), 0.0)
    assert math.isnan(found.auc_iou)
    assert math.isnan(found.auc_dice)
    assert found.dice_at == {}
    assert all(math.isnan(measure.mean) and measure.undefined == 0 for measure in found.final.values())
    assert found.problems == (BROKEN.problem,) * 2


def test_undefined_final_scores_are_counted_and_not_averaged():
    missed = result_of([0.0] * 4, final=FinalScores(0.0, math.nan, 0.0))
    found = figures([SOLVED, missed, NEVER])
    assert found.final["hd95"] == FinalMean(3.0, 1)
    assert found.final["dice"] == FinalMean(0.5, 0)
    assert math.isnan(figures([missed]).final["hd95"].mean)


def test_scores_that_are_dice_give_the_same_iou_and_dice():
    ious = [[0.5, 0.82, 0.9], [0.1, 0.2, 0.3]]
    dices = [[2 * iou / (1 + iou) for iou in row] for row in ious]
    for by_iou, by_dice in zip(mean_curves(ious, "iou"), mean_curves(dices, "dice"), strict=True):
        assert by_iou == pytest.approx(by_dice)
    found = figures([result_of(row) for row in dices], metric="dice", n_clicks=3)
    assert found.auc_dice == pytest.approx(sum(d[0] / 2 + d[1] + d[2] / 2 for d in dices) / 4)
    assert found.auc_iou == pytest.approx(((0.6 + 1.2) / 2 + 1.02) / 4)
    assert list(found.dice_at) == [1, 3]


def test_samples_without_a_click_take_no_time_a_click():
    assert figures([result_of([1.0], clicks=0)]).seconds_a_click == 0.0
    assert figures([result_of([1.0], clicks=0), SOLVED]).seconds_a_click == 0.5


@pytest.mark.parametrize(
    ("scores", "carried"),
    [([0.5], [0.5, 0.5, 0.5]), ([0.9, 0.2], [0.9, 0.2, 0.2]), ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])],
)
def test_the_last_score_is_carried_on_not_the_best(scores, carried):
    assert carry_on(scores, 3) == carried


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_the_originals_columns_and_the_failures():
    rows = [
        figures([SOLVED, AT_THE_LAST_CLICK, NEVER], seconds=3725.4),
        figures([SOLVED, BROKEN], seconds=59.6),
    ]
    rule, header, rule_below, *lines, last = format_table(rows, Protocol(n_clicks=4)).splitlines()
    assert rule == rule_below == last == "-" * len(header)
    assert cells(header) == [
        "Model", "Dataset", "Samples", "NoC@80%", "NoC@85%", "NoC@90%",
        ">=4@85%", ">=4@90%", "fail@85%", "fail@90%", "SPC,s", "Time",
    ]  # fmt: skip
    assert [cells(line) for line in lines] == [
        ["hr32", "liver", "3", "2.67", "3.67", "3.67", "2", "2", "1", "1", "0.591", "1:02:05"],
        ["hr32", "liver", "1", "2.00", "3.00", "3.00", "0", "0", "0", "0", "0.500", "0:01:00"],
    ]
    assert len({len(line) for line in (header, *lines)}) == 1


def test_the_table_shows_what_is_not_known_as_a_question_mark():
    *_, line, _ = format_table([figures([SOLVED], target_iou=0.85)], Protocol(n_clicks=4)).splitlines()
    assert cells(line)[2:10] == ["1", "2.00", "3.00", "?", "0", "?", "0", "?"]
    *_, line, _ = format_table([figures([BROKEN])], Protocol(n_clicks=4)).splitlines()
    assert cells(line)[2:] == ["0", "?", "?", "?", "?", "?", "?", "?", "0.000", "0:00:07"]


def test_the_table_says_so_when_dice_took_the_place_of_iou():
    header = format_table([figures([SOLVED])], Protocol(n_clicks=4, metric="dice")).splitlines()[1]
    assert cells(header)[3:6] == ["NoC@80% of Dice", "NoC@85% of Dice", "NoC@90% of Dice"]


def test_mean_scores_are_shown_after_some_of_the_clicks():
    scores = [round(0.04 * click, 2) for click in range(1, 21)]
    found = figures([result_of(scores)], n_clicks=20)
    assert format_mean_scores(found, Protocol()) == (
        "hr32 on liver: mIoU@1=4.00%; mIoU@2=8.00%; mIoU@3=12.00%; "
        "mIoU@5=20.00%; mIoU@10=40.00%; mIoU@20=80.00%"
    )
    found = figures([SOLVED])
    line = format_mean_scores(found, Protocol(n_clicks=4, metric="dice"))
    assert line == "hr32 on liver: mDice@1=50.00%; mDice@2=82.00%; mDice@3=90.00%"


def test_the_spread_over_users_is_that_of_the_data_sets_mean():
    def row(seed, *scores):
        results = {i: result_of(score, "abc"[i]) for i, score in enumerate(scores)}
        return figures_of("hr32", "hr18s", "lung", results, Protocol(n_clicks=4, target_iou=0.85), 1.0, seed)

    rows = [row(0, [0.9], [0.5, 0.9]), row(1, [0.5, 0.9], [0.5, 0.5, 0.9]), row(2, [0.9], [0.9])]
    # Means over the samples: 1.5, 2.5 and 1 clicks.
    assert format_spreads(rows) == ["hr32 on lung, 3 seeds: NoC@80 1.67 +- 0.76; NoC@85 1.67 +- 0.76"]
    assert format_spreads([row(None, [0.9])]) == []
    assert format_spreads([row(0)]) == ["hr32 on lung, 1 seeds: ?"]
