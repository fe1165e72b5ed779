"""Training batches, made ahead by processes of their own.

A batch is put together where its samples are made, and comes to the training process through shared memory.
Sample ``index`` is the same whoever makes it, so the number of processes changes nothing.
"""

import multiprocessing.util
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm

from isegm.distributed import Processes
from isegm.errors import InputError, InputWarning
from isegm.training.crops import SkippedFiles, TrainingSample
from isegm.training.recipe import Recipe
from isegm.training.step import Batch

MOST_WORKERS = {"cpu": 4, "cuda": 16}
"""Processes that load pictures, at most, where nothing is said: a GPU is fed by many."""

PREFETCHED = 2
"""Batches that each of them has ready."""

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it


class Samples(Protocol):
    """Training samples by index; they travel to other processes."""

    def __getitem__(self, index: int) -> TrainingSample:
        """Make a sample.

        Raises:
            InputError: No sample can be made.
        """


class _Loaded(NamedTuple):
    """A batch as it comes from another process.

    Attributes:
        images: (B, H, W, 3) uint8.
        labels: (B, H, W) int8.
        first_clicks: (row, col) of each.
        beside: Of each, where the object is in the slice beside, (H, W) bool; None where that is not known.
        problems: Of each sample, what could not be used.
    """

    images: Tensor
    labels: Tensor
    first_clicks: list[tuple[int, int]]
    beside: list[Tensor | None]
    problems: list[tuple[str, ...]]


def load_batches(
    samples: Samples,
    recipe: Recipe,
    first_step: int,
    processes: Processes,
    device: torch.device,
    workers: int | None = None,
) -> Iterator[Batch]:
    """The batches of every part of every step that is still to be done, for one process.

    Args:
        samples: The training pictures.
        recipe: How many a step.
        first_step: The first step that is still to be done.
        processes: The run's processes.
        device: Where batches go; for GPUs they are put into pinned memory first.
        workers: Processes that load pictures, 0 for none; None chooses by cores, device and shared memory.

    Raises:
        InputError: No sample can be made, or too many files cannot be used.
    """
    if workers is None:
        workers = choose_workers(recipe, processes, device)
    loader: DataLoader[_Loaded | InputError] = DataLoader(
        cast("TorchDataset[_Loaded | InputError]", _Attempts(samples)),
        batch_sampler=_StepSampler(recipe, first_step, processes),
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        collate_fn=_put_together,
        worker_init_fn=_prepare_worker,
        pin_memory=device.type == "cuda",
    )
    skipped = SkippedFiles()
    # Before the loader's processes are forked: OpenCV's threads would be missing there, and waited for.
    cv2.setNumThreads(1)
    for loaded in loader:
        if isinstance(loaded, InputError):
            raise loaded
        for line in skipped.note(loaded.problems):
            tqdm.write(f"skipped: {line}", file=sys.stderr)
        yield Batch.on(device, loaded.images, loaded.labels, loaded.first_clicks, loaded.beside)


def choose_workers(recipe: Recipe, processes: Processes, device: torch.device) -> int:
    """Processes that load pictures for one training process: one a core of its own, up to a number.

    Fewer where the machine's shared memory does not hold their batches, as in a container it may not: a
    process that finds it full is killed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = max(1, min(cores // processes.local_size, MOST_WORKERS.get(device.type, MOST_WORKERS["cuda"])))
    if not _SHARED_MEMORY.is_dir():
        return wanted
    pictures = recipe.batch_size // (processes.size * recipe.accumulate)
    batch_bytes = pictures * recipe.crop_height * recipe.crop_width * 5  # three of colour, two of labels
    free = shutil.disk_usage(_SHARED_MEMORY).free // processes.local_size
    room = free // (batch_bytes * (PREFETCHED + 1))
    if room < wanted:
        warnings.warn(
            InputWarning(
                f"{_SHARED_MEMORY}: has {free >> 20} MiB left, for batches of {room} processes that load "
                f"pictures rather than {wanted}; give the container more (docker run --shm-size)"
            ),
            stacklevel=2,
        )
    return min(wanted, room)


def part_indices(recipe: Recipe, processes: Processes, step: int, part: int) -> range:
    """The samples of one part of a step that fall to one process."""
    size = recipe.batch_size // (processes.size * recipe.accumulate)
    start = step * recipe.batch_size + (processes.rank * recipe.accumulate + part) * size
    return range(start, start + size)


class _Attempts:
    """Samples, or why there is none: an exception would come out of a loader's process as a traceback."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __getitem__(self, index: int) -> TrainingSample | InputError:
        try:
            return self._samples[index]
        except InputError as error:
            return error


def _put_together(attempts: Sequence[TrainingSample | InputError]) -> _Loaded | InputError:
    samples: list[TrainingSample] = []
    for attempt in attempts:
        if isinstance(attempt, InputError):
            return attempt
        samples.append(attempt)
    return _Loaded(
        torch.stack([torch.from_numpy(sample.image) for sample in samples]),
        torch.stack([torch.from_numpy(sample.label) for sample in samples]),
        [sample.first_click for sample in samples],
        [None if sample.beside is None else torch.from_numpy(sample.beside) for sample in samples],
        [sample.problems for sample in samples],
    )


class _StepSampler(Sampler[list[int]]):
    """The sample indices of every part of every step that is still to be done, for one process."""

    def __init__(self, recipe: Recipe, step: int, processes: Processes) -> None:
        self._recipe = recipe
        self._step = step
        self._processes = processes

    def __len__(self) -> int:
        return (self._recipe.total_steps - self._step) * self._recipe.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._step, self._recipe.total_steps):
            for part in range(self._recipe.accumulate):
                yield list(part_indices(self._recipe, self._processes, step, part))


def _prepare_worker(number: int) -> None:
    cv2.setNumThreads(1)  # the workers share the cores among themselves
    if number:  # what is said of a folder is said by one of them
        warnings.simplefilter("ignore", InputWarning)
    # A worker notices within seconds that its parent was killed, but would then wait at its end, for ever, to
    # hand over what nobody reads.
    multiprocessing.util.Finalize(None, _leave_if_orphaned, (os.getppid(),), exitpriority=0)


def _leave_if_orphaned(parent: int) -> None:
    if os.getppid() != parent:
        os._exit(1)
