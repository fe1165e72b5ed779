"""Writing checkpoints in the released form."""

import json

import pytest
import torch

from isegm.errors import InputError
from isegm.model import PUBLISHED
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import (
    load_model,
    read_metadata,
    read_tensors,
    released_config,
    save_checkpoint,
)


def build(name, seed=0):
    torch.manual_seed(seed)
    return build_model(PRESETS[name])


@pytest.mark.parametrize("name", ["hr18s", "segb0", "lite0"])
def test_what_is_saved_is_loaded_bit_for_bit(name, tmp_path):
    model = build(name)
    save_checkpoint(tmp_path / "new" / "net.pth", model, {"step": 3})
    loaded = load_model(tmp_path / "new" / "net.pth")
    assert loaded.name == name
    for (key, a), b in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b), key
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["net.pth"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_tensors_are_strictly_the_manifests(name, parity, tmp_path):
    manifest = json.loads(parity(f"manifest_{name}.json").read_text())["tensors"]
    save_checkpoint(tmp_path / "net.pth", build(name), {})
    tensors = read_tensors(tmp_path / "net.pth")
    assert {key: list(tensor.shape) for key, tensor in tensors.items()} == manifest


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_config_says_what_the_manifests_does(name, parity):
    manifest = json.loads(parity(f"manifest_{name}.json").read_text())["config"]
    config = released_config(PRESETS[name])
    assert config["class"] == manifest["class"]
    for key, entry in config["params"].items():
        assert json.loads(json.dumps(entry["value"])) == manifest["params"][key]["value"], key
        assert entry["type"] == manifest["params"][key]["type"]
    assert isinstance(config["params"]["norm_mean_std"]["value"], tuple)
    own = {key for key, entry in manifest["params"].items() if entry["specified"]}
    assert own <= set(config["params"])


def test_metadata_lie_beside_and_the_file_holds_plain_values_only(tmp_path):
    metadata = {"recipe": {"preset": "hr18s", "sources": ["phantom"]}, "validation": {"NoC@90": 3.5}}
    save_checkpoint(tmp_path / "net.pth", build("hr18s"), metadata)
    content = torch.load(tmp_path / "net.pth", weights_only=True)
    assert set(content) == {"state_dict", "config", "metadata"}
    assert content["metadata"] == metadata


def test_tensors_are_written_as_float32(tmp_path):
    model = build("hr18s").double()
    save_checkpoint(tmp_path / "net.pth", model, {})
    kinds = {tensor.dtype for tensor in read_tensors(tmp_path / "net.pth").values()}
    assert kinds == {torch.float32, torch.int64}
    assert next(model.parameters()).dtype == torch.float64


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, full_disk):
    path = tmp_path / "net.pth"
    save_checkpoint(path, build("hr18s"), {"step": 1})
    with full_disk(), pytest.raises(OSError, match="File too large") as refused:
        save_checkpoint(path, build("hr18s"), {"step": 2})
    assert refused.value.filename == str(path)
    assert torch.load(path, weights_only=True)["metadata"] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["hr18s", "lite0"])
def test_half_precision_is_rounded_once_and_loaded_as_float32(name, tmp_path):
    model = build(name)
    save_checkpoint(tmp_path / "half.pth", model, {}, torch.float16)
    save_checkpoint(tmp_path / "full.pth", model, {})
    loaded = load_model(tmp_path / "half.pth").state_dict()
    for name, tensor in model.state_dict().items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded[name], rounded), name
        assert loaded[name].dtype == tensor.dtype
    assert (tmp_path / "half.pth").stat().st_size < 0.6 * (tmp_path / "full.pth").stat().st_size


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path):
    model = build("hr18s")
    model.refiner.refine_pred.bias.data.fill_(7e4)
    with pytest.raises(InputError, match=r"net\.pth: tensor 'refiner\.refine_pred\.bias' has values that"):
        save_checkpoint(tmp_path / "net.pth", model, {}, torch.float16)
    assert not list(tmp_path.iterdir())


def test_a_file_does_not_tell_in_which_order_the_network_lay_in_memory(tmp_path):
    model = build("hr18s").to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "net.pth", model, {})
    assert all(tensor.is_contiguous() for tensor in read_tensors(tmp_path / "net.pth").values())


def test_metadata_are_read_back_and_empty_where_there_are_none(tmp_path):
    save_checkpoint(tmp_path / "net.pth", build("hr18s"), {"step": 3})
    assert read_metadata(tmp_path / "net.pth") == {"step": 3}
    torch.save({"state_dict": {}, "metadata": 7}, tmp_path / "other.pth")
    assert read_metadata(tmp_path / "other.pth") == {}
    torch.save({"state_dict": {}}, tmp_path / "none.pth")
    assert read_metadata(tmp_path / "none.pth") == {}
