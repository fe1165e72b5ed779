"""The training losses.

Source: EMC-Click, section 3.4; the normalised focal loss is RITM's (Sofiiuk et al., "Reviving Iterative
Training with Mask Guidance for Interactive Segmentation", 2021, section 3.3).

Letters: B batch, H and W height and width in pixels. Labels are 1 object, 0 background, -1 ignored.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from isegm.model.click_maps import disks, squared_distances

ALPHA = 0.5
"""Weight of both classes in the focal loss."""

GAMMA = 2
"""How strongly the focal loss turns to pixels that are not yet right."""

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


def soft_iou_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 minus the IoU of the probabilities with the object, which a small object weighs in as a large one.

    Args:
        logits: (B, 1, H, W).
        labels: (B, 1, H, W).

    Returns:
        One value a sample, (B,); 0 where no pixel is valid.
    """
    probability = logits.sigmoid().where(labels != -1, 0.0)
    truth = (labels == 1).to(probability.dtype)
    common = (probability * truth).sum(dim=(1, 2, 3))
    union = probability.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3)) - common
    return 1 - (common + 1) / (union + 1)


def clicked_loss(logits: Tensor, labels: Tensor, points: Tensor) -> Tensor:
    """Binary cross-entropy around the clicks: a positive click is in the mask, a negative one is not.

    It is that of the pixels in a click's disk that are what the click says.

    Args:
        logits: (B, 1, H, W).
        labels: (B, 1, H, W).
        points: (B, 2N, 3), in pixels of the logits.

    Returns:
        One value a sample, (B,), the mean over its pixels; 0 where there are none.
    """
    near = disks(squared_distances(points, logits.shape[2], logits.shape[3])) > 0  # (B, 2, H, W)
    counted = (near[:, :1] & (labels == 1)) | (near[:, 1:] & (labels == 0))
    loss = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0), reduction="none")
    return loss.where(counted, 0.0).sum((1, 2, 3)) / counted.sum((1, 2, 3)).clamp_min(1)


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each loss counts beside the focal losses. The defaults are the published ones."""

    auxiliary: float = 0.4
    """Cross-entropy of the auxiliary mask."""
    soft_iou: float = 0.0
    """Soft IoU loss of every mask; of the auxiliary one, half of it."""
    clicked: float = 0.0
    """Cross-entropy around the clicks of a corrected mask."""
    worse: float = 0.0
    """By how much a corrected mask's soft IoU is below that of the best mask before."""


def first_stage_losses(
    coarse: Tensor, auxiliary: Tensor | None, labels: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """The losses of the first stage's masks, each the mean over the batch.

    Args:
        coarse: Logits at the input's size, (B, 1, H, W).
        auxiliary: Those of the auxiliary mask; None where there is none.
        labels: (B, 1, H, W).
        weights: What each counts.

    Returns:
        ``coarse``, ``auxiliary`` (if there is one), and their weighted sum ``total``.
    """
    losses = {"coarse": normalised_focal_loss(coarse, labels).mean()}
    if weights.soft_iou:
        losses["coarse"] = losses["coarse"] + weights.soft_iou * soft_iou_loss(coarse, labels).mean()
    total = losses["coarse"]
    if auxiliary is not None:
        losses["auxiliary"] = cross_entropy_loss(auxiliary, labels).mean()
        total = total + weights.auxiliary * losses["auxiliary"]
        if weights.soft_iou:
            total = total + weights.soft_iou / 2 * soft_iou_loss(auxiliary, labels).mean()
    return losses | {"total": total}


def corrected_loss(
    corrected: Tensor, least: Tensor | None, points: Tensor, labels: Tensor, weights: LossWeights
) -> Tensor:
    """The loss of a corrected mask, the mean over the batch.

    Args:
        corrected: Logits at the input's size, (B, 1, H, W).
        least: The soft IoU loss of the best mask before, (B,), without gradient; None where there was none.
        points: All clicks, (B, 2N, 3).
        labels: (B, 1, H, W).
        weights: What each part counts.
    """
    loss = normalised_focal_loss(corrected, labels).mean()
    if weights.soft_iou or weights.worse:
        soft_iou = soft_iou_loss(corrected, labels)
        loss = loss + weights.soft_iou * soft_iou.mean()
        if weights.worse and least is not None:
            loss = loss + weights.worse * F.relu(soft_iou - least).mean()
    if weights.clicked:
        loss = loss + weights.clicked * clicked_loss(corrected, labels, points).mean()
    return loss
