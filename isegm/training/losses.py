"""The training losses.

Source: EMC-Click, section 3.4; the normalised focal loss is RITM's (Sofiiuk et al., "Reviving Iterative
Training with Mask Guidance for Interactive Segmentation", 2021, section 3.3).

Letters: B batch, H and W height and width in pixels. Labels are 1 object, 0 background, -1 ignored.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

ALPHA = 0.5
"""Weight of both classes in the focal loss."""

GAMMA = 2
"""How strongly the focal loss turns to pixels that are not yet right."""

AUXILIARY_WEIGHT = 0.4
"""Share of the auxiliary mask's loss."""

_EPSILON = 1e-12


def normalised_focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss whose pixel weights add up to the number of valid pixels.

    A plain focal loss fades as the mask gets better; rescaling the weights (the factor is not differentiated)
    keeps it going.

    Args:
        logits: (B, 1, H, W).
        labels: (B, 1, H, W).

    Returns:
        One value a sample, (B,); 0 where no pixel is valid.
    """
    valid = labels != -1
    probability = logits.sigmoid()
    # An ignored pixel counts as certain, so that it weighs nothing.
    certainty = torch.where(labels == 1, probability, 1 - probability).where(valid, 1.0)  # p_t
    beta = (1 - certainty) ** GAMMA
    pixels = valid.sum(dim=(1, 2, 3))
    with torch.no_grad():
        factor = pixels / (beta.sum(dim=(1, 2, 3)) + _EPSILON)
    beta = beta * factor.view(-1, 1, 1, 1)
    loss = -ALPHA * beta * (certainty + _EPSILON).clamp(max=1).log()
    return loss.where(valid, 0.0).sum(dim=(1, 2, 3)) / (pixels + _EPSILON)


def cross_entropy_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the valid pixels, divided by the number of all pixels.

    Args:
        logits: (B, 1, H, W).
        labels: (B, 1, H, W).

    Returns:
        One value a sample, (B,).
    """
    loss = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none")
    return loss.where(labels != -1, 0.0).mean(dim=(1, 2, 3))


def total_loss(
    coarse: Tensor, auxiliary: Tensor | None, corrected: Sequence[Tensor], labels: Tensor
) -> dict[str, Tensor]:
    """The losses of one training pass, each the mean over the batch.

    Args:
        coarse: Logits of the first stage's mask at the input's size, (B, 1, H, W).
        auxiliary: Those of the mask that guides OCR; None where there is none.
        corrected: Those of the correction head's masks, one or more; their losses are averaged.
        labels: (B, 1, H, W).

    Returns:
        ``coarse``, ``auxiliary`` (if there is one), ``corrected``, and their weighted sum ``total``.
    """
    losses = {
        "coarse": normalised_focal_loss(coarse, labels).mean(),
        "corrected": torch.stack([normalised_focal_loss(mask, labels) for mask in corrected]).mean(),
    }
    total = losses["coarse"] + losses["corrected"]
    if auxiliary is not None:
        losses["auxiliary"] = cross_entropy_loss(auxiliary, labels).mean()
        total = total + AUXILIARY_WEIGHT * losses["auxiliary"]
    return losses | {"total": total}
