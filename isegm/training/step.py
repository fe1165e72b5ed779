"""One training pass: simulated clicks on cached features, then losses on all masks.

Source: EMC-Click, section 3.4, and section 4.1 for the numbers.

Letters: B batch, H and W height and width in pixels, h = H / 4 and w = W / 4.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from isegm.geometry import Click
from isegm.model.backbones.first_stage import FirstStageOutput
from isegm.model.click_maps import encode_clicks
from isegm.model.emc_click import EMCClick, EMCClickState
from isegm.model.layers import resize
from isegm.simulation.train_clicks import next_click
from isegm.training.crops import TrainingSample
from isegm.training.losses import total_loss

MAX_CLICKS = 24
"""Clicks of each polarity that a training picture can hold."""

THRESHOLD = 0.49
"""Simulated clicks see a mask where the probability is above this."""


class Batch(NamedTuple):
    """Training pictures, as a network takes them.

    Attributes:
        image: RGB in [0, 1], (B, 3, H, W).
        label: 1 object, 0 background, -1 ignored, (B, 1, H, W) int8.
        first_clicks: One a picture, positive.
    """

    image: Tensor
    label: Tensor
    first_clicks: list[Click]

    @classmethod
    def of(cls, samples: Sequence[TrainingSample], device: torch.device) -> "Batch":
        """Put samples of one size together."""
        images = torch.from_numpy(np.stack([sample.image for sample in samples]))
        labels = torch.from_numpy(np.stack([sample.label for sample in samples]))
        return cls.on(device, images, labels, [sample.first_click for sample in samples])

    @classmethod
    def on(
        cls, device: torch.device, images: Tensor, labels: Tensor, first_clicks: Sequence[tuple[int, int]]
    ) -> "Batch":
        """Bring pictures to a device: ``images`` (B, H, W, 3) uint8, ``labels`` (B, H, W) int8."""
        # Still in the order of channels_last, as the network is.
        image = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        label = labels.to(device, non_blocking=True).unsqueeze(1)
        return cls(image, label, [Click(*click, positive=True) for click in first_clicks])


class TrainingPass(nn.Module):
    """The pass that is differentiated, as one module, so that DistributedDataParallel can hold it.

    Args:
        model: The network.
    """

    def __init__(self, model: EMCClick) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, image: Tensor, label: Tensor, points: Tensor, previous: Tensor | None
    ) -> dict[str, Tensor]:
        """Run both stages and take the losses.

        Args:
            image: RGB in [0, 1], (B, 3, H, W).
            label: (B, 1, H, W).
            points: All clicks, (B, 2N, 3).
            previous: Logits of the mask before the last click, (B, 1, h, w); None if there was one click
                only: the first stage's coarse mask then serves.

        Returns:
            Scalars: the losses ``coarse``, ``auxiliary`` (HRNet only), ``corrected`` and ``total``, and
            ``iou``, the mean IoU of the corrected masks.
        """
        size = (image.shape[2], image.shape[3])
        image = self.model.normalise(image)
        first = self.model.encode(image, points)
        before = first.coarse.detach() if previous is None else previous
        corrected = self.model.correct(image, points, EMCClickState(first.features, before))
        return _scores(first, [resize(corrected.float(), size)], label)


class EveryClickPass(nn.Module):
    """A pass with a loss after every click, in place of the last alone.

    One run of the first stage, in training mode, serves all clicks, where the published pass has two. The
    correction head learns from every click's mask; its forward and backward passes grow with their number.

    Args:
        model: The network.
    """

    def __init__(self, model: EMCClick) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        image: Tensor,
        label: Tensor,
        first_clicks: Sequence[Click],
        extra_clicks: int,
        rngs: Sequence[np.random.Generator],
        pool: Executor,
    ) -> dict[str, Tensor]:
        """Run the first stage, then click as :func:`simulate_clicks` does, and take the losses.

        Args:
            image: RGB in [0, 1], (B, 3, H, W).
            label: (B, 1, H, W).
            first_clicks: One a picture.
            extra_clicks: How many more, the same for all pictures.
            rngs: One a picture.
            pool: Where the pictures' next clicks are found side by side.

        Returns:
            Scalars as :class:`TrainingPass` has them; ``corrected`` is the mean over the clicks, ``iou`` that
            of the masks after the last.
        """
        size = (image.shape[2], image.shape[3])
        image = self.model.normalise(image)
        clicks = [[click] for click in first_clicks]
        points = stack_clicks(clicks, image.device)
        first = self.model.encode(image, points)
        previous = first.coarse.detach()
        masks: list[Tensor] = []
        for count in range(extra_clicks + 1):
            if count > 0:
                place_next_clicks(clicks, masks[-1].detach(), label, rngs, pool)
                points = stack_clicks(clicks, image.device)
            corrected = self.model.correct(image, points, EMCClickState(first.features, previous))
            masks.append(resize(corrected.float(), size))
            previous = corrected.detach()
        return _scores(first, masks, label)


def _scores(first: FirstStageOutput, masks: Sequence[Tensor], label: Tensor) -> dict[str, Tensor]:
    """The losses of a pass, and the IoU of its last mask; in float32, whatever autocast did before."""
    size = (label.shape[2], label.shape[3])
    auxiliary = None if first.auxiliary is None else resize(first.auxiliary.float(), size)
    losses = total_loss(resize(first.coarse.float(), size), auxiliary, masks, label.float())
    # A focal loss is normalised by what is still wrong and hardly falls: IoU shows what is learned.
    return losses | {"iou": mean_iou(masks[-1].detach(), label)}


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
        Every picture's clicks, and the logits (B, 1, h, w) of the mask before the last of them; None without
        extra clicks.
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
        state = EMCClickState(first.features, logits)
        place_next_clicks(clicks, resize(logits.float(), size), batch.label, rngs, pool)
        points = stack_clicks(clicks, image.device)
    return clicks, state.previous


def place_next_clicks(
    clicks: Sequence[list[Click]],
    logits: Tensor,
    label: Tensor,
    rngs: Sequence[np.random.Generator],
    pool: Executor,
) -> None:
    """Add to every picture's clicks one on an error of its mask, if it has any.

    Args:
        clicks: Every picture's, so far.
        logits: Of the current masks, (B, 1, H, W).
        label: (B, 1, H, W).
        rngs: One a picture.
        pool: Where the clicks are found side by side.
    """
    masks: npt.NDArray[np.bool_] = (logits.sigmoid() > THRESHOLD)[:, 0].cpu().numpy()
    truths: npt.NDArray[np.int8] = label[:, 0].cpu().numpy()
    for placed, click in zip(clicks, pool.map(next_click, masks, truths, rngs), strict=True):
        if click is not None:
            placed.append(click)
