import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

import isegm
from isegm.distributed import Processes
from isegm.errors import InputError
from isegm.evaluation import run as run_module
from isegm.evaluation.click_loop import SamplePictures
from isegm.evaluation.evaluate import evaluate
from isegm.evaluation.output import Wanted
from isegm.evaluation.plan import Checkpoint, Evaluation
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import SampleFailure
from isegm.evaluation.run import Evaluated
from isegm.evaluation.workers import NOT_ENOUGH_MEMORY
from isegm.inference.geodesic import GeodesicSegmenter
from isegm.pictures import read_stored
from tests.evaluation.by_hand import result_of, row_of, sample_of

ALONE = Processes(0, 1, 0, 1, None)


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


class Named:
    """Stands in for a data set of two samples."""

    names = ("a", "b")
    records = ()
    folder = None

    def __init__(self, name):
        self.name = name
        self.folder = None

    def __len__(self):
        return 2


PROTOCOL = Protocol(n_clicks=2)


@pytest.fixture
def evaluation(tmp_path, monkeypatch):
    """An evaluation of two stand-ins for networks on two for data sets, and what happened in it."""
    events = []

    def check(path):
        if path.read_bytes() == b"bad":
            raise InputError(f"{path}: truncated")

    def load(path, **settings):
        check(path)
        events.append(("load", path.stem, settings))
        model = torch.nn.Linear(1, 1)
        model.name, model.sees_logits = "hr18s", True
        return model

    def run(task, method, processes, keeper, show):
        events.append(("run", task, method))
        mask = row_of(4).astype(np.bool_)
        for index in task.indices:
            name = task.dataset.names[index]
            if (task.dataset.name, name) == ("liver", "b"):
                line = "liver/b.png: not a readable picture; is it complete?"
                keeper.keep_failure(index, SampleFailure(name, line))
            else:
                pictures = SamplePictures(mask, mask.astype(np.float32))
                keeper.keep(index, sample_of(row_of(4), name), result_of([0.9], name), pictures)

    monkeypatch.setattr(run_module, "check_file", check)
    monkeypatch.setattr(run_module, "load_network", load)
    monkeypatch.setattr(run_module, "evaluate_dataset", run)
    monkeypatch.setattr("isegm.evaluation.window_check.read_metadata", lambda path: {})
    touch(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"other")

    def evaluation(checkpoints="ab", datasets=("lung", "liver"), protocol=PROTOCOL, **settings):
        return Evaluation(
            checkpoints=[Checkpoint(name, tmp_path / f"{name}.pth") for name in checkpoints],
            datasets=[Named(name) for name in datasets],
            protocol=protocol,
            folder=tmp_path / "run",
            wanted=Wanted(),
            **settings,
        )

    return evaluation, events


CPU = torch.device("cpu")


def jobs_of(events):
    return [task.key for task, _ in runs_of(events)]


def runs_of(events):
    return [event[1:] for event in events if event[0] == "run"]


def test_every_network_is_evaluated_on_every_data_set(evaluation, tmp_path):
    make, events = evaluation
    found = evaluate(make(datasets=("lung", "spleen"), mean_scores=True), CPU, ALONE)
    assert (found.samples, found.problems) == (8, [])
    jobs = jobs_of(events)
    assert jobs == ["a/lung", "a/spleen", "b/lung", "b/spleen"]
    document = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [(row["model"], row["dataset"]) for row in document["results"]] == [
        ("a", "lung"), ("a", "spleen"), ("b", "lung"), ("b", "spleen")
    ]  # fmt: skip
    assert found.text.startswith((tmp_path / "run" / "results.txt").read_text())
    assert [line for line in found.text.splitlines() if "mIoU" in line] == [
        f"{job.replace('/', ' on ')}: mIoU@1=90.00%; mIoU@2=90.00%" for job in jobs
    ]
    assert found.text.endswith(f"are in {tmp_path / 'run'}")


def test_networks_are_loaded_as_the_settings_say(evaluation, monkeypatch):
    make, events = evaluation
    monkeypatch.setattr(run_module, "samples_at_once", lambda *_: 3)
    protocol = Protocol(n_clicks=2, precision="bfloat16", backend="openvino")
    evaluate(make(datasets=("lung",), protocol=protocol), CPU, ALONE)
    loaded = [event[1:] for event in events if event[0] == "load"]
    settings = {
        "device": CPU,
        "backend": "openvino",
        "precision": "bfloat16",
        "threads": 1,
        "at_once": 3,
        "compiled": False,
    }
    assert loaded == [("a", settings), ("b", settings)]
    assert [method.batched for _, method in runs_of(events)] == [None, None]


def test_a_batch_is_shared_by_all_samples_of_a_data_set(evaluation, tmp_path):
    make, events = evaluation
    protocol = Protocol(n_clicks=2, initial_masks="corrected")
    evaluate(make("a", protocol=protocol, batch_size=5, compiled=True), CPU, ALONE)
    [(_, _, settings)] = [event for event in events if event[0] == "load"]
    assert (settings["threads"], settings["compiled"]) == (None, True)
    methods = [method for _, method in runs_of(events)]
    assert [method.batched.size for method in methods] == [5, 5]
    for method in methods:
        assert method.new_segmenter(Named("lung")).network is method.batched
    device = json.loads((tmp_path / "run" / "results.json").read_text())["device"]
    assert (device["samples_at_once"], device["batch_size"], device["compiled"]) == (5, 5, True)


def test_each_of_several_users_has_a_row_and_their_spread_a_line(evaluation, tmp_path):
    make, events = evaluation
    protocol = Protocol(n_clicks=2, click_model="jitter=2", seeds=3)
    found = evaluate(make("a", datasets=("lung", "spleen"), protocol=protocol), CPU, ALONE)
    assert jobs_of(events) == [f"a/{name}/seed_{seed}" for name in ("lung", "spleen") for seed in range(3)]
    assert [task.seed for task, _ in runs_of(events)] == [0, 1, 2] * 2
    document = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [(row["dataset"], row["seed"]) for row in document["results"]] == [
        (name, seed) for name in ("lung", "spleen") for seed in range(3)
    ]
    lines = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert [(line["dataset"], line["name"], line["seed"]) for line in lines] == [
        (dataset, name, seed) for dataset in ("lung", "spleen") for seed in range(3) for name in "ab"
    ]
    assert (tmp_path / "run" / "predictions" / "spleen" / "seed_2" / "b.png").is_file()
    printed = found.text.splitlines()
    assert [row.split("|")[2].strip() for row in printed if row.startswith("|")][1:4] == [
        "lung #0", "lung #1", "lung #2"
    ]  # fmt: skip
    spread = "a on lung, 3 seeds: NoC@80 1.00 +- 0.00; NoC@85 1.00 +- 0.00; NoC@90 1.00 +- 0.00"
    assert spread in printed
    assert spread in (tmp_path / "run" / "results.txt").read_text().splitlines()


def test_results_say_what_they_were_got_with(evaluation, tmp_path):
    make, _ = evaluation
    evaluate(make(), CPU, ALONE)
    document = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(document) == {
        "started", "settings", "checkpoints", "baseline", "datasets", "pictures", "device",
        "versions", "warnings", "results",
    }  # fmt: skip
    assert document["warnings"] == []
    assert document["settings"] == {
        "eval_mode": "emc-click",
        "n_clicks": 2,
        "min_n_clicks": 1,
        "target_iou": 0.9,
        "thresh": 0.49,
        "clicks_limit": None,
        "flip": True,
        "metric": "iou",
        "precision": "float32",
        "backend": "torch",
        "click_model": "centre",
        "initial_masks": "merged",
        "perturbed": False,
        "seeds": 1,
    }
    assert document["checkpoints"] == [
        {"name": name, "path": str(tmp_path / f"{name}.pth"), "sha256": sha256, "windows": None}
        for name, sha256 in (
            ("a", hashlib.sha256(b"x").hexdigest()),
            ("b", hashlib.sha256(b"other").hexdigest()),
        )
    ]
    nothing = hashlib.sha256(b"[]").hexdigest()
    assert document["datasets"] == [
        {"name": "lung", "samples": 2, "sha256": nothing, "window": None},
        {"name": "liver", "samples": 2, "sha256": nothing, "window": None},
    ]
    assert document["device"]["type"] == "cpu"
    assert document["device"]["processes"] == 1
    assert document["versions"]["isegm"] == isegm.__version__
    assert document["versions"]["torch"] == torch.__version__
    assert {"python", "numpy", "torch", "platform"} <= set(document["versions"])


def test_a_sample_that_fails_now_keeps_no_mask_of_an_earlier_start(evaluation, tmp_path):
    make, _ = evaluation
    stale = tmp_path / "run" / "predictions" / "liver" / "b.png"
    evaluate(make("a"), CPU, ALONE)
    touch(stale)
    evaluate(make("a", resume=True), CPU, ALONE)
    assert not stale.exists()
    assert stale.with_name("a.png").exists()


def test_where_memory_sufficed_for_no_sample_nothing_can_be_computed():
    short = f"a.png: {NOT_ENOUGH_MEMORY}"
    assert Evaluated("", 0, [short, short]).exceeds_memory
    assert not Evaluated("", 1, [short]).exceeds_memory
    assert not Evaluated("", 0, [short, "b.png: not a readable picture; is it complete?"]).exceeds_memory
    assert not Evaluated("", 0, []).exceeds_memory


def test_samples_without_a_result_are_told(evaluation):
    make, _ = evaluation
    found = evaluate(make("a"), CPU, ALONE)
    assert (found.samples, found.problems) == (3, ["liver/b.png: not a readable picture; is it complete?"])


def test_a_bad_checkpoint_is_told_before_the_first_is_evaluated(evaluation, tmp_path):
    make, events = evaluation
    (tmp_path / "b.pth").write_bytes(b"bad")
    with pytest.raises(InputError, match=r"b\.pth: truncated"):
        evaluate(make(), CPU, ALONE)
    assert jobs_of(events) == []
    assert not (tmp_path / "run").exists()


def test_earlier_results_stay_untouched_unless_they_are_to_be_replaced(evaluation, tmp_path):
    make, events = evaluation
    earlier = tmp_path / "run" / "results.json"
    stale = tmp_path / "run" / "predictions" / "lung" / "gone.png"
    touch(earlier, stale)
    with pytest.raises(InputError, match="already holds an evaluation"):
        evaluate(make("a"), CPU, ALONE)
    assert (earlier.read_bytes(), stale.read_bytes(), events) == (b"x", b"x", [])
    evaluate(make("a", replace=True), CPU, ALONE)
    assert len(json.loads(earlier.read_text())["results"]) == 2
    assert not stale.exists()


def test_earlier_results_survive_a_checkpoint_that_cannot_replace_them(evaluation, tmp_path):
    make, _ = evaluation
    touch(tmp_path / "run" / "results.json")
    (tmp_path / "a.pth").write_bytes(b"bad")
    with pytest.raises(InputError):
        evaluate(make("a", replace=True), CPU, ALONE)
    assert (tmp_path / "run" / "results.json").read_bytes() == b"x"


def test_nobody_speaks_and_only_the_first_process_writes(evaluation, tmp_path, capsys, monkeypatch):
    make, _ = evaluation
    evaluate(make("a"), CPU, ALONE)
    shutil.rmtree(tmp_path / "run")
    told = iter([1, [], [], 3, ["b.png"]])  # the start, what is done of either data set, how it ended

    class Second(Processes):
        def from_first(self, value, what):
            return next(told)

    monkeypatch.setattr(run_module, "evaluate_dataset", lambda *_, **__: None)
    assert evaluate(make("a"), CPU, Second(1, 2, 1, 2, None)) == Evaluated("", 3, ["b.png"])
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr() == ("", "")


# --- the segmentation without weights


def test_the_baselines_rows_come_after_the_networks_on_every_data_set(evaluation, tmp_path):
    make, events = evaluation
    found = evaluate(make(datasets=("lung", "spleen"), baseline=True), CPU, ALONE)
    jobs = ["a/lung", "a/spleen", "b/lung", "b/spleen", "geodesic/lung", "geodesic/spleen"]
    assert jobs_of(events) == jobs
    document = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [f"{row['model']}/{row['dataset']}" for row in document["results"]] == jobs
    assert [row["preset"] for row in document["results"]] == ["hr18s"] * 4 + ["geodesic"] * 2
    assert [checkpoint["name"] for checkpoint in document["checkpoints"]] == ["a", "b"]
    lines = (tmp_path / "run" / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["model"] for line in lines] == ["a"] * 4 + ["b"] * 4 + ["geodesic"] * 4
    table = found.text.splitlines()
    assert [row.split("|")[1].strip() for row in table if row.startswith("|")][1:] == [
        "a", "a", "b", "b", "geodesic", "geodesic"
    ]  # fmt: skip


def test_without_being_asked_for_there_is_no_baseline(evaluation):
    make, events = evaluation
    evaluate(make("a", datasets=("lung",)), CPU, ALONE)
    assert jobs_of(events) == ["a/lung"]


def test_the_baseline_is_computed_on_the_cpu_and_has_the_protocols_threshold(evaluation, monkeypatch):
    make, events = evaluation
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    gpu = torch.device("cuda:1")
    evaluate(make("a", baseline=True), gpu, ALONE)
    assert [(task.key, method.device) for task, method in runs_of(events)] == [
        ("a/lung", gpu),
        ("a/liver", gpu),
        ("geodesic/lung", CPU),
        ("geodesic/liver", CPU),
    ]
    task, method = runs_of(events)[-1]
    segmenters = method.new_segmenter(task.dataset), method.new_segmenter(task.dataset)
    assert segmenters[0] is not segmenters[1]
    for segmenter in segmenters:
        assert isinstance(segmenter, GeodesicSegmenter)
        assert segmenter.threshold == 0.49


def test_samples_that_the_baseline_has_no_result_of_are_told_too(evaluation):
    make, _ = evaluation
    found = evaluate(make("a", datasets=("liver",), baseline=True), CPU, ALONE)
    assert found.problems == ["liver/b.png: not a readable picture; is it complete?"] * 2


@pytest.fixture
def painting(evaluation, monkeypatch):
    """The evaluation, whose methods leave masks: of one pixel the first, of two the second, and so on."""
    methods = []

    def run(task, method, processes, keeper, show):
        name = task.key.partition("/")[0]
        if name not in methods:
            methods.append(name)
        mask = row_of(methods.index(name) + 1).astype(np.bool_)
        pictures = SamplePictures(mask, mask.astype(np.float32))
        keeper.keep(0, sample_of(row_of(4), "a"), result_of([0.9]), pictures)
        keeper.keep_failure(1, SampleFailure("b", "b.png: broken"))

    monkeypatch.setattr(run_module, "evaluate_dataset", run)
    return evaluation[0]


def masks_in(folder):
    return {
        str(path.relative_to(folder)): int((read_stored(path) > 0).sum()) for path in folder.rglob("*.png")
    }


def test_masks_are_kept_apart_by_method(painting, tmp_path):
    evaluate(painting("a", baseline=True), CPU, ALONE)
    assert masks_in(tmp_path / "run" / "predictions") == {
        "a/lung/a.png": 1,
        "a/liver/a.png": 1,
        "geodesic/lung/a.png": 2,
        "geodesic/liver/a.png": 2,
    }


def test_masks_of_one_network_alone_need_no_folder_of_its_name(painting, tmp_path):
    evaluate(painting("a"), CPU, ALONE)
    assert masks_in(tmp_path / "run" / "predictions") == {"lung/a.png": 1, "liver/a.png": 1}


def test_replacing_removes_the_baselines_earlier_masks_too(painting, tmp_path):
    predictions = tmp_path / "run" / "predictions"
    stale = [predictions / name / "lung" / "gone.png" for name in ("a", "geodesic")]
    other = predictions / "geodesic" / "spleen" / "kept.png"
    touch(*stale, other)
    evaluate(painting("a", baseline=True, replace=True), CPU, ALONE)
    assert not any(path.exists() for path in stale)
    assert other.exists()
    assert (predictions / "geodesic" / "lung" / "a.png").exists()


@pytest.mark.parametrize("names", [("geodesic",), ("a", "geodesic")])
def test_a_checkpoint_of_the_baselines_name_is_refused_beside_it(evaluation, tmp_path, names):
    make, events = evaluation
    touch(tmp_path / "geodesic.pth")
    earlier = tmp_path / "run" / "results.json"
    touch(earlier)
    with pytest.raises(InputError) as caught:
        evaluate(make(names, baseline=True, replace=True), CPU, ALONE)
    assert str(caught.value) == "baseline: a checkpoint is called geodesic, too; give it another name"
    assert events == []
    assert earlier.read_bytes() == b"x"
    assert evaluate(make(names, datasets=("lung",), replace=True), CPU, ALONE).problems == []
