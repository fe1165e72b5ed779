"""Results of an evaluation, of an older one, and what somebody with bad intentions would write."""

import contextlib
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isegm.errors import InputError
from isegm.evaluation.record import FinalScores
from isegm.geometry import Click
from isegm.report.run_page import make_report
from isegm.report.stored_run import read_run
from tests.evaluation.by_hand import FINAL, result_of
from tests.report.by_hand import HOSTILE, small_run, write_run


def test_a_run_is_read_as_it_was_written(tmp_path):
    missed = result_of([0.0, 0.5, 0.25], name="b", final=FinalScores(0.4, math.nan, 0.0), seconds=0.25)
    run = read_run(write_run(tmp_path, {("hr32", "liver"): [result_of([0.9], name="a"), missed]}))
    assert (run.metric, run.n_clicks, run.target, run.tolerance) == ("iou", 4, 0.9, 2.0)
    assert (run.models, run.datasets, run.warnings) == (("hr32",), ("liver",), ())
    (group,) = run.groups
    assert (group.model, group.dataset, group.seeds, group.seconds) == ("hr32", "liver", (0,), 7.0)
    ((solved,), (line,)) = group.samples
    assert (solved.name, solved.clicks, solved.final) == ("a", (Click(0, 0, True),), FINAL)
    assert solved.scores == solved.ious == (0.9,) * 4
    assert (line.name, line.seed) == ("b", 0)
    assert line.clicks == (Click(0, 0, True), Click(1, 2, False), Click(2, 4, True))
    assert line.scores == (0.0, 0.5, 0.25, 0.25)
    assert line.dices == pytest.approx((0.0, 2 / 3, 0.4, 0.4))
    assert line.seconds == (0.25,) * 3
    assert (line.final.dice, line.final.nsd) == (0.4, 0.0)
    assert math.isnan(line.final.hd95)


def test_dice_is_turned_into_iou_where_dice_was_counted(tmp_path):
    run = read_run(write_run(tmp_path, {("a", "b"): [result_of([0.5, 0.8])]}, metric="dice"))
    ((line,),) = run.groups[0].samples
    assert line.scores == line.dices == (0.5, 0.8, 0.8, 0.8)
    assert line.ious == pytest.approx((1 / 3, 2 / 3, 2 / 3, 2 / 3))
    assert run.measure == "Dice"


def test_seeds_of_a_sample_stand_together_in_the_order_of_samples(tmp_path):
    first = [result_of([0.5], name="a"), result_of([0.6], name="b")]
    second = [result_of([0.7], name="a"), result_of([0.8], name="b")]
    run = read_run(write_run(tmp_path, {("hr32", "liver"): [first, second]}))
    (group,) = run.groups
    assert group.seeds == (0, 1)
    assert [[(line.name, line.seed, line.scores[0]) for line in lines] for lines in group.samples] == [
        [("a", 0, 0.5), ("a", 1, 0.7)],
        [("b", 0, 0.6), ("b", 1, 0.8)],
    ]


def test_a_data_set_without_any_result_is_a_group_without_samples(tmp_path):
    run = read_run(write_run(tmp_path, {("hr32", "liver"): []}))
    assert [(group.dataset, group.samples) for group in run.groups] == [("liver", ())]


def test_names_may_be_anything_that_can_be_encoded(tmp_path):
    run = read_run(write_run(tmp_path, {(HOSTILE, HOSTILE): [result_of([0.9], name=HOSTILE)]}))
    assert (run.models, run.datasets) == ((HOSTILE,), (HOSTILE,))
    assert next(run.groups[0].lines()).name == HOSTILE


# -- what cannot be used


def spoil(folder, file, change):
    """Change one of the two files, as an object (of the samples, the second line) or as bytes."""
    path = folder / file
    content = path.read_bytes()
    if file == "results.json":
        document = json.loads(content)
        change(document)
        path.write_text(json.dumps(document))
    else:
        lines = content.splitlines()
        line = json.loads(lines[1])
        change(line)
        lines[1] = json.dumps(line).encode()
        path.write_bytes(b"\n".join(lines))


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(document):
        for key in keys:
            document = document[key]
        document[last] = value

    return change


def remove(*keys):
    *above, last = keys

    def change(document):
        for key in above:
            document = document[key]
        del document[last]

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (remove("settings"), "settings: has no 'metric'"),
        (put("settings", []), "settings must be an object"),
        (put("settings", "metric", "nsd"), "settings: metric must be iou or dice, not 'nsd'"),
        (put("settings", "n_clicks", 0), "n_clicks must be a whole number, 1 to 1000, not 0"),
        (put("settings", "n_clicks", 10**9), "n_clicks must be a whole number, 1 to 1000, not 1000000000"),
        (put("settings", "n_clicks", 4.5), "n_clicks must be a whole number"),
        (put("settings", "target_iou", None), "target_iou must be a number that is not negative, not None"),
        (put("settings", "target_iou", 0), "target_iou must be above 0, not 0"),
        (put("settings", "target_iou", 10**400), "target_iou must be a number"),
        (put("settings", "eval_mode", "\ud800"), "settings: holds half of a surrogate pair"),
        (put("results", {}), "results must be a list of objects"),
        (put("results", [1]), "results must be a list of objects"),
        (put("results", 0, "model", None), "results 1: model must be a text, not None"),
        (put("results", 0, "model", "\ud800"), "results 1: model must be a text"),
        (put("results", 0, "samples", -3), "results 1: samples must be a whole number, 0 to 1000000000"),
        (put("results", 0, "problems", "x"), "results 1: problems must be a list of texts, not 'x'"),
        (put("results", 0, "seconds", -1), "results 1: seconds must be a number that is not negative"),
        (put("results", 1, "dataset", "liver"), "results 2: 'hr32' on 'liver' has a row already"),
        (put("warnings", [1]), "warnings must be a list of texts"),
        (put("results", 0, "final", 3), "results 1: final must be an object, not 3"),
    ],
)
def test_bad_figures_are_refused_in_one_line_with_the_file(tmp_path, change, complaint):
    folder = small_run(tmp_path)
    spoil(folder, "results.json", change)
    with pytest.raises(InputError) as caught:
        read_run(folder)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(f"{folder / 'results.json'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (remove("model"), "has no 'model'"),
        (put("dataset", 3), "dataset must be a text, not 3"),
        (put("name", None), "name must be a text, not None"),
        (put("name", "\udfff"), "name must be a text"),
        (put("index", -1), "index must be a whole number"),
        (put("seed", "0"), "seed must be a whole number"),
        (remove("ious"), "has no 'ious'"),
        (put("ious", [0.5, 1.5]), "ious must be a list of numbers that are not negative, 1 at most"),
        (put("ious", [0.5, "0.5"]), "ious must be a list of numbers"),
        (put("ious", [0.5, True]), "ious must be a list of numbers"),
        (put("ious", [math.nan]), "not JSON, or cut short"),
        (put("ious", []), "has 0 scores for 1 to 4 clicks"),
        (put("ious", [0.5] * 5), "has 5 scores for 1 to 4 clicks"),
        (put("seconds", [0.5]), "has 4 clicks, 1 times and 4 scores, which do not belong together"),
        (put("ious", [0.5]), "has 4 clicks, 4 times and 1 scores, which do not belong together"),
        (remove("clicks"), "has no 'clicks'"),
        (put("clicks", 5), "clicks must be a list of [row, column, true or false], not 5"),
        (put("clicks", 0, [1.0, 2.0]), "clicks must be a list of [row, column, true or false]"),
        (put("clicks", 0, [-1.0, 2.0, True]), "clicks must be a list of [row, column, true or false]"),
        (put("clicks", 0, [1.0, 1e300, True]), "clicks must be a list of [row, column, true or false]"),
        (put("clicks", 0, [1.0, 2.0, 1]), "clicks must be a list of [row, column, true or false]"),
        (remove("dice"), "has no 'dice'"),
        (put("dice", 1.01), "dice must be 0 to 1, not 1.01"),
        (put("hd95", "far"), "hd95 must be a number that is not negative, not 'far'"),
        (put("name", "s0"), "'s0' was evaluated on an earlier line, too"),
        (put("problem", "s1.png: broken"), "'s1' has no result"),
    ],
)
def test_bad_samples_are_refused_in_one_line_with_the_files_line(tmp_path, change, complaint):
    folder = small_run(tmp_path)
    spoil(folder, "samples.jsonl", change)
    with pytest.raises(InputError) as caught:
        read_run(folder)
    assert str(caught.value).startswith(f"{folder / 'samples.jsonl'}: line 2: {complaint}")
    assert "\n" not in str(caught.value)


def test_a_run_that_was_cut_short_is_told_as_such(tmp_path):
    folder = small_run(tmp_path)
    lines = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(
        InputError, match=r"samples.jsonl: has 2 lines of 'geodesic' on 'lung', where .* counts 3"
    ):
        read_run(folder)
    (folder / "samples.jsonl").write_text("".join(lines)[:-30])
    with pytest.raises(InputError, match=r"samples.jsonl: line 12: not JSON, or cut short"):
        read_run(folder)
    (folder / "samples.jsonl").write_text("".join(lines))
    spoil(folder, "results.json", lambda document: document["results"].pop())
    with pytest.raises(
        InputError, match=r"samples.jsonl: has samples of 'geodesic' on 'lung', which .* not know"
    ):
        read_run(folder)


@pytest.mark.parametrize("file", ["results.json", "samples.jsonl"])
def test_a_folder_without_results_is_no_run(tmp_path, file):
    folder = small_run(tmp_path)
    (folder / file).unlink()
    with pytest.raises(InputError, match=rf"{file}: no such file; give the folder of an evaluation"):
        read_run(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\xff\xfe", b"{", b'{"a": ' * 100_000, b"1" * 5000])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    folder = small_run(tmp_path)
    (folder / "results.json").write_bytes(content)
    with pytest.raises(InputError, match=r"results.json: (not JSON|must be an object|nested too deeply)"):
        read_run(folder)


KEYS = ["settings", "results", "warnings", "model", "dataset", "name", "index", "seed", "ious"]
KEYS += ["seconds", "clicks", "dice", "hd95", "nsd"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(
    file=st.sampled_from(["results.json", "samples.jsonl"]),
    key=st.sampled_from(KEYS),
    value=json_values,
    cut=st.integers(0, 400),
)
def test_whatever_is_in_the_files_nothing_else_is_raised(tmp_path_factory, file, key, value, cut):
    folder = small_run(tmp_path_factory.mktemp("run"))
    spoil(folder, file, put(key, value))
    if cut > 200:
        (folder / file).write_bytes((folder / file).read_bytes()[: -(cut - 200)])
    with contextlib.suppress(InputError):
        read_run(folder)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(
    settings_of_run=st.fixed_dictionaries(
        {}, optional={"target_iou": st.floats(0, 2), "thresh": json_values}
    ),
    keys=st.dictionaries(
        st.sampled_from(["started", "device", "versions", "checkpoints", "datasets"]), json_values
    ),
    final=st.fixed_dictionaries(
        {}, optional={"dice": st.none(), "hd95": st.floats(0), "nsd": st.floats(0, 1)}
    ),
)
def test_whatever_is_believed_can_be_shown(tmp_path_factory, settings_of_run, keys, final):
    folder = small_run(tmp_path_factory.mktemp("run"))
    spoil(folder, "results.json", lambda document: document.update(keys))
    spoil(folder, "results.json", lambda document: document["settings"].update(settings_of_run))
    spoil(folder, "samples.jsonl", lambda line: line.update(final))
    try:
        run = read_run(folder)
        page = make_report(run, []).html
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it may be refused, or be shown
    else:
        page.encode("utf-8")
