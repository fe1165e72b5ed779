"""Training pictures that begin with a mask to correct: what a ``Predictor`` does with one, step by step.

Letters: B batch, H and W height and width in pixels, h and w those of a mask's logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isegm.geometry import Click
from isegm.inference.progressive_merge import merge_change
from isegm.inference.propagation import anchors, freed
from isegm.metrics.overlap import Mask
from isegm.model.emc_click import MASK_LOGIT
from isegm.model.layers import resize
from isegm.simulation.next_click import NextClick
from isegm.simulation.train_clicks import next_click
from isegm.training.faulty_masks import faulty_mask


@dataclass
class GivenMask:
    """A mask to correct, as it is after the clicks so far.

    Attributes:
        mask: (H, W).
        middle: A positive click in the middle of the mask that was given. The first stage sees it, and the
            head as long as the mask holds it.
    """

    mask: Mask
    middle: Click

    def head_clicks(self, clicks: Sequence[Click]) -> list[Click]:
        """All clicks that the head sees: the middle, if the mask still holds it, and those placed."""
        is_held = self.mask[round(self.middle.row), round(self.middle.col)]
        return [self.middle, *clicks] if is_held else list(clicks)

    def before(self, clicks: Sequence[Click]) -> npt.NDArray[np.float32]:
        """Logits of the mask for the head, (H, W), not known where the last of the clicks may change it."""
        known = freed(self.mask, clicks[-1], self.head_clicks(clicks))
        return (2 * known - 1) * np.float32(MASK_LOGIT)

    def change(self, proposed: Mask, click: Click) -> None:
        """Take over what the head made of the click: the connected region of change that holds it."""
        self.mask = merge_change(self.mask, proposed, round(click.row), round(click.col))


def draw_given(
    truth: npt.NDArray[np.int8], first_click: Click, rng: np.random.Generator
) -> tuple[GivenMask | None, Click]:
    """Draw a faulty mask for a picture, and the first click.

    Args:
        truth: (H, W): 1 object, 0 background, -1 ignored.
        first_click: The picture's own. It stays the first in half of the draws, and where the mask has no
            error; else the first is on an error, positive or negative, as often as not in its middle.
        rng: Where the mask's faults and the choice come from.

    Returns:
        The mask, None if it came out empty, and the first click.
    """
    mask = faulty_mask(truth == 1, rng)
    if not mask.any():
        return None, first_click
    given = GivenMask(mask, anchors(mask, ())[0])
    if rng.random() < 0.5:
        return given, first_click
    on_error = next_click(mask, truth, rng) if rng.random() < 0.5 else NextClick(truth).aim(mask)
    return given, on_error or first_click


def head_clicks(
    given: Sequence[GivenMask | None], clicks: Sequence[Sequence[Click]]
) -> list[Sequence[Click]]:
    """All clicks that the head sees, of every picture; ``given`` and ``clicks`` as for :func:`with_given`."""
    return [
        placed if mask is None else mask.head_clicks(placed)
        for mask, placed in zip(given, clicks, strict=True)
    ]


def with_given(
    logits: Tensor, given: Sequence[GivenMask | None], clicks: Sequence[Sequence[Click]]
) -> Tensor:
    """Logits of the masks before a click, (B, 1, h, w), those of pictures with a given mask replaced.

    Args:
        logits: Of the last masks, or of the coarse ones.
        given: Every picture's, None where there is none.
        clicks: Every picture's, so far.
    """
    if not any(given):
        return logits
    logits = logits.clone()
    for picture, mask, placed in zip(logits, given, clicks, strict=True):
        if mask is not None:
            before = torch.from_numpy(mask.before(placed)).to(logits.device)
            picture[0] = resize(before[None, None], (logits.shape[2], logits.shape[3]))[0, 0]
    return logits


def take_changes(
    logits: Tensor, given: Sequence[GivenMask | None], clicks: Sequence[Sequence[Click]]
) -> Tensor:
    """Merge what the head made of a click into the given masks.

    Args:
        logits: Of the head's masks, (B, 1, H, W).
        given: Every picture's, None where there is none; brought up to date.
        clicks: Every picture's, so far.

    Returns:
        ``logits``, with those of the merged masks in pictures that have one.
    """
    if not any(given):
        return logits
    logits = logits.clone()
    for picture, mask, placed in zip(logits, given, clicks, strict=True):
        if mask is not None:
            mask.change((picture[0] > 0).cpu().numpy(), placed[-1])
            picture[0] = (2 * torch.from_numpy(mask.mask).to(picture) - 1) * MASK_LOGIT
    return logits
