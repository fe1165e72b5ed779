"""Between a picture and a network: its input, its clicks and masks as the network takes them, and its answer.

Letters: V views of the picture (itself, or itself and its mirror image), H and W the picture's height and
width, H' and W' those of the network's input, h and w those of a mask's logits.
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isegm.geometry import Click
from isegm.inference.network import Network
from isegm.inference.propagation import OWN_REACH, freed
from isegm.inference.segmenter import Probability
from isegm.metrics.overlap import Mask
from isegm.model.click_maps import encode_clicks
from isegm.model.emc_click import MASK_LOGIT, EMCClick
from isegm.model.layers import resize


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let the calling thread compute by itself what is not worth sharing out.

    Threads of torch wait for more to do in a loop, for some milliseconds: they would take the processor from
    whatever runs the network by threads of its own.
    """
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def exact_type(network: Network) -> torch.dtype:
    """What is computed in apart from the network: coordinates and pictures suffer in half precision."""
    return torch.promote_types(network.dtype, torch.float32)


@one_thread()
def image_input(
    image: npt.NDArray[np.uint8], size: tuple[int, int], network: Network, *, flip: bool
) -> Tensor:
    """A picture (H, W, 3) or (H, W), normalised, at the input's size: (V, 3, H', W')."""
    # A copy: torch warns of an array that cannot be written to.
    colour = np.array(np.atleast_3d(image).transpose(2, 0, 1), order="C")
    pixels = torch.from_numpy(colour).to(network.device, exact_type(network)).unsqueeze(0) / 255
    pixels = resize(pixels.expand(-1, 3, -1, -1), size)
    normalised = EMCClick.normalise(pixels).to(network.dtype)
    return torch.cat([normalised, normalised.flip(3)]) if flip else normalised


def _on_input(clicks: Sequence[Click], shape: tuple[int, int], size: tuple[int, int]) -> list[Click]:
    """Clicks on a picture of ``shape`` (H, W) as clicks on an input of ``size`` (H', W')."""
    return [click.scaled(size[0] / shape[0], size[1] / shape[1]) for click in clicks]


def points_input(
    clicks: Sequence[Click], shape: tuple[int, int], size: tuple[int, int], network: Network, *, flip: bool
) -> Tensor:
    """Clicks on a picture of ``shape`` (H, W) as points on an input of ``size`` (H', W'): (V, 2N, 3)."""
    scaled = _on_input(clicks, shape, size)
    views = [scaled]
    if flip:
        views.append([click.mirrored(size[1]) for click in scaled])
    points = torch.stack([encode_clicks(view) for view in views])
    return points.to(network.device, exact_type(network))


@one_thread()
def mask_input(mask: Mask | Probability, like: Tensor) -> Tensor:
    """A mask (H, W) as the logits of a previous mask, of the shape of ``like`` (V, 1, h, w).

    Where it is not known what a pixel is, the mask may be 0.5.
    """
    pixels = torch.from_numpy(mask).to(like.device, torch.promote_types(like.dtype, torch.float32))
    logits = resize((2 * pixels[None, None] - 1) * MASK_LOGIT, (like.shape[2], like.shape[3])).to(like.dtype)
    return torch.cat([logits, logits.flip(3)]) if like.shape[0] == 2 else logits


@one_thread()
def previous_input(
    network: Network | EMCClick,
    logits: Tensor,
    clicks: Sequence[Click],
    shape: tuple[int, int],
    size: tuple[int, int],
) -> Tensor:
    """What the head is shown, at a further click, of the mask before it.

    Logits drift: where they are near 0, every click moves them a little, wherever it is. So most is won where
    the head is shown a mask as sure as one that was given, and is asked about the error alone.

    Args:
        network: Whose head it is; it is not run.
        logits: What the last click left, (V, 1, h, w).
        clicks: All that the network sees, the last one new, in the picture's pixels.
        shape: The picture's, (H, W).
        size: That of the network's input, (H', W').

    Returns:
        Logits of the shape of ``logits``: these themselves, where the network sees them; else those of their
        mask, 0 where the new click may change it (:func:`isegm.inference.propagation.freed`).
    """
    if network.sees_logits:
        return logits
    mask = (_mean_of_views(logits)[0, 0] > 0).cpu().numpy()
    ratios = [(small - 1) / (large - 1) for small, large in zip(mask.shape, size, strict=True)]
    placed = [click.scaled(*ratios) for click in _on_input(clicks, shape, size)]
    return mask_input(freed(mask, placed[-1], placed, OWN_REACH), logits)


def _mean_of_views(logits: Tensor) -> Tensor:
    return (logits[:1] + logits[1:].flip(3)) / 2 if logits.shape[0] == 2 else logits


@one_thread()
def probability_of(logits: Tensor, size: tuple[int, int], shape: tuple[int, int]) -> Probability:
    """From low-resolution logits (V, 1, h, w) of all views to one probability map of the picture's (H, W)."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # Resizing is linear and sees no left or right: the average of what is resized is cheaper resized.
    logits = resize(_mean_of_views(logits), size)
    probability = resize(logits.sigmoid(), shape)
    return probability[0, 0].to("cpu", torch.float32).numpy()
