"""The network as it is run: the published computation, with everything that can be kept computed once.

What is done here changes the numbers in their last bits only:

- BatchNorms are folded into the convolutions before them.
- The image's and the cached features' shares of the head's blocks are computed once an image. A block is
  linear up to its ReLU and its depthwise convolutions treat every channel alone, so X(cat[a, b]) is
  relu(A(a) + B(b)), and A(a) can be kept.
- Correlating with the keys W F + b is correlating with the features: <q, W F + b> = <W' q, F> + <q, b>. So
  only the templates are projected.

Letters: B batch, M the head's width, K templates of a polarity, N clicks of a polarity at most, C channels of
the cached features, H and W the network input's height and width, h = H / 4 and w = W / 4. Maps are
channels_last in memory, so that a 1x1 convolution is one matrix product over all pixels.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from isegm.inference.precision import allow_tf32
from isegm.model.click_maps import DISK_RADIUS, NO_CLICK, first_click_disk, is_click
from isegm.model.correction.head import ATTENTION_HEADS, CorrectionHead
from isegm.model.correction.templates import STRIDE, best_templates, click_indices
from isegm.model.emc_click import EMCClick, check_size
from isegm.model.layers import DepthwiseSeparableBlock, attend, resize, to_map, to_pixels

IMAGE_CHANNELS = 3 * STRIDE**2
"""Channels of an image whose blocks of STRIDE x STRIDE pixels have become channels."""


class Encoded(NamedTuple):
    """All that the correction head needs of an image and its first click.

    Attributes:
        image: The image's share of the head's first block, (B, M, h, w).
        features: The cached features' share of the block that takes them in, (B, M, h, w).
        coarse: Logits of the first stage's mask, (B, 1, h, w), or finer if the head's masks are.
    """

    image: Tensor
    features: Tensor
    coarse: Tensor


class InferenceModel(nn.Module):
    """A network ready to be run: it cannot be trained or saved any more.

    Args:
        model: In evaluation mode; it is left as it is.
        portable: Leave its 1x1 convolutions and memory layouts as other runtimes than torch want them.
        tf32: Compute float32 in TF32, on GPUs that can.
    """

    def __init__(self, model: EMCClick, *, portable: bool = False, tf32: bool = False) -> None:
        super().__init__()
        self.tf32 = tf32
        dtype = model.refiner.refine_pred.weight.dtype
        model = copy.deepcopy(model).requires_grad_(False).eval()
        fold_batch_norms(model.double())  # rounded once, to what it computes in
        model.to(dtype)
        self.name = model.name
        self.sees_logits = model.sees_logits
        self.click_embedding = model.maps_transform
        self.first_stage = model.feature_extractor
        use_narrow_convolutions(self.first_stage, NarrowConv if portable else TapsConv)
        self.head = InferenceHead(model.refiner, portable=portable)
        self._compiled_head: Callable[[Tensor, Encoded, Tensor], Tensor] | None = None
        self.requires_grad_(False).eval()
        if not portable:
            use_matrix_products(self)
            self.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.head.query.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.head.query.weight.dtype

    def compiled(self) -> "InferenceModel":
        """Let ``torch.compile`` make code of the correction head when it is first run, and return itself.

        The first stage is left as it is: compiling it takes minutes and saves a few percent of one click.
        """
        options: Any = {"freezing": True} if self.device.type == "cpu" else None
        self._compiled_head = torch.compile(self.head.forward, dynamic=True, options=options)
        return self

    def encode(self, image: Tensor, points: Tensor) -> Encoded:
        """Run the first stage, which sees the first click only, and what the head needs once an image.

        Args:
            image: (B, 3, H, W), normalised.
            points: (B, 2N, 3), in network-input pixels, in single precision at least.

        Raises:
            ValueError: H or W is no multiple of 4.
        """
        # The exporter to ONNX would take the size of the share, but not the image's own, for a constant.
        return self._click_part(self.image_part(image), points, check_size(image))

    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute what no click changes: the head's share of the image, and the first stage's maps.

        Args:
            image: (B, 3, H, W), normalised.

        Raises:
            ValueError: H or W is no multiple of 4.
        """
        allow_tf32(self.tf32)
        check_size(image)
        image = image.contiguous(memory_format=torch.channels_last)
        blocks = to_blocks(image).permute(0, 3, 1, 2)  # (B, 48, h, w)
        return self.head.image_share(blocks), *self.first_stage.image_part(image)

    def click_part(self, maps: tuple[Tensor, ...], points: Tensor) -> Encoded:
        """Compute the rest of what :meth:`encode` gives.

        Args:
            maps: What :meth:`image_part` gave.
            points: (B, 2N, 3), in network-input pixels, in single precision at least.
        """
        allow_tf32(self.tf32)
        height, width = maps[0].shape[2:]
        return self._click_part(maps, points, (STRIDE * height, STRIDE * width))

    def _click_part(self, maps: tuple[Tensor, ...], points: Tensor, size: tuple[int, int]) -> Encoded:
        share, *firsts = maps
        disk = first_click_disk(points, *size).to(share.dtype)
        first = self.first_stage.click_part(tuple(firsts), self.click_embedding(disk))
        return Encoded(share, self.head.feature_share(self.head.narrow(first.features)), first.coarse)

    def correct(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        """Run the correction head.

        Args:
            points: All clicks, (B, 2N, 3), in network-input pixels, in single precision at least. Pictures
                of a batch may have different numbers of them: unused rows at the end change nothing.
            encoded: What :meth:`encode` gave.
            previous: Logits of the previous mask, of the size of ``encoded.coarse``; at first that.

        Returns:
            Logits of the corrected mask, of that size, too.
        """
        allow_tf32(self.tf32)
        return (self._compiled_head or self.head)(points, encoded, previous)


class InferenceHead(nn.Module):
    """The correction head.

    Args:
        head: With its BatchNorms folded.
        portable: Say it as other runtimes than torch are fast at.
    """

    def __init__(self, head: CorrectionHead, *, portable: bool) -> None:
        super().__init__()
        self.portable = portable
        width, templates = head.refine_pred.in_channels, head.templates
        self.templates = templates
        first, fusion, fused = (
            cast("DepthwiseSeparableBlock", x) for x in (head.image_conv1[1], *head.fusion1)
        )
        self.image_share = Share(first, 0, IMAGE_CHANNELS)
        self.mask_share = Share(first, IMAGE_CHANNELS, None)
        self.mask_block = Share(head.image_conv2)
        self.narrow = head.refine_fusion
        self.feature_share = Share(fusion, 0, width)
        self.current_share = Share(fusion, width, None)
        self.fused_block = Share(fused)
        self.query, self.key = _linear(head.feature_convq), _linear(head.feature_convk)
        self.correlation_block = Share(head.corr_conv)
        self.positive_share = Share(head.corr_fusion, 0, templates)
        self.negative_share = Share(head.corr_fusion, templates, None)
        self.attention = head.cross_attention
        self.attended_share = Share(head.all_fusion, 0, width)
        self.correlated_share = Share(head.all_fusion, width, None)
        self.decoding_block1 = Share(head.refine_fusion1)
        self.decoding_block2 = Share(head.refine_fusion2)
        self.predict = (NarrowConv if portable else TapsConv)(head.refine_pred)
        self.shuffle = head.shuffle

    def forward(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        """Correct the previous mask; see :meth:`InferenceModel.correct`."""
        size = (encoded.image.shape[2], encoded.image.shape[3])
        if self.portable:
            mask = enlarge(previous, STRIDE // self.shuffle.upscale_factor)  # (B, 1, H, W)
        else:
            mask = resize(previous, (STRIDE * size[0], STRIDE * size[1]))
        blocks = [draw_disks(points, size).to(mask.dtype), to_blocks(mask.sigmoid())]
        maps = torch.cat(blocks, dim=3).permute(0, 3, 1, 2)  # (B, 48, h, w)
        current = self.mask_block(self.mask_share(maps, encoded.image).relu_()).relu_()
        features = self.fused_block(self.current_share(current, encoded.features).relu_()).relu_()
        chosen = self.choose(features, points)  # (B, 2K, M)
        correlated = self.correlate(features, chosen)
        attended = self.attend(features, chosen)
        x = self.correlated_share(correlated, self.attended_share(attended)).relu_()
        return self.shuffle(self.predict(self.decoding_block2(self.decoding_block1(x).relu_()).relu_()))

    def choose(self, features: Tensor, points: Tensor) -> Tensor:
        """The features at the templates, positive first, (B, 2K, M), chosen as ``select_templates`` does.

        Args:
            features: (B, M, h, w).
            points: (B, 2N, 3), in network-input pixels.
        """
        channels, size = features.shape[1], (features.shape[2], features.shape[3])
        pixels = to_pixels(features)  # (B, h*w, M)
        lengths = torch.linalg.vector_norm(pixels, dim=2, keepdim=True, dtype=points.dtype)
        lengths = lengths.clamp_min(1e-12)  # (B, h*w, 1)
        clicked = click_indices(points, size).unsqueeze(2)  # (B, 2N, 1)
        at_clicks = pixels.gather(1, clicked.expand(-1, -1, channels)) / lengths.gather(1, clicked)
        # The pixels' directions need not be stored: their lengths are divided by afterwards.
        at_clicks = replace_unused(at_clicks, points)
        similarity = at_clicks.to(pixels.dtype) @ pixels.transpose(1, 2)  # (B, 2N, h*w)
        similarity = torch.unflatten(similarity.to(points.dtype), 1, (2, -1)).amax(2)  # (B, 2, h*w)
        near = 1 - relative_distances(points, size).flatten(2)  # (B, 2, h*w)
        best = best_templates(similarity / lengths.transpose(1, 2), near, self.templates)  # (B, 2, K)
        return pixels.gather(1, best.flatten(1).unsqueeze(2).expand(-1, -1, channels))

    def correlate(self, features: Tensor, chosen: Tensor) -> Tensor:
        """Click-guided correlation of all pixels with the templates.

        Args:
            features: (B, M, h, w).
            chosen: The features at the templates, positive first, (B, 2K, M).

        Returns:
            (B, M, h, w).
        """
        queries = self.query(chosen)  # (B, 2K, M)
        kernels = (queries @ self.key.weight).transpose(1, 2)  # (B, M, 2K)
        constants = (queries @ self.key.bias).unsqueeze(1)  # (B, 1, 2K)
        pixels = to_pixels(features)  # (B, h*w, M)
        positive, negative = (
            self.correlation_block(
                to_map(torch.baddbmm(constants[..., k], pixels, kernels[..., k]), features.shape[2:])
            )
            for k in (slice(0, self.templates), slice(self.templates, None))
        )  # (B, K, h, w) each
        return self.negative_share(negative.relu_(), self.positive_share(positive.relu_())).relu_()

    def attend(self, features: Tensor, chosen: Tensor) -> Tensor:
        """Click-guided self-attention of all pixels to the templates, added to the features.

        Args:
            features: (B, M, h, w).
            chosen: The features at the templates, positive first, (B, 2K, M).

        Returns:
            (B, M, h, w).
        """
        attention, channels = self.attention, features.shape[1]
        pixels = to_pixels(features)  # (B, h*w, M)
        weights, biases = attention.in_proj_weight, attention.in_proj_bias
        queries = F.linear(pixels, weights[:channels], biases[:channels])  # (B, h*w, M)
        key, value = F.linear(chosen, weights[channels:], biases[channels:]).chunk(
            2, dim=2
        )  # (B, 2K, M) each
        answer = attend(queries, key, value, ATTENTION_HEADS)  # (B, h*w, M)
        return to_map(attention.out_proj(answer).add_(pixels), features.shape[2:])


class Share(nn.Module):
    """The head's block up to its ReLU, on some of the channels that it reads.

    The block is the sum of its shares. The first one has its bias.

    Args:
        block: With its BatchNorms folded.
        start: The first channel.
        stop: The one after the last; None for all that follow.

    Raises:
        ValueError: A norm of the block is not folded.
    """

    def __init__(self, block: DepthwiseSeparableBlock, start: int = 0, stop: int | None = None) -> None:
        super().__init__()
        for norm in (block.norm1, block.norm2):
            if not isinstance(norm, nn.Identity):  # what is not folded would be left out
                raise ValueError(f"{type(norm).__name__} of a head's block is not folded")
        part = slice(start, stop)
        self.conv1, self.conv2 = (_some_channels(c, part) for c in (block.conv3x3_1, block.conv3x3_2))
        mix = block.conv1x1
        self.mix = nn.Conv2d(self.conv1.in_channels, mix.out_channels, 1, bias=start == 0)
        self.mix.weight.data = mix.weight.data[:, part].clone()
        _set_bias(self.mix, mix.bias)

    def forward(self, x: Tensor, others: Tensor | None = None) -> Tensor:
        """Compute the share of ``x`` (B, in, h, w), added to the other shares' sum (B, out, h, w)."""
        x = self.mix(self.conv2(self.conv1(x)))
        return x if others is None else x.add_(others)


class PointwiseConv(nn.Linear):
    """A 1x1 convolution as one matrix product, (B, in, h, w) -> (B, out, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution."""
        return to_map(super().forward(to_pixels(x)), x.shape[2:])


class TapsConv(nn.Module):
    """A 3x3 convolution to few channels: what each of its 9 taps makes of a pixel, then their sum in place.

    Reading its input once instead of 9 times, and computing nothing for channels that there are not, it is
    several times as fast.

    Args:
        conv: From some channels to fewer, padded by 1.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        # What a pixel gives to a neighbour is what that one takes from the opposite side.
        given = conv.weight.data.flip(2, 3).permute(0, 2, 3, 1)  # (out, 3, 3, in)
        self.weight = nn.Parameter(given.flatten(0, 2).clone())  # (9 out, in)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution, (B, in, h, w) -> (B, out, h, w)."""
        taps = self.weight @ to_pixels(x).transpose(1, 2)  # (B, 9 out, h*w)
        gathered = F.fold(taps, (x.shape[2], x.shape[3]), 3, padding=1)
        return gathered if self.bias is None else gathered.add_(self.bias[:, None, None])


class NarrowConv(nn.Module):
    """A 3x3 convolution to few channels as two, the second of which only adds up what the first one gives.

    To one channel, the first is 1x1 and has an output for each tap, as in :class:`TapsConv`; to several, it
    is one row high and has an output for each row of taps, as the taps of all would be too many to add up.

    Args:
        conv: From some channels to fewer, padded by 1.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        inputs, out = conv.in_channels, conv.out_channels
        length = 1 if out == 1 else 3  # of the part of a row of taps that one output has
        across, parts = 3 // length, 9 // length
        self.taps = nn.Conv2d(inputs, out * parts, (1, length), padding=(0, length // 2), bias=False)
        by_part = conv.weight.data.view(out, inputs, 3, across, length).permute(0, 2, 3, 1, 4)
        self.taps.weight.data = by_part.reshape(out * parts, inputs, 1, length)
        self.gather = nn.Conv2d(
            out * parts, out, (3, across), padding=(1, across // 2), bias=conv.bias is not None
        )
        ones = torch.eye(out * parts).to(conv.weight).view(out, parts, out * parts).transpose(1, 2)
        self.gather.weight.data = ones.reshape(out, out * parts, 3, across)
        _set_bias(self.gather, conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution, (B, in, h, w) -> (B, out, h, w)."""
        return self.gather(self.taps(x))


def use_narrow_convolutions(module: nn.Module, kind: type[TapsConv] | type[NarrowConv]) -> None:
    """Replace every dense 3x3 convolution to at most four channels, in place."""
    for name, child in list(module.named_children()):
        if type(child) is nn.Conv2d and child.out_channels <= 4 and child.kernel_size == (3, 3):
            if child.groups == 1 and child.stride == (1, 1) and child.padding == (1, 1):
                setattr(module, name, kind(child))
        else:
            use_narrow_convolutions(child, kind)


def _linear(conv: nn.Conv2d) -> nn.Linear:
    linear = nn.Linear(conv.in_channels, conv.out_channels)
    linear.weight.data = conv.weight.data.flatten(1)
    _set_bias(linear, conv.bias)
    return linear


def _some_channels(conv: nn.Conv2d, part: slice) -> nn.Conv2d:
    weight = conv.weight.data[part].clone()
    channels = weight.shape[0]
    some = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    some.weight.data = weight
    _set_bias(some, conv.bias, part)
    return some


def _set_bias(module: nn.Linear | nn.Conv2d, bias: Tensor | None, part: slice = slice(None)) -> None:
    """Give ``module`` the bias, or some of it; nothing if either has none."""
    if module.bias is not None and bias is not None:
        module.bias.data = bias.data[part].clone()


def draw_disks(points: Tensor, size: tuple[int, int]) -> Tensor:
    """The disk maps' blocks, drawn around each click rather than looked for in the whole picture.

    Args:
        points: (B, 2N, 3), in network-input pixels.
        size: (h, w).

    Returns:
        What :func:`to_blocks` makes of the disk maps, (B, h, w, 2 * STRIDE**2).
    """
    (height, width), channels = size, 2 * STRIDE**2
    reach = torch.arange(-int(DISK_RADIUS), int(DISK_RADIUS) + 1, device=points.device)
    rows = points[..., 0].round().long().unsqueeze(2) + reach  # (B, 2N, 11)
    cols = points[..., 1].round().long().unsqueeze(2) + reach
    squared = (rows - points[..., 0:1]).square().unsqueeze(3) + (cols - points[..., 1:2]).square().unsqueeze(
        2
    )
    seen = ((rows >= 0) & (rows < STRIDE * height)).unsqueeze(3) & (
        (cols >= 0) & (cols < STRIDE * width)
    ).unsqueeze(2)
    drawn = seen & (squared <= DISK_RADIUS**2) & is_click(points)[..., None, None]  # (B, 2N, 11, 11)
    # A row and a column of the picture each have a share in the place in memory of a pixel of it.
    along_rows = (rows // STRIDE) * (width * channels) + (rows % STRIDE) * STRIDE
    along_cols = (cols // STRIDE) * channels + cols % STRIDE
    places = torch.unflatten(along_rows.unsqueeze(3) + along_cols.unsqueeze(2), 1, (2, -1))
    polarity = torch.arange(2, device=points.device).view(2, 1, 1, 1) * STRIDE**2
    places = (places + polarity).flatten(1, 2)  # (B, 2N, 11, 11)
    # What is not drawn goes to a place behind the picture.
    behind = height * width * channels
    maps = points.new_zeros(points.shape[0], behind + 1)
    maps.scatter_(1, torch.where(drawn, places, behind).flatten(1), 1.0)
    return maps[:, :-1].reshape(-1, height, width, channels)


def relative_distances(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Distances to the nearest click as ``relative_distance`` has them, (B, 2, h, w).

    Of the input's pixels, only those are looked at between which a pixel of the small map lies.

    Args:
        points: (B, 2N, 3), in network-input pixels.
        size: (h, w).
    """
    height, width = (STRIDE * side for side in size)
    (top, bottom, down), (left, right, across) = (_between(side, points) for side in size)
    rows, cols = torch.stack([top, bottom]), torch.stack([left, right])  # (2, h) and (2, w)
    unused = ~is_click(points)[..., None, None]
    d_row = (rows - points[..., 0, None, None]).square().masked_fill(unused, NO_CLICK)  # (B, 2N, 2, h)
    d_col = (cols - points[..., 1, None, None]).square().masked_fill(unused, 0.0)  # (B, 2N, 2, w)
    squared = d_row[..., :, :, None, None] + d_col[..., None, None, :, :]  # (B, 2N, 2, h, 2, w)
    squared = torch.unflatten(squared, 1, (2, -1)).amin(2)  # (B, 2, 2, h, 2, w)
    distances = squared.masked_fill_(squared == NO_CLICK, 1.0).sqrt_()
    between_rows = torch.lerp(distances[:, :, 0], distances[:, :, 1], down[:, None, None])  # (B, 2, h, 2, w)
    nearest = torch.lerp(between_rows[..., 0, :], between_rows[..., 1, :], across)
    return nearest / (height**2 + width**2) ** 0.5


def _between(side: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For a small map's rows: the input's row before each, that after it, and how far along it lies."""
    last = STRIDE * side - 1
    at = torch.arange(side, dtype=like.dtype, device=like.device) * (last / max(1, side - 1))
    before = at.floor().clamp_max(last)
    return before, (before + 1).clamp_max(last), at - before


def replace_unused(at_clicks: Tensor, points: Tensor) -> Tensor:
    """Let unused rows of ``points`` be like what ``click_similarity`` says, whatever is padded on.

    A polarity with fewer clicks than the other counts each it lacks as a similarity of 0; rows beyond the
    larger number, which only other pictures of a batch need, repeat their polarity's first and count for
    nothing.

    Args:
        at_clicks: Unit features at the clicks, (B, 2N, M).
        points: (B, 2N, 3).
    """
    used = torch.unflatten(is_click(points), 1, (2, -1))  # (B, 2, N)
    needed = used.sum(2).amax(1).clamp_min(1)  # (B,)
    rows = torch.unflatten(at_clicks, 1, (2, -1)).masked_fill(~used.unsqueeze(3), 0.0)  # (B, 2, N, M)
    number = torch.arange(points.shape[1] // 2, device=points.device)  # of the row, within its polarity
    beyond = number >= needed[:, None, None]  # (B, 1, N)
    return torch.where(beyond.unsqueeze(3), rows[:, :, :1], rows).flatten(1, 2)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Resize maps to ``factor`` times their height and width as ``resize`` does.

    Of all the ways to say it, the one that runtimes other than torch are fast at: columns by a matrix
    product, then rows by mixing the one above with the one below.
    """
    down, across = (_places(side, factor, x) for side in x.shape[2:])
    columns = torch.arange(x.shape[3], dtype=across.dtype, device=x.device)
    shares = (1 - (across.unsqueeze(1) - columns).abs()).clamp_min(0)  # (W, w)
    wide = x @ shares.to(x.dtype).t()  # (B, C, h, W)
    above = down.floor()
    below = (above + 1).clamp_max(x.shape[2] - 1)
    upper, lower = (wide.index_select(2, rows.long()) for rows in (above, below))  # (B, C, H, W) each
    return torch.lerp(upper, lower, (down - above).to(x.dtype).unsqueeze(1))


def _places(side: int, factor: int, like: Tensor) -> Tensor:
    """Where each of ``factor * side`` pixels lies among ``side`` pixels, corners aligned."""
    fine = torch.arange(
        factor * side, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device
    )
    return fine * ((side - 1) / (factor * side - 1))


def to_blocks(x: Tensor) -> Tensor:
    """Turn blocks of STRIDE x STRIDE pixels into channels, (B, C, H, W) -> (B, h, w, 16C)."""
    blocks = torch.unflatten(torch.unflatten(x, 3, (-1, STRIDE)), 2, (-1, STRIDE))  # (B, C, h, 4, w, 4)
    return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3)


def fold_batch_norms(model: nn.Module) -> None:
    """Fold every BatchNorm, of whatever kind, into the layer registered just before it, in place.

    Args:
        model: In evaluation mode; each BatchNorm takes what the layer registered before it gives.

    Raises:
        ValueError: A BatchNorm has no statistics, or stands behind another layer than those.
    """
    before: tuple[str, nn.Module] = "", model
    for name, module in list(model.named_modules()):
        # torchvision's and detectron2's frozen norms are no subclass; torchvision takes a second to import.
        if isinstance(module, _BatchNorm) or type(module).__name__ == "FrozenBatchNorm2d":
            model.set_submodule(before[0], _fold(name, before[1], module))
            model.set_submodule(name, nn.Identity())
        elif not isinstance(module, nn.Sequential):
            before = name, module


def _fold(name: str, layer: nn.Module, norm: Any) -> nn.Module:  # noqa: ANN401 - a frozen norm has no class here
    if norm.running_mean is None:
        raise ValueError(f"{name}: a BatchNorm without running statistics cannot be folded")
    if isinstance(layer, _ConvNd) and layer.out_channels == len(norm.running_mean):
        return fuse_conv_bn_eval(layer, norm, transpose=layer.transposed)
    if isinstance(layer, nn.Linear) and layer.out_features == len(norm.running_mean):
        return fuse_linear_bn_eval(layer, norm)
    raise ValueError(f"{name}: a BatchNorm behind {type(layer).__name__} cannot be folded")


def use_matrix_products(module: nn.Module) -> None:
    """Replace every dense 1x1 convolution that takes one map by a :class:`PointwiseConv`, in place."""
    for name, child in list(module.named_children()):
        if type(child) is nn.Conv2d and child.kernel_size == (1, 1) and child.stride == (1, 1):
            product = PointwiseConv(child.in_channels, child.out_channels, bias=child.bias is not None)
            product.weight.data = child.weight.data[:, :, 0, 0]
            _set_bias(product, child.bias)
            setattr(module, name, product)
        else:
            use_matrix_products(child)
