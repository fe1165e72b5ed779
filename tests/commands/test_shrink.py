"""Writing a checkpoint at half its size."""

import hashlib

import pytest
import torch

from isegm.commands.shrink import main
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import read_metadata, read_tensors, save_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "last.pth", build_model(PRESETS["hr18s"]), {"step": 7, "recipe": {"seed": 0}})
    return tmp_path / "last.pth"


def test_the_file_is_half_as_large_and_keeps_what_was_said_of_its_making(checkpoint, tmp_path, capsys):
    small = tmp_path / "weights" / "mine.pth"
    assert main([str(checkpoint), str(small)]) == 0
    assert small.stat().st_size < 0.6 * checkpoint.stat().st_size
    assert read_metadata(small) == {"step": 7, "recipe": {"seed": 0}}
    before, after = read_tensors(checkpoint), read_tensors(small)
    assert list(after) == list(before)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor.half() if tensor.is_floating_point() else tensor)
    size = f"{small.stat().st_size / 1e6:.1f} MB"
    digest = hashlib.sha256(small.read_bytes()).hexdigest()
    assert capsys.readouterr().out == f"{small}: hr18s, {size}, SHA-256 {digest}\n"


def test_what_is_there_is_replaced_only_by_force(checkpoint, tmp_path, capsys):
    there = tmp_path / "mine.pth"
    there.write_bytes(b"x")
    assert main([str(checkpoint), str(there)]) == 2
    assert there.read_bytes() == b"x"
    assert "mine.pth: exists already; name another file, or --force" in capsys.readouterr().err
    assert main([str(checkpoint), str(there), "--force"]) == 0
    assert read_metadata(there)["step"] == 7


def test_what_is_no_checkpoint_is_named(tmp_path, capsys):
    (tmp_path / "a.pth").write_bytes(b"x" * 100)
    assert main([str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]) == 2
    error = capsys.readouterr().err
    assert "a.pth: not a checkpoint" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b.pth").exists()
