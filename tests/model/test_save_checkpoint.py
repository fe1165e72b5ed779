"""Writing checkpoints in the released form."""

import json

import pytest
import torch

from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import load_model, read_tensors, released_config, save_checkpoint


def build(name, seed=0):
    torch.manual_seed(seed)
    return build_model(PRESETS[name])


@pytest.mark.parametrize("name", ["hr18s", "segb0"])
def test_what_is_saved_is_loaded_bit_for_bit(name, tmp_path):
    model = build(name)
    save_checkpoint(tmp_path / "new" / "net.pth", model, {"step": 3})
    loaded = load_model(tmp_path / "new" / "net.pth")
    assert loaded.name == name
    for (key, a), b in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b), key
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["net.pth"]


@pytest.mark.parametrize("name", PRESETS)
def test_tensors_are_strictly_the_manifests(name, parity, tmp_path):
    manifest = json.loads((parity / f"manifest_{name}.json").read_text())["tensors"]
    save_checkpoint(tmp_path / "net.pth", build(name), {})
    tensors = read_tensors(tmp_path / "net.pth")
    assert {key: list(tensor.shape) for key, tensor in tensors.items()} == manifest


@pytest.mark.parametrize("name", PRESETS)
def test_the_config_says_what_the_manifests_does(name, parity):
    manifest = json.loads((parity / f"manifest_{name}.json").read_text())["config"]
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


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "net.pth"
    save_checkpoint(path, build("hr18s"), {"step": 1})

    def fail(content, temporary):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(path, build("hr18s"), {"step": 2})
    assert torch.load(path, weights_only=True)["metadata"] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]
