"""ImageNet files by their released names and shapes, made here: loaded by name, or refused in a line."""

import pytest
import torch

from isegm.errors import InputError
from isegm.model import PUBLISHED
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import save_checkpoint
from isegm.model.pretrained import load_pretrained

FILES = {
    "hr18s": "hrnet_w18_small_model_v2.pth",
    "hr18": "hrnetv2_w18_imagenet_pretrained.pth",
    "hr32": "hrnetv2_w32_imagenet_pretrained.pth",
    "segb0": "mit_b0.pth",
    "segb3": "mit_b3.pth",
}


def conv_bn(tensors, conv, norm, out, into, kernel):
    tensors[f"{conv}.weight"] = (out, into, kernel, kernel)
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensors[f"{norm}.{name}"] = (out,)
    tensors[f"{norm}.num_batches_tracked"] = ()


def hrnet_shapes(width, *, small):
    """Tensors of HRNet's ImageNet classifier, by the layout of its released files."""
    t = {}
    conv_bn(t, "conv1", "bn1", 64, 3, 3)
    conv_bn(t, "conv2", "bn2", 64, 64, 3)
    blocks = 2 if small else 4
    for i in range(blocks):
        at = f"layer1.{i}"
        conv_bn(t, f"{at}.conv1", f"{at}.bn1", 64, 256 if i else 64, 1)
        conv_bn(t, f"{at}.conv2", f"{at}.bn2", 64, 64, 3)
        conv_bn(t, f"{at}.conv3", f"{at}.bn3", 256, 64, 1)
    conv_bn(t, "layer1.0.downsample.0", "layer1.0.downsample.1", 256, 64, 1)
    widths = [width * 2**i for i in range(4)]
    conv_bn(t, "transition1.0.0", "transition1.0.1", widths[0], 256, 3)
    conv_bn(t, "transition1.1.0.0", "transition1.1.0.1", widths[1], 256, 3)
    conv_bn(t, "transition2.2.0.0", "transition2.2.0.1", widths[2], widths[1], 3)
    conv_bn(t, "transition3.3.0.0", "transition3.3.0.1", widths[3], widths[2], 3)
    for stage, modules in ((2, 1), (3, 3 if small else 4), (4, 2 if small else 3)):
        for module in range(modules):
            at = f"stage{stage}.{module}"
            for branch in range(stage):
                for block in range(blocks):
                    for conv in (1, 2):
                        place = f"{at}.branches.{branch}.{block}"
                        conv_bn(t, f"{place}.conv{conv}", f"{place}.bn{conv}", *[widths[branch]] * 2, 3)
            for target in range(stage):
                for source in range(stage):
                    place = f"{at}.fuse_layers.{target}.{source}"
                    if source > target:
                        conv_bn(t, f"{place}.0", f"{place}.1", widths[target], widths[source], 1)
                    for down in range(target - source):
                        out = widths[target] if down == target - source - 1 else widths[source]
                        conv_bn(t, f"{place}.{down}.0", f"{place}.{down}.1", out, widths[source], 3)
    head = (32, 64, 128, 256)
    for i in range(4):
        at = f"incre_modules.{i}.0"
        conv_bn(t, f"{at}.conv1", f"{at}.bn1", head[i], widths[i], 1)
        conv_bn(t, f"{at}.downsample.0", f"{at}.downsample.1", 4 * head[i], widths[i], 1)
        if i < 3:
            conv_bn(t, f"downsamp_modules.{i}.0", f"downsamp_modules.{i}.1", 4 * head[i + 1], 4 * head[i], 3)
            t[f"downsamp_modules.{i}.0.bias"] = (4 * head[i + 1],)
    conv_bn(t, "final_layer.0", "final_layer.1", 2048, 1024, 1)
    t |= {"final_layer.0.bias": (2048,), "classifier.weight": (1000, 2048), "classifier.bias": (1000,)}
    return t


def mit_shapes(widths, depths):
    """Tensors of the Mix Transformer's ImageNet classifier, by the layout of its released files."""
    t = {}

    def layer(name, *shape):
        t[f"{name}.weight"] = shape
        t[f"{name}.bias"] = shape[:1]

    for stage, (width, depth, reduction) in enumerate(
        zip(widths, depths, (8, 4, 2, 1), strict=True), start=1
    ):
        kernel, into = (7, 3) if stage == 1 else (3, widths[stage - 2])
        layer(f"patch_embed{stage}.proj", width, into, kernel, kernel)
        layer(f"patch_embed{stage}.norm", width)
        for i in range(depth):
            at = f"block{stage}.{i}"
            layer(f"{at}.norm1", width)
            layer(f"{at}.attn.q", width, width)
            layer(f"{at}.attn.kv", 2 * width, width)
            layer(f"{at}.attn.proj", width, width)
            if reduction > 1:
                layer(f"{at}.attn.sr", width, width, reduction, reduction)
                layer(f"{at}.attn.norm", width)
            layer(f"{at}.norm2", width)
            layer(f"{at}.mlp.fc1", 4 * width, width)
            layer(f"{at}.mlp.dwconv.dwconv", 4 * width, 1, 3, 3)
            layer(f"{at}.mlp.fc2", width, 4 * width)
        layer(f"norm{stage}", width)
    layer("head", 1000, widths[3])
    return t


SHAPES = {
    "hr18s": lambda: hrnet_shapes(18, small=True),
    "hr18": lambda: hrnet_shapes(18, small=False),
    "hr32": lambda: hrnet_shapes(32, small=False),
    "segb0": lambda: mit_shapes((32, 64, 160, 256), (2, 2, 2, 2)),
    "segb3": lambda: mit_shapes((64, 128, 320, 512), (3, 4, 18, 3)),
}
HEADS = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.", "head.")


def made(name):
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.tensor(7) if key.endswith("tracked") else torch.randn(shape, generator=generator)
        for key, shape in SHAPES[name]().items()
    }


def prefix_of(name):
    return "feature_extractor.backbone." if name.startswith("seg") else "feature_extractor."


def fresh(name):
    torch.manual_seed(1)
    return build_model(PRESETS[name])


def complaint(name, path):
    model = fresh(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_pretrained(model, path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_backbone_takes_every_value_of_its_file_and_nothing_else_changes(name, tmp_path):
    tensors = made(name)
    path = tmp_path / FILES[name]
    torch.save(tensors, path)
    model = fresh(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    load_pretrained(model, path)
    expected = {
        f"{prefix_of(name)}{key}": tensor for key, tensor in tensors.items() if not key.startswith(HEADS)
    }
    assert set(expected) < set(before)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected.get(key, before[key])), key


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_no_imagenet_file_has_is_what_the_click_needs(name):
    own = {key for key in fresh(name).state_dict() if key.startswith(prefix_of(name))}
    left = {key.removeprefix(prefix_of(name)).split(".")[0] for key in own} - {
        key.split(".")[0] for key in SHAPES[name]()
    }
    hrnet = {"conv3x3_ocr", "ocr_distri_head", "cls_head", "aux_head"}
    assert left == ({"patch_embed_side1", "norm_add"} if name.startswith("seg") else hrnet)


def test_files_without_counters_and_in_a_state_dict_are_fine(tmp_path):
    tensors = {key: tensor for key, tensor in made("hr18s").items() if not key.endswith("tracked")}
    torch.save({"state_dict": tensors}, tmp_path / "old.pth")
    model = fresh("hr18s")
    load_pretrained(model, tmp_path / "old.pth")
    assert torch.equal(model.feature_extractor.conv1.weight, tensors["conv1.weight"])
    assert model.feature_extractor.bn1.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("name", "other"), [("hr18s", "hr18"), ("hr18", "hr18s"), ("hr32", "hr18"), ("segb3", "segb0")]
)
def test_the_file_of_a_larger_or_smaller_backbone_is_refused(name, other, tmp_path):
    torch.save(made(other), tmp_path / FILES[other])
    message = complaint(name, tmp_path / FILES[other])
    assert "not the ImageNet weights of this backbone" in message or "of another backbone" in message


def test_another_shape_is_told(tmp_path):
    torch.save(made("hr18"), tmp_path / "w18.pth")
    assert "is (18, 256, 3, 3), not (32, 256, 3, 3): the ImageNet weights of another backbone" in complaint(
        "hr32", tmp_path / "w18.pth"
    )


def test_the_file_of_another_kind_of_backbone_is_refused(tmp_path):
    torch.save(made("segb0"), tmp_path / "mit_b0.pth")
    assert "has no tensor 'conv1.weight'" in complaint("hr18s", tmp_path / "mit_b0.pth")


def test_a_missing_tensor_is_named(tmp_path):
    tensors = made("segb0")
    del tensors["block3.1.attn.kv.bias"]
    torch.save(tensors, tmp_path / "mit_b0.pth")
    assert "has no tensor 'block3.1.attn.kv.bias'" in complaint("segb0", tmp_path / "mit_b0.pth")


def test_a_missing_or_broken_file_is_told(tmp_path):
    assert "no such checkpoint" in complaint("hr18s", tmp_path / "nowhere.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK\3\4 broken")
    complaint("hr18s", tmp_path / "broken.pth")


def test_a_checkpoint_gives_the_whole_network(tmp_path):
    torch.manual_seed(3)
    other = build_model(PRESETS["segb0"])
    save_checkpoint(tmp_path / "mine.pth", other, {})
    model = fresh("segb0")
    load_pretrained(model, tmp_path / "mine.pth")
    for (key, a), b in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert model.training
    assert not model.feature_extractor.backbone.norm_add.weight.requires_grad


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    save_checkpoint(tmp_path / "mine.pth", fresh("segb0"), {})
    message = complaint("hr18s", tmp_path / "mine.pth")
    assert message.endswith("is segb0, not hr18s; train that preset, or begin with other weights")
