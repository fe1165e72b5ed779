"""Whole evaluations as users start them: real processes, by every launcher, on small and on real pictures."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands.workspace import SCRIPT, copy_of, environment, free_port, shell

pytestmark = pytest.mark.slow

PUBLISHED = (
    "python -m torch.distributed.launch --master_port=4321 --nproc_per_node=8 scripts/evaluate_model.py "
    "EMC-Click --model_dir='./weights/' --checkpoint=hr32.pth --n-clicks=20 --gpus=0,1,2,3,4,5,6,7 "
    "--target-iou=0.9 --thresh=0.5 --eval-mode='emc-click' --datasets=lung, liver, spleen"
)
SETTINGS = (
    f"{shlex.quote(str(SCRIPT))} EMC-Click --checkpoint=hr32 --eval-mode=fixed128 --n-clicks=6 --cpu "
    "--datasets=kidney, lung"
)
TORCHRUN = "python -m torch.distributed.run"
WARNING = "warning: no GPU is usable here: computing on the CPU"
OUR_TRACEBACK = re.compile(r'File ".*(isegm|evaluate_model)')
"""torchrun reports a failure by a traceback of its own."""


def lines_of(run):
    """The lines of samples.jsonl without what a clock says."""
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    for line in lines:
        assert len(line.pop("seconds")) == len(line["clicks"])
    return lines


def masks_of(run):
    masks = {
        path.relative_to(run): path.read_bytes()
        for path in (run / "predictions").rglob("*")
        if path.is_file()
    }
    assert masks
    return masks


def results_of(run):
    return json.loads((run / "results.json").read_text())


def cells_of(output):
    """The table's rows without the times."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")][:-2]
        for line in output.splitlines()
        if line.startswith("|")
    ]


@pytest.fixture(scope="module")
def place(template, tmp_path_factory):
    """A workspace for all runs of this module, with the scripts in it as in the repository."""
    folder = copy_of(template, tmp_path_factory.mktemp("processes") / "workspace")
    (folder / "scripts").symlink_to(SCRIPT.parent)
    return folder


@pytest.fixture(scope="module")
def plain(place):
    """One process, no launcher: what all the others are held against."""
    done = shell(f"python {SETTINGS} --logs-path=plain", place)
    assert done.returncode == 0, done.stderr
    return done


def test_one_process_goes_through_the_data_sets_in_order(place, plain):
    lines = lines_of(place / "plain")
    assert [line["name"] for line in lines] == [*"0123456", "lung_0", "lung_1"]
    assert len({len(line["clicks"]) for line in lines}) > 2
    assert "Traceback" not in plain.stderr
    assert WARNING not in plain.stderr


def check_same(place, run, plain, output):
    assert lines_of(place / run) == lines_of(place / "plain")
    assert masks_of(place / run) == masks_of(place / "plain")
    assert cells_of(output) == cells_of(plain.stdout)
    assert output.count("NoC@90%") == 1


def test_three_processes_under_torchrun_give_the_same(place, plain):
    done = shell(f"{TORCHRUN} --standalone --nproc_per_node=3 {SETTINGS} --logs-path=three", place)
    assert done.returncode == 0, done.stderr
    check_same(place, "three", plain, done.stdout)
    assert results_of(place / "three")["device"]["processes"] == 3


def test_two_nodes_give_the_same(place, plain):
    launcher = f"{TORCHRUN} --nnodes=2 --nproc_per_node=1 --master-addr=127.0.0.1 --master-port={free_port()}"
    nodes = [
        subprocess.Popen(
            ["/bin/sh", "-c", f"{launcher} --node-rank={rank} {SETTINGS} --logs-path=nodes"],
            cwd=place,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [node.communicate(timeout=280) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    check_same(place, "nodes", plain, outputs[0][0])
    assert outputs[1][0] == ""
    assert results_of(place / "nodes")["device"]["processes"] == 2


@pytest.fixture(scope="module")
def published(place):
    """The published command, but for its port and the number of processes."""
    line = PUBLISHED.replace("4321", str(free_port())).replace("nproc_per_node=8", "nproc_per_node=2")
    return shell(line, place)


def test_the_published_command_runs_as_the_shell_splits_it(place, published):
    assert published.returncode == 0, published.stderr
    header, *rows = cells_of(published.stdout)
    assert header == [
        "Model", "Dataset", "Samples", "NoC@80%", "NoC@85%", "NoC@90%",
        ">=20@85%", ">=20@90%", "fail@85%", "fail@90%",
    ]  # fmt: skip
    assert rows == [
        ["hr32", organ, count, "1.00", "1.00", "1.00", "0", "0", "0", "0"]
        for organ, count in (("lung", "2"), ("liver", "2"), ("spleen", "1"))
    ]
    assert published.stdout.count("NoC@90%") == 1
    assert published.stderr.count(WARNING) == 1
    (run,) = (place / "experiments" / "evaluation_logs").iterdir()
    assert re.fullmatch(r"hr32_emc-click_[\d-]+-[0-9a-f]{4}", run.name)
    settings = results_of(run)["settings"]
    assert (settings["eval_mode"], settings["n_clicks"], settings["thresh"]) == ("emc-click", 20, 0.5)
    assert [line["name"] for line in lines_of(run)] == [
        "lung_0", "lung_1", "liver_0", "liver_1", "spleen_0"
    ]  # fmt: skip
    assert len(masks_of(run)) == 5


def test_a_corrupt_file_is_told_at_the_end_and_the_rest_is_kept(template, tmp_path, place, plain):
    folder = copy_of(template, tmp_path / "workspace")
    broken = folder / "datasets" / "kidney" / "images" / "3.png"
    broken.write_bytes(broken.read_bytes()[:-300])
    (folder / "datasets" / "lung" / "masks" / "lung_1.png").write_bytes(b"")
    done = shell(f"{TORCHRUN} --standalone --nproc_per_node=2 {SETTINGS} --logs-path=run", folder)
    assert done.returncode == 1
    problems = [
        "datasets/kidney/images/3.png: not a readable picture; is it complete?",
        "datasets/lung/masks/lung_1.png: not a readable picture; is it complete?",
    ]
    assert [line for line in done.stderr.splitlines() if line.endswith("is it complete?")] == problems
    run = folder / "run"
    assert [row["problems"] for row in results_of(run)["results"]] == [problems[:1], problems[1:]]
    assert [row["samples"] for row in results_of(run)["results"]] == [6, 1]
    whole = [line for line in lines_of(place / "plain") if line["name"] not in ("3", "lung_1")]
    assert lines_of(run) == whole
    masks = masks_of(place / "plain")
    del masks[Path("predictions/kidney/3.png")], masks[Path("predictions/lung/lung_1.png")]
    assert masks_of(run) == masks
    assert not OUR_TRACEBACK.search(done.stderr)
    assert cells_of(done.stdout)[1][:3] == ["hr32", "kidney", "6"]
    # Written by the first process, for which the others wait: their launcher would end it with them.
    assert (run / "report.html").read_text().count("1 sample could not be evaluated: datasets/") == 2


def test_what_is_wrong_before_the_start_is_said_once_for_all_processes(template, tmp_path):
    folder = copy_of(template, tmp_path / "workspace")
    (folder / "datasets" / "lung" / "masks" / "lung_1.png").unlink()
    done = shell(f"{TORCHRUN} --standalone --nproc_per_node=2 {SETTINGS} --logs-path=run", folder)
    assert done.returncode != 0
    assert done.stderr.count("evaluate_model.py: error: datasets/lung/images/lung_1.png: has no mask") == 1
    assert done.stderr.count("has no mask of the same name") == 1
    assert "exitcode  : 2" in done.stderr
    assert not OUR_TRACEBACK.search(done.stderr)
    assert not (folder / "run").exists()


def test_real_pictures_give_the_same_on_any_number_of_processes_and_cores(shared, reference_file, tmp_path):
    """The last bits matter here: the weights are random, and every mask hangs on all the clicks before it."""
    slices = shared / "data" / "ct_slices" / "spleen"
    if not slices.is_dir():
        pytest.skip("the real slices are not at hand")
    (tmp_path / "config.yml").write_text(f"SPLEEN_PATH: {slices}\n")
    line = (
        f"{shlex.quote(str(SCRIPT))} EMC-Click --checkpoint={reference_file('hr18s')} --eval-mode=fixed192 "
        "--n-clicks=3 --datasets=spleen --cpu --thresh=0.5"
    )
    launchers = {"one": "python", "two": f"{TORCHRUN} --standalone --nproc_per_node=2"}
    launchers["three"] = f"{TORCHRUN} --standalone --nproc_per_node=3"
    if shutil.which("taskset"):
        launchers["one core"] = "taskset -c 0 python"
    for name, launcher in launchers.items():
        done = shell(f"{launcher} {line} --logs-path='{name}'", tmp_path)
        assert done.returncode == 0, done.stderr
    names = sorted(path.stem for path in (slices / "images").iterdir())
    assert [sample["name"] for sample in lines_of(tmp_path / "one")] == names
    assert (
        len({tuple(sample["ious"]) for sample in lines_of(tmp_path / "one")} - {(0.0,) * 3}) > len(names) / 2
    )
    for name in list(launchers)[1:]:
        assert lines_of(tmp_path / name) == lines_of(tmp_path / "one")
        assert masks_of(tmp_path / name) == masks_of(tmp_path / "one")
