"""A small training run, in this process or as one of its own that can be made to die at a chosen moment.

    python -m tests.training.small_run DATA FOLDER --workers=1 --resume --frozen --die=saving:2

Launched as one of several processes, each also writes what it holds at the end to ``FOLDER/rank<N>.pt``.
"""

import argparse
import os
import signal
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from isegm.datasets.dataset import Dataset, whole_pictures
from isegm.datasets.picture_pairs import find_folder
from isegm.distributed import Processes, join_processes
from isegm.evaluation.protocol import Protocol
from isegm.model.build import PRESETS, build_model
from isegm.training import state, trainer
from isegm.training.picture_source import PictureSource
from isegm.training.recipe import Recipe
from isegm.training.samples import samples_of as recipe_samples
from isegm.training.trainer import Trainer, TrainingRun

RECIPE = Recipe(
    preset="segb0",
    sources=("folder:data",),
    crop_height=64,
    crop_width=64,
    min_object_pixels=50,
    max_extra_clicks=3,
    batch_size=2,
    epochs=2,
    epoch_samples=6,
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=2,
    clip_norm=1.0,
    ema_decay=0.8,
)
"""Six steps, three an epoch, of the network that takes the least time."""

HRNET = replace(RECIPE, preset="hr18s")
"""The same of one with batch statistics all over, and auxiliary losses."""

LITE = replace(
    RECIPE,
    preset="lite0",
    first_crops=("0.5:3", "0.75:8"),
    off_centre_probability=0.5,
    previous_mask_share=0.5,
    pasted_share=0.5,
    region_share=0.5,
    degraded_share=0.5,
    faint_share=0.5,
    deepest_share=0.5,
    loss_after="some",
    soft_iou_weight=0.5,
    clicked_weight=0.1,
    worse_weight=0.5,
    schedule="constant",
    precision="bfloat16",
)
"""The same of the light network, with all that its recipe has: crops grow after two steps and after four."""


def freeze(model):
    """Without batch statistics and dropout a picture's gradient does not depend on its batch."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train = lambda mode=True, module=module: module
            module.training = False
        elif isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return model


def samples_of(data, recipe=RECIPE):
    return recipe_samples(recipe, PictureSource("folder:data", find_folder(data)))


def small_trainer(data, folder, recipe=RECIPE, processes=None, frozen=False, samples=None, **changes):
    """A trainer of the small run; ``changes`` are fields of its ``TrainingRun``."""
    held_out = Dataset("held_out", whole_pictures(find_folder(data)))
    run = TrainingRun(
        folder=folder,
        validation=[held_out],
        protocol=Protocol(eval_mode="fixed64", n_clicks=2),
        save_every=2,
        log_every=1,
        workers=0,
        metadata={"commit": "abc"},
    )
    torch.manual_seed(recipe.seed)
    model = build_model(PRESETS[recipe.preset])
    if frozen:
        freeze(model)
    return Trainer(
        model,
        recipe,
        samples or samples_of(data, recipe),
        replace(run, **changes),
        processes or Processes(0, 1, 0, 1, None),
    )


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(moment):
    """Prepare this process's end: in the middle of saving a state, before a state is saved, or in a step."""
    what, _, number = moment.partition(":")
    seen = 0

    def count():
        nonlocal seen
        seen += 1
        return seen == int(number)

    if what == "saving":
        write_bytes = Path.write_bytes

        def write_half(path, content):
            if path.name.endswith(state.STATE_FILE) and count():
                write_bytes(path, content[: len(content) // 2])
                kill()
            return write_bytes(path, content)

        Path.write_bytes = write_half
    elif what == "validated":
        end_epoch = Trainer._end_epoch

        def end_epoch_and_die(self, *args):
            end_epoch(self, *args)
            if count():
                kill()

        trainer.Trainer._end_epoch = end_epoch_and_die
    elif what == "step":
        step = Trainer._train_step

        def step_and_die(self, *args):
            figures = step(self, *args)
            if count():
                kill()
            return figures

        trainer.Trainer._train_step = step_and_die


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=HRNET.epochs)
    parser.add_argument("--epoch-samples", type=int, default=HRNET.epoch_samples)
    parser.add_argument("--batch-size", type=int, default=HRNET.batch_size)
    parser.add_argument("--loss-after")
    parser.add_argument("--lite", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--frozen", action="store_true")
    parser.add_argument("--die", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    die_at(args.die)
    base = LITE if args.lite else HRNET
    with join_processes(torch.device("cpu"), collectives=True) as processes:
        small = small_trainer(
            args.data,
            args.folder,
            replace(
                base,
                epochs=args.epochs,
                epoch_samples=args.epoch_samples,
                batch_size=args.batch_size,
                loss_after=args.loss_after or base.loss_after,
            ),
            processes=processes,
            frozen=args.frozen,
            workers=args.workers,
            resume=args.resume,
        )
        small.train()
        if processes.size > 1:
            torch.save(small._state().__dict__, args.folder / f"rank{processes.rank}.pt")


if __name__ == "__main__":
    main()
