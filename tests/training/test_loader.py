"""Batches from processes of their own: the same whoever makes them."""

import os
import shutil
import warnings
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch

from isegm.datasets.picture_pairs import find_folder
from isegm.distributed import Processes
from isegm.training import loader
from isegm.training.crops import SampleSettings, TrainingSamples
from isegm.training.loader import choose_workers, load_batches, part_indices
from isegm.training.picture_source import PictureSource
from isegm.training.sources import open_mixture
from isegm.training.step import Batch
from tests.training.small_run import RECIPE

CPU, GPU = torch.device("cpu"), torch.device("cuda")
ALONE = Processes(0, 1, 0, 1, None)
SMALL = replace(RECIPE, batch_size=4, accumulate=2, epochs=1, epoch_samples=12)
"""Three steps of two parts of two pictures."""


@pytest.fixture
def samples(tmp_path, save):
    rng = np.random.default_rng(0)
    for name in "abc":
        save(tmp_path / "images" / f"{name}.png", rng.integers(0, 256, (80, 90, 3), np.uint8))
        save(
            tmp_path / "masks" / f"{name}.png", np.kron([[0, 1], [2, 0]], np.ones((40, 45))).astype(np.uint8)
        )
    settings = SampleSettings(crop=(64, 64), min_object_pixels=50)
    return TrainingSamples(PictureSource("mine", find_folder(tmp_path)), settings, 7)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("first_step", [0, 2])
def test_batches_are_those_of_the_samples_in_their_order(samples, workers, first_step):
    batches = list(load_batches(samples, SMALL, first_step, ALONE, CPU, workers))
    parts = [part_indices(SMALL, ALONE, step, part) for step in range(first_step, 3) for part in range(2)]
    assert len(batches) == len(parts)
    for batch, indices in zip(batches, parts, strict=True):
        expected = Batch.of([samples[index] for index in indices], CPU)
        assert torch.equal(batch.image, expected.image)
        assert torch.equal(batch.label, expected.label)
        assert batch.label.dtype == torch.int8
        assert batch.first_clicks == expected.first_clicks
        assert batch.beside == expected.beside == (None, None)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_objects_of_the_slices_beside_come_with_the_pictures(tmp_path, workers):
    samples = TrainingSamples(
        open_mixture(["phantom:size=64:family=anatomy"], tmp_path),
        SampleSettings(crop=(64, 64), min_object_pixels=20),
        0,
    )
    known = 0
    for number, batch in enumerate(load_batches(samples, SMALL, 0, ALONE, CPU, workers)):
        for picture, beside in enumerate(batch.beside):
            expected = samples[2 * number + picture].beside
            assert (beside is None) == (expected is None)
            if expected is not None:
                np.testing.assert_array_equal(beside, expected)
                known += 1
    assert known > 4


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_through_shared_memory(samples, workers, monkeypatch):
    shared = []

    def on(device, images, labels, first_clicks, beside):
        shared.extend([images.is_shared(), labels.is_shared()])

    monkeypatch.setattr(Batch, "on", on)
    list(load_batches(samples, replace(SMALL, epoch_samples=4), 0, ALONE, CPU, workers))
    assert shared == [bool(workers)] * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_for_a_gpu_are_pinned(samples, monkeypatch):
    pinned = []

    def on(device, images, labels, first_clicks, beside):
        pinned.extend([images.is_pinned(), labels.is_pinned()])

    monkeypatch.setattr(Batch, "on", on)
    list(load_batches(samples, replace(SMALL, epoch_samples=4), 0, ALONE, GPU, 1))
    assert pinned == [True] * 4


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("cores", "local_size", "device", "mebibytes", "workers"),
    [
        (1, 1, CPU, 1 << 20, 1),
        (2, 1, CPU, 1 << 20, 2),
        (2, 2, CPU, 1 << 20, 1),
        (2, 8, CPU, 1 << 20, 1),
        (64, 1, CPU, 1 << 20, 4),
        (64, 1, GPU, 1 << 20, 16),
        (64, 8, GPU, 1 << 20, 8),
        (64, 1, GPU, 64, 2),  # a container's usual share
        (64, 2, GPU, 64, 2),  # half of it, for half a batch
        (64, 1, GPU, 20, 0),
    ],
)
def test_workers_are_chosen_by_cores_device_and_shared_memory(
    monkeypatch, cores, local_size, device, mebibytes, workers
):
    """A batch of 32 crops of 256 x 256 takes 8 MiB; each process has two ready and makes a third."""
    recipe = replace(RECIPE, batch_size=32, crop_height=256, crop_width=256)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, mebibytes << 20))
    monkeypatch.setattr(loader, "_SHARED_MEMORY", type(loader._SHARED_MEMORY)("/"))
    processes = Processes(0, local_size, 0, local_size, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert choose_workers(recipe, processes, device) == workers
    assert len(caught) == (mebibytes < 100)
    if caught:
        assert "of " + str(workers) + " processes that load pictures rather than" in str(caught[0].message)


def test_what_is_said_of_a_folder_is_said_by_one_process(samples, tmp_path, save, monkeypatch):
    for name in "abc":
        mask = np.kron([[0, 1], [255, 0]], np.ones((40, 45))).astype(np.uint8)
        save(tmp_path / "masks" / f"{name}.png", mask)
    said = tmp_path / "said.txt"

    def show(message, *_):
        with said.open("a") as file:
            file.write(f"{message}\n")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show)
        list(load_batches(samples, SMALL, 0, ALONE, CPU, 3))
    (line,) = [line for line in said.read_text().splitlines() if "127" in line]
    assert "a label map, every value but 0 an object, 255 ignored" in line
