"""The training loop.

Everything random is a function of the seed and of a number: samples of their index, clicks and dropout of the
step and the process. So a run that was killed goes on from its last saved step bit for bit as if it had not
been, and the number of loader workers changes nothing.
"""

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm

from isegm.data import Dataset
from isegm.distributed import Processes
from isegm.errors import InputError
from isegm.evaluation.figures import figures_of
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.run import evaluate_dataset
from isegm.geometry import Click
from isegm.model.checkpoint import save_checkpoint
from isegm.model.emc_click import EMCClick
from isegm.simulation.train_clicks import number_of_clicks
from isegm.training.log import TrainingLog
from isegm.training.recipe import Recipe
from isegm.training.samples import SkippedFiles, TrainingSample, TrainingSamples
from isegm.training.schedule import learning_rate, parameter_groups
from isegm.training.state import TrainingState, load_state, plain_recipe, save_state
from isegm.training.step import Batch, TrainingPass, simulate_clicks, stack_clicks

CLICK_THREADS = 8
"""Pictures of a batch whose next clicks are found side by side."""


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
    workers: int = 2
    """Processes that load pictures."""
    resume: bool = False
    """Go on with the run that is in ``folder``."""
    tensorboard: bool = False
    """Log for TensorBoard as well."""
    metadata: dict[str, Any] | None = None
    """What checkpoints say of their making, besides the recipe and the figures."""


class Trainer:
    """Train a network by a recipe.

    Args:
        model: The network, on this process's device.
        recipe: What to train, and how.
        samples: The training pictures.
        run: Where, and what to write.
        processes: The run's processes.

    Raises:
        InputError: The batch cannot be shared out evenly, or the run cannot be resumed.
    """

    def __init__(
        self,
        model: EMCClick,
        recipe: Recipe,
        samples: TrainingSamples,
        run: TrainingRun,
        processes: Processes,
    ) -> None:
        parts = processes.size * recipe.accumulate
        if recipe.batch_size % parts:
            raise InputError(f"--batch-size: {recipe.batch_size} cannot be shared by {parts} parts evenly")
        self.recipe = recipe
        self.run = run
        self.processes = processes
        self.samples = samples
        self.part_size = recipe.batch_size // parts
        self.device = next(model.parameters()).device
        self.model = model
        self.training_pass: nn.Module = TrainingPass(model)
        if processes.size > 1:
            self.training_pass = DistributedDataParallel(self.training_pass)
        self.optimiser = torch.optim.Adam(parameter_groups(model, recipe), lr=recipe.learning_rate)
        self.average = None
        if recipe.ema_decay:
            averaging: Any = get_ema_multi_avg_fn  # has no types
            self.average = AveragedModel(model, multi_avg_fn=averaging(recipe.ema_decay), use_buffers=True)
        self.step = 0
        self.best_noc: float | None = None
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
        with log, bar, ThreadPoolExecutor(CLICK_THREADS) as pool:
            batches = self._load()
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
                    bar.set_postfix_str(f"loss {figures['total']:.4f}, {rate:.1f} images/s", refresh=False)
                    started, since = time.perf_counter(), self.step
                ends_epoch = self.step % recipe.epoch_steps == 0
                if ends_epoch:
                    self._end_epoch(self.step // recipe.epoch_steps, log)
                    started, since = time.perf_counter(), self.step
                if (ends_epoch or self.step % self.run.save_every == 0) and first:
                    save_state(self.run.folder, self._state())

    def _train_step(self, batches: Iterator[Batch], pool: ThreadPoolExecutor) -> dict[str, float]:
        """One optimiser step; the figures are those of all processes together."""
        recipe = self.recipe
        rate = learning_rate(recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["multiplier"]
        # The number of clicks is the same in all processes, so that none waits for another.
        extra_clicks = number_of_clicks(
            np.random.default_rng([recipe.seed, self.step]), recipe.max_extra_clicks, recipe.click_decay
        )
        seeds = np.random.SeedSequence([recipe.seed, self.step, self.processes.rank])
        torch.manual_seed(int(seeds.generate_state(1)[0]))  # dropout
        sums: dict[str, Tensor] = {}
        for part, part_seeds in enumerate(seeds.spawn(recipe.accumulate)):
            batch = next(batches)
            rngs = [np.random.default_rng(seed) for seed in part_seeds.spawn(self.part_size)]
            is_last = part == recipe.accumulate - 1
            with self._autocast(), self._gradients_shared(is_last):
                clicks, previous = simulate_clicks(self.model, batch, extra_clicks, rngs, pool)
                self.training_pass.train()
                points = stack_clicks(clicks, self.device)
                losses = self.training_pass(batch.image, batch.label, points, previous)
                (losses["total"] / recipe.accumulate).backward()
            for name, loss in losses.items():
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + loss.detach()
        figures = self._shared_mean({name: total / recipe.accumulate for name, total in sums.items()})
        self._check_finite(figures)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, recipe.clip_norm or math.inf)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return figures | {"gradient_norm": float(norm), "learning_rate": rate, "extra_clicks": extra_clicks}

    def _check_finite(self, figures: dict[str, float]) -> None:
        if not math.isfinite(figures["total"]):
            first = self.step * self.recipe.batch_size
            raise InputError(
                f"{self.run.folder}: the loss is {figures['total']} at step {self.step}, samples {first} to "
                f"{first + self.recipe.batch_size - 1}; the last saved state is kept: start anew with a "
                "lower --learning-rate or with --clip-norm"
            )

    def _shared_mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        stacked = torch.stack(list(values.values()))
        if self.processes.size > 1:
            dist.all_reduce(stacked)
            stacked /= self.processes.size
        return dict(zip(values, stacked.tolist(), strict=True))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
        )

    def _gradients_shared(self, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Let the processes add up their gradients in the last part of a batch only."""
        if isinstance(self.training_pass, DistributedDataParallel) and not is_last:
            return self.training_pass.no_sync()
        return contextlib.nullcontext()

    def _load(self) -> Iterator[Batch]:
        loader: DataLoader[TrainingSample] = DataLoader(
            cast("TorchDataset[TrainingSample]", self.samples),
            batch_sampler=_StepSampler(self.recipe, self.step, self.part_size, self.processes),
            num_workers=self.run.workers,
            collate_fn=list,
            worker_init_fn=_prepare_worker,
        )
        skipped = SkippedFiles()
        for samples in loader:
            for line in skipped.note(samples):
                tqdm.write(f"skipped: {line}", file=sys.stderr)
            yield _to_batch(samples, self.device)

    def _end_epoch(self, epoch: int, log: TrainingLog) -> None:
        """Validate if it is time, and save the checkpoints."""
        model = self.model if self.average is None else cast("EMCClick", self.average.module)
        nocs: dict[str, float] = {}
        if epoch % self.run.validate_every == 0:
            model.eval()
            for dataset in self.run.validation:
                started = time.perf_counter()
                results = evaluate_dataset(
                    model,
                    dataset,
                    self.run.protocol,
                    self.processes,
                    job=f"validation/{self.step}/{dataset.name}",
                    save=lambda *_: None,
                )
                if results is not None:
                    seconds = time.perf_counter() - started
                    figures = figures_of("", model.name, dataset.name, results, self.run.protocol, seconds)
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
        if nocs:
            log.validation(self.step, epoch, nocs)
            mean = sum(nocs.values()) / len(nocs)
            if self.best_noc is None or mean < self.best_noc:
                self.best_noc = mean
                save_checkpoint(self.run.folder / "checkpoints" / "best.pth", model, metadata)

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


class _StepSampler(Sampler[list[int]]):
    """The sample indices of every part of every step that is still to be done, for one process."""

    def __init__(self, recipe: Recipe, step: int, part_size: int, processes: Processes) -> None:
        self._recipe = recipe
        self._step = step
        self._part_size = part_size
        self._offset = processes.rank * part_size * recipe.accumulate

    def __len__(self) -> int:
        return (self._recipe.total_steps - self._step) * self._recipe.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._step, self._recipe.total_steps):
            for part in range(self._recipe.accumulate):
                start = step * self._recipe.batch_size + self._offset + part * self._part_size
                yield list(range(start, start + self._part_size))


def _prepare_worker(_: int) -> None:
    cv2.setNumThreads(1)  # the workers share the cores among themselves


def _to_batch(samples: Sequence[TrainingSample], device: torch.device) -> Batch:
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device)
    labels = torch.from_numpy(np.stack([sample.label for sample in samples])).to(device)
    first_clicks = [Click(*sample.first_click, positive=True) for sample in samples]
    return Batch(images.permute(0, 3, 1, 2).float() / 255, labels.unsqueeze(1), first_clicks)
