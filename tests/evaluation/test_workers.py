"""Evaluating a data set with a stand-in for the predictor, so that only the handing out is looked at."""

import re
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist

from isegm.distributed import Processes
from isegm.errors import InputError
from isegm.evaluation import workers as run
from isegm.evaluation.click_loop import evaluate_sample
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import SampleFailure, SampleResult
from isegm.evaluation.workers import (
    Method,
    Progress,
    Results,
    Task,
    evaluate_dataset,
    method_of,
    predictor_for,
    samples_at_once,
    shown_threshold,
)
from tests.evaluation.by_hand import ScriptedPredictor, row_of, sample_of

PROTOCOL = Protocol(n_clicks=3, target_iou=0.75, eval_mode="fixed64")
CPU = torch.device("cpu")


class Rows:
    """A data set of rows whose first 1, 2, ... 8 pixels are object; some cannot be read."""

    name = "rows"

    def __init__(self, count=8, broken=()):
        self.names = tuple(f"row{i}" for i in range(count))
        self.records = [SimpleNamespace(files=(Path(f"{name}.png"),)) for name in self.names]
        self.broken = broken

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if index in self.broken:
            raise InputError(f"{self.names[index]}.png: not a readable picture; is it complete?")
        time.sleep(0.002 * (1 + (index * 5) % 7))
        return sample_of(row_of(index % 8 + 1), self.names[index])


@pytest.fixture(autouse=True)
def predictors(monkeypatch):
    """The settings of every predictor that was made; their masks are a row's first 4 pixels."""
    made = []

    class Predictor(ScriptedPredictor):
        def __init__(self, model, **settings):
            made.append(settings)
            super().__init__([row_of(4)] * 3)

    monkeypatch.setattr(run, "Predictor", Predictor)
    return made


@pytest.fixture
def cores(monkeypatch):
    def cores(count):
        monkeypatch.setattr(run, "cores_for", lambda local_size: max(1, count // local_size))

    cores(4)
    return cores


def method_with(new_segmenter):
    return Method(
        new_segmenter=new_segmenter,
        evaluate=lambda segmenter, sample, seed: evaluate_sample(segmenter, sample, PROTOCOL, seed),
        device=CPU,
    )


def evaluate(
    dataset, processes=None, save=lambda *_: None, protocol=PROTOCOL, method=None, missing=None, show=None
):
    """The results by number, and in its order."""
    method = method or method_of(torch.nn.Linear(1, 1), protocol, CPU)
    processes = processes or Processes(0, 1, 0, 1, None)
    missing = range(len(dataset)) if missing is None else missing

    class Saving(Results):
        def keep(self, index, *what):
            super().keep(index, *what)
            save(*what)

    kept = Saving()
    task = Task(key="job", dataset=dataset, indices=missing, protocol=protocol)
    evaluate_dataset(task, method, processes, kept, show or (lambda _: None))
    return dict(sorted(kept.results.items()))


# The object's first k pixels against 4: IoU k / 4 up to 4 and 4 / k above. Up to k = 2 and from 6 on the
# target of 0.75 is out of reach, and three clicks are placed.
SCORES = [(0.25,) * 3, (0.5,) * 3, (0.75,), (1.0,), (0.8,), (4 / 6,) * 3, (4 / 7,) * 3, (0.5,) * 3]


def test_results_come_in_the_order_of_the_data_set_whoever_finishes_first(cores):
    results = evaluate(Rows())
    assert list(results) == list(range(8))
    assert [result.name for result in results.values()] == [f"row{i}" for i in range(8)]
    assert [result.scores for result in results.values()] == SCORES


def test_only_what_is_missing_is_evaluated(cores):
    results = evaluate(Rows(), missing=[6, 1, 3])
    assert {index: result.scores for index, result in results.items()} == {i: SCORES[i] for i in (1, 3, 6)}
    assert evaluate(Rows(), missing=[]) == {}


def test_a_sample_that_cannot_be_read_leaves_the_others_as_they_are(cores):
    results = evaluate(Rows(broken=(0, 4)))
    assert results[0] == SampleFailure("row0", "row0.png: not a readable picture; is it complete?")
    assert results[4] == SampleFailure("row4", "row4.png: not a readable picture; is it complete?")
    done = {index: result.scores for index, result in results.items() if isinstance(result, SampleResult)}
    assert done == {index: SCORES[index] for index in (1, 2, 3, 5, 6, 7)}


def poisoned(poison):
    """A segmenter that fails on rows of 5 and 6 object pixels, as told; others are segmented as usual."""

    class Poisoned(ScriptedPredictor):
        def set_image(self, image, previous_mask):
            super().set_image(image, previous_mask)
            self.poisoned = image[0, 0, 0] in (5, 6)

        def click(self, row, col, positive):
            probability = super().click(row, col, positive)
            return poison(probability) if self.poisoned else probability

    return method_with(lambda _: Poisoned([row_of(4)] * 3))


class Marked(Rows):
    """The rows, with the number of object pixels as grey value."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        sample.image[:] = index % 8 + 1
        return sample


def raising(error):
    def poison(_):
        raise error

    return poison


@pytest.mark.parametrize(
    ("poison", "said"),
    [
        (
            raising(RuntimeError("mat1 and mat2\nshapes")),
            "evaluating it failed (RuntimeError: mat1 and mat2); try again",
        ),
        (
            raising(ZeroDivisionError()),
            "evaluating it failed (ZeroDivisionError: no reason given); try again",
        ),
        (raising(InputError("too long and narrow")), "too long and narrow"),
        (raising(MemoryError()), "not enough memory; use fewer processes or"),
        (
            raising(
                RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            ),
            "not enough memory; use fewer",
        ),
        (raising(torch.OutOfMemoryError("CUDA out of memory.")), "not enough memory; use fewer"),
        (lambda probability: probability * np.nan, "the network's output is not finite; compute in a higher"),
        (lambda probability: probability / 0, "the network's output is not finite; compute in a higher"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_whatever_goes_wrong_in_a_sample_is_its_own_failure(cores, poison, said):
    results = evaluate(Marked(), method=poisoned(poison))
    assert list(results) == list(range(8))
    for index, result in results.items():
        if index in (4, 5):
            assert isinstance(result, SampleFailure)
            assert result.problem.startswith(f"row{index}.png: {said}")
            assert "\n" not in result.problem
        else:
            assert result.scores == SCORES[index]


def test_a_sample_that_others_left_no_memory_for_is_evaluated_alone(cores):
    inside, failed, lock = set(), [], threading.Lock()

    class Crowded(Rows):
        """Rows 2 and 5 take all memory: there is none for them beside others, and for others beside them."""

        def __getitem__(self, index):
            with lock:
                inside.add(index)
            sample = super().__getitem__(index)
            if index in (2, 5):
                with lock:
                    alone = inside == {index}
                if index not in failed or not alone:
                    failed.append(index)
                    inside.discard(index)
                    raise MemoryError
            return sample

    def leave(sample, *_):
        with lock:
            inside.discard(int(sample.name.removeprefix("row")))

    results = evaluate(Crowded(), save=leave)
    assert [result.scores for result in results.values()] == SCORES
    assert sorted(failed) == [2, 5]  # once each, and not the second time


def test_a_segmenter_that_failed_is_as_good_as_new_for_the_next_sample(cores):
    cores(1)
    results = evaluate(Marked(count=24), method=poisoned(raising(RuntimeError("once"))))
    assert [index for index, result in results.items() if isinstance(result, SampleFailure)] == [
        4, 5, 12, 13, 20, 21
    ]  # fmt: skip
    assert [result.scores for index, result in results.items() if index % 8 not in (4, 5)] == [
        scores for index, scores in enumerate(SCORES * 3) if index % 8 not in (4, 5)
    ]


def test_a_picture_that_cannot_be_drawn_is_its_samples_failure(cores):
    def save(sample, *_):
        if sample.name == "row5":
            raise InputError("vis/row5.jpg: OpenCV cannot write a (1, 70000, 3) uint8 picture in this format")

    results = evaluate(Rows(), save=save)
    assert results[5].problem.startswith("row5.png: vis/row5.jpg: OpenCV cannot write")
    assert sum(isinstance(result, SampleResult) for result in results.values()) == 7


def test_each_sample_is_saved_once_with_its_own_result(cores):
    saved = []
    evaluate(Rows(broken=(2,)), save=lambda *what: saved.append(what))
    assert Counter(sample.name for sample, *_ in saved) == {f"row{i}": 1 for i in range(8) if i != 2}
    for sample, result, pictures in saved:
        assert sample.name == result.name
        np.testing.assert_array_equal(pictures.mask, row_of(4))


def test_a_file_that_cannot_be_written_ends_the_run_with_the_samples_under_way(cores):
    tried = []

    def save(sample, *_):
        tried.append(sample.name)
        if sample.name == "row5":
            raise OSError(28, "No space left on device", "row5.png")

    with pytest.raises(OSError, match="No space left on device"):
        evaluate(Rows(count=12 * 40), save=save)
    assert len(tried) < 60


def test_predictors_are_set_up_as_the_protocol_says(cores, predictors):
    protocol = Protocol(n_clicks=3, thresh=0.3, clicks_limit=2, flip=False, eval_mode="fixed96")
    evaluate(Rows(), protocol=protocol)
    assert predictors == [{"size": 96, "flip": False, "threshold": 0.3, "clicks_limit": 2}] * 4


def test_a_predictors_size_is_the_data_sets(predictors):
    rows = Rows()
    for rows.name in ("GrabCut", "DAVIS"):
        predictor_for(torch.nn.Linear(1, 1), rows, Protocol(eval_mode="cvpr"))
    assert [settings["size"] for settings in predictors] == [400, 600]


@pytest.mark.parametrize(("initial_masks", "reaches"), [("merged", False), ("corrected", True)])
def test_an_initial_mask_reaches_the_predictor_if_the_protocol_says_so(monkeypatch, initial_masks, reaches):
    seen = []
    set_image = ScriptedPredictor.set_image

    def spy(self, image, previous_mask=None):
        seen.append(previous_mask)
        set_image(self, image, previous_mask)

    monkeypatch.setattr(ScriptedPredictor, "set_image", spy)
    segmenter = predictor_for(torch.nn.Linear(1, 1), Rows(), Protocol(initial_masks=initial_masks))
    initial = row_of(6).astype(bool)
    segmenter.set_image(np.zeros((1, 12, 3), np.uint8), initial)
    np.testing.assert_array_equal(segmenter.mask, initial)
    assert [mask is initial for mask in seen] == [reaches]
    segmenter.click(0, 0, positive=True)  # its pixel does not change: merged, nothing does
    np.testing.assert_array_equal(segmenter.mask, row_of(4) if reaches else initial)


def test_each_thread_has_a_segmenter_of_its_own(cores):
    """It holds one sample's clicks: what is asked of it comes from one thread."""
    asked = {}
    all_at_work = threading.Barrier(4)

    class Asked(ScriptedPredictor):
        def set_image(self, image, previous_mask):
            thread = threading.get_ident()
            if all(thread not in threads for threads in asked.values()):
                asked.setdefault(self, set()).add(thread)
                all_at_work.wait(timeout=60)
            asked.setdefault(self, set()).add(thread)
            super().set_image(image, previous_mask)

    method = method_with(lambda _: Asked([row_of(4)] * 3))
    results = evaluate(Rows(count=40), method=method)
    assert [result.scores for result in results.values()] == SCORES * 5
    assert [len(threads) for threads in asked.values()] == [1] * 4


def test_what_computes_on_a_gpu_has_one_sample_at_a_time_however_many_cores_there_are(cores, predictors):
    results = evaluate(Rows(), method=method_of(torch.nn.Linear(1, 1), PROTOCOL, torch.device("cuda:0")))
    assert [result.scores for result in results.values()] == SCORES
    assert len(predictors) == 1


def test_there_are_no_more_samples_than_are_in_the_data_set(cores):
    assert len(evaluate(Rows(count=1))) == 1


def test_all_processes_take_part_and_wait_for_the_slowest(cores):
    store = dist.HashStore()
    shares, shown = {}, {0: [], 1: []}

    def process(rank):
        processes = Processes(rank, 2, rank, 2, store)
        shares[rank] = evaluate(Rows(count=240, broken=(3,)), processes, show=shown[rank].append)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shares[0]
    assert shares[1]
    assert sorted([*shares[0], *shares[1]]) == list(range(240))
    # Of every 8 rows 5 want 3 clicks and 3 want one, and the fourth row of all, which wanted one, is broken.
    assert shown[0][-1] == Progress("rows", 240, 240, f"NoC@75 {(30 * (5 * 3 + 3) - 1) / 239:.2f}")
    assert shown[1] == []  # only the first process shows


def test_progress_counts_what_earlier_starts_have_done(cores):
    shown = []
    evaluate(Rows(), missing=[2, 3], show=shown.append)
    assert shown[-1] == Progress("rows", 8, 8, "NoC@75 1.00")
    assert all(6 <= progress.done <= progress.total == 8 for progress in shown)
    evaluate(Rows(broken=(2,)), missing=[2], show=shown.append)
    assert shown[-1] == Progress("rows", 8, 8, "")


@pytest.mark.parametrize(
    ("cores_there", "processes", "at_once"), [(4, 1, 4), (4, 2, 2), (2, 4, 1), (64, 1, 16)]
)
def test_the_cpu_works_on_one_sample_a_core(cores, cores_there, processes, at_once):
    cores(cores_there)
    assert samples_at_once(CPU, Processes(0, processes, 0, processes, None)) == at_once


def test_a_gpu_works_on_one_sample_at_a_time(cores):
    assert samples_at_once(torch.device("cuda:0"), Processes(0, 1, 0, 1, None)) == 1


def test_every_sample_is_computed_by_one_thread_and_the_process_is_left_as_it_was(cores):
    threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(3)
        cv2.setNumThreads(3)
        seen = []
        evaluate(Rows(), save=lambda *_: seen.append((torch.get_num_threads(), cv2.getNumThreads())))
        assert seen == [(1, 1)] * 8
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (3, 3)
        with ThreadPoolExecutor(1) as pool:  # so are threads that begin later
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


@pytest.mark.parametrize(("target", "shown"), [(0.85, 0.85), (0.9, 0.9), (0.95, 0.9), (1.01, 0.9)])
def test_the_bar_shows_a_threshold_that_can_be_reached(target, shown):
    assert shown_threshold(Protocol(target_iou=target)) == shown


def test_a_sample_that_hangs_is_named_with_its_process(cores):
    started = threading.Event()

    class Rows5(Rows):
        def __getitem__(self, index):
            if index == 5:
                started.set()
                over.wait(60)
            return super().__getitem__(index)

    over = threading.Event()
    processes = Processes(0, 1, 0, 1, None, timeout=0.5)
    try:
        with pytest.raises(InputError) as caught:
            evaluate(Rows5(), processes)
    finally:
        over.set()
    host = re.escape(socket.gethostname())
    assert started.is_set()
    assert re.fullmatch(
        rf"no sample was finished for 0.5 s; process 0 on {host} is at job row5; look what holds it, or "
        "allow more time; what is done is kept",
        str(caught.value),
    )


def test_another_process_that_hangs_is_named_once_nothing_else_is_left(cores):
    store = dist.HashStore()
    over = threading.Event()

    class HangingRows(Rows):
        def __getitem__(self, index):
            over.wait(60)
            return super().__getitem__(index)

    cores(2)
    hanging = threading.Thread(
        target=lambda: evaluate(HangingRows(count=30), Processes(1, 2, 1, 2, store)), daemon=True
    )
    hanging.start()
    while not store.check(["job/at/1"]):
        time.sleep(0.01)
    try:
        with pytest.raises(
            InputError, match=r"^no sample was finished for 1 s; process 1 on .* is at job row0;"
        ):
            evaluate(Rows(count=30), Processes(0, 2, 0, 2, store, timeout=1.0))
        assert store.add("job/progress", 0) >> 32 == 29
    finally:
        over.set()
    hanging.join()


def test_a_first_process_that_hangs_is_noticed_by_the_others(cores):
    store = dist.HashStore()
    Processes(0, 2, 0, 2, store)
    over = threading.Event()

    class SlowRows(Rows):
        def __getitem__(self, index):
            over.wait(60)
            return super().__getitem__(index)

    try:
        with pytest.raises(
            InputError, match=r"^process 0 on .* has not told what is done for 0.5 s: it hangs;"
        ):
            evaluate(SlowRows(), Processes(1, 2, 1, 2, store, timeout=0.5))
    finally:
        over.set()


def test_interrupting_ends_each_thread_with_the_sample_it_is_at(cores, monkeypatch):
    kept = []

    class Watch:
        finished = False

        def __init__(self, *_):
            self.looks = 0

        def look(self):
            if len(kept) >= 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(run, "_Watch", Watch)
    monkeypatch.setattr(run, "_LOOK_SECONDS", 0.001)
    begun = []

    class Counted(Rows):
        def __getitem__(self, index):
            begun.append(index)
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        evaluate(Counted(count=4000), save=lambda sample, *_: kept.append(sample.name))
    assert 4 <= len(kept) < 400
    assert len(kept) == len(begun)
