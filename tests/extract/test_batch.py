import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from isegm.errors import InputError
from isegm.extract.batch import run_batch


@dataclass(frozen=True)
class Job:
    path: Path


def work(job):
    name = job.path.name
    if name == "bad":
        raise InputError("bad: mend it")
    if name == "missing":
        return (Path(__file__).parent / "no-such-file").read_bytes()
    if name == "large":
        raise MemoryError
    if name == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "slow":
        time.sleep(0.3)
    return name.upper()


def outcomes(names, workers):
    return {i: (o.result, o.problem) for i, o in run_batch(work, [Job(Path(n)) for n in names], workers, "t")}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_job_does_not_keep_the_others_from_being_done(workers):
    done = outcomes(["slow", "bad", "b", "missing", "large"], workers)
    assert done[0] == ("SLOW", "")
    assert done[1] == (None, "bad: mend it")
    assert done[2] == ("B", "")
    assert done[3][0] is None
    assert done[3][1].endswith("no-such-file: No such file or directory")
    assert "not enough memory" in done[4][1]


def test_a_killed_worker_ends_in_a_line():
    done = outcomes(["a", "killer", "slow", "b"], 2)
    assert done[1] == (None, "killer: its process was killed; is there enough memory?")
    assert [done[i] for i in (0, 2, 3)] == [("A", ""), ("SLOW", ""), ("B", "")]


def test_no_jobs_and_no_workers():
    assert outcomes([], None) == {}
    with pytest.raises(InputError, match="workers 0"):
        outcomes(["a"], 0)
