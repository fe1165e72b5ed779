"""The training loop on small pictures: exact resume, several processes, what is written, what goes wrong."""

import contextlib
import csv
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from isegm.distributed import Processes
from isegm.errors import InputError
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import SampleFailure, SampleResult
from isegm.inference.load import prepare_network
from isegm.inference.predictor import Predictor
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import load_model, save_checkpoint
from isegm.pictures import read_image
from isegm.training import trainer as trainer_module
from isegm.training.crops import SampleSettings, TrainingSamples
from isegm.training.loader import part_indices
from isegm.training.scenes import Scene
from isegm.training.state import load_state, plain_recipe
from isegm.training.trainer import TrainingRun, averaging, synchronise
from tests.commands.workspace import environment, free_port
from tests.evaluation.by_hand import FINAL
from tests.training.small_run import HRNET, LITE, RECIPE, small_trainer

pytestmark = pytest.mark.usefixtures("one_thread")
REPOSITORY = Path(__file__).resolve().parents[2]
LAST_STEP = RECIPE.total_steps


def picture(seed, side=80):
    """A bright ellipse before noise."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((side, side))
    row, col = rng.uniform(30, 50, 2)
    height, width = rng.uniform(12, 26, 2)
    mask = ((rows - row) / height) ** 2 + ((cols - col) / width) ** 2 < 1
    grey = rng.normal(80, 15, (side, side)) + 90 * mask
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), mask


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of three pictures with masks."""
    import cv2

    folder = tmp_path_factory.mktemp("data")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(3):
        image, mask = picture(number)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask * np.uint8(255))
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory, one_thread):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    small_trainer(data, folder).train()
    return folder


def start(data, folder, *options, **variables):
    command = [sys.executable, "-m", "tests.training.small_run", str(data), str(folder), *options]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment() | {"OMP_NUM_THREADS": "1"} | variables,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows_of(place, name="training.csv"):
    """The rows of a CSV, or of one in a folder, without what a clock says."""
    with (place / name if place.is_dir() else place).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.pop("images_per_second", None)
    return rows


def assert_same(a, b, where=""):
    """Bit for bit, whatever it is."""
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, where
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}/{i}")
    else:
        assert a == b, where


def content_of(folder):
    """Every file of a run, as far as a clock has no say in it."""
    tensors = partial(torch.load, weights_only=True)
    read = {".pt": tensors, ".pth": tensors, ".csv": rows_of, ".png": Path.read_bytes}
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): read[path.suffix](path) for path in files}


def saved(folder, name):
    return torch.load(folder / "checkpoints" / f"{name}.pth", weights_only=True)


def test_what_a_run_writes(whole):
    assert content_of(whole).keys() == {
        "state.pt",
        "training.csv",
        "validation.csv",
        "checkpoints/best.pth",
        "checkpoints/last.pth",
        *(f"pictures/step_0000{step}.png" for step in ("03", "06")),
    }
    assert [int(row["step"]) for row in rows_of(whole)] == list(range(1, LAST_STEP + 1))
    assert rows_of(whole)[3]["epoch"] == "1.3333"
    assert {int(row["extra_clicks"]) for row in rows_of(whole)} > {0, 1}
    assert all(float(row["gradient_norm"]) > 0 for row in rows_of(whole))
    validated = rows_of(whole, "validation.csv")
    assert [(row["step"], row["epoch"], row["figure"]) for row in validated] == [
        (str(3 * epoch), str(epoch), f"held_out NoC@{t}") for epoch in (1, 2) for t in (80, 85, 90)
    ]
    assert all(1 <= float(row["value"]) <= 2 for row in validated)


def test_the_learning_rate_that_is_logged_is_the_schedules(whole):
    rates = [float(row["learning_rate"]) for row in rows_of(whole)]
    assert rates[:3] == pytest.approx([5e-4, 1e-3, 1e-3])
    assert rates[4] == pytest.approx(5e-4)  # halfway from the warm-up's end to the last step


def test_checkpoints_are_loadable_and_say_how_they_were_made(whole):
    for name in ("last", "best"):
        assert load_model(whole / "checkpoints" / f"{name}.pth").name == RECIPE.preset
        metadata = saved(whole, name)["metadata"]
        assert metadata["recipe"] == plain_recipe(RECIPE)
        assert metadata["commit"] == "abc"
        assert metadata["samples"] == 2 * metadata["step"]
        validated = {
            row["figure"]: float(row["value"])
            for row in rows_of(whole, "validation.csv")
            if row["step"] == str(metadata["step"])
        }
        assert metadata["validation"] == validated
    assert saved(whole, "last")["metadata"]["step"] == LAST_STEP


def test_averaged_weights_are_saved_and_differ_from_the_trained_ones(whole):
    state = load_state(whole, RECIPE)
    weights = saved(whole, "last")["state_dict"]
    assert_same(weights, {name: state.average[f"module.{name}"] for name in weights})
    name = "refiner.refine_pred.weight"
    assert not torch.allclose(weights[name], state.model[name], atol=1e-5)


def test_without_averaging_the_weights_themselves_are_saved(data, tmp_path):
    recipe = replace(RECIPE, ema_decay=0.0, epochs=1, epoch_samples=2)
    small_trainer(data, tmp_path, recipe, validation=()).train()
    state = load_state(tmp_path, recipe)
    assert state.average is None
    assert_same(saved(tmp_path, "last")["state_dict"], dict(state.model))


@pytest.mark.parametrize(
    ("most", "updates", "kept"),
    [(0.28, 1, 2 / 11), (0.28, 2, 3 / 12), (0.28, 3, 0.28), (0.9, 79, 80 / 89), (0.9, 81, 0.9)],
)
def test_the_average_forgets_faster_at_first(most, updates, kept):
    """The n-th update keeps (1 + n) / (10 + n) of the average, or ``most`` if that is less."""
    average, current = [torch.full((2,), 100.0), torch.tensor(5)], [torch.full((2,), 200.0), torch.tensor(7)]
    averaging(most)(average, current, torch.tensor(updates))
    torch.testing.assert_close(average[0], torch.full((2,), 100 * kept + 200 * (1 - kept)))
    assert torch.equal(average[1], torch.tensor(7))  # a counter has no average


def test_the_average_of_a_run_is_that_of_its_steps(data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "save_state", lambda *_: None)
    small = small_trainer(data, tmp_path, replace(RECIPE, epochs=1, epoch_samples=8, ema_decay=0.28))
    small._end_epoch = lambda *_: None
    history = []
    update = small.average.update_parameters

    def tensors(model):
        return model.refiner.refine_pred.weight, model.refiner.fusion1[0].norm1.running_var

    def record(model):
        update(model)
        history.append([tensor.detach().clone() for tensor in tensors(model)])

    small.average.update_parameters = record
    small.train()
    assert len(history) == 4
    for i, own in enumerate(tensors(small.average.module)):
        expected = history[0][i]
        for kept, step in zip((2 / 11, 3 / 12, 0.28), history[1:], strict=True):
            expected = kept * expected + (1 - kept) * step[i]
        torch.testing.assert_close(own.detach(), expected)
        assert not torch.allclose(own.detach(), history[-1][i], rtol=1e-4)


def test_networks_are_trained_with_channels_last_and_saved_in_the_usual_order(data, tmp_path):
    small = small_trainer(data, tmp_path, HRNET)
    for model in (small.model, small.average.module):
        kernels = [parameter for parameter in model.parameters() if parameter.dim() == 4]
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
        assert not all(kernel.is_contiguous() for kernel in kernels)  # that is not the usual order, too
    optimised = {p for group in small.optimiser.param_groups for p in group["params"]}
    assert optimised <= set(small.model.parameters())
    save_checkpoint(tmp_path / "a.pth", small.model, {})
    tensors = torch.load(tmp_path / "a.pth", weights_only=True)["state_dict"].values()
    assert all(tensor.is_contiguous() for tensor in tensors)
    loaded = load_model(tmp_path / "a.pth")
    assert_same(dict(loaded.state_dict()), dict(small.model.state_dict()))
    image, points = torch.rand(1, 3, 64, 64), torch.tensor([[[20.0, 30, 0], [-1, -1, -1]]])
    small.model.eval()
    with torch.inference_mode():
        torch.testing.assert_close(
            small.model(image, points).corrected, loaded(image, points).corrected, rtol=1e-3, atol=1e-5
        )


def test_pictures_show_training_samples_with_outline_clicks_and_mask(whole):
    sheet = read_image(whole / "pictures" / "step_000006.png")
    assert sheet.shape == (64 * 8, 2 * 64 * 8, 3)  # the two of a step, each pixel eight by eight
    assert not np.array_equal(sheet, read_image(whole / "pictures" / "step_000003.png"))
    for colour in ((255, 215, 0), (0, 200, 80)):  # the label's outline; a positive click
        for part in (sheet[:, :512], sheet[:, 512:]):
            assert (part == colour).all(axis=2).any()


@pytest.mark.slow
def test_a_run_killed_again_and_again_is_the_uninterrupted_one_bit_for_bit(data, tmp_path):
    small_trainer(data, tmp_path / "whole", HRNET).train()
    folder = tmp_path / "run"
    moments = ["saving:3", "validated:1"]  # half of the state of step 3 is written; step 3 is validated
    for number, moment in enumerate(moments):
        options = ["--resume"] * (number > 0)
        process = start(data, folder, f"--workers={number}", f"--die={moment}", *options)
        assert process.wait(timeout=200) == -9, process.stderr.read()
        if moment.startswith("saving"):
            assert list(folder.glob(".tmp-*-state.pt"))
            assert load_state(folder, HRNET).step == 2
    for _ in range(2):  # at any moment
        before = len(rows_of(folder))
        process = start(data, folder, "--workers=2", "--resume")
        while len(rows_of(folder)) <= before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.6))
        process.kill()
        process.wait(timeout=200)
    finished = start(data, folder, "--workers=2", "--resume")
    assert finished.wait(timeout=200) == 0, finished.stderr.read()
    assert_same(content_of(folder), content_of(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [RECIPE, LITE], ids=["segb0", "lite0"])
def test_a_run_resumed_from_within_an_epoch_is_the_uninterrupted_one(
    data, whole, tmp_path, monkeypatch, recipe
):
    if recipe is LITE:
        whole = tmp_path / "whole"
        small_trainer(data, whole, recipe).train()
    train_step = trainer_module.Trainer._train_step

    def interrupt(self, *args):
        if self.step == 4:
            raise KeyboardInterrupt
        return train_step(self, *args)

    monkeypatch.setattr(trainer_module.Trainer, "_train_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        small_trainer(data, tmp_path / "run", recipe, workers=2).train()
    monkeypatch.undo()
    assert load_state(tmp_path / "run", recipe).step == 4
    small_trainer(data, tmp_path / "run", recipe, workers=1, resume=True).train()
    assert_same(content_of(tmp_path / "run"), content_of(whole))


def test_every_part_of_the_light_networks_recipe_takes_part(data, tmp_path, monkeypatch):
    """Crops grow at whole steps, and pictures begin with faulty masks."""
    seen = []

    def watch(model, batch, extra_clicks, graded, *others, **settings):
        seen.append((tuple(batch.image.shape[2:]), any(batch.given), extra_clicks, graded))
        return backward(model, batch, extra_clicks, graded, *others, **settings)

    backward = trainer_module.backward_after_each
    monkeypatch.setattr(trainer_module, "backward_after_each", watch)
    small_trainer(data, tmp_path, LITE).train()
    assert [size for size, *_ in seen] == [(32, 32)] * 2 + [(48, 48)] * 2 + [(64, 64)] * 2
    assert {has for _, has, *_ in seen} == {True, False}
    assert all({0, extra} <= graded for *_, extra, graded in seen)
    assert load_model(tmp_path / "checkpoints" / "last.pth").name == "lite0"


def test_a_finished_run_that_is_resumed_stays_as_it_is(data, tmp_path):
    recipe = replace(RECIPE, epochs=1, epoch_samples=2)
    small_trainer(data, tmp_path, recipe).train()
    before = content_of(tmp_path)
    small_trainer(data, tmp_path, recipe, resume=True).train()
    assert_same(content_of(tmp_path), before)


def test_a_run_can_be_resumed_from_its_first_moment_on(data, tmp_path):
    small = small_trainer(data, tmp_path)
    small._train_step = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        small.train()
    again = small_trainer(data, tmp_path, resume=True)
    assert again.step == 0


def gradients(data, folder, recipe):
    """The gradients that the optimiser gets in the first step."""
    small = small_trainer(data, folder, recipe, frozen=True, validation=())
    small._end_epoch = lambda *_: None  # takes time and is not looked at
    seen = {}
    step = small.optimiser.step

    def record():
        if not seen:
            seen.update({k: p.grad.clone() for k, p in small.model.named_parameters() if p.requires_grad})
        step()

    small.optimiser.step = record
    small.train()
    return seen


def test_accumulated_parts_give_the_gradient_of_the_whole_batch(data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "save_state", lambda *_: None)
    recipe = replace(HRNET, batch_size=4, epochs=1, epoch_samples=4, clip_norm=0.0, seed=3)
    whole = gradients(data, tmp_path / "1", recipe)
    parts = gradients(data, tmp_path / "2", replace(recipe, accumulate=2))
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(
            parts[name], gradient, rtol=1e-3, atol=1e-4 * gradient.abs().max().item() + 1e-7, msg=name
        )
    (row,), (other) = rows_of(tmp_path / "1"), rows_of(tmp_path / "2")
    assert float(row["total"]) == pytest.approx(float(other[0]["total"]), rel=1e-4)
    assert row["extra_clicks"] == other[0]["extra_clicks"] != "0"


def test_gradients_are_clipped(data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "save_state", lambda *_: None)
    recipe = replace(HRNET, epochs=1, epoch_samples=2)
    clipped = gradients(data, tmp_path / "1", replace(recipe, clip_norm=0.25))
    whole = gradients(data, tmp_path / "2", replace(recipe, clip_norm=0.0))
    norms = [sum(g.square().sum() for g in given.values()).sqrt().item() for given in (clipped, whole)]
    assert norms[0] == pytest.approx(0.25, rel=1e-4)
    assert norms[1] > 0.4
    for folder in ("1", "2"):  # what is logged is the norm before
        assert float(rows_of(tmp_path / folder)[0]["gradient_norm"]) == pytest.approx(norms[1], rel=1e-4)


@pytest.mark.parametrize(("size", "accumulate"), [(1, 1), (1, 4), (2, 1), (2, 2), (4, 1)])
def test_every_sample_of_a_step_falls_to_exactly_one_part(size, accumulate):
    recipe = replace(RECIPE, batch_size=8, accumulate=accumulate)
    for step in (0, 5):
        indices = [
            index
            for rank in range(size)
            for part in range(accumulate)
            for index in part_indices(recipe, Processes(rank, size, rank, size, None), step, part)
        ]
        assert indices == list(range(8 * step, 8 * step + 8))


def test_a_batch_that_cannot_be_shared_is_one_line(data, tmp_path):
    with pytest.raises(InputError, match=r"^batch_size: 2 cannot be shared by 3 parts evenly$"):
        small_trainer(data, tmp_path, replace(RECIPE, accumulate=3))


@pytest.mark.parametrize(
    ("field", "value"), [("validate_every", 0), ("save_every", 0), ("log_every", -1), ("workers", -1)]
)
def test_a_number_of_the_run_out_of_range_is_one_line(field, value):
    with pytest.raises(InputError, match=f"^{field}: must be at least [01], not {value}$"):
        TrainingRun(folder=Path("run"), **{field: value})


def run_two(data, folder, *options):
    port = str(free_port())
    processes = [
        start(
            data, folder, *options,
            RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
        )
        for rank in range(2)
    ]  # fmt: skip
    codes = [process.wait(timeout=200) for process in processes]
    return codes, [process.stderr.read() for process in processes]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--loss-after=last", "--loss-after=every", "--lite"])
def test_two_processes_hold_the_same_network_and_resume_exactly(data, tmp_path, option):
    # Of one picture alone there are no batch statistics. The sixth step is the last; the fourth was saved.
    size = ("--batch-size=4", "--epoch-samples=12", option)
    codes, errors = run_two(data, tmp_path / "whole", *size)
    assert codes == [0, 0], errors
    codes, errors = run_two(data, tmp_path / "parts", *size, "--die=step:6")
    assert codes == [-9, -9], errors
    codes, errors = run_two(data, tmp_path / "parts", *size, "--resume", "--workers=1")
    assert codes == [0, 0], errors
    contents = [content_of(tmp_path / name) for name in ("whole", "parts")]
    for content in contents:
        held = [content.pop(f"rank{rank}.pt") for rank in range(2)]
        for state in held:
            state.pop("best_noc")  # which only the first knows
        assert_same(*held)
        assert len(content["training.csv"]) == 6
    assert_same(*contents)


@pytest.mark.slow
def test_two_processes_train_as_one_does_apart_from_batch_statistics(data, tmp_path):
    codes, errors = run_two(
        data, tmp_path / "two", "--frozen", "--epochs=1", "--batch-size=4", "--epoch-samples=8"
    )
    assert codes == [0, 0], errors
    recipe = replace(HRNET, epochs=1, batch_size=4, epoch_samples=8)
    small_trainer(data, tmp_path / "one", recipe, frozen=True).train()
    two, one = rows_of(tmp_path / "two"), rows_of(tmp_path / "one")
    for name in ("total", "coarse", "auxiliary", "corrected", "gradient_norm"):
        assert float(two[0][name]) == pytest.approx(float(one[0][name]), rel=1e-3)
    assert [row["extra_clicks"] for row in two] == [row["extra_clicks"] for row in one]


def test_synchronised_batch_norms_keep_names_values_and_the_shared_block():
    torch.manual_seed(0)
    model = build_model(PRESETS["hr18s"])
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parameters = list(model.parameters())
    synchronise(model)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert model.refiner.corr_conv is model.refiner.corr_conv_pos is model.refiner.corr_conv_neg
    assert_same(dict(model.state_dict()), state)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


def test_bfloat16_trains_float32_weights(data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "save_state", lambda *_: None)
    recipe = replace(HRNET, precision="bfloat16", epochs=1, epoch_samples=2)
    small = small_trainer(data, tmp_path, recipe, validation=())
    small._end_epoch = lambda *_: None
    before = {name: p.detach().clone() for name, p in small.model.named_parameters() if p.requires_grad}
    small.train()
    for name, parameter in small.model.named_parameters():
        assert parameter.dtype == torch.float32
        if parameter.requires_grad and parameter.dim() > 1:
            assert not torch.equal(parameter, before[name]), name
    assert all(np.isfinite(float(row["total"])) for row in rows_of(tmp_path))


def results(*scores):
    return {0: SampleResult("a", (), scores, (1.0,) * len(scores), FINAL)}


@pytest.fixture
def no_steps(monkeypatch):
    """Steps take no time and change nothing: what is looked at is between them."""
    figures = {"total": 0.5, "iou": 0.25}
    monkeypatch.setattr(trainer_module.Trainer, "_train_step", lambda *_: dict(figures))


@pytest.mark.usefixtures("no_steps")
def test_validation_asks_the_averaged_network_by_the_runs_protocol(data, tmp_path, monkeypatch):
    asked, prepared = [], []

    def evaluate_dataset(task, method, processes, keeper):
        predictor = method.new_segmenter(task.dataset)._segmenter  # which merges given masks
        asked.append((predictor, method.device, task.dataset.name, task.protocol, task.key))
        assert list(task.indices) == list(range(len(task.dataset)))
        keeper.results |= results(0.95)

    def prepare(model):
        prepared.append((model, prepare_network(model)))
        return prepared[-1][1]

    monkeypatch.setattr(trainer_module, "evaluate_dataset", evaluate_dataset)
    monkeypatch.setattr(trainer_module, "prepare_network", prepare)
    protocol = Protocol(eval_mode="fixed96", n_clicks=2, thresh=0.3, flip=False)
    recipe = replace(RECIPE, epochs=1, epoch_samples=2)
    small = small_trainer(data, tmp_path, recipe, protocol=protocol)
    small.train()
    ((predictor, *rest),) = asked
    assert rest == [torch.device("cpu"), "held_out", protocol, "validation/1/held_out"]
    assert isinstance(predictor, Predictor)
    ((model, network),) = prepared
    assert model is small.average.module
    assert predictor.network is network
    assert (predictor.size, predictor.threshold, predictor.flip) == (96, 0.3, False)


@pytest.mark.usefixtures("no_steps")
def test_the_best_checkpoint_is_not_replaced_by_a_worse_one(data, tmp_path, monkeypatch):
    outcomes = [results(0.5, 0.85), results(0.95), results(0.5, 0.95), results(0.5, 0.5)]
    monkeypatch.setattr(
        trainer_module, "evaluate_dataset", lambda *args: args[-1].results.update(outcomes.pop(0))
    )
    recipe = replace(RECIPE, epoch_samples=2, epochs=4, ema_decay=0.0)

    def steps():
        return [saved(tmp_path, name)["metadata"]["step"] for name in ("best", "last")]

    small_trainer(data, tmp_path, replace(recipe, epochs=1)).train()
    assert steps() == [1, 1]
    small_trainer(data, tmp_path, replace(recipe, epochs=3), resume=True).train()
    assert steps() == [2, 3]
    small_trainer(data, tmp_path, recipe, resume=True).train()  # what was best is remembered
    assert steps() == [2, 4]
    assert load_state(tmp_path, recipe).best_noc == 1.0


@pytest.mark.usefixtures("no_steps")
def test_validation_every_other_epoch(data, tmp_path):
    recipe = replace(RECIPE, epoch_samples=2, epochs=3)
    small_trainer(data, tmp_path, recipe, validate_every=2).train()
    assert {row["step"] for row in rows_of(tmp_path, "validation.csv")} == {"2"}
    best, last = (saved(tmp_path, name)["metadata"] for name in ("best", "last"))
    assert (best["step"], last["step"]) == (2, 3)
    assert last["validation"] == {}


@pytest.mark.usefixtures("no_steps")
def test_held_out_files_that_cannot_be_read_are_told_once(data, tmp_path, monkeypatch, capsys):
    outcome = results(0.95) | {1: SampleFailure("b", "b.png: not a readable picture; is it complete?")}
    monkeypatch.setattr(trainer_module, "evaluate_dataset", lambda *args: args[-1].results.update(outcome))
    small_trainer(data, tmp_path, replace(RECIPE, epoch_samples=2, epochs=2)).train()
    line = "not validated: b.png: not a readable picture; is it complete?"
    assert capsys.readouterr().err.count(line) == 1
    assert len(rows_of(tmp_path, "validation.csv")) == 6


def broken_loss(monkeypatch, break_it, at):
    from isegm.training import step

    real, calls = step.first_stage_losses, []

    def first_stage_losses(coarse, *others):
        calls.append(1)
        losses = real(coarse, *others)
        return losses | {"total": break_it(losses["total"], coarse)} if len(calls) == at else losses

    monkeypatch.setattr(step, "first_stage_losses", first_stage_losses)


@pytest.mark.parametrize(
    ("break_it", "what", "accumulate"),
    [
        (lambda total, coarse: total * float("nan"), "loss is nan", 1),
        (lambda total, coarse: total + float("inf"), "loss is inf", 2),
        # A finite loss with a gradient that is none, inf * 0.
        (lambda total, coarse: total + (coarse * 0).square().sum().sqrt(), "gradient's norm is nan", 1),
        (lambda total, coarse: total + (coarse * 0).square().sum().sqrt(), "gradient's norm is nan", 2),
    ],
)
def test_a_loss_that_is_no_number_ends_the_run_before_it_harms(
    data, tmp_path, monkeypatch, break_it, what, accumulate
):
    size = {"batch_size": 2 * accumulate, "epoch_samples": 4 * accumulate}
    recipe = replace(RECIPE, **size, accumulate=accumulate, epochs=1, max_extra_clicks=0, ema_decay=0.0)
    broken_loss(monkeypatch, break_it, at=2 * accumulate)  # the last part of the second step
    with pytest.raises(InputError) as caught:
        small_trainer(data, tmp_path, recipe, validation=(), save_every=1).train()
    message = str(caught.value)
    first, last = 2 * accumulate, 4 * accumulate - 1
    assert message.startswith(f"{tmp_path}: the {what} at step 1, samples {first} to {last}; what was saved")
    assert "before is kept: train in another folder with a lower learning rate" in message
    assert "\n" not in message
    state = load_state(tmp_path, recipe)
    assert state.step == 1
    assert all(tensor.isfinite().all() for tensor in state.model.values())
    monkeypatch.undo()
    again = small_trainer(data, tmp_path, recipe, validation=(), resume=True)
    again._end_epoch = lambda *_: None
    again.train()
    assert load_state(tmp_path, recipe).step == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_that_cannot_be_made_are_one_line_from_any_process(
    tmp_path, data, given_scenes, scene_of, workers
):
    nothing = TrainingSamples(given_scenes(scene_of(np.zeros((64, 64)))), SampleSettings(crop=(64, 64)), 0)
    with pytest.raises(InputError) as caught:
        small_trainer(data, tmp_path, samples=nothing, workers=workers).train()
    message = str(caught.value)
    assert message.startswith(
        "given: 100 pictures drawn, none to train on: 100 have no object of 1000 pixels"
    )
    assert "\n" not in message


def test_a_bad_file_is_told_and_left_out(tmp_path, data, given_scenes, scene_of, capsys, monkeypatch):
    def only_load(_, batches, *__):
        assert next(batches).image.shape == (2, 3, 64, 64)
        return {"total": 0.5, "iou": 0.5}

    monkeypatch.setattr(trainer_module.Trainer, "_train_step", only_load)
    scene = scene_of(picture(0)[1].astype(int))
    scenes = given_scenes(scene, InputError("a.png: not a readable picture; is it complete?"))
    samples = TrainingSamples(scenes, SampleSettings(crop=(64, 64), min_object_pixels=50), 0)
    recipe = replace(RECIPE, epochs=1, epoch_samples=8)
    small_trainer(data, tmp_path, recipe, samples=samples, validation=()).train()
    assert capsys.readouterr().err.count("skipped: a.png: not a readable picture; is it complete?") == 1
    assert load_state(tmp_path, recipe).step == 4


@pytest.mark.usefixtures("no_steps")
def test_the_progress_bar_shows_loss_and_speed(data, tmp_path, capsys):
    small_trainer(data, tmp_path, replace(RECIPE, epochs=1, epoch_samples=4), validation=()).train()
    err = capsys.readouterr().err
    assert f"{RECIPE.preset}: 100%" in err
    assert "loss 0.500, IoU 0.250, " in err
    assert [(row["total"], row["iou"]) for row in rows_of(tmp_path)] == [("0.5", "0.25")] * 2
    assert "images/s" in err


@pytest.mark.slow
def test_one_picture_is_learned(tmp_path, data, given_scenes):
    image, mask = picture(0, side=64)
    scene = Scene(image, mask.astype(np.int32), is_ct=True)
    settings = SampleSettings(
        crop=(64, 64), scale=(1, 1), min_object_pixels=50, flip_probability=0, colour_probability=0
    )
    samples = TrainingSamples(given_scenes(scene), settings, 0)
    recipe = replace(
        HRNET,
        epochs=1,
        epoch_samples=100,
        learning_rate=2e-3,
        backbone_multiplier=1.0,
        warmup_steps=5,
        max_extra_clicks=1,
        ema_decay=0.0,
    )
    small_trainer(data, tmp_path, recipe, samples=samples, validation=()).train()
    rows = rows_of(tmp_path)
    # The focal losses fade slowly: the fewer pixels are wrong, the more each of them weighs.
    for name, share in (("auxiliary", 0.2), ("coarse", 0.65), ("corrected", 0.8), ("total", 0.55)):
        losses = [float(row[name]) for row in rows]
        assert np.mean(losses[-5:]) < share * np.mean(losses[:3]), name


def test_a_single_picture_a_part_is_refused_for_hrnet_and_fine_for_segformer(data, tmp_path):
    with pytest.raises(InputError, match=r"^batch_size: 2 leaves one picture to each of 2 parts") as caught:
        small_trainer(data, tmp_path, replace(HRNET, accumulate=2))
    assert str(caught.value).endswith("give 4 or more")
    recipe = replace(RECIPE, batch_size=1, epoch_samples=1, epochs=1)
    small_trainer(data, tmp_path, recipe, validation=()).train()
    assert [row["auxiliary"] for row in rows_of(tmp_path)] == [""]


@pytest.mark.slow  # imports everything again
def test_the_loader_starts_whatever_opencv_did_before(data, tmp_path):
    """OpenCV's threads do not live on in a forked process, which would wait for them."""
    program = (
        "import cv2, numpy, pathlib; cv2.setNumThreads(2); "
        "cv2.resize(numpy.zeros((900, 900, 3), numpy.uint8), (1000, 1000)); "
        "from tests.training.small_run import small_trainer; "
        "from isegm.training.loader import load_batches; "
        f"small = small_trainer(pathlib.Path({str(data)!r}), pathlib.Path({str(tmp_path)!r})); "
        "batches = load_batches(small.samples, small.recipe, 0, small.processes, small.device, workers=1); "
        "assert len(next(batches).image) == 2"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environment() | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # waits for a process to see that its parent is gone
def test_a_killed_run_leaves_no_loader_behind(data, tmp_path):
    """Its loader may just then be held up, with more to hand over than the pipe between them takes."""
    options = ("--workers=1", "--batch-size=32", "--epoch-samples=320", "--die=step:1")
    run = start(data, tmp_path / "run", *options)
    try:
        run.communicate(timeout=60)  # until the last process that has inherited its stderr ends
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
