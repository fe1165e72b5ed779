import csv
import io
import math

import numpy as np
import pytest

from isegm.errors import InputError
from isegm.evaluation.record import FinalScores
from isegm.metrics.bootstrap import Interval, mean_interval
from isegm.report.comparison_page import contenders_of, differences_of, make_comparison, pairs_of
from isegm.report.stored_run import read_run
from isegm.report.write import write_comparison
from tests.evaluation.by_hand import result_of
from tests.report.by_hand import HOSTILE, Reader, small_run, write_run


@pytest.fixture
def run_of(tmp_path):
    """``run_of(name, scores_by_sample)``: a run of one network on ``liver``."""

    def run_of(name, scores, model="m", **settings):
        results = [result_of(row, name=sample) for sample, row in scores.items()]
        return read_run(write_run(tmp_path / name, {(model, "liver"): results}, **settings))

    return run_of


A = {"x": [0.5, 0.9], "y": [0.9], "z": [0.1, 0.2, 0.3, 0.4]}  # NoC@90 2, 1, 4
B = {"x": [0.9], "y": [0.9], "z": [0.1, 0.2, 0.9]}  # 1, 1, 3


def pair_of(*runs):
    (pair,) = pairs_of(contenders_of(runs), "liver")
    return pair


def named(differences):
    return {difference.name: difference for difference in differences}


def test_differences_are_taken_sample_by_sample(run_of):
    found = named(differences_of(pair_of(run_of("a", A), run_of("b", B)), 0.9))
    assert list(found) == ["NoC@90", "AUC IoU", "IoU@1", "IoU@3", "Final Dice"]
    noc = found["NoC@90"]
    np.testing.assert_array_equal(noc.first, [2, 1, 4])
    np.testing.assert_array_equal(noc.other, [1, 1, 3])
    np.testing.assert_array_equal(noc.gain, [1, 0, 1])  # fewer clicks are a gain
    assert noc.counts() == (2, 1, 0)
    assert mean_interval(noc.change) == Interval(pytest.approx(-2 / 3), -1, 0)
    iou = found["IoU@1"]
    np.testing.assert_allclose(iou.gain, [0.4, 0, 0])
    assert iou.counts() == (1, 2, 0)
    assert iou.change.mean() == pytest.approx(0.4 / 3)
    assert found["Final Dice"].counts() == (0, 3, 0)
    back = named(differences_of(pair_of(run_of("b", B), run_of("a", A)), 0.9))
    assert back["NoC@90"].counts() == (0, 1, 2)
    assert back["NoC@90"].change.mean() == pytest.approx(2 / 3)


def test_pairing_makes_sure_what_is_unsure_apart(run_of):
    generator = np.random.default_rng(0)
    first = {str(i): [value] for i, value in enumerate(generator.uniform(0.2, 0.8, 40))}
    other = {name: [row[0] + 0.01] for name, row in first.items()}
    iou = named(differences_of(pair_of(run_of("a", first), run_of("b", other)), 0.9))["IoU@1"]
    assert mean_interval(iou.change) == Interval(*[pytest.approx(0.01)] * 3)
    assert iou.counts() == (40, 0, 0)


def test_samples_are_paired_by_name_whatever_their_order_and_only_common_ones_count(run_of):
    other = {"new": [0.1], "z": B["z"], "x": B["x"]}
    runs = run_of("a", A), run_of("b", other)
    noc = differences_of(pair_of(*runs), 0.9)[0]
    np.testing.assert_array_equal(noc.first, [2, 4])
    np.testing.assert_array_equal(noc.other, [1, 3])
    page = make_comparison(runs).html
    assert "liver: 1 sample of a missing from another run, and left out of differences from it: y." in page
    assert "liver: 1 sample of b missing from another run, and left out of differences from it: new." in page
    assert "2 samples in common" in page


def test_seeds_are_paired_too_and_meant_before_samples_are(tmp_path):
    def seeded(name, *seeds):
        results = [[result_of(row, name="x")] for row in seeds]
        return read_run(write_run(tmp_path / name, {("m", "liver"): results}))

    one, three = seeded("a", [0.5, 0.9]), seeded("b", [0.9], [0.1, 0.1, 0.9], [0.9])
    np.testing.assert_array_equal(
        differences_of(pair_of(one, three), 0.9)[0].other, [1]
    )  # only seed 0 is common
    two = seeded("c", [0.9], [0.9])
    noc = differences_of(pair_of(two, three), 0.9)[0]
    np.testing.assert_array_equal(noc.first, [1])
    np.testing.assert_array_equal(noc.other, [2])  # the mean of 1 and 3


def test_runs_of_different_lengths_are_compared_over_the_clicks_that_both_have(run_of):
    long = run_of("a", {"x": [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]}, n_clicks=6)
    short = run_of("b", {"x": [0.1, 0.2, 0.3]}, n_clicks=3)
    found = named(differences_of(pair_of(long, short), 0.9))
    assert (found["NoC@90"].first[0], found["NoC@90"].other[0]) == (3, 3)
    assert found["AUC IoU"].counts() == (0, 1, 0)
    assert "IoU@5" not in found
    page = make_comparison([long, short]).html
    assert "The protocols differ: n_clicks is 6 in a, 3 in b." in page


def test_undefined_values_are_neither_better_nor_worse(tmp_path):
    finals = [FinalScores(math.nan, math.nan, math.nan), FinalScores(0.5, 1.0, 1.0)]
    runs = [
        read_run(
            write_run(
                tmp_path / name,
                {
                    ("m", "liver"): [
                        result_of([0.9], name=n, final=f) for n, f in zip("xy", found, strict=True)
                    ]
                },
            )
        )
        for name, found in (("a", finals), ("b", finals[1:] * 2))
    ]
    final = named(differences_of(pair_of(*runs), 0.9))["Final Dice"]
    assert final.counts() == (0, 1, 0)


def test_what_differs_besides_the_networks_is_said_first(run_of):
    data = {"datasets": [{"name": "liver", "sha256": "1"}], "warnings": ["another window"]}
    runs = [
        run_of("a", A, about=data),
        run_of(
            "b",
            B,
            target_iou=1.01,
            thresh=0.5,
            about={"datasets": [{"name": "liver", "sha256": "2"}]},
            problems=["q.png: not a readable picture"],
        ),
    ]
    page = make_comparison(runs).html
    warnings = page[page.index('<section class="warnings"') : page.index("<nav>")]
    for line in (
        "The protocols differ: target_iou is 0.9 in a, 1.01 in b.",
        "The protocols differ: thresh is not recorded in a, 0.5 in b.",
        "liver: the files in a and b differ (by their SHA-256).",
        "a: another window",
        "b: m on liver: 1 sample could not be evaluated: q.png: not a readable picture",
        "Where clicking stopped at a target",
    ):
        assert line in warnings
    alike = make_comparison([run_of("c", A, target_iou=1.01), run_of("d", B, target_iou=1.01)]).html
    assert 'class="warnings"' not in alike


def test_winners_are_those_with_the_largest_gain_and_equal_ones_are_neither(run_of):
    first = {f"{n:02}": [0.1] * n + [0.9] * (20 - n) for n in range(15)}
    first["won"] = [0.9]
    other = {name: [0.9] for name in first} | {"won": [0.1, 0.9]}
    report = make_comparison([run_of("a", first, n_clicks=20), run_of("b", other, n_clicks=20)])
    page = report.html
    better = page[
        page.index("Where b beats a most (14 in all)") : page.index("Where a beats b most (1 in all)")
    ]
    assert [cell.strip() for cell in Reader(better).cells[5::5]] == [f"{n:02}" for n in range(14, 4, -1)]
    worse = Reader(page[page.index("Where a beats b most") :]).cells
    assert [cell.strip() for cell in worse[5:8]] == ["won", "1.00", "2.00"]


def test_the_same_clicks_are_remarked_on(run_of):
    assert (
        "Both placed the same clicks on every sample."
        in make_comparison([run_of("a", A), run_of("b", A)]).html
    )
    assert "Both placed the same clicks" not in make_comparison([run_of("c", A), run_of("d", B)]).html


def test_several_networks_are_told_apart_and_each_is_compared_with_the_first(tmp_path):
    runs = [read_run(small_run(tmp_path / "r1")), read_run(small_run(tmp_path / "r2"))]
    assert [c.label for c in contenders_of(runs)] == ["r1/hr32", "r1/geodesic", "r2/hr32", "r2/geodesic"]
    titles = [table.title for table in make_comparison(runs).tables]
    others = ["r1/geodesic", "r2/hr32", "r2/geodesic"]
    pairs = [f"{other} against r1/hr32 on {name}" for name in ("liver", "lung") for other in others]
    assert titles == ["Number of clicks", "Masks", *pairs]


def test_runs_are_called_by_as_much_of_their_path_as_tells_them_apart(tmp_path):
    runs = [read_run(small_run(tmp_path / place / "results")) for place in ("one", "two")]
    assert [c.label for c in contenders_of(runs)][::2] == ["one/results/hr32", "two/results/hr32"]


def test_what_cannot_be_compared_is_refused(run_of, tmp_path):
    with pytest.raises(InputError, match=r"b: counts Dice, and .*a IoU; such clicks cannot be compared"):
        make_comparison([run_of("a", A), run_of("b", B, metric="dice")])
    with pytest.raises(
        InputError, match=r"c: has no sample in common with .*a; compare runs on the same data"
    ):
        make_comparison([run_of("a", A), run_of("c", {"other": [0.5]})])
    with pytest.raises(InputError, match="a: is given twice; compare different runs"):
        make_comparison([run_of("a", A)] * 2)


def test_a_data_set_that_one_run_lacks_is_told_and_the_others_are_compared(tmp_path, run_of):
    two = read_run(small_run(tmp_path / "two"))
    page = make_comparison([two, run_of("one", {f"s{n}": [0.9] for n in range(3)})]).html
    assert "lung: one has no sample of this data set." in page
    assert "one against two/hr32 on liver" in page
    assert "one against two/hr32 on lung" not in page


def test_hostile_names_are_shown_and_do_nothing(run_of):
    def page_of(names, model):
        scores = {name: [0.5, 0.9] for name in names}
        runs = [
            run_of("a", scores, model),
            run_of("b", {name: [0.9] for name in names}, model, eval_mode=model),
        ]
        return make_comparison(runs).html

    plain, hostile = page_of("xy", "m"), page_of([HOSTILE, HOSTILE + "2"], HOSTILE)
    assert Reader(hostile).elements == Reader(plain).elements
    assert "<script>alert" not in hostile


def test_all_values_are_written_beside_the_page(run_of, tmp_path):
    write_comparison([run_of("a", A).folder, run_of("b", B).folder], tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "report").iterdir()} == {
        "differences.csv", "iou_by_click_liver.png", "iou_by_click_liver.svg", "table.md", "table.tex"
    }  # fmt: skip
    text = (tmp_path / "out" / "report" / "differences.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 * 5
    assert list(rows[0]) == ["dataset", "sample", "measure", "first", "other", "by_first", "by_other"]
    assert list(rows[0].values()) == ["liver", "x", "NoC@90", "a", "b", "2.0", "1.0"]
