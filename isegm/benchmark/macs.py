"""Counting multiply-accumulates (MACs) while a network runs, by torch's own counter.

What is counted are convolutions and matrix products, with those of an attention; additions, activations and
resizing are not, as is usual where GMACs are quoted.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from isegm.geometry import Click
from isegm.inference.network import Network
from isegm.inference.torch_network import Encoded
from isegm.model.backbones.first_stage import FirstStageOutput
from isegm.model.click_maps import encode_clicks
from isegm.model.emc_click import EMCClick, EMCClickState


class Macs(NamedTuple):
    """Multiply-accumulates by stage, of one picture without its mirrored one.

    Attributes:
        encode: The first stage, and what else is computed once an image.
        correct: One run of the correction head.
    """

    encode: int
    correct: int


def reference_macs(model: EMCClick, size: int) -> Macs:
    """Count those of the published computation on a square input of ``size`` x ``size`` pixels.

    The reference's attention stores its weights, which changes no count.
    """
    weight = model.refiner.refine_pred.weight
    image, points = _inputs(weight.device, weight.dtype, size)
    first: list[FirstStageOutput] = []
    encode = count_macs(lambda: first.append(model.encode(image, points)))
    state = EMCClickState(first[0].features, first[0].coarse)
    return Macs(encode, count_macs(lambda: model.correct(image, points, state)))


def network_macs(network: Network, size: int) -> Macs:
    """Count those of a network that torch runs, as :func:`reference_macs` does."""
    image, points = _inputs(network.device, network.dtype, size)
    encoded: list[Encoded] = []
    encode = count_macs(lambda: encoded.append(network.encode(image, points)))
    return Macs(encode, count_macs(lambda: network.correct(points, encoded[0], encoded[0].coarse)))


def count_macs(run: Callable[[], object]) -> int:
    """Count the multiply-accumulates of what torch computes in ``run``: half of its FLOPs."""
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
        run()
    return counter.get_total_flops() // 2


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    """Return the FLOPs of an attention on (B, heads, queries or keys, channels)."""
    batch, heads, queries, channels = query
    return 2 * batch * heads * queries * key[2] * (channels + value[3])


_FORMULAS: dict[Any, Any] = {
    # torch 2.6 lacks the formula of the attention that it runs on CPUs, and would count none of it.
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
}


def _inputs(device: torch.device, dtype: torch.dtype, size: int) -> tuple[Tensor, Tensor]:
    """Return a picture (1, 3, size, size) and one click on it, (1, 2, 3)."""
    image = torch.zeros(1, 3, size, size, device=device, dtype=dtype)
    return image, encode_clicks([Click(size / 2, size / 2, True)]).unsqueeze(0).to(device, dtype)
