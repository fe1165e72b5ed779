"""Reading runs, drawing samples, tables: with stand-ins where machines would have to be measured."""

import argparse
import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from isegm.benchmark import scaling
from isegm.benchmark.hand_out import Costs
from isegm.benchmark.scaling import Measured, costs_of, read_runs, simulate
from isegm.benchmark.store import rate_of, time_requests
from isegm.errors import InputError


def save_run(folder, samples, model="net", by_model=False):
    """Samples: name, seconds of each click, (height, width)."""
    lines = []
    for name, seconds, shape in samples:
        clicks = [[0, 0, True]] * len(seconds)
        lines.append({"model": model, "dataset": "liver", "name": name, "clicks": clicks, "seconds": seconds})
        place = folder / "predictions" / (f"{model}/liver" if by_model else "liver")
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{name}.png"), np.zeros(shape, np.uint8))
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def run_folder(tmp_path):
    return save_run(
        tmp_path / "run", [("a", [2.0, 0.5, 0.5], (4, 5)), ("b", [1.0], (2, 3)), ("c", [], (1, 1))]
    )


def test_masks_of_several_users_lie_one_folder_deeper(run_folder):
    path = run_folder / "samples.jsonl"
    (run_folder / "predictions" / "liver").rename(run_folder / "seed_1")
    (run_folder / "predictions" / "liver").mkdir()
    (run_folder / "seed_1").rename(run_folder / "predictions" / "liver" / "seed_1")
    path.write_text("".join(json.dumps(json.loads(line) | {"seed": 1}) + "\n" for line in path.open()))
    assert read_runs([run_folder]).pixels.tolist() == [20, 6, 1]


def test_a_samples_time_is_that_of_all_its_clicks_and_its_size_that_of_its_mask(run_folder, tmp_path):
    other = save_run(tmp_path / "other", [("a", [4.0], (6, 6))], "mine", by_model=True)
    measured = read_runs([run_folder, other])
    assert measured.seconds.tolist() == [3, 1, 0, 4]
    assert measured.clicks.tolist() == [3, 1, 0, 1]
    assert measured.pixels.tolist() == [20, 6, 1, 36]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("no json", "line 4: not a sample's line"),
        ("[" * 100_000, "line 4: not a sample's line"),
        ("{}", "line 4: not a sample's line"),
        ("[]", "line 4: not a sample's line"),
        (
            '{"seconds": 3, "clicks": [], "dataset": "a", "model": "b", "name": "c"}',
            "line 4: not a sample's line",
        ),
        ('{"seconds": ["x"], "clicks": [], "dataset": "a", "model": "b", "name": "c"}', "line 4: not a"),
        (
            '{"seconds": [-1], "clicks": [], "dataset": "a", "model": "b", "name": "c"}',
            "is no number of seconds",
        ),
        (
            '{"seconds": [NaN], "clicks": [], "dataset": "a", "model": "b", "name": "c"}',
            "is no number of seconds",
        ),
        (
            '{"seconds": [1], "clicks": [], "dataset": "a", "model": "b", "name": "c"}',
            "a/c.png: no such picture",
        ),
    ],
)
def test_a_damaged_run_is_one_line_that_names_the_place(run_folder, line, complaint):
    path = run_folder / "samples.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InputError) as caught:
        read_runs([run_folder])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"samples.jsonl: no such file; --run takes the --logs-path"):
        read_runs([tmp_path])
    (tmp_path / "samples.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"samples.jsonl: not a text"):
        read_runs([tmp_path])
    (tmp_path / "samples.jsonl").write_text("")
    with pytest.raises(InputError, match="has no sample that took time"):
        read_runs([tmp_path])


def test_costs_are_those_of_all_requests_of_a_sample():
    costs = costs_of(start_up=9, round_trip=0.002, rate=1000)
    assert (costs.start_up, costs.service, costs.latency) == (9, pytest.approx(0.003), pytest.approx(0.003))
    # On few cores a store that many ask is slower than an idle one's answer: no way is left, it takes longer.
    assert costs_of(0, 0.002, 100) == Costs(service=0.03)


MEASURED = Measured(np.array([1.0, 2.0, 6.0]), np.array([1, 4, 2]), np.array([30, 10, 20]))


def rows_by(rows):
    return {(row["scenario"], row["ranks"], row["way"]): row for row in rows}


def test_the_same_samples_are_drawn_throughout_and_by_seed():
    rows = simulate(MEASURED, [1, 4], Costs(), samples=50, seed=3)
    assert rows == simulate(MEASURED, [1, 4], Costs(), samples=50, seed=3)
    assert rows != simulate(MEASURED, [1, 4], Costs(), samples=50, seed=4)
    alone = {row["wall_seconds"] for row in rows if row["ranks"] == 1 and "half" not in row["scenario"]}
    assert len(alone) == 1  # the sum, in whatever order
    table = rows_by(rows)
    for way in scaling.WAYS:
        assert table["one rank at half speed", 1, way]["wall_seconds"] == 2 * next(iter(alone))
        assert table["all alike", 1, way]["efficiency"] == 1
    assert len(rows) == 4 * 2 * 3


def test_other_hardware_divides_the_samples_times_and_nothing_else():
    slow, fast = (
        rows_by(simulate(MEASURED, [2], Costs(start_up=5), samples=40, seed=0, faster=faster))
        for faster in (1, 4)
    )
    for key, row in slow.items():
        assert fast[key]["wall_seconds"] - 5 == pytest.approx((row["wall_seconds"] - 5) / 4)


def test_order_matters_to_blocks_only_where_it_is_that_of_the_times():
    # Sorted by size the samples take 2, 6 and 1 s, sorted by clicks 1, 6 and 2; two ranks get halves.
    rows = rows_by(simulate(MEASURED, [2], Costs(), samples=3000, seed=0))
    blocks = {name: rows[name, 2, "in blocks"]["efficiency"] for name in ("all alike", "sorted by size")}
    assert blocks["all alike"] > 0.95
    # 1000 x 2 and 500 x 6 s are 5000 s in the first block, 500 x 6 and 1000 x 1 are 4000: 4500 / 5000.
    assert blocks["sorted by size"] == pytest.approx(0.9, abs=0.03)
    for scenario in ("all alike", "sorted by size", "sorted by clicks"):
        assert rows[scenario, 2, "one by one"]["efficiency"] > 0.999


def test_only_handing_out_takes_the_stores_time():
    rows = simulate(MEASURED, [2], Costs(service=0.01), samples=100, seed=0)
    for row in rows:
        taken = 100 * 0.01 / row["wall_seconds"] if row["way"] == "one by one" else 0
        assert row["store_busy"] == pytest.approx(taken)


def arguments(*words):
    parser = argparse.ArgumentParser()
    scaling.add_arguments(parser)
    return parser.parse_args(list(words))


GIVEN = ("--start-up=2", "--round-trip=0.001", "--store-rate=2000")


def test_the_whole_benchmark_where_nothing_has_to_be_measured(run_folder, tmp_path, capsys, monkeypatch):
    for name in ("measure_start_up", "measure_round_trip", "measure_rate"):
        monkeypatch.setattr(scaling, name, None)  # would fail if it was called
    plot = tmp_path / "plot.png"
    options = ("--samples=200", "--ranks=4,1", f"--plot={plot}", *GIVEN)
    result = scaling.run(arguments(f"--run={run_folder}", f"--run={run_folder}", *options))
    json.dumps(result)
    assert result["settings"]["ranks"] == [1, 4]
    assert result["measured"]["samples"] == 6
    assert result["measured"]["seconds"] == {"mean": pytest.approx(4 / 3), "min": 0, "median": 1, "max": 3}
    assert result["costs"] == {"start_up": 2, "service": 0.0015, "latency": 0.0015}
    out = capsys.readouterr().out
    assert "6 measured samples: 1.33 s on average (median 1.00, at most 3.00), 1.3 clicks" in out
    assert out.count("given out") == 4
    picture = cv2.imread(str(plot))
    assert picture.shape[0] > 300
    assert picture.std() > 10


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--samples=0", "--samples: must be at least 1, not 0"),
        ("--seed=-1", "--seed: must be at least 0, not -1"),
        ("--ranks=0,8", "--ranks: must be at least 1, not 0"),
        ("--ranks=8,8", "--ranks: must be different whole numbers"),
        ("--faster=0", "--faster: must be a number above 0, not 0.0"),
        ("--start-up=-1", "--start-up: must be a number above 0"),
        ("--round-trip=nan", "--round-trip: must be a number above 0"),
        ("--store-rate=0", "--store-rate: must be a number above 0"),
        ("--plot=a.jpg", "--plot: must be a .png file"),
    ],
)
def test_arguments_out_of_range_are_told_first(option, line, tmp_path):
    with pytest.raises(InputError) as caught:
        scaling.run(arguments(f"--run={tmp_path}", option))
    assert str(caught.value).startswith(line)


def test_a_real_store_is_asked_by_real_processes():
    answered = time_requests(2, 40)
    assert [len(own) for own in answered] == [21, 21]
    assert all(own == sorted(own) for own in answered)
    assert rate_of(answered) > 0


def test_the_rate_is_that_of_all_processes_over_all_of_their_time():
    assert rate_of([[10.0, 11, 12], [11.0, 11.5, 14]]) == 1  # 4 requests in 4 s


def test_a_start_is_the_median_of_new_processes_that_load_the_network(monkeypatch, tmp_path):
    clock = iter([0, 4, 10, 11, 20, 22])
    commands = []

    def finish(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(scaling.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(scaling.subprocess, "run", finish)
    assert scaling.measure_start_up(tmp_path / "a.pth", "openvino") == 2
    assert all(command[-2:] == [str(tmp_path / "a.pth"), "openvino"] for command in commands)
    compile(commands[0][2], "code", "exec")


def test_a_network_that_does_not_load_is_no_start(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nInputError: a.pth: truncated\n")
    monkeypatch.setattr(scaling.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(InputError, match=r"--checkpoint: a.pth could not be loaded to time it: .*truncated"):
        scaling.measure_start_up(Path("a.pth"), "torch")
