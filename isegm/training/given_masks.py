"""Training pictures that begin with a mask to correct, step by step as a ``Predictor`` corrects it.

Letters: B batch, H and W height and width in pixels, h and w those of a mask's logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from isegm.geometry import Click
from isegm.inference.network_input import mask_input
from isegm.inference.progressive_merge import merge_change
from isegm.inference.propagation import anchors, to_correct
from isegm.metrics.overlap import Mask
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


def shown_to_head(
    previous: Tensor, given: Sequence[GivenMask | None], clicks: Sequence[Sequence[Click]]
) -> tuple[list[Sequence[Click]], Tensor]:
    """Put what the head is shown of the given masks in place of what it is shown otherwise.

    Args:
        previous: Logits of the last masks, or of the coarse ones, (B, 1, h, w).
        given: Every picture's, None where there is none.
        clicks: Every picture's, so far.

    Returns:
        Every picture's clicks, and logits of the masks before the last of them, (B, 1, h, w).
    """
    seen, previous = list(clicks), previous.clone()
    for i, mask in enumerate(given):
        if mask is not None:
            seen[i], known = to_correct(mask.mask, mask.middle, clicks[i])
            previous[i : i + 1] = mask_input(known, previous[i : i + 1])
    return seen, previous


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
    logits = logits.clone()
    for i, mask in enumerate(given):
        if mask is not None:
            mask.change((logits[i, 0] > 0).cpu().numpy(), clicks[i][-1])
            logits[i : i + 1] = mask_input(mask.mask, logits[i : i + 1])
    return logits
