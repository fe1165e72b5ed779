"""Training with the norms of several GPUs: what it validates and saves is the network that it trains."""

import copy
import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from isegm.distributed import Processes
from isegm.model.checkpoint import load_model, save_checkpoint
from isegm.training.trainer import Trainer, synchronise
from tests.training.small_run import RECIPE, samples_of, small_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path, clicked):
    """A folder of generated slices with masks."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number, picture in enumerate(clicked[:2]):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), picture.image)
        cv2.imwrite(str(tmp_path / "masks" / f"{number}.png"), picture.truth * np.uint8(255))
    return tmp_path


@pytest.mark.slow
def test_validation_of_synchronised_norms_is_that_of_plain_ones(data, shipped, tmp_path):
    recipe = replace(
        RECIPE, preset=shipped.name, learning_rate=1e-9, epochs=1, epoch_samples=2, ema_decay=0.0
    )
    validated, saved = [], []
    for name in ("plain", "synchronised"):
        trainer = small_trainer(data, tmp_path / name, recipe)
        trainer.model.load_state_dict(shipped.state_dict())
        if name == "synchronised":
            synchronise(trainer.model)
            assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in trainer.model.modules())
        run = replace(trainer.run, protocol=replace(trainer.run.protocol, eval_mode="fixed192", n_clicks=8))
        Trainer(trainer.model, recipe, samples_of(data, recipe), run, Processes(0, 1, 0, 1, None)).train()
        with (tmp_path / name / "validation.csv").open(newline="") as file:
            validated.append(list(csv.DictReader(file)))
        saved.append(load_model(tmp_path / name / "checkpoints" / "best.pth"))
    assert validated[0] == validated[1]
    nocs = [float(row["value"]) for row in validated[0]]
    assert min(nocs) < 8  # an empty mask takes all clicks
    for key, tensor in saved[0].state_dict().items():
        torch.testing.assert_close(saved[1].state_dict()[key], tensor, rtol=0, atol=0)


def test_a_synchronised_network_is_saved_in_the_released_form(shipped, tmp_path):
    model = copy.deepcopy(shipped)
    synchronise(model)
    save_checkpoint(tmp_path / "mine.pth", model, {})
    for key, tensor in load_model(tmp_path / "mine.pth").state_dict().items():
        assert torch.equal(tensor, shipped.state_dict()[key]), key
