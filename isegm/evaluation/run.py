"""Evaluating a data set on many processes, and on several threads of each.

On a CPU every sample is computed by one thread, and several samples at once: the last bits of a convolution
depend on how many threads share it, and a correction head that ranks pixels can turn them into another mask.
So the results are the same on any number of processes and cores. It is faster, too, than sharing out each
layer of one network among the cores.
"""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

import cv2
import torch
from tqdm import tqdm

from isegm.data import Dataset, Sample
from isegm.distributed import Processes, cores_for
from isegm.errors import InputError
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.sample import SamplePictures, SampleResult, evaluate_sample
from isegm.inference.network import Network
from isegm.inference.predictor import Predictor
from isegm.inference.segmenter import Segmenter
from isegm.metrics.noc import noc
from isegm.model.emc_click import EMCClick

MAX_THREADS = 16
"""Samples at once in one process: beyond this Python's own lock, and memory, cost more than cores bring."""

Save = Callable[[Sample, SampleResult, SamplePictures], None]


@dataclass(frozen=True)
class SampleFailure:
    """A sample that could not be evaluated.

    Attributes:
        name: The sample's name.
        problem: One line that names the file.
    """

    name: str
    problem: str


def samples_at_once(device: torch.device, processes: Processes) -> int:
    """How many samples this process works on at a time: one on a GPU, one a core of its share on the CPU."""
    return min(MAX_THREADS, cores_for(processes.local_size)) if device.type == "cpu" else 1


def predictor_for(model: EMCClick | Network, dataset: Dataset, protocol: Protocol) -> Predictor:
    """The predictor of a network, set up as the protocol says."""
    return Predictor(
        model,
        size=protocol.size(dataset.name),
        flip=protocol.flip,
        threshold=protocol.thresh,
        clicks_limit=protocol.clicks_limit,
    )


def evaluate_dataset(
    new_segmenter: Callable[[], Segmenter],
    device: torch.device,
    dataset: Dataset,
    protocol: Protocol,
    processes: Processes,
    job: str,
    save: Save,
) -> dict[int, SampleResult | SampleFailure] | None:
    """Evaluate a data set together with the run's other processes.

    Args:
        new_segmenter: Makes what segments, set up as the protocol says; each thread has its own.
        device: What it computes on.
        dataset: The samples; the same in every process.
        protocol: How to evaluate.
        processes: The run's processes.
        job: A name for this data set's part of the run, unique in it and the same in every process.
        save: Called with every sample that this process has evaluated, from several threads.

    Returns:
        In process 0 the result of every sample, or why it has none, by number and in data-set order; None in
        the others.
    """
    results: dict[int, SampleResult | SampleFailure] = {}
    stop = threading.Event()

    def work() -> None:
        if device.type == "cpu":
            torch.set_num_threads(1)  # this thread's own setting
        segmenter = new_segmenter()
        for index in processes.hand_out(job, len(dataset)):
            result = _evaluate(segmenter, dataset, index, protocol, save)
            results[index] = result
            if isinstance(result, SampleResult):
                clicks = noc(result.scores, shown_threshold(protocol), protocol.n_clicks)
                processes.add(f"{job}/noc", clicks)
                processes.add(f"{job}/solved")
            processes.add(f"{job}/done")
            if stop.is_set():
                return

    cv2.setNumThreads(1)
    workers = samples_at_once(device, processes)
    with ThreadPoolExecutor(workers) as pool, _Progress(processes, job, dataset, protocol) as progress:
        waiting = {pool.submit(work) for _ in range(workers)}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
                progress.show()
                for future in done:
                    future.result()
        except BaseException:
            stop.set()  # the other threads end with the sample they are at
            raise
        # Collectives give up after some minutes; the slowest sample may take longer than that.
        while processes.add(f"{job}/done", 0) < len(dataset):
            stop.wait(0.2)
            progress.show()
        progress.show()
    return processes.gather(results)


def _evaluate(
    segmenter: Segmenter, dataset: Dataset, index: int, protocol: Protocol, save: Save
) -> SampleResult | SampleFailure:
    try:
        sample = dataset[index]
    except InputError as error:
        return SampleFailure(dataset.names[index], str(error))
    result, pictures = evaluate_sample(segmenter, sample, protocol)
    save(sample, result, pictures)
    return result


def shown_threshold(protocol: Protocol) -> float:
    """Which NoC the progress bar shows: that of the target, or of 0.9 where clicks go on beyond it."""
    return min(protocol.target_iou, 0.9)


class _Progress:
    """A bar on process 0 that counts all processes' samples, with the NoC so far."""

    def __init__(self, processes: Processes, job: str, dataset: Dataset, protocol: Protocol) -> None:
        self._processes = processes
        self._job = job
        self._label = f"NoC@{shown_threshold(protocol) * 100:g}"
        self._bar = tqdm(
            total=len(dataset), desc=dataset.name, unit="sample", disable=processes.rank != 0, leave=False
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self) -> None:
        """Bring the bar up to date."""
        if self._bar.disable:
            return
        done, solved, clicks = (
            self._processes.add(f"{self._job}/{name}", 0) for name in ("done", "solved", "noc")
        )
        if solved:
            self._bar.set_postfix_str(f"{self._label} {clicks / solved:.2f}", refresh=False)
        if done > self._bar.n:
            self._bar.update(done - self._bar.n)
