"""The checks of a GPU, tried on the CPU as far as it can do what they ask."""

import json

import pytest
import torch

from isegm.benchmark.gpu_check import GpuCheck, checks_of, format_checks, run_checks
from isegm.commands.benchmark import main
from isegm.commands.places import default_weights

pytestmark = pytest.mark.slow  # together more than the fast tests have time for


@pytest.fixture(scope="module")
def check(one_thread):
    return GpuCheck(default_weights(), torch.device("cpu"), [(128, 128), (128, 128), (128, 160)])


def test_the_checks_that_a_cpu_can_do_pass(check):
    checks = checks_of(check)
    assert list(checks) == [
        *("float32", "tf32", "float16", "bfloat16", "batches", "compiled"),
        *("training float32", "training tf32", "training bfloat16", "one rank"),
    ]
    # TF32 is for GPUs; float16 is slow on CPUs; compiling needs a compiler.
    names = ("float32", "bfloat16", "batches", "training float32", "training bfloat16", "one rank")
    rows = run_checks({name: checks[name] for name in names})
    assert [(row["check"], row["passed"], row.get("error")) for row in rows] == [
        (name, True, None) for name in names
    ]
    assert all(row["mean_iou"] > 0.95 for row in rows[:3])


def test_a_check_that_fails_says_why_and_the_others_go_on(check):
    check._expected = [[~mask for mask in masks] for masks in check._expected]
    rows = run_checks(
        {"float32": lambda: check.precision("float32"), "tf32": lambda: check.precision("tf32")}
    )
    check._expected = [[~mask for mask in masks] for masks in check._expected]
    assert [row["passed"] for row in rows] == [False, False]
    assert rows[0]["error"].startswith("AssertionError: mean IoU 0.")
    assert "tf32 is for NVIDIA GPUs" in rows[1]["error"]
    assert format_checks(rows).count("FAILED") == 2


def test_gradients_that_are_no_numbers_are_no_agreement(check, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, torch.nan))
    with pytest.raises(AssertionError, match="gradients of one rank differ by nan"):
        check.one_rank()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert main(["gpu"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-2] == "no GPU is usable here: nothing was checked"
    assert json.loads(out[-1])["checks"] == []
