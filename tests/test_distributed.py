import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed as dist

from isegm.distributed import Processes, choose_device, cores_for, join_processes, launched_as
from isegm.errors import InputError

pytestmark = pytest.mark.slow  # together more than the fast tests have time for

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def alone():
    return Processes(0, 1, 0, 1, None)


def test_counters_start_at_zero_and_are_told_apart():
    processes = alone()
    added = [processes.add(*each) for each in (("a", 0), ("a",), ("a", 3), ("b",))]
    assert added == [0, 1, 4, 1]


@pytest.mark.parametrize("shared", [False, True])
def test_hand_out_gives_each_number_once_to_any_number_of_threads(shared):
    store = dist.HashStore() if shared else None
    takers = [Processes(rank, 3, rank, 3, store) for rank in range(3)] if shared else [alone()] * 3
    together = threading.Barrier(6)

    def take(processes):
        together.wait()
        return list(processes.hand_out("job", 500))

    with ThreadPoolExecutor(6) as pool:
        parts = list(pool.map(take, takers * 2))
    assert sorted(number for part in parts for number in part) == list(range(500))
    assert all(part == sorted(part) for part in parts)
    assert list(takers[0].hand_out("job", 500)) == []
    assert list(takers[0].hand_out("another job", 2)) == [0, 1]


def test_a_thread_that_counts_slowly_is_not_overtaken():
    class Slow(dict):
        def get(self, *key):
            value = super().get(*key)
            time.sleep(0.001)
            return value

    processes = alone()
    processes._counters = Slow()
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda _: processes.add("a"), range(40))) == list(range(1, 41))


def test_nothing_is_handed_out_of_nothing():
    assert list(alone().hand_out("job", 0)) == []


def test_one_process_gathers_in_order_and_keeps_its_own_value():
    assert list(alone().gather({2: "c", 0: "a", 1: "b"}).items()) == [(0, "a"), (1, "b"), (2, "c")]
    assert alone().from_first("x") == "x"


WORKER = """
import json, time
import torch
import torch.distributed as dist
from isegm.distributed import join_processes

with join_processes(torch.device("cpu"), collectives=True) as processes:
    taken = []
    for number in processes.hand_out("job", 40):
        taken.append(number)
        time.sleep(0.01 * (processes.rank + 1))
    gathered = processes.gather({number: f"{number} of {processes.rank}" for number in taken})
    first = processes.from_first(f"from {processes.rank}")
    who = [processes.rank, processes.size, processes.local_rank, processes.local_size]
assert not dist.is_initialized()  # its threads could abort the process at its end
print(json.dumps([who, taken, first, gathered and list(gathered.items())]))
"""


def test_processes_share_the_work_and_the_first_gets_all_of_it_in_order(free_port):
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port)}
    answers = [json_of(process) for process in start_workers(WORKER, 3, environment)]
    assert [who for who, *_ in answers] == [[rank, 3, rank, 3] for rank in range(3)]
    shares = [taken for _, taken, *_ in answers]
    assert sorted(number for share in shares for number in share) == list(range(40))
    assert [first for *_, first, _ in answers] == ["from 0"] * 3
    owner = {number: rank for rank, share in enumerate(shares) for number in share}
    assert answers[0][3] == [[number, f"{number} of {owner[number]}"] for number in range(40)]
    assert answers[1][3] is None
    assert answers[2][3] is None


def start_workers(script, size, environment):
    return [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            env=os.environ | environment | {"RANK": str(rank), "WORLD_SIZE": str(size)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def test_a_store_with_what_an_earlier_start_left_in_it_does_no_harm():
    """As torchrun's has, after a restart that only this node counted."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    environment = {
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
    }
    for _ in range(2):
        answers = [json_of(process) for process in start_workers(WORKER, 2, environment)]
        assert [number for number, _ in answers[0][3]] == list(range(40))


HANGING = """
import time
import torch
from isegm.distributed import join_processes
from isegm.errors import InputError

with join_processes(torch.device("cpu"), timeout=4, collectives=True) as processes:
    if processes.rank == 1:
        time.sleep(8)
    else:
        try:
            processes.gather({0: "a"})
        except InputError as error:
            print(error)
"""


def test_a_process_that_gives_no_results_is_not_waited_for_longer_than_the_timeout(free_port):
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port)}
    first, second = start_workers(HANGING, 2, environment)
    out, _ = first.communicate(timeout=120)
    second.communicate(timeout=120)
    assert out.startswith("process 0: the others gave no results within 4 s (")
    assert out.endswith("; look what holds them, or allow more time\n")


def json_of(process):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out)


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("values", "who"),
    [
        ((), (0, 1, 0, 1)),  # without a launcher there is one process
        ("5814", (5, 8, 1, 4)),
        ("23", (2, 3, 2, 3)),  # without local numbers all processes are on one node
    ],
)
def test_the_launcher_says_who_is_who(monkeypatch, values, who):
    for name, value in zip(VARIABLES, values, strict=False):
        monkeypatch.setenv(name, value)
    assert launched_as() == who


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"RANK": "one"}, "environment variable RANK: must be a whole number, not 'one'"),
        ({"WORLD_SIZE": ""}, "environment variable WORLD_SIZE: must be a whole number, not ''"),
        ({"LOCAL_RANK": "-1"}, "environment variable LOCAL_RANK: must be a whole number, not '-1'"),
        ({"WORLD_SIZE": "0"}, "environment variable RANK: must be below the number of processes, 0, not 0"),
        (
            {"RANK": "2", "WORLD_SIZE": "2"},
            "environment variable RANK: must be below the number of processes, 2, not 2",
        ),
        (
            {"WORLD_SIZE": "4", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"},
            "environment variable LOCAL_RANK: must be below the number of processes, 2, not 2",
        ),
    ],
)
def test_numbers_that_cannot_be_are_told_by_name(monkeypatch, variables, line):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        launched_as()
    assert str(caught.value) == line


@pytest.mark.parametrize("missing", ["RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_many_processes_that_cannot_meet_are_told_what_is_missing(monkeypatch, missing):
    for name, value in zip(VARIABLES, ("0", "2", "0", "2", "127.0.0.1", "1"), strict=True):
        if name != missing:
            monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"environment variable {missing}: needed by 2 processes"), join():
        pass


def join():
    return join_processes(torch.device("cpu"))


def test_one_process_meets_nobody_whatever_the_environment_says_of_a_master(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "nowhere.invalid")
    with join() as processes:
        assert (processes.rank, processes.size) == (0, 1)
        assert not dist.is_initialized()
        assert processes.from_first(7) == 7


@pytest.fixture
def gpus(monkeypatch):
    def gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return gpus


@pytest.mark.parametrize(
    ("there", "wanted", "local_rank", "local_size", "device"),
    [
        (1, None, 0, 1, "cuda:0"),
        (8, None, 5, 8, "cuda:5"),
        (8, [0, 1, 2, 3, 4, 5, 6, 7], 7, 8, "cuda:7"),
        (4, [3, 1], 0, 2, "cuda:3"),
        (4, [3, 1], 1, 2, "cuda:1"),
        (4, [3, 1, 2], 0, 1, "cuda:3"),
    ],
)
def test_each_process_gets_a_gpu_of_its_own(gpus, there, wanted, local_rank, local_size, device):
    gpus(there)
    chosen = choose_device(wanted, cpu=False, local_rank=local_rank, local_size=local_size)
    assert chosen == (torch.device(device), None)


@pytest.mark.parametrize(
    ("there", "wanted", "local_size", "line"),
    [
        (4, list(range(8)), 8, "gpus: GPU 4 was asked for, but there are 4, numbered from 0"),
        (4, [0, 4], 2, "gpus: GPU 4 was asked for, but there are 4, numbered from 0"),
        (2, None, 3, "gpus: GPU 2 was asked for, but there are 2, numbered from 0"),
        (4, [0, 1], 3, "gpus: 3 processes need as many GPUs, not 2"),
    ],
)
def test_fewer_gpus_than_asked_for_are_an_error_in_every_process(gpus, there, wanted, local_size, line):
    gpus(there)
    for local_rank in range(local_size):
        with pytest.raises(InputError) as caught:
            choose_device(wanted, cpu=False, local_rank=local_rank, local_size=local_size)
        assert str(caught.value) == line


@pytest.mark.parametrize("local_rank", [0, 1, 7])
def test_each_process_may_see_one_gpu_only_which_is_its_own(gpus, monkeypatch, local_rank):
    """As srun hands them out."""
    gpus(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(local_rank))
    chosen = choose_device(None, cpu=False, local_rank=local_rank, local_size=8)
    assert chosen == (torch.device("cuda:0"), None)


@pytest.mark.parametrize("local_rank", [0, 1])
def test_processes_that_share_the_only_gpu_are_told_so(gpus, monkeypatch, local_rank):
    gpus(1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device, warning = choose_device(None, cpu=False, local_rank=local_rank, local_size=2)
    assert device == torch.device("cuda:0")
    assert warning == "2 processes share the only GPU here; one alone would use it better"


@pytest.mark.parametrize("wanted", [None, [0, 1]])
def test_no_gpu_at_all_falls_back_to_the_cpu_with_a_warning(gpus, wanted):
    gpus(0)
    device, warning = choose_device(wanted, cpu=False, local_rank=1, local_size=2)
    assert device == torch.device("cpu")
    assert warning == "no GPU is usable here: computing on the CPU"


def test_the_cpu_that_was_asked_for_needs_no_warning_and_no_gpus(gpus):
    gpus(1)
    chosen = choose_device([0, 1, 2], cpu=True, local_rank=2, local_size=3)
    assert chosen == (torch.device("cpu"), None)


@pytest.mark.parametrize("local_rank", [-1, 2])
def test_a_local_rank_that_no_process_has_is_an_error(gpus, local_rank):
    gpus(8)
    with pytest.raises(InputError, match=f"^local_rank: must be from 0 to 1, not {local_rank}$"):
        choose_device(None, cpu=False, local_rank=local_rank, local_size=2)


@pytest.mark.parametrize(("cores", "processes", "share"), [(8, 1, 8), (8, 3, 2), (2, 2, 1), (2, 8, 1)])
def test_cores_are_shared_among_the_nodes_processes(monkeypatch, cores, processes, share):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(100, 100 + cores)), raising=False)
    assert cores_for(processes) == share


def test_where_affinity_is_unknown_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores_for(2) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores_for(2) == 1
