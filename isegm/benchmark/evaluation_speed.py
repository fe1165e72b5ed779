"""Time the NoC evaluation of data sets: as published, and as this project does it.

The reference takes one image after the other with all of the process's cores; it is ``ReferencePredictor``:
float32, eager. Beside it stands the project's own evaluation (``isegm.evaluation.workers``) with each
backend: on a CPU several images at once, each by one thread. They take turns, some images at a time.
Simulated clicks and scoring are the same code in both, and their time is included.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from tqdm import tqdm

from isegm.benchmark.timing import REFERENCE
from isegm.datasets import Dataset
from isegm.distributed import Processes, cores_for
from isegm.errors import InputError
from isegm.evaluation.click_loop import evaluate_sample
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import SampleResult
from isegm.evaluation.workers import (
    Method,
    Results,
    Task,
    evaluate_dataset,
    method_of,
    samples_at_once,
)
from isegm.inference.load import load_network
from isegm.inference.reference import ReferencePredictor
from isegm.metrics.noc import summarise_noc
from isegm.model.checkpoint import load_model
from isegm.tables import text_table

CHUNK = 4
"""Images for each of those worked on at once, before it is the next way's turn.

At a turn's end some wait for the last image; in longer turns a slow moment of the machine hits one way only.
"""

_THRESHOLDS = (0.85, 0.90)
_HEADER = (
    "mode", "images/s", "ratio", "NoC@85", "difference", "NoC@90", "difference", "images with the same clicks"
)  # fmt: skip

_ONE_PROCESS = Processes(0, 1, 0, 1, None)


Way = Callable[[Dataset], list[SampleResult]]
"""Evaluates every sample of a data set, in order."""


class EvaluationBenchmark:
    """A network that is evaluated as published and by each backend.

    Args:
        checkpoint: Its file.
        protocol: How samples are clicked on.
        backends: What runs it beside the reference.
        precision: What the backends compute in.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: The file cannot be used, or a backend not with these settings.
    """

    def __init__(
        self, checkpoint: Path, protocol: Protocol, backends: Sequence[str], precision: str, device: str
    ) -> None:
        self.protocol = protocol
        self.device = torch.device(device)
        self.at_once = samples_at_once(self.device, _ONE_PROCESS)
        self.reference = load_model(checkpoint, self.device)
        self.networks = {
            backend: load_network(
                checkpoint,
                device=self.device,
                backend=backend,
                precision=precision,
                threads=1,
                at_once=self.at_once,
            )
            for backend in backends
        }
        self.settings = {
            "checkpoint": checkpoint.name,
            "preset": self.reference.name,
            "precision": precision,
            "device": device,
            "eval_mode": protocol.eval_mode,
            "n_clicks": protocol.n_clicks,
            "target_iou": protocol.target_iou,
            "threshold": protocol.thresh,
            "flip": protocol.flip,
            "reference_threads": cores_for(1),
            "samples_at_once": self.at_once,
        }
        """All that the figures depend on, as JSON has it."""

    def measure(self, dataset: Dataset) -> dict[str, Any]:
        """Evaluate a data set in all ways.

        Raises:
            InputError: A sample cannot be read, or has an initial mask.
        """
        protocol = self.protocol
        published = ReferencePredictor(
            self.reference,
            size=protocol.size(dataset.name),
            flip=protocol.flip,
            threshold=protocol.thresh,
        )
        ways: dict[str, Way] = {REFERENCE: partial(evaluate_as_published, published, protocol)}
        for backend, network in self.networks.items():
            method = method_of(network, protocol, self.device)
            ways[backend] = partial(evaluate_here, method, protocol)
        return measure_in_turns(dataset, ways, protocol, CHUNK * self.at_once)


def evaluate_as_published(
    segmenter: ReferencePredictor, protocol: Protocol, dataset: Dataset
) -> list[SampleResult]:
    """Evaluate one sample after the other, each on all of the process's cores.

    Raises:
        InputError: A sample cannot be read or has an initial mask.
    """
    torch.set_num_threads(cores_for(1))
    cv2.setNumThreads(cores_for(1))
    results = []
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.initial_mask is not None:
            raise InputError(
                f"{dataset.name}: has initial masks, which the reference does not start from; measure other "
                "data sets"
            )
        results.append(evaluate_sample(segmenter, sample, protocol)[0])
    return results


def evaluate_here(method: Method[Any, Any, Any], protocol: Protocol, dataset: Dataset) -> list[SampleResult]:
    """Evaluate by this project's evaluation, several samples at once on a CPU.

    Raises:
        InputError: A sample cannot be read.
    """
    processes = Processes(0, 1, 0, 1, None)  # new ones: they count what is done
    kept = Results()
    task = Task(key=dataset.name, dataset=dataset, indices=range(len(dataset)), protocol=protocol)
    evaluate_dataset(task, method, processes, kept)
    done = []
    for _, result in sorted(kept.results.items()):
        if not isinstance(result, SampleResult):
            raise InputError(result.problem)
        done.append(result)
    return done


def measure_in_turns(
    dataset: Dataset, ways: Mapping[str, Way], protocol: Protocol, chunk: int
) -> dict[str, Any]:
    """Evaluate a data set in several ways that take turns.

    Each way evaluates the first sample once before, untimed.

    Args:
        dataset: The samples.
        ways: By name, the reference first.
        protocol: How the results are to be read.
        chunk: How many samples it is a way's turn for.
    """
    seconds = dict.fromkeys(ways, 0.0)
    results: dict[str, list[SampleResult]] = {name: [] for name in ways}
    for evaluate in ways.values():
        evaluate(dataset.part(0, 1))
    with tqdm(total=len(dataset), desc=dataset.name, unit="image", leave=False) as bar:
        for start in range(0, len(dataset), chunk):
            part = dataset.part(start, start + chunk)
            for name, evaluate in ways.items():
                started = time.perf_counter()
                results[name] += evaluate(part)
                seconds[name] += time.perf_counter() - started
            bar.update(len(part))
    reference = next(iter(ways))
    return {
        "dataset": dataset.name,
        "images": len(dataset),
        "modes": [
            {
                "mode": name,
                "seconds": seconds[name],
                "images_per_second": len(dataset) / seconds[name],
                "ratio": seconds[reference] / seconds[name],
                **agreement(results[name], results[reference], protocol.n_clicks),
            }
            for name in ways
        ],
    }


def agreement(
    results: Sequence[SampleResult], expected: Sequence[SampleResult], n_clicks: int
) -> dict[str, float]:
    """NoC, its difference from the reference's, and on which share of the images all clicks are the same.

    Args:
        results: Of every image, in order.
        expected: The reference's.
        n_clicks: The largest number of clicks.
    """
    compared: dict[str, float] = {}
    for threshold in _THRESHOLDS:
        own, reference = (
            summarise_noc([result.scores for result in some], threshold, n_clicks).mean
            for some in (results, expected)
        )
        compared[f"noc{threshold * 100:.0f}"] = own
        compared[f"noc{threshold * 100:.0f}_difference"] = own - reference
    same = [own.clicks == reference.clicks for own, reference in zip(results, expected, strict=True)]
    return {**compared, "same_clicks": sum(same) / len(same)}


def format_evaluation(result: Mapping[str, Any]) -> str:
    """Lay the figures of one data set out as a table."""
    rows = [
        [
            row["mode"],
            f"{row['images_per_second']:.3f}",
            f"{row['ratio']:.2f}x",
            f"{row['noc85']:.2f}",
            f"{row['noc85_difference']:+.2f}",
            f"{row['noc90']:.2f}",
            f"{row['noc90_difference']:+.2f}",
            f"{row['same_clicks']:.1%}",
        ]
        for row in result["modes"]
    ]
    return f"\n{result['dataset']}, {result['images']} images\n{text_table(_HEADER, rows)}"
