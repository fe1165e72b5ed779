"""Training passes: simulated clicks on cached features, and losses on all masks.

Source: EMC-Click, section 3.4, and section 4.1 for the numbers.

Letters: B batch, H and W height and width in pixels, h = H / 4 and w = W / 4.
"""

import contextlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isegm.geometry import Click
from isegm.inference.network_input import previous_input
from isegm.metrics.overlap import Mask
from isegm.model.backbones.first_stage import FirstStageOutput
from isegm.model.click_maps import encode_clicks
from isegm.model.emc_click import EMCClick, EMCClickState
from isegm.model.layers import resize
from isegm.simulation.next_click import NextClick
from isegm.simulation.train_clicks import next_click
from isegm.training.crops import TrainingSample
from isegm.training.given_masks import GivenMask, draw_given, shown_to_head, take_changes
from isegm.training.losses import LossWeights, corrected_loss, first_stage_losses, soft_iou_loss

MAX_CLICKS = 24
"""Clicks of each polarity that a training picture can hold."""

THRESHOLD = 0.49
"""Simulated clicks see a mask where the probability is above this."""


class Batch(NamedTuple):
    """Training pictures, as a network takes them.

    Attributes:
        image: RGB in [0, 1], (B, 3, H, W).
        label: 1 object, 0 background, -1 ignored, (B, 1, H, W) int8.
        first_clicks: One a picture.
        beside: Where the objects are in the slices beside, (H, W) each, None where that is not known; empty
            if it never is.
        given: The masks that another hand or tool gave, None for a picture without one; empty if none has.
    """

    image: Tensor
    label: Tensor
    first_clicks: list[Click]
    beside: tuple[Mask | None, ...] = ()
    given: tuple[GivenMask | None, ...] = ()

    @classmethod
    def of(cls, samples: Sequence[TrainingSample], device: torch.device) -> "Batch":
        """Put samples of one size together."""
        images = torch.from_numpy(np.stack([sample.image for sample in samples]))
        labels = torch.from_numpy(np.stack([sample.label for sample in samples]))
        beside = [None if sample.beside is None else torch.from_numpy(sample.beside) for sample in samples]
        return cls.on(device, images, labels, [sample.first_click for sample in samples], beside)

    @classmethod
    def on(
        cls,
        device: torch.device,
        images: Tensor,
        labels: Tensor,
        first_clicks: Sequence[tuple[int, int]],
        beside: Sequence[Tensor | None],
    ) -> "Batch":
        """Bring pictures to a device: ``images`` (B, H, W, 3) uint8, ``labels`` (B, H, W) int8.

        Objects in the slices beside, (H, W) bool, stay where they are.
        """
        # Still in the order of channels_last, as the network is.
        image = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        label = labels.to(device, non_blocking=True).unsqueeze(1)
        clicks = [Click(*click, positive=True) for click in first_clicks]
        return cls(image, label, clicks, tuple(None if mask is None else mask.numpy() for mask in beside))

    def with_previous_masks(
        self, share: float, rngs: Sequence[np.random.Generator], pool: Executor
    ) -> "Batch":
        """Give a share of the pictures a faulty mask to begin with, or that of the slice beside.

        They are then corrected as a :class:`isegm.inference.predictor.Predictor` corrects such masks, or
        begun as :class:`isegm.inference.volume_predictor.VolumePredictor` goes from slice to slice.

        Args:
            share: Of the pictures, 0 to 1.
            rngs: One a picture.
            pool: Where the masks are made side by side.
        """
        truths: npt.NDArray[np.int8] = self.label[:, 0].cpu().numpy()
        begun = [rng.random() < share for rng in rngs]
        if not any(begun):
            return self

        greys = (self.image[:, 0] * 255).round().to(torch.uint8).cpu().numpy()
        beside = self.beside or (None,) * len(begun)

        def draw(i: int) -> tuple[GivenMask | None, Click]:
            click = self.first_clicks[i]
            return draw_given(truths[i], click, rngs[i], beside[i], greys[i]) if begun[i] else (None, click)

        given, clicks = zip(*pool.map(draw, range(len(begun))), strict=True)
        return self._replace(given=given, first_clicks=list(clicks))


def losses_after_last(
    model: EMCClick,
    image: Tensor,
    label: Tensor,
    points: Tensor,
    previous: Tensor | None,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """Run both stages on the clicks that were simulated, and take the losses: the published pass.

    Args:
        model: The network.
        image: RGB in [0, 1], (B, 3, H, W).
        label: (B, 1, H, W).
        points: All clicks, (B, 2N, 3).
        previous: What the head is shown of the mask before the last click, (B, 1, h, w); None if there was
            one click only: the first stage's coarse mask then serves.
        weights: What each loss counts.

    Returns:
        Scalars: the losses ``coarse``, ``auxiliary`` (where there is such a mask), ``corrected`` and
        ``total``, and ``iou``, the mean IoU of the corrected masks.
    """
    size = (image.shape[2], image.shape[3])
    image = model.normalise(image)
    first = model.encode(image, points)
    before = first.coarse.detach() if previous is None else previous
    corrected = resize(model.correct(image, points, EMCClickState(first.features, before)).float(), size)
    figures = _first_stage_losses(first, label, weights)
    loss = corrected_loss(corrected, None, points, label.float(), weights)
    total = figures["total"] + loss
    return figures | {"corrected": loss, "total": total, "iou": mean_iou(corrected.detach(), label)}


def backward_after_each(
    model: EMCClick,
    batch: Batch,
    extra_clicks: int,
    graded: Collection[int],
    rngs: Sequence[np.random.Generator],
    pool: Executor,
    weights: LossWeights,
    *,
    deepest_share: float = 0.0,
    share: float = 1.0,
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> dict[str, Tensor]:
    """Click as :func:`simulate_clicks` does, with losses after several clicks in place of the last alone.

    One run of the first stage, in the mode that the network is in, serves all clicks. After each graded click
    the correction head's gradient is taken at once and its part for the features is kept; at the end that
    goes through the first stage. It is the gradient of the mean over the graded clicks, for the memory of
    one. Other clicks are simulated without gradient, with the head in evaluation mode.

    Args:
        model: The network; gradients are added to its parameters'.
        batch: The pictures.
        extra_clicks: How many clicks after the first, the same for all pictures.
        graded: After which clicks, counted from 0, the loss is taken; the last must be one of them.
        rngs: One a picture.
        pool: Where the pictures' next clicks are found side by side.
        weights: What each loss counts.
        deepest_share: Of the further clicks, those that are placed as the evaluation's are.
        share: What gradients are multiplied by.
        autocast: Makes the context in which the network computes.

    Returns:
        Scalars as of :func:`losses_after_last`; ``corrected`` is the mean over the graded clicks, ``iou``
        that of the masks after the last.
    """
    label = batch.label
    size, truth = (label.shape[2], label.shape[3]), label.float()
    image = model.normalise(batch.image)
    clicks = [[click] for click in batch.first_clicks]
    # The clicks change the given masks; those of the batch stay as they are, for whoever uses it again.
    given = [None if mask is None else replace(mask) for mask in batch.given] or [None] * len(clicks)
    shown = [
        [click] if mask is None else [mask.middle]
        for mask, click in zip(given, batch.first_clicks, strict=True)
    ]
    with autocast():
        first = model.encode(image, stack_clicks(shown, image.device))
    figures = _first_stage_losses(first, label, weights)
    # In single precision at least: several clicks' gradients are added up here.
    features = first.features.detach()
    features = features.to(torch.promote_types(features.dtype, torch.float32)).requires_grad_()
    seen, previous = shown_to_head(first.coarse.detach(), given, clicks)
    least = soft_iou_loss(resize(previous.float(), size), truth) if weights.worse else None
    mask: Tensor | None = None
    losses: list[Tensor] = []
    was_training = model.refiner.training
    for count in range(extra_clicks + 1):
        if mask is not None:
            place_next_clicks(clicks, mask, label, rngs, pool, deepest_share=deepest_share)
            previous = previous_inputs(model, previous, clicks, size)
            seen, previous = shown_to_head(previous, given, clicks)
        points = stack_clicks(seen, image.device)
        is_graded = count in graded
        model.refiner.train(was_training and is_graded)
        with torch.set_grad_enabled(is_graded), autocast():
            logits = model.correct(image, points, EMCClickState(features, previous))
        corrected = resize(logits.float(), size)
        if is_graded:
            loss = corrected_loss(corrected, least, points, truth, weights) / len(graded)
            (share * loss).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        previous, mask = logits.detach(), take_changes(corrected.detach(), given, clicks)
        if least is not None:
            least = torch.minimum(least, soft_iou_loss(mask, truth))
    assert mask is not None  # noqa: S101 - there is at least one click
    model.refiner.train(was_training)
    assert features.grad is not None  # noqa: S101 - the last click was graded
    torch.autograd.backward(
        [share * figures["total"], first.features], [None, features.grad.to(first.features.dtype)]
    )
    corrected_mean = torch.stack(losses).sum()
    total = figures["total"].detach() + corrected_mean
    figures = {name: loss.detach() for name, loss in figures.items()}
    return figures | {"corrected": corrected_mean, "total": total, "iou": mean_iou(mask, label)}


def graded_clicks(extra_clicks: int, after: str, rng: np.random.Generator) -> frozenset[int]:
    """After which clicks the loss is taken, counted from 0: after ``every`` one, or after ``some``.

    ``some`` are the first, the last, and one at random between them.
    """
    if after == "every" or extra_clicks < 2:
        return frozenset(range(extra_clicks + 1))
    return frozenset({0, int(rng.integers(1, extra_clicks)), extra_clicks})


def _first_stage_losses(first: FirstStageOutput, label: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """In float32, whatever autocast did before."""
    size = (label.shape[2], label.shape[3])
    auxiliary = None if first.auxiliary is None else resize(first.auxiliary.float(), size)
    return first_stage_losses(resize(first.coarse.float(), size), auxiliary, label.float(), weights)


def mean_iou(logits: Tensor, label: Tensor) -> Tensor:
    """The mean IoU of a batch's masks (probability above 0.5), ignored pixels apart.

    Args:
        logits: (B, 1, H, W).
        label: (B, 1, H, W); every picture has an object.
    """
    mask, truth = (logits > 0) & (label != -1), label == 1
    common = (mask & truth).sum(dim=(1, 2, 3))
    return (common / (mask | truth).sum(dim=(1, 2, 3))).mean()


def stack_clicks(clicks: Sequence[Sequence[Click]], device: torch.device) -> Tensor:
    """Lay out every picture's clicks as points of one batch, (B, 2N, 3) float32.

    The published training has rows for 24 clicks of each polarity. As an unused row counts in the choice of
    templates, but a second one changes nothing, one more than needed (of 24 at most) does the same.
    """
    rows = [encode_clicks(placed) for placed in clicks]
    count = min(MAX_CLICKS, max(len(r) for r in rows) // 2 + 1)
    points = torch.full((len(clicks), 2, count, 3), -1.0)
    for picture, r in zip(points, rows, strict=True):
        picture[:, : len(r) // 2] = r.view(2, -1, 3)
    return points.flatten(1, 2).to(device)


@torch.no_grad()
def simulate_clicks(
    model: EMCClick, batch: Batch, extra_clicks: int, rngs: Sequence[np.random.Generator], pool: Executor
) -> tuple[list[list[Click]], Tensor | None]:
    """Click on a batch as a user would, with the network in evaluation mode.

    The first stage runs once; each further click is placed on the mask that the correction head made of
    the clicks before it. A picture whose mask has no error gets no click that time.

    Args:
        model: The network; it is left in evaluation mode where there are extra clicks.
        batch: The pictures, with their first clicks.
        extra_clicks: How many more clicks, the same for all pictures.
        rngs: One a picture.
        pool: Where the pictures' next clicks are found side by side.

    Returns:
        Every picture's clicks, and what the head is shown at the last of them of the mask before it,
        (B, 1, h, w); None without extra clicks.
    """
    clicks = [[click] for click in batch.first_clicks]
    if extra_clicks == 0:
        return clicks, None
    model.eval()
    size = (batch.image.shape[2], batch.image.shape[3])
    image = model.normalise(batch.image)
    points = stack_clicks(clicks, image.device)
    first = model.encode(image, points)
    state = EMCClickState(first.features, first.coarse)
    for _ in range(extra_clicks):
        logits = model.correct(image, points, state)
        place_next_clicks(clicks, resize(logits.float(), size), batch.label, rngs, pool)
        state = EMCClickState(first.features, previous_inputs(model, logits, clicks, size))
        points = stack_clicks(clicks, image.device)
    return clicks, state.previous


def previous_inputs(
    model: EMCClick, logits: Tensor, clicks: Sequence[Sequence[Click]], size: tuple[int, int]
) -> Tensor:
    """Make of every picture's last logits, (B, 1, h, w), what the head is shown at its next click.

    See :func:`isegm.inference.network_input.previous_input`; ``clicks`` are on an input of ``size`` (H, W).
    """
    pictures = zip(torch.split(logits, 1), clicks, strict=True)
    return torch.cat([previous_input(model, own, placed, size, size) for own, placed in pictures])


def place_next_clicks(
    clicks: Sequence[list[Click]],
    logits: Tensor,
    label: Tensor,
    rngs: Sequence[np.random.Generator],
    pool: Executor,
    *,
    deepest_share: float = 0.0,
) -> None:
    """Add to every picture's clicks one on an error of its mask, if it has any.

    Args:
        clicks: Every picture's, so far.
        logits: Of the current masks, (B, 1, H, W).
        label: (B, 1, H, W).
        rngs: One a picture.
        pool: Where the clicks are found side by side.
        deepest_share: Of the clicks, those that are placed as the evaluation's are, in the middle of the
            largest error; the others anywhere that :func:`next_click` might choose.
    """

    def place(
        mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.int8], rng: np.random.Generator
    ) -> Click | None:
        if deepest_share and rng.random() < deepest_share:
            return NextClick(truth).aim(mask)
        return next_click(mask, truth, rng)

    masks: npt.NDArray[np.bool_] = (logits.sigmoid() > THRESHOLD)[:, 0].cpu().numpy()
    truths: npt.NDArray[np.int8] = label[:, 0].cpu().numpy()
    for placed, click in zip(clicks, pool.map(place, masks, truths, rngs), strict=True):
        if click is not None:
            placed.append(click)
