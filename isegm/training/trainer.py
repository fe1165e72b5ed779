"""The training loop.

Everything random is a function of the seed and of a number: samples and their clicks of the sample's index,
the number of clicks of the step, dropout of the part's first sample. So a run that was killed goes on from
its last saved step bit for bit as if it had not been, and the number of loader workers changes nothing.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from isegm.datasets import Dataset
from isegm.distributed import Processes
from isegm.errors import InputError, SettingError
from isegm.evaluation.figures import figures_of
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.workers import Results, Task, evaluate_dataset, method_of
from isegm.inference.load import prepare_network
from isegm.inference.precision import allow_tf32
from isegm.model.build import PRESETS
from isegm.model.checkpoint import save_checkpoint
from isegm.model.emc_click import EMCClick
from isegm.pictures import write_image
from isegm.simulation.train_clicks import number_of_clicks
from isegm.training.loader import Samples, load_batches, part_indices
from isegm.training.log import TrainingLog
from isegm.training.losses import LossWeights
from isegm.training.previews import draw_training
from isegm.training.recipe import Recipe
from isegm.training.schedule import learning_rate, parameter_groups
from isegm.training.state import TrainingState, clear_remains, load_state, plain_recipe, save_state
from isegm.training.step import (
    Batch,
    backward_after_each,
    graded_clicks,
    losses_after_last,
    simulate_clicks,
    stack_clicks,
)

CLICK_THREADS = 8
"""Pictures of a batch whose next clicks are found side by side."""

SHEET_PICTURES = 4
"""Training pictures that are drawn at the end of an epoch, at most: those of a step are of one size."""

_Tensors = tuple[Tensor, ...] | list[Tensor]

# What a generator is for: follows the seed and a number. For samples nothing follows, so none is the same.
_FOR_NUMBER_OF_CLICKS, _FOR_DROPOUT, _FOR_CLICKS, _FOR_GRADED_CLICKS, _FOR_PREVIOUS_MASK = range(1, 6)


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Where and how a recipe is run; none of it changes what is learned."""

    folder: Path
    """Checkpoints, logs and pictures."""
    validation: Sequence[Dataset] = ()
    """Held-out data sets, validated by NoC."""
    protocol: Protocol = field(default_factory=Protocol)
    """How they are validated."""
    validate_every: int = 1
    """Epochs between validations."""
    save_every: int = 500
    """Steps between saved states; the end of an epoch saves one, too."""
    log_every: int = 20
    """Steps between rows of the log."""
    workers: int | None = None
    """Processes that load pictures; None chooses them."""
    resume: bool = False
    """Go on with the run that is in ``folder``."""
    tensorboard: bool = False
    """Log for TensorBoard as well."""
    metadata: dict[str, Any] | None = None
    """What checkpoints say of their making, besides the recipe and the figures."""

    def __post_init__(self) -> None:
        """Check every number.

        Raises:
            InputError: One is out of its range.
        """
        for name, least in (("validate_every", 1), ("save_every", 1), ("log_every", 1), ("workers", 0)):
            if (value := getattr(self, name)) is not None and value < least:
                raise SettingError(name, f"must be at least {least}, not {value}")


class Trainer:
    """Train a network by a recipe.

    Args:
        model: The network, on this process's device.
        recipe: What to train, and how.
        samples: The training pictures.
        run: Where, and what to write.
        processes: The run's processes.

    Raises:
        InputError: The batch cannot be shared out evenly, or leaves one picture where the network needs
            more, or the run cannot be resumed.
    """

    def __init__(
        self,
        model: EMCClick,
        recipe: Recipe,
        samples: Samples,
        run: TrainingRun,
        processes: Processes,
    ) -> None:
        parts = processes.size * recipe.accumulate
        if recipe.batch_size % parts:
            raise SettingError("batch_size", f"{recipe.batch_size} cannot be shared by {parts} parts evenly")
        is_cuda = next(model.parameters()).device.type == "cuda"
        if (
            recipe.batch_size == parts
            and not (is_cuda and processes.size > 1)
            and not PRESETS[model.name].first_stage.takes_single_pictures
        ):
            raise SettingError(
                "batch_size",
                f"{recipe.batch_size} leaves one picture to each of {parts} parts, of which "
                f"{model.name} can take no batch statistics; give {2 * parts} or more",
            )
        self.recipe = recipe
        self.run = run
        self.processes = processes
        self.samples = samples
        self.device = next(model.parameters()).device
        # On CPUs a third more pictures a second than in the usual order.
        self.model = model.to(memory_format=torch.channels_last)
        if processes.size > 1 and is_cuda:  # there is none for the CPU
            synchronise(model)
        self.loss_weights = LossWeights(
            soft_iou=recipe.soft_iou_weight, clicked=recipe.clicked_weight, worse=recipe.worse_weight
        )
        self.optimiser = torch.optim.Adam(parameter_groups(model, recipe), lr=recipe.learning_rate)
        self.average = None
        if recipe.ema_decay:
            self.average = AveragedModel(model, multi_avg_fn=averaging(recipe.ema_decay), use_buffers=True)
        self.step = 0
        self.best_noc: float | None = None
        self._told: set[str] = set()
        if run.resume:
            self._restore(load_state(run.folder, recipe))

    def train(self) -> None:
        """Train until the recipe's last step, validating and saving on the way.

        Raises:
            InputError: The loss is no finite number, or a source of data is unusable.
            OSError: A file cannot be written.
        """
        recipe, first = self.recipe, self.processes.rank == 0
        bar = tqdm(
            total=recipe.total_steps, initial=self.step, unit="step", disable=not first, desc=recipe.preset
        )
        log = TrainingLog(self.run.folder, self.step, first, self.run.tensorboard)
        if first:
            clear_remains(self.run.folder)
            if not self.run.resume:  # so that --resume works from the first moment on
                save_state(self.run.folder, self._state())
        with log, bar, ThreadPoolExecutor(CLICK_THREADS) as pool:
            batches = load_batches(
                self.samples, recipe, self.step, self.processes, self.device, self.run.workers
            )
            started, since = time.perf_counter(), self.step
            while self.step < recipe.total_steps:
                figures = self._train_step(batches, pool)
                self.step += 1
                bar.update()
                if self.step % self.run.log_every == 0 or self.step % recipe.epoch_steps == 0:
                    seconds = time.perf_counter() - started
                    rate = (self.step - since) * recipe.batch_size / seconds
                    figures["images_per_second"] = rate
                    log.training(self.step, self.step / recipe.epoch_steps, figures)
                    bar.set_postfix_str(
                        f"loss {figures['total']:.3f}, IoU {figures['iou']:.3f}, {rate:.1f} images/s",
                        refresh=False,
                    )
                    started, since = time.perf_counter(), self.step
                ends_epoch = self.step % recipe.epoch_steps == 0
                if ends_epoch:
                    self._end_epoch(self.step // recipe.epoch_steps, log, pool)
                    started, since = time.perf_counter(), self.step
                if (ends_epoch or self.step % self.run.save_every == 0) and first:
                    save_state(self.run.folder, self._state())

    def _train_step(self, batches: Iterator[Batch], pool: ThreadPoolExecutor) -> dict[str, float]:
        """One optimiser step; the figures are those of all processes together."""
        recipe = self.recipe
        allow_tf32(recipe.precision == "tf32")
        rate = learning_rate(recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["multiplier"]
        # The number of clicks is the same in all processes, so that none waits for another.
        extra_clicks = number_of_clicks(
            self._rng(self.step, _FOR_NUMBER_OF_CLICKS), recipe.max_extra_clicks, recipe.click_decay
        )
        graded = graded_clicks(extra_clicks, recipe.loss_after, self._rng(self.step, _FOR_GRADED_CLICKS))
        sums: dict[str, Tensor] = {}
        for part in range(recipe.accumulate):
            batch = next(batches)
            indices = part_indices(recipe, self.processes, self.step, part)
            rngs = [self._rng(index, _FOR_CLICKS) for index in indices]
            dropout = int(self._rng(indices.start, _FOR_DROPOUT).integers(2**63))
            if recipe.loss_after == "last":
                losses = self._backward_after_last(batch, extra_clicks, rngs, pool, dropout)
            else:
                if recipe.previous_mask_share:
                    rngs_of_masks = [self._rng(index, _FOR_PREVIOUS_MASK) for index in indices]
                    batch = batch.with_previous_masks(recipe.previous_mask_share, rngs_of_masks, pool)
                self.model.train()
                torch.manual_seed(dropout)
                losses = backward_after_each(
                    self.model,
                    batch,
                    extra_clicks,
                    graded,
                    rngs,
                    pool,
                    self.loss_weights,
                    deepest_share=recipe.deepest_share,
                    share=1 / recipe.accumulate,
                    autocast=self._autocast,
                )
            for name, loss in losses.items():
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + loss.detach()
        figures = self._shared_mean({name: total / recipe.accumulate for name, total in sums.items()})
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self._share([parameter.grad for parameter in parameters if parameter.grad is not None])
        norm = float(nn.utils.clip_grad_norm_(parameters, recipe.clip_norm or math.inf))
        self._check_finite("loss", figures["total"])
        self._check_finite("gradient's norm", norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        # BatchNorm's: otherwise each process would click, validate and average with statistics of its own.
        self._share([buffer for buffer in self.model.buffers() if buffer.is_floating_point()])
        if self.average is not None:
            self.average.update_parameters(self.model)
        return figures | {"gradient_norm": norm, "learning_rate": rate, "extra_clicks": extra_clicks}

    def _backward_after_last(
        self,
        batch: Batch,
        extra_clicks: int,
        rngs: Sequence[np.random.Generator],
        pool: ThreadPoolExecutor,
        dropout: int,
    ) -> dict[str, Tensor]:
        # Autocast apart from the pass: some versions of torch keep weights cast without gradient.
        with self._autocast():
            clicks, previous = simulate_clicks(self.model, batch, extra_clicks, rngs, pool)
        self.model.train()
        torch.manual_seed(dropout)
        with self._autocast():
            losses = losses_after_last(
                self.model,
                batch.image,
                batch.label,
                stack_clicks(clicks, self.device),
                previous,
                self.loss_weights,
            )
        (losses["total"] / self.recipe.accumulate).backward()  # type: ignore[no-untyped-call]
        return losses

    def _rng(self, number: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, number, purpose])

    def _check_finite(self, what: str, value: float) -> None:
        """Stop before NaN or infinity reaches the weights; the value is the same in all processes."""
        if not math.isfinite(value):
            first = self.step * self.recipe.batch_size
            raise InputError(
                f"{self.run.folder}: the {what} is {value} at step {self.step}, samples {first} to "
                f"{first + self.recipe.batch_size - 1}; what was saved before is kept: train in another "
                "folder with a lower learning rate or with clipped gradients"
            )

    @torch.no_grad()
    def _share(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean over all processes into each tensor."""
        if self.processes.size == 1:
            return
        mean = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(mean)
        mean /= self.processes.size
        parts = torch.split(mean, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def _shared_mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        stacked = torch.stack(list(values.values()))
        self._share([stacked])
        return dict(zip(values, stacked.tolist(), strict=True))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
        )

    def _end_epoch(self, epoch: int, log: TrainingLog, pool: ThreadPoolExecutor) -> None:
        """Validate if it is time, save the checkpoints and some pictures."""
        model = self.model if self.average is None else cast("EMCClick", self.average.module)
        nocs: dict[str, float] = {}
        if epoch % self.run.validate_every == 0:
            network = prepare_network(model.eval())
            method = method_of(network, self.run.protocol, self.device)
            for dataset in self.run.validation:
                started = time.perf_counter()
                kept = Results()
                task = Task(
                    key=f"validation/{self.step}/{dataset.name}",
                    dataset=dataset,
                    indices=range(len(dataset)),
                    protocol=self.run.protocol,
                )
                evaluate_dataset(task, method, self.processes, kept)
                results = self.processes.gather(kept.results)
                if results is not None:
                    seconds = time.perf_counter() - started
                    figures = figures_of("", model.name, dataset.name, results, self.run.protocol, seconds)
                    self._tell(figures.problems)
                    nocs |= {f"{dataset.name} NoC@{s.threshold * 100:.0f}": s.mean for s in figures.noc}
        if self.processes.rank != 0:
            return
        metadata = {
            **(self.run.metadata or {}),
            "recipe": plain_recipe(self.recipe),
            "step": self.step,
            "samples": self.step * self.recipe.batch_size,
            "validation": nocs,
        }
        save_checkpoint(self.run.folder / "checkpoints" / "last.pth", model, metadata)
        last = self.step * self.recipe.batch_size
        shown = [self.samples[i] for i in range(last - min(SHEET_PICTURES, self.recipe.batch_size), last)]
        sheet = draw_training(model, shown, pool)
        write_image(self.run.folder / "pictures" / f"step_{self.step:06d}.png", sheet)
        if nocs:
            log.validation(self.step, epoch, nocs)
            mean = sum(nocs.values()) / len(nocs)
            if self.best_noc is None or mean < self.best_noc:
                self.best_noc = mean
                save_checkpoint(self.run.folder / "checkpoints" / "best.pth", model, metadata)

    def _tell(self, problems: Sequence[str]) -> None:
        """Tell what is wrong with held-out files, once."""
        for line in problems:
            if line not in self._told:
                self._told.add(line)
                tqdm.write(f"not validated: {line}", file=sys.stderr)

    def _state(self) -> TrainingState:
        return TrainingState(
            step=self.step,
            model=self.model.state_dict(),
            optimiser=self.optimiser.state_dict(),
            average=None if self.average is None else self.average.state_dict(),
            best_noc=self.best_noc,
            recipe=plain_recipe(self.recipe),
        )

    def _restore(self, state: TrainingState) -> None:
        self.step, self.best_noc = state.step, state.best_noc
        self.model.load_state_dict(state.model)
        self.optimiser.load_state_dict(dict(state.optimiser))
        if self.average is not None and state.average is not None:
            self.average.load_state_dict(state.average)


def averaging(most: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """The update of averaged weights: an exponential average that forgets faster at first.

    Its decay rises to ``most`` with the number of updates n, as (1 + n) / (10 + n): otherwise the untrained
    weights would be most of it for long.
    """

    @torch.no_grad()
    def update(averaged: _Tensors, current: _Tensors, updates: Tensor | int) -> None:
        n = int(updates)
        weight = 1 - min(most, (1 + n) / (10 + n))
        for mean, tensor in zip(averaged, current, strict=True):
            if tensor.is_floating_point():
                mean.lerp_(tensor, weight)
            else:
                mean.copy_(tensor)  # BatchNorm's counters

    return update


def synchronise(model: EMCClick) -> None:
    """Let BatchNorm see the batches of all processes together. For GPUs only: torch has none for the CPU."""
    convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm  # has no types
    convert(model)
