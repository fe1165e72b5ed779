"""isegm demo: which volumes it takes, what it replaces, how it stops, and what it leaves."""

import json
import re
import shlex
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import isegm.commands.demo
from isegm.config import read_config
from isegm.datasets import open_dataset
from isegm.evaluation.overview import replay
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.workers import predictor_for
from isegm.geometry import Click
from isegm.metrics.overlap import mask_iou
from isegm.model.checkpoint import load_model
from isegm.pictures import read_grey, read_image
from tests.commands.workspace import REPOSITORY, bright_network, shell

SCRIPT = REPOSITORY / "scripts" / "demo.py"
TASKS = {"liver": "Task03_Liver", "lung": "Task06_Lung", "spleen": "Task09_Spleen"}


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """The script as a module, in a current folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return isegm.commands.demo


@pytest.fixture
def network(tmp_path):
    """A network that sees light."""
    torch.save({"state_dict": bright_network().state_dict()}, tmp_path / "bright.pth")
    return Path("bright.pth")


def make_parts(folder, *parts):
    for part in parts or ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    return folder


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# -- whose volumes


def test_one_folder_of_volumes_and_labels_is_the_organs_that_is_named(demo, tmp_path):
    data = make_parts(tmp_path / "Task09_Spleen")
    assert demo.find_volumes(data, "spleen") == {"spleen": data}
    assert demo.find_volumes(data, "lung") == {"lung": data}


def test_of_the_decathlons_tasks_those_that_are_there_are_taken(demo, tmp_path):
    for task in ("Task09_Spleen", "Task03_Liver", "Task10_Colon"):
        make_parts(tmp_path / task)
    spleen, liver = tmp_path / "Task09_Spleen", tmp_path / "Task03_Liver"
    assert list(demo.find_volumes(tmp_path, None).items()) == [("liver", liver), ("spleen", spleen)]
    assert demo.find_volumes(tmp_path, "spleen") == {"spleen": spleen}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--data=nowhere", "nowhere: no such folder; check --data"),
        ("--data=file", "file: no such folder; check --data"),
        (
            "--data=empty",
            "empty: holds neither imagesTr and labelsTr nor Task03_Liver or Task06_Lung or Task09_Spleen; "
            "check --data",
        ),
        ("--data=tasks --organ=lung", "tasks: holds neither imagesTr and labelsTr nor Task06_Lung; check"),
        ("--data=whose", "whose: whose labels are these? give --organ liver, lung, spleen"),
        ("--data=whose --organ=brain", "argument --organ: invalid choice: 'brain'"),
        ("--data=unlabelled --organ=liver", "unlabelled: has no labelsTr; put volumes into imagesTr, labels"),
        ("--data=tasks", "tasks/Task09_Spleen: has no imagesTr; put volumes into imagesTr, labels into"),
        ("--folder=file", "file: is a file; give another --folder"),
        ("--folder=whose", "whose: not empty, and not made by the demo; give another --folder"),
        (
            "--folder=earlier --data=earlier/volumes",
            "earlier/volumes: lies in earlier, which the demo replaces; give another --folder",
        ),
        ("--folder=earlier --data=empty/../earlier/volumes/Task03_Liver --organ=liver", "empty/../earlier/"),
        (
            "--folder=earlier --checkpoint=earlier/volumes/mine.pth",
            "earlier/volumes/mine.pth: lies in earlier, which the demo replaces; give another --folder",
        ),
        ("tasks", "unrecognized arguments: tasks"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(demo, tmp_path, monkeypatch, capsys, line, complaint):
    monkeypatch.setattr(demo, "run", lambda *_: pytest.fail("too early"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    make_parts(tmp_path / "whose")
    make_parts(tmp_path / "unlabelled", "imagesTr")
    make_parts(tmp_path / "tasks" / "Task03_Liver")
    make_parts(tmp_path / "tasks" / "Task09_Spleen", "labelsTr")
    make_parts(tmp_path / "earlier" / "volumes" / "Task03_Liver")
    (tmp_path / "earlier" / demo.MARKER).write_text("")
    before = everything_in(tmp_path)
    assert demo.main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f": error: {complaint}" in err
    assert everything_in(tmp_path) == before


# -- what is replaced


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "an earlier demo"])
def test_the_folder_is_made_again_where_nothing_of_the_users_is(demo, tmp_path, there):
    folder = tmp_path / "deep" / "demo"
    if there != "nothing":
        folder.mkdir(parents=True)
    if there == "an earlier demo":
        demo.prepare_folder(folder, [])
        (folder / "results").mkdir()
        (folder / "results" / "results.json").write_text("{}")
    demo.prepare_folder(folder, [tmp_path, None])
    assert everything_in(tmp_path) == ["deep", "deep/demo", f"deep/demo/{demo.MARKER}"]


def test_what_the_demo_did_not_make_stays(demo, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(demo.InputError, match="not made by the demo"):
        demo.prepare_folder(tmp_path, [])
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


# -- the steps


def write_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def evaluated(folder, organs=("liver",)):
    """What an evaluation of ``net`` and the baseline says, as far as the demo reads it."""
    results = [
        {"model": model, "dataset": organ, "noc": [{"mean": 1.0}, {"mean": mean + number}]}
        for model, mean in (("net", 2.5), ("geodesic", 7.0))
        for number, organ in enumerate(organs)
    ]
    document = {"checkpoints": [{"name": "net"}], "results": results}
    write_json(folder / "results" / "results.json", document)
    return document


def test_the_commands_are_those_that_a_user_would_give(demo, tmp_path):
    folder = tmp_path / "demo"
    evaluated(folder)
    volumes = demo.tasks_in(folder / "volumes", None)
    lines = [shlex.join(words) for words in demo.steps(demo.Demo(folder, volumes, True, "hr32"))]
    windowed, data, masks = f"{folder}/windowed", f"{folder}/datasets", f"{folder}/results/predictions/net"
    each = [(organ, f"{folder}/volumes/{task}") for organ, task in TASKS.items()]
    assert lines == [
        f"phantoms {folder}/volumes --seed={demo._SEED}",
        *(f"window {task}/imagesTr {windowed}/{organ} {organ}" for organ, task in each),
        *(f"extract {task}/labelsTr {data} {organ}" for organ, task in each),
        f"evaluate EMC-Click --checkpoint=hr32 --config-path={folder}/config.yml "
        "--datasets=liver,lung,spleen --n-clicks=20 --thresh=0.5 --vis --baseline "
        f"--logs-path={folder}/results",
        *(
            f"metrics {data}/{organ}/masks {masks}/{organ} {organ} --output={folder}/metrics"
            for organ in TASKS
        ),
    ]


def test_on_data_nothing_is_generated_and_without_a_checkpoint_none_is_named(demo, tmp_path):
    evaluated(tmp_path / "demo")
    words = list(demo.steps(demo.Demo(Path("demo"), {"lung": Path("my data")}, False, None)))
    assert [step[0] for step in words] == ["window", "extract", "evaluate", "metrics"]
    assert words[0][1:] == ["my data/imagesTr", "demo/windowed/lung", "lung"]
    assert not any(word.startswith("--checkpoint") for word in words[2])


@pytest.mark.parametrize("status", [1, 2, 130])
@pytest.mark.parametrize(("called", "shown"), [("demo.py", "python -m isegm"), ("isegm demo", "isegm")])
def test_a_step_that_fails_ends_the_demo_with_its_status(
    demo, tmp_path, monkeypatch, capsys, status, called, shown
):
    make_parts(tmp_path / "data")
    done = []

    def one_that_fails_second(name, words):
        done.append(name)
        return status if len(done) == 2 else 0

    monkeypatch.setattr(demo, "run", one_that_fails_second)
    monkeypatch.setattr(sys, "argv", [called])
    assert demo.main(["--data=data", "--organ=liver"]) == status
    out, err = capsys.readouterr()
    assert done == ["window", "extract"]
    assert out.splitlines() == [
        "",
        f"$ {shown} window data/imagesTr demo/windowed/liver liver",
        "",
        f"$ {shown} extract data/labelsTr demo/datasets liver",
    ]
    assert err == f"{called}: stopped: extract ended with exit status {status}\n"


def test_a_folder_without_volumes_ends_in_the_tools_line_and_the_demos(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    make_parts(tmp_path / "data")
    assert demo.main(["--data=data", "--organ=liver"]) == 2
    tool, ours = capsys.readouterr().err.splitlines()
    assert tool.startswith("isegm window: error: data/imagesTr: no NIfTI file")
    assert ours == "demo.py: stopped: window ended with exit status 2"


def test_the_summary_has_the_figures_by_organ_and_every_place(demo, tmp_path):
    folder = Path("demo")
    results = evaluated(folder, organs=("liver", "lung"))
    for organ, dice, iou in (("liver", 0.9123, 0.84), ("lung", 1.0, 0.9999)):
        metrics = {"dice": {"mean": dice}, "iou": {"mean": iou}, "precision": {"mean": None}}
        write_json(folder / "metrics" / f"metrics_{organ}.json", {"metrics": metrics})
    text = demo.summary(demo.Demo(folder, dict.fromkeys(("liver", "lung"), Path()), True, None), results)
    assert text.splitlines() == [
        "------------------------------------------------------",
        "| organ |  Dice |   IoU | NoC@90% | geodesic NoC@90% |",
        "------------------------------------------------------",
        "| liver | 0.912 | 0.840 |    2.50 |             7.00 |",
        "| lung  | 1.000 | 1.000 |    3.50 |             8.00 |",
        "------------------------------------------------------",
        "",
        "overview          demo/overview.png",
        "report            demo/results/report.html",
        "NoC table         demo/results/results.txt",
        "pictures          demo/results/vis/net",
        "masks             demo/results/predictions/net",
        "Dice, IoU, HD95   demo/metrics",
        "slices            demo/datasets",
        "windowed volumes  demo/windowed",
        "",
        "With your own volumes: isegm demo --data=path/to/Task09_Spleen --organ=spleen",
    ]


# -- all of it


@pytest.mark.slow
def test_the_whole_job_on_data(demo, tmp_path, network):
    """From volumes to the overview as a user starts it, where an earlier demo has been."""
    labels = np.zeros((48, 40, 3), np.uint8)
    labels[12:36, 10:30, 1:] = 1
    for part, voxels in (("imagesTr", np.where(labels, 200, -50).astype(np.int16)), ("labelsTr", labels)):
        (tmp_path / "data" / part).mkdir(parents=True)
        nib.save(nib.Nifti1Image(voxels, np.diag((2, 2, 5, 1))), tmp_path / "data" / part / "case.nii.gz")
    demo.prepare_folder(tmp_path / "demo", [])
    evaluated(tmp_path / "demo")
    done = shell(
        f"python {shlex.quote(str(SCRIPT))} --data=data --organ=liver --checkpoint=bright.pth", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\$ python -m isegm (\w+) ", done.stdout, re.MULTILINE) == [
        "window",
        "extract",
        "evaluate",
        "metrics",
    ]
    assert done.stdout.endswith("--organ=spleen\n")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "bright.pth", "demo"}
    folder = tmp_path / "demo"
    assert (folder / "windowed" / "liver" / "case.nii.gz").is_file()
    (picture,) = (folder / "datasets" / "liver" / "images").iterdir()
    results = demo.read_results(demo.Demo(folder, {}, False, None))
    assert {row["model"] for row in results["results"]} == {"bright", "geodesic"}
    assert results["settings"]["thresh"] == 0.5
    metrics = json.loads((folder / "metrics" / "metrics_liver.json").read_text())["metrics"]
    rows = [line.replace("|", " ").split() for line in done.stdout.splitlines()]
    means = [f"{metrics[name]['mean']:.3f}" for name in ("dice", "iou")]
    assert ["liver", *means] in [row[:3] for row in rows]
    overview = read_image(folder / "overview.png")
    assert overview.shape[1] == 1200

    # What the overview shows is what was evaluated.
    line = json.loads((folder / "results" / "samples.jsonl").read_text().splitlines()[0])
    assert line["name"] == picture.stem
    dataset = open_dataset("liver", read_config(folder / "config.yml"))
    predictor = predictor_for(load_model(network), dataset, Protocol(**results["settings"]))
    masks = replay(predictor, dataset[0], [Click(*click) for click in line["clicks"]])
    final = read_grey(folder / "results" / "predictions" / "bright" / "liver" / picture.name) > 0
    np.testing.assert_array_equal(masks[-1], final)
    assert [mask_iou(mask, dataset[0].truth) for mask in masks] == line["ious"][: len(masks)]
