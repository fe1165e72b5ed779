"""EfficientNet-Lite0 and its decoder: the ImageNet file, where the click enters, and what it changes."""

import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isegm.model.backbones.efficientnet_lite import Backbone, ClickGuide, Float32Conv2d, click_offsets
from isegm.model.build import PRESETS, build_model
from isegm.model.emc_click import EMCClick
from isegm.model.pretrained import load_pretrained
from isegm.pictures import read_image
from tests.model.test_pretrained import complaint

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGENET = Path(os.environ.get("EFFICIENTNET_LITE0", "efficientnet-lite0-57934424.pth"))
"""The released file, where it is at hand."""

GROUPS = (
    (1, 1, 16, 3),
    (2, 6, 24, 3),
    (2, 6, 40, 5),
    (3, 6, 80, 3),
    (3, 6, 112, 5),
    (4, 6, 192, 5),
    (1, 6, 320, 3),
)
"""Blocks, expansion, channels, kernel, as the paper's table has them."""


def conv_norm(tensors, conv, norm, shape, generator):
    tensors[f"{conv}.weight"] = torch.randn(shape, generator=generator) / 10
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensors[f"{norm}.{name}"] = 0.5 + torch.rand(shape[0], generator=generator)
    tensors[f"{norm}.num_batches_tracked"] = torch.tensor(0)


def released():
    """Tensors by the layout of the released file, with values made here; two blocks are of one group."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    conv_norm(tensors, "_conv_stem", "_bn0", (32, 3, 3, 3), generator)
    before, number = 32, 0
    for count, expansion, channels, kernel in GROUPS:
        for _ in range(count):
            at, wide = f"_blocks.{number}", before * expansion
            if expansion > 1:
                conv_norm(tensors, f"{at}._expand_conv", f"{at}._bn0", (wide, before, 1, 1), generator)
            conv_norm(tensors, f"{at}._depthwise_conv", f"{at}._bn1", (wide, 1, kernel, kernel), generator)
            conv_norm(tensors, f"{at}._project_conv", f"{at}._bn2", (channels, wide, 1, 1), generator)
            before, number = channels, number + 1
    conv_norm(tensors, "_conv_head", "_bn1", (1280, 320, 1, 1), generator)
    tensors |= {"_fc.weight": torch.randn(1000, 1280, generator=generator), "_fc.bias": torch.zeros(1000)}
    return tensors


def plainly(tensors, rgb):
    """All seven groups' maps of RGB in [0, 1], as the paper has them: convolution, BatchNorm, ReLU6."""

    def conv(x, name, norm, *, stride=1, act=True, groups=1, padding=None):
        weight = tensors[f"{name}.weight"]
        padding = weight.shape[2] // 2 if padding is None else padding
        x = F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
        statistics = [tensors[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *statistics, eps=1e-3)
        return F.relu6(x) if act else x

    # Around the picture is what our normalisation makes 0: ImageNet's mean.
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    framed = mean.expand(len(rgb), 3, rgb.shape[2] + 2, rgb.shape[3] + 2).clone()
    framed[:, :, 1:-1, 1:-1] = rgb
    x = conv((255 * framed - 127) / 128, "_conv_stem", "_bn0", stride=2, padding=0)
    maps, number = [], 0
    for (count, expansion, _, _), stride in zip(GROUPS, (1, 2, 2, 2, 1, 2, 1), strict=True):
        for block in range(count):
            at, given = f"_blocks.{number}", x
            if expansion > 1:
                x = conv(x, f"{at}._expand_conv", f"{at}._bn0")
            first = block == 0
            x = conv(
                x, f"{at}._depthwise_conv", f"{at}._bn1", stride=stride if first else 1, groups=x.shape[1]
            )
            x = conv(x, f"{at}._project_conv", f"{at}._bn2", act=False)
            x = x if first else x + given
            number += 1
        maps.append(x)
    return maps


def network():
    torch.manual_seed(0)
    return build_model(PRESETS["lite0"])


def test_the_imagenet_file_is_read_with_its_norms_folded_in(tmp_path):
    tensors = released()
    torch.save(tensors, tmp_path / "lite0.pth")
    model = network()
    decoder = {key: tensor.clone() for key, tensor in model.feature_extractor.decoder.state_dict().items()}
    load_pretrained(model, tmp_path / "lite0.pth")
    for key, tensor in model.feature_extractor.decoder.state_dict().items():
        assert torch.equal(tensor, decoder[key]), key
    rgb = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = model.feature_extractor.backbone.eval()(EMCClick.normalise(rgb))
        expected = plainly(tensors, rgb)
    assert [tuple(x.shape[1:]) for x in maps] == [
        (16, 32, 48),
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]
    for ours, number in zip(maps, (0, 1, 2, 4, 6), strict=True):
        torch.testing.assert_close(ours, expected[number], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "lost", ["_conv_stem.weight", "_bn0.running_var", "_blocks.7._project_conv.weight", "_blocks.0._bn1.bias"]
)
def test_a_tensor_that_is_missing_is_told(lost, tmp_path):
    tensors = released()
    del tensors[lost]
    torch.save(tensors, tmp_path / "lite0.pth")
    assert "not the ImageNet weights of this backbone" in complaint("lite0", tmp_path / "lite0.pth")


def test_one_of_another_shape_or_too_many_is_told(tmp_path):
    tensors = released()
    tensors["_blocks.3._expand_conv.weight"] = torch.zeros(240, 24, 1, 1)
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensors[f"_blocks.3._bn0.{name}"] = torch.ones(240)
    torch.save(tensors, tmp_path / "lite0.pth")
    assert "of another backbone" in complaint("lite0", tmp_path / "lite0.pth")
    deeper = released() | {"_blocks.16._expand_conv.weight": torch.zeros(1920, 320, 1, 1)}
    torch.save(deeper, tmp_path / "lite1.pth")
    assert "has a tensor '_blocks.16._expand_conv.weight'" in complaint("lite0", tmp_path / "lite1.pth")


@pytest.mark.skipif(not IMAGENET.is_file(), reason="the ImageNet file is not at hand ($EFFICIENTNET_LITE0)")
@pytest.mark.parametrize(
    ("photograph", "classes"),
    [
        ("airplane00_000000281693.jpg", {404}),  # airliner
        ("pizza00_000000*.jpg", {963}),  # pizza
        ("broccoli00_000*.jpg", {937}),  # broccoli
        ("elephant00_000*.jpg", {385, 386}),  # Indian, African elephant
    ],
)
def test_photographs_are_what_imagenet_calls_them(photograph, classes, shared):
    (path, *_) = sorted((shared / "data" / "benchmarks" / "COCO_MVal" / "img").glob(photograph))
    image = read_image(path)
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = torch.from_numpy(image[top : top + side, left : left + side]).permute(2, 0, 1)[None] / 255
    square = F.interpolate(square, (224, 224), mode="area")
    model = network()
    load_pretrained(model, IMAGENET)
    tensors = torch.load(IMAGENET, weights_only=True)
    with torch.no_grad():
        x = F.conv2d(
            model.feature_extractor.backbone(EMCClick.normalise(square))[-1], tensors["_conv_head.weight"]
        )
        statistics = [tensors[f"_bn1.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        x = F.relu6(F.batch_norm(x, *statistics, eps=1e-3)).mean((2, 3))
        scores = F.linear(x, tensors["_fc.weight"], tensors["_fc.bias"])[0]
    assert int(scores.argmax()) in classes
    assert scores.softmax(0).max() > 0.4


def disk_at(row, col, height=64, width=96):
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((rows - row) ** 2 + (cols - col) ** 2 <= 25).float()[None, None]


def test_offsets_are_measured_from_the_disks_centre():
    down, across = click_offsets(torch.cat([disk_at(20, 31), torch.zeros(1, 1, 64, 96), disk_at(0, 95)]))
    torch.testing.assert_close(down[0, 0, :, 0], torch.arange(64.0) - 20)
    torch.testing.assert_close(across[0, 0, 0], torch.arange(96.0) - 31)
    assert (down[1] >= 1e4).all()
    assert (across[1] >= 1e4).all()
    assert down[2, 0, 0, 0].abs() < 2.5  # of a disk cut by the border the centre is that of what is left
    assert across[2, 0, 0, 95].abs() < 2.5


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_a_guide_compares_every_pixel_with_the_clicked_one(stride):
    torch.manual_seed(0)
    guide = ClickGuide(6, stride).eval()
    x = torch.randn(1, 6, 64 // stride, 96 // stride)
    seen = []
    guide.mix.register_forward_hook(lambda _, inputs, output: seen.append(torch.cat(inputs, dim=1)))
    row, col = 2, 3
    with torch.no_grad():
        guide(x, click_offsets(disk_at(row * stride, col * stride)))
        # Nearly the clicked pixel itself: its neighbours count exp(-16 / 9) = 0.17 each along both axes.
        near = [
            torch.exp(-(((torch.arange(side) - at) / 0.75) ** 2))
            for side, at in zip(x.shape[2:], (row, col), strict=True)
        ]
        weights = near[0][:, None] * near[1]
        clicked = (x * weights / weights.sum()).sum((2, 3))
        query = guide.query(clicked)
    (given,) = seen
    assert given.shape[1] == 2 * 6 + 7
    torch.testing.assert_close(given[:, :6], x * query[:, :, None, None], rtol=0.05, atol=0.35)
    assert (
        given[0, 6:12, row, col].abs().max() < 0.35 * x.abs().max()
    )  # the clicked pixel is most like itself
    place = given[0, 12:, row, col]
    torch.testing.assert_close(place, torch.tensor([0.0, 0, 0, 1, 1, 1, 1]), rtol=0, atol=1e-4)
    far = given[0, 12:, -1, -1]
    assert far[0] > 0
    assert far[1] > 0
    assert (given[0, 15:] <= 1).all()


def test_the_image_part_does_not_know_the_click_and_the_masks_do(picture):
    model = network().eval()
    image = model.normalise(picture(1, 64, 96).float())
    first_stage = model.feature_extractor
    with torch.no_grad():
        maps = first_stage.image_part(image)
        outputs = [first_stage.click_part(maps, disk_at(row, col)) for row, col in ((10, 20), (50, 70))]
        whole = first_stage(image, disk_at(10, 20))
    assert [tuple(x.shape[1:]) for x in maps] == [(48, 16, 24), (80, 8, 12), (128, 4, 6)]
    assert outputs[0].features.shape == (1, 48, 16, 24)
    assert outputs[0].coarse.shape == (1, 1, 32, 48)
    assert outputs[0].auxiliary.shape == (1, 1, 16, 24)
    for ours, ahead in zip(whole, outputs[0], strict=True):
        assert torch.equal(ours, ahead)
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(*outputs, strict=True))


def test_masks_are_at_half_of_the_resolution_and_sides_need_be_multiples_of_4_only(picture):
    model = network().eval()
    points = torch.tensor([[[10.0, 20, 0], [-1, -1, -1]]])
    with torch.no_grad():
        output = model(picture(1, 52, 76).float(), points)
        assert output.state.previous.shape == (1, 1, 26, 38)
        again = model(picture(1, 52, 76).float(), points, output.state)
    assert output.corrected.shape == again.corrected.shape == (1, 1, 52, 76)


def test_a_negative_first_click_and_none_are_fine(picture):
    model = network().eval()
    with torch.no_grad():
        for points in ([[-1.0, -1, -1], [10, 20, 0]], [[-1.0, -1, -1], [-1, -1, -1]]):
            assert model(picture(1, 64, 96).float(), torch.tensor([points])).corrected.isfinite().all()


def test_slow_depthwise_convolutions_are_trained_in_float32_and_run_in_what_is_asked(picture):
    backbone, kinds = Backbone(), []
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            slow = module.kernel_size[0] > 3 or module.stride[0] > 1
            assert isinstance(module, Float32Conv2d) == slow
            if slow:
                module.register_forward_hook(lambda _, inputs, output: kinds.append(output.dtype))
    image = picture(1, 64, 64).float()
    with torch.autocast("cpu", torch.bfloat16):
        trained = backbone.train()(image)[-1]
        assert trained.dtype == torch.bfloat16
    assert set(kinds) == {torch.bfloat16}  # handed on as the layers around compute
    convolution = next(module for module in backbone.modules() if isinstance(module, Float32Conv2d))
    x = torch.randn(1, convolution.in_channels, 8, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        ours = convolution(x)
    plain = F.conv2d(
        x.float(),
        convolution.weight,
        convolution.bias,
        convolution.stride,
        convolution.padding,
        groups=x.shape[1],
    )
    assert torch.equal(ours, plain.bfloat16())
