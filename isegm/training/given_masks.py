"""Training pictures that begin with a mask: one to correct, or that of the slice beside.

The first is corrected step by step as a ``Predictor`` corrects it. The second is carried over as a
``VolumePredictor`` does it, and then corrected.

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
from isegm.inference.propagation import Appearance, anchors, has_ended, parts_meeting, to_carry, to_correct
from isegm.inference.segmenter import Probability
from isegm.metrics.overlap import Mask, mask_iou
from isegm.simulation.next_click import NextClick
from isegm.simulation.train_clicks import next_click
from isegm.training.faulty_masks import faulty_mask

_SAME_PLACE = 0.3
"""The IoU from which on an object is in the same place in the slice beside."""

_CARRIED_SHARE = 0.7
"""How often the slice beside's mask is carried over, rather than corrected by a click."""

_FAULTY_SHARE = 0.3
"""How often a mask that is carried over has faults, as one that comes from far away has."""


@dataclass
class GivenMask:
    """A mask to correct, as it is after the clicks so far.

    Attributes:
        mask: (H, W).
        middle: A positive click in the middle of the mask that was given. The first stage sees it, and the
            head as long as the mask holds it.
        carried: Clicks without a person, and what the head is shown, (H, W), of a mask that is the slice
            beside's; None of others, and once the head has answered.
    """

    mask: Mask
    middle: Click
    carried: tuple[tuple[Click, ...], Probability] | None = None

    def change(self, proposed: Mask, click: Click) -> None:
        """Take over what the head made of the click: the connected region of change that holds it.

        Of what it made of the slice beside, all parts that the mask there meets.
        """
        if self.carried is None:
            self.mask = merge_change(self.mask, proposed, round(click.row), round(click.col))
        else:
            self.mask, self.carried = parts_meeting(proposed, self.mask), None


def draw_given(
    truth: npt.NDArray[np.int8],
    first_click: Click,
    rng: np.random.Generator,
    beside: Mask | None,
    grey: npt.NDArray[np.uint8],
) -> tuple[GivenMask | None, Click]:
    """Draw a mask for a picture to begin with, and the first click.

    Where it is known where the object is in the slice beside, and that is roughly the same place, the mask is
    mostly that one; else it is the object's with faults.

    Args:
        truth: (H, W): 1 object, 0 background, -1 ignored.
        first_click: The picture's own. It stays the first in half of the draws, and where the mask has no
            error; else the first is on an error, positive or negative, as often as not in its middle. Of a
            mask that is carried over from the slice beside, the first is in its middle.
        rng: Where the mask's faults and the choice come from.
        beside: (H, W), where the object is in the slice beside; None where that is not known.
        grey: (H, W), the picture.

    Returns:
        The mask, None if it came out empty, and the first click.
    """
    if beside is not None and mask_iou(beside, truth == 1) < _SAME_PLACE:
        beside = None
    if beside is not None and rng.random() < _CARRIED_SHARE:
        carried = _carried_over(beside, truth, rng, grey)
        if carried is not None:
            return carried, carried.middle
    mask = faulty_mask(truth == 1, rng) if beside is None else beside
    if not mask.any():
        return None, first_click
    given = GivenMask(mask, anchors(mask, ())[0])
    if rng.random() < 0.5:
        return given, first_click
    on_error = next_click(mask, truth, rng) if rng.random() < 0.5 else NextClick(truth).aim(mask)
    return given, on_error or first_click


def _carried_over(
    beside: Mask, truth: npt.NDArray[np.int8], rng: np.random.Generator, grey: npt.NDArray[np.uint8]
) -> GivenMask | None:
    """The slice beside's mask, as it is carried over; None if it would not be, or to a wrong place."""
    mask = faulty_mask(beside, rng) if rng.random() < _FAULTY_SHARE else beside
    seen = Appearance.of(grey, truth == 1).seen_in(grey, mask)
    if has_ended(mask, seen):
        return None
    places = tuple(anchors(seen, ()))
    if any(truth[round(place.row), round(place.col)] != 1 for place in places):
        return None
    return GivenMask(mask, places[0], (places, to_carry(mask, seen)))


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
            seen[i], known = mask.carried or to_correct(mask.mask, mask.middle, clicks[i])
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
