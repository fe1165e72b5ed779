"""Template selection: the pixels that most look like the clicks, and lie near them.

Source: EMC-Click, section 3.2. No gradient flows through the choice.

Letters: B batch, M channels, N clicks of a polarity at most, K templates of a polarity, H and W the network
input's height and width, h = H / 4 and w = W / 4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from isegm.model.click_maps import NO_CLICK, is_click
from isegm.model.layers import resize

STRIDE = 4
"""Network-input pixels a feature pixel."""


@torch.no_grad()
def select_templates(features: Tensor, points: Tensor, distances: Tensor, count: int) -> Tensor:
    """Choose the ``count`` best pixels of each polarity.

    Args:
        features: (B, M, h, w).
        points: (B, 2N, 3), in network-input pixels.
        distances: Squared distances to the nearest click, (B, 2, H, W), 1e6 where there is none.
        count: K.

    Returns:
        Row-major pixel indices into the h x w map, (B, 2, K) int64: positive first, best first, and the first
        of equally good ones first. On a map of fewer than K pixels the list begins again from its best.
    """
    size = (features.shape[2], features.shape[3])
    near = 1 - relative_distance(distances, size)  # (B, 2, h, w)
    return best_templates(click_similarity(features, points).flatten(2), near.flatten(2), count)


def best_templates(similarity: Tensor, near: Tensor, count: int) -> Tensor:
    """Rank the pixels of each polarity: like its clicks, unlike the other's, and near.

    Args:
        similarity: To the most similar click of each polarity, (B, 2, h*w), positive first.
        near: 1 minus the relative distance to the nearest click of each polarity, (B, 2, h*w).
        count: K.

    Returns:
        Pixel indices, (B, 2, K), as :func:`select_templates` gives them.
    """
    scores = (similarity + 1 - similarity.flip(1)) * near
    available = min(count, scores.shape[2])
    best = first_largest(scores, available)  # (B, 2, K)
    return best if available == count else best[..., torch.arange(count, device=best.device) % available]


def first_largest(x: Tensor, count: int) -> Tensor:
    """Where the largest values lie along the last axis, largest first, and of equal ones the first first.

    Uniform pictures have many equal scores, and ``torch.topk`` leaves open which of them it takes: with it
    the mask would depend on the runtime, the device and torch's version.

    Args:
        x: (..., n).
        count: How many, at most n.

    Returns:
        (..., count) int64.
    """
    least = x.topk(count).values[..., -1:]
    above, equal = x > least, x == least
    taken = above | (
        equal & (equal.long().cumsum(-1) <= count - above.sum(-1, keepdim=True))
    )  # exactly ``count``
    number = torch.arange(x.shape[-1], device=x.device)
    chosen = torch.where(taken, number, x.shape[-1]).topk(count, largest=False).values  # ascending
    chosen = chosen.clamp_max(x.shape[-1] - 1)  # NaN is never taken
    values = x.gather(-1, chosen)
    earlier = number[:count] < number[:count].unsqueeze(1)
    mine, theirs = values.unsqueeze(-1), values.unsqueeze(-2)
    place = ((theirs > mine) | ((theirs == mine) & earlier)).sum(-1)
    return torch.zeros_like(chosen).scatter(-1, place, chosen)


def click_similarity(features: Tensor, points: Tensor) -> Tensor:
    """Cosine similarity of every pixel to the click of each polarity that it is most like.

    Args:
        features: (B, M, h, w).
        points: (B, 2N, 3), in network-input pixels.

    Returns:
        (B, 2, h, w), positive first. An unused row of ``points`` counts as a similarity of 0.
    """
    batch, channels, height, width = features.shape
    unit = F.normalize(features.flatten(2), dim=1)  # (B, M, h*w)
    index = click_indices(points, (height, width))  # (B, 2N)
    at_clicks = unit.gather(2, index.unsqueeze(1).expand(-1, channels, -1))  # (B, M, 2N)
    similarity = at_clicks.transpose(1, 2) @ unit  # (B, 2N, h*w)
    similarity = similarity * is_click(points).unsqueeze(2)
    return similarity.view(batch, 2, -1, height, width).amax(2)  # (B, 2, h, w)


def click_indices(points: Tensor, size: tuple[int, int]) -> Tensor:
    """The feature pixel of each click, a row-major index into a map of ``size`` = (h, w): (B, 2N) int64."""
    height, width = size
    rows = (points[..., 0] / STRIDE).round().clamp(0, height - 1)  # ties to even, as torch rounds
    cols = (points[..., 1] / STRIDE).round().clamp(0, width - 1)
    return (rows * width + cols).long()


def relative_distance(distances: Tensor, size: tuple[int, int]) -> Tensor:
    """Distance to the nearest click as a fraction of the input's diagonal.

    Args:
        distances: Squared distances in network-input pixels, (B, 2, H, W).
        size: (h, w).

    Returns:
        (B, 2, h, w); that of one pixel, practically 0, for a polarity without clicks.
    """
    height, width = distances.shape[2:]
    distances = torch.where(distances == NO_CLICK, 1.0, distances).sqrt()
    return resize(distances / (height**2 + width**2) ** 0.5, size)


def gather_templates(features: Tensor, templates: Tensor) -> Tensor:
    """Read the features at the templates.

    Args:
        features: (B, M, h, w).
        templates: Row-major pixel indices, (B, n).

    Returns:
        (B, n, M).
    """
    flat = features.flatten(2)  # (B, M, h*w)
    return flat.gather(2, templates.unsqueeze(1).expand(-1, flat.shape[1], -1)).transpose(1, 2)
