import os
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from isegm.errors import FileWarning, InputError
from isegm.extract.batch import run_batch


@dataclass(frozen=True)
class Job:
    path: Path


def work(job):
    name = job.path.name
    if name == "bad":
        raise InputError("bad: fix it")
    if name == "missing":
        return (Path(__file__).parent / "no-such-file").read_bytes()
    if name == "large":
        raise MemoryError
    if name == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "slow":
        time.sleep(0.3)
    if name.startswith("odd"):
        warnings.warn(FileWarning(name, "is odd"), stacklevel=1)
    return name.upper()


def outcomes(names, workers):
    return {i: (o.result, o.problem) for i, o in run_batch(work, [Job(Path(n)) for n in names], workers, "t")}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_job_does_not_keep_the_others_from_being_done(workers):
    done = outcomes(["slow", "bad", "b", "missing", "large"], workers)
    assert done[0] == ("SLOW", "")
    assert done[1] == (None, "bad: fix it")
    assert done[2] == ("B", "")
    assert done[3][0] is None
    assert done[3][1].endswith("no-such-file: No such file or directory; check the path")
    assert "not enough memory" in done[4][1]


def test_a_killed_worker_ends_in_a_line():
    done = outcomes(["a", "killer", "slow", "b"], 2)
    assert done[1] == (None, "killer: its process was killed; is there enough memory?")
    assert [done[i] for i in (0, 2, 3)] == [("A", ""), ("SLOW", ""), ("B", "")]


@pytest.mark.parametrize("workers", [1, 2])
def test_warnings_come_from_every_process_and_are_said_once(workers):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = outcomes(["slow", "odd_1", "b", "odd_2", "odd_3"], workers)
    assert [done[i][0] for i in range(5)] == ["SLOW", "ODD_1", "B", "ODD_2", "ODD_3"]
    assert [str(one.message) for one in caught] == ["odd_1: is odd (and 2 more)"]


def test_no_jobs_and_no_workers():
    assert outcomes([], None) == {}
    with pytest.raises(InputError, match="workers: must be at least 1, not 0"):
        outcomes(["a"], 0)
