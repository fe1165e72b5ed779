"""Runs that are killed, interrupted, starved of disk or left hanging, and then gone on with."""

import contextlib
import html
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from isegm.commands import command_line, evaluate
from isegm.evaluation.journal import JournalWriter
from tests.commands.workspace import SCRIPT, environment, free_port, hard_sample, save_sample

pytestmark = pytest.mark.slow  # together more than the fast tests have time for

KILLS = int(os.environ.get("KILLS", "20"))
"""How many are tried."""

SETTINGS = [
    "EMC-Click",
    "--checkpoint=hr32",
    "--eval-mode=fixed64",
    "--n-clicks=4",
    "--datasets=many",
    "--cpu",
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
SAMPLES = 24


@pytest.fixture(scope="module")
def place(template, tmp_path_factory):
    """A workspace with a data set of 24 samples: some seconds of work."""
    folder = tmp_path_factory.mktemp("resume")
    for number in range(SAMPLES):
        save_sample(folder / "many", f"s{number:02d}", *hard_sample(number % 7))
    (folder / "weights").symlink_to(template / "weights")
    (folder / "config.yml").write_text("INTERACTIVE_MODELS_PATH: ./weights\nMANY_PATH: ./many\n")
    return folder


@pytest.fixture(scope="module")
def forks():
    """Starts processes that have torch imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["isegm.commands.evaluate"])
    return context


def run_script(folder, arguments, variables, output, hangs):
    """What a process does: the script's ``main``, with what it prints in files."""
    os.chdir(folder)
    if hangs:
        JournalWriter.add = hanging(JournalWriter.add)
    os.environ.update(variables)
    for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
        file = os.open(f"{output}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
    sys.argv = ["evaluate_model.py"]
    command_line._OTHERS_WAIT_SECONDS = 0.0  # no launcher here ends the others first
    status = evaluate.main([*SETTINGS, *arguments])
    sys.stdout.flush()
    os._exit(status)


def hanging(add):
    """Let the process stop as soon as its first line is on the disk.

    A signal to the process, from outside or not, would take effect when any of its threads gets to run.
    """

    def add_and_stop(*arguments):
        add(*arguments)
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    return add_and_stop


class Run:
    """A run of one or several processes, which need no launcher to be told who is who.

    The process of rank ``hangs`` stops for good after its first sample.
    """

    def __init__(self, forks, place, *arguments, processes=1, variables=None, hangs=None):
        common = {"CUDA_VISIBLE_DEVICES": "", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        common |= variables or {}
        self.outputs = [place / f"output{rank}" for rank in range(processes)]
        self.processes = []
        for rank, output in enumerate(self.outputs):
            for name in ("out", "err"):  # for a process that is killed before it makes them
                Path(f"{output}.{name}").write_text("")
            variables = common | {"RANK": str(rank), "WORLD_SIZE": str(processes)}
            process = forks.Process(
                target=run_script, args=(place, arguments, variables, output, rank == hangs), daemon=True
            )
            process.start()
            self.processes.append(process)

    def signal(self, number, *ranks):
        for rank in ranks or range(len(self.processes)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.processes[rank].pid, number)

    def wait(self):
        for process in self.processes:
            process.join(300)
        return [process.exitcode for process in self.processes]

    def printed(self, name, rank=0):
        return Path(f"{self.outputs[rank]}.{name}").read_text()


def lines_of(run):
    """samples.jsonl without what a clock says."""
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def figures_of(run):
    """results.json without what a clock says and who computed."""
    document = json.loads((run / "results.json").read_text())
    del document["started"], document["device"]["processes"], document["device"]["samples_at_once"]
    for row in document["results"]:
        del row["seconds"], row["seconds_a_click"]
    for row in document["checkpoints"]:
        del row["path"]
    return document


def masks_of(run):
    return {path.name: path.read_bytes() for path in (run / "predictions").rglob("*") if path.is_file()}


def check_same(run, plain):
    assert len(lines_of(run)) == SAMPLES
    assert lines_of(run) == lines_of(plain)
    assert figures_of(run) == figures_of(plain)
    assert masks_of(run) == masks_of(plain)
    assert not list(run.rglob(".tmp-*"))


@pytest.fixture(scope="module")
def plain(forks, place):
    """A run that nothing happens to."""
    run = Run(forks, place, "--logs-path=plain")
    assert run.wait() == [0], run.printed("err")
    assert len({line["ious"][-1] for line in lines_of(place / "plain")}) > 2
    return place / "plain"


def done_in(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("journal/*/process_*.jsonl"))


def wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_whoever_is_killed_at_whatever_moment_the_results_are_the_same(forks, place, plain):
    chance = random.Random(7)
    kills, runs = 0, 0
    while kills < KILLS:
        runs += 1
        folder = f"killed{runs}"
        processes = runs % 2 + 1
        while True:
            arguments = [f"--logs-path={folder}", "--resume", "--timeout=3"]
            run = Run(forks, place, *arguments, processes=processes)
            ranks = chance.sample(range(processes), chance.randint(1, processes))
            time.sleep(chance.uniform(0.1, 2.5))
            before = done_in(place / folder)
            if kills < KILLS:
                run.signal(signal.SIGKILL, *ranks)
            statuses = run.wait()
            assert done_in(place / folder) >= before
            kills += -signal.SIGKILL in statuses
            for rank, status in enumerate(statuses):
                assert "Traceback" not in run.printed("err", rank), run.printed("err", rank)
                if status != -signal.SIGKILL:
                    # It noticed: the first one that a sample does not end, another one that the first is
                    # gone. Or there was nothing left to notice.
                    assert status in (0, 2), run.printed("err", rank)
                    assert status == 0 or "error: " in run.printed("err", rank).splitlines()[-1]
            if statuses[0] == 0:
                break
        check_same(place / folder, plain)
        assert "NoC@90%" in run.printed("out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_cleanly_and_says_how_to_go_on(forks, place, plain, number):
    folder = place / f"interrupted{int(number)}"
    run = Run(forks, place, f"--logs-path={folder}")
    wait_until(lambda: done_in(folder) >= 3)
    run.signal(number)
    assert run.wait() == [130]
    *_, hint, last = run.printed("err").splitlines()
    assert hint == (f"what is done is kept; resume by the same command with --logs-path={folder} --resume")
    assert last == "evaluate_model.py: interrupted"
    assert 3 <= done_in(folder) < SAMPLES
    assert not list(folder.rglob(".tmp-*"))
    assert not (folder / "results.json").exists()
    done = {path: path.read_bytes() for path in folder.glob("journal/*/process_*.jsonl")}

    refused = Run(forks, place, f"--logs-path={folder}")
    assert refused.wait() == [2]
    assert refused.printed("err").endswith(
        f"error: {folder}: already holds an evaluation; --resume to go on with it, --force to replace it, or "
        "another --logs-path\n"
    )
    assert Run(forks, place, f"--logs-path={folder}", "--resume").wait() == [0]
    check_same(folder, plain)
    assert {path: path.read_bytes() for path in done} == done
    assert done_in(folder) == SAMPLES  # nothing was computed twice


def test_a_finished_run_has_nothing_left_to_do(forks, place, plain):
    before = {path: path.stat().st_mtime_ns for path in (plain / "predictions").rglob("*.png")}
    run = Run(forks, place, "--logs-path=plain", "--resume", processes=2)
    assert run.wait() == [0, 0]
    assert done_in(plain) == SAMPLES
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "NoC@90%" in run.printed("out")


def test_a_lost_or_altered_mask_is_computed_again(forks, place, plain):
    folder = place / "masks"
    assert Run(forks, place, f"--logs-path={folder}").wait() == [0]
    (folder / "predictions" / "many" / "s03.png").unlink()
    (folder / "predictions" / "many" / "s05.png").write_bytes(b"")
    assert Run(forks, place, f"--logs-path={folder}", "--resume").wait() == [0]
    check_same(folder, plain)
    assert done_in(folder) == SAMPLES + 2


def test_one_bad_sample_costs_no_other_and_is_tried_again(forks, template, tmp_path):
    """Too narrow for the network, cut off, without an object: each is named, and the others are kept."""
    (tmp_path / "weights").symlink_to(template / "weights")
    (tmp_path / "config.yml").write_text("INTERACTIVE_MODELS_PATH: ./weights\nMANY_PATH: ./many\n")
    for number in range(6):
        save_sample(tmp_path / "many", f"s{number}", *hard_sample(number))
    save_sample(tmp_path / "many", "s1", np.full((3, 512, 3), 90), np.ones((3, 512)))
    cut = tmp_path / "many" / "images" / "s3.png"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-40])
    save_sample(tmp_path / "many", "s4", np.full((40, 50, 3), 90), np.zeros((40, 50)))
    problems = [
        "many/images/s1.png: too long and narrow: 3x512 pixels would become 10,923 on the longer side for "
        "the network, and 6,144 is the limit; crop it, pad it, or use a smaller input size",
        "many/images/s3.png: not a readable picture; is it complete?",
        "many/masks/s4.png: has no object pixel; mark the object or remove image and mask",
    ]
    for done in (6, 9):  # what failed is tried again, and what is done is not
        run = Run(forks, tmp_path, "--logs-path=run", "--resume", processes=2)
        assert run.wait() == [1, 1], run.printed("err")
        assert [line for line in run.printed("err").splitlines() if line in problems] == problems
        assert done_in(tmp_path / "run") == done
        assert [line["name"] for line in lines_of(tmp_path / "run")] == ["s0", "s2", "s5"]
        (row,) = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
        assert (row["samples"], row["problems"]) == (3, problems)
        assert sorted(masks_of(tmp_path / "run")) == ["s0.png", "s2.png", "s5.png"]
        page = html.unescape((tmp_path / "run" / "report.html").read_text())
        assert all(problem in page for problem in problems)


def test_other_settings_weights_or_data_are_refused_with_the_difference(forks, place, plain):
    before = figures_of(plain)

    def refusal(*arguments):
        run = Run(forks, place, "--logs-path=plain", "--resume", *arguments)
        assert run.wait() == [2]
        return run.printed("err").splitlines()[-1]

    line = refusal("--thresh=0.5", "--no-flip")
    assert line.startswith("evaluate_model.py: error: plain/journal/run.json: this run was begun with other")
    assert (
        "settings.thresh: 0.49 then, 0.5 now; settings.flip: true then, false now; evaluate into another"
        in line
    )

    mask = place / "many" / "masks" / "s07.png"
    content = mask.read_bytes()
    mask.write_bytes((place / "many" / "masks" / "s06.png").read_bytes())
    assert "many: s07 has other files now, the first of 1; evaluate into another" in refusal()
    mask.write_bytes(content)

    other = place / "other" / "hr32.pth"
    other.parent.mkdir()
    original = (place / "weights" / "hr32.pth").read_bytes()
    other.write_bytes(original)
    assert Run(forks, place, "--logs-path=plain", "--resume", "--model-dir=other").wait() == [0]
    saved = torch.load(other, weights_only=True)
    name = next(name for name in saved["state_dict"] if name.endswith("refine_pred.bias"))
    saved["state_dict"][name] += 1
    torch.save(saved, other)
    assert "checkpoints[0].sha256: " in refusal("--model-dir=other")
    assert figures_of(plain) == before


def test_a_process_that_hangs_is_named_and_the_run_ends(forks, place, plain):
    folder = place / "hanging"
    run = Run(forks, place, f"--logs-path={folder}", "--timeout=6", processes=2, hangs=1)
    run.processes[0].join(300)
    run.signal(signal.SIGKILL, 1)
    assert run.processes[0].exitcode == 2
    assert re.search(
        r"error: no sample was finished for 6 s; process 1 on \S+ is at (no sample of )?hr32/many.*"
        r"; look what holds it, or allow more time; what is done is kept\n$",
        run.printed("err"),
    )
    assert Run(forks, place, f"--logs-path={folder}", "--resume").wait() == [0]
    check_same(folder, plain)


def test_a_first_process_that_hangs_is_named_by_the_others(forks, place):
    """The store is not its own here, but its launcher's, as under torchrun."""
    folder = place / "first_hangs"
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    variables = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_PORT": str(store.port)}
    run = Run(forks, place, f"--logs-path={folder}", "--timeout=6", processes=2, variables=variables, hangs=0)
    run.processes[1].join(300)
    run.signal(signal.SIGKILL, 0)
    assert run.processes[1].exitcode == 2
    assert re.search(
        r"error: process 0 on \S+ has not told [a-z ]+ for 6 s: it hangs; look what it does there, or "
        r"allow more time\n$",
        run.printed("err", 1),
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can be mounted by root only")
def test_a_full_disk_loses_nothing(forks, place, plain):
    folder = place / "full"
    folder.mkdir()
    size = sum(path.stat().st_size for path in (plain / "predictions").rglob("*.png"))
    blocks = (SAMPLES + 12) // 2 * 4  # kB: a page or more for every file, so that half of the masks fit
    mount = ["mount", "-t", "tmpfs", "-o", f"size={blocks}k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    assert size > 0
    try:
        run = Run(forks, place, "--logs-path=full")
        assert run.wait() == [2]
        line = run.printed("err").splitlines()[-1]
        assert re.match(r"evaluate_model\.py: error: full/.*: No space left on device", line)
        done = done_in(folder)
        assert 0 < done < SAMPLES
        assert not list(folder.rglob(".tmp-*"))
        again = Run(forks, place, "--logs-path=full", "--resume")
        assert again.wait() == [2]  # still full
        subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
        assert done_in(folder) >= done
        assert Run(forks, place, "--logs-path=full", "--resume").wait() == [0]
        check_same(folder, plain)
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def workers_of(folder):
    """The processes that torchrun started in a folder, by rank."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = dict(
                part.partition("=")[::2]
                for part in (entry / "environ").read_text().split("\0")
                if "=" in part
            )
            if variables.get("PWD") == str(folder) and "RANK" in variables:
                found[int(variables["RANK"])] = int(entry.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_torchrun_brings_a_crashed_process_back(place, plain):
    folder = place / "restarted"
    line = [*TORCHRUN, "--standalone", "--nproc_per_node=2", "--max-restarts=2", str(SCRIPT), *SETTINGS]
    with subprocess.Popen(
        [*line, f"--logs-path={folder}"],
        cwd=place,
        env=environment() | {"PWD": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as torchrun:
        try:
            for start, rank in ((1, 1), (2, 0)):
                journal = folder / "journal" / str(start)
                wait_until(lambda: len(list(journal.glob("*.jsonl"))) == 2)  # noqa: B023 - called at once
                os.kill(workers_of(place)[rank], signal.SIGKILL)
            out, err = torchrun.communicate(timeout=200)
        finally:
            torchrun.kill()
    assert torchrun.returncode == 0, err
    assert out.count("NoC@90%") == 1
    assert sorted(path.name for path in (folder / "journal").iterdir() if path.is_dir()) == ["1", "2", "3"]
    check_same(folder, plain)


def test_restarts_need_a_folder_that_they_find_again(evaluate_model, workspace, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "2")
    assert evaluate_model.main([*SETTINGS[:-2], "--datasets=spleen", "--cpu"]) == 2
    line = "error: --max-restarts of torchrun: needs a --logs-path, where a restart finds what is done\n"
    assert capsys.readouterr().err.endswith(line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--resume"], "--resume: needs --logs-path, the folder of the run to go on with"),
        (["--resume", "--force", "--logs-path=x"], "--resume: cannot go with --force; give one of them"),
        (["--timeout=0"], "--timeout: must be above 0, not 0.0"),
        (["--timeout=nan"], "--timeout: must be above 0, not nan"),
    ],
)
def test_options_that_do_not_go_together(evaluate_model, workspace, capsys, arguments, line):
    assert evaluate_model.main([*SETTINGS[:-2], "--datasets=spleen", "--cpu", *arguments]) == 2
    assert capsys.readouterr().err.endswith(f"error: {line}\n")


def test_results_without_a_journal_cannot_be_gone_on_with(evaluate_model, workspace, capsys):
    (workspace / "run").mkdir()
    (workspace / "run" / "results.json").write_text("{}")
    arguments = [*SETTINGS[:-2], "--datasets=spleen", "--cpu", "--logs-path=run", "--resume"]
    assert evaluate_model.main(arguments) == 2
    assert "run: holds an evaluation without a journal, which cannot be resumed" in capsys.readouterr().err
    assert (workspace / "run" / "results.json").read_text() == "{}"
