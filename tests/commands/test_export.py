"""The export to ONNX, as a user runs it."""

import numpy as np
import pytest
import torch

from isegm.commands import export
from isegm.errors import InputError
from isegm.inference import load as load_module
from isegm.inference.load import check_pair, load_network
from isegm.inference.onnx_pair import export_pair, read_pair
from isegm.inference.predictor import Predictor
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import load_model, save_checkpoint
from isegm.storage import sha256

pytestmark = pytest.mark.slow  # together more than the fast tests have time for

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WINDOWS = {"lung": {"level": -500.0, "width": 1400.0}}


@pytest.fixture
def checkpoint(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build_model(PRESETS["segb0"]).eval()
    path = tmp_path / "mine.pth"
    save_checkpoint(path, model, {"windows": WINDOWS})
    return path


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_becomes_two_files_that_run(checkpoint, tmp_path, capsys, half):
    out = tmp_path / "onnx"
    assert export.main([str(checkpoint), f"--output={out}", "--size=256", *["--half"] * half]) == 0
    first, head, said = capsys.readouterr().out.splitlines()
    paths = [out / f"mine_{stage}.onnx" for stage in ("first_stage", "correction_head")]
    for line, path in zip((first, head), paths, strict=True):
        assert line.startswith(f"{path}: segb0, ")
        assert line.endswith(f"SHA-256 {sha256(path)}")
    assert said.startswith("Probabilities by onnxruntime differ from torch's by ")
    metadata = read_pair(paths[0]).metadata
    assert metadata["sha256"] == sha256(checkpoint)
    assert metadata["size"] == "256"
    assert metadata["windows"] == '{"lung": {"level": -500.0, "width": 1400.0}}'
    assert metadata["weights"] == ("float16" if half else "float32")
    image = np.random.default_rng(0).integers(0, 256, (40, 51, 3), dtype=np.uint8)
    predictors = [
        Predictor(network, size=64)
        for network in (load_network(paths[1], backend="onnxruntime"), load_model(checkpoint))
    ]
    for predictor in predictors:
        predictor.set_image(image)
    np.testing.assert_allclose(*(p.click(9, 30) for p in predictors), atol=2e-3 if half else 2e-6)


def test_older_files_windows_are_told_by_their_recipe():
    assert (
        export.windows_of({}) == export.windows_of({"windows": {}, "recipe": {"sources": ["coco:a"]}}) == {}
    )
    told = export.windows_of({"windows": {}, "recipe": {"sources": ["phantom@2"]}})["recipe"]
    assert {"level": 40, "width": 350, "shift": 0.2, "stretch": 1.5} in told


def test_files_that_are_there_stay(checkpoint, tmp_path, capsys):
    there = tmp_path / "mine_correction_head.onnx"
    there.write_bytes(b"x")
    assert export.main([str(checkpoint)]) == 2
    assert f"error: {there}: exists already; name another folder, or --force" in capsys.readouterr().err
    assert there.read_bytes() == b"x"
    assert export.main([str(checkpoint), "--force"]) == 0
    assert len(there.read_bytes()) > 1000


def test_nothing_is_written_of_a_network_that_differs(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(load_module, "TOLERANCE", 0.0)
    assert export.main([str(checkpoint)]) == 2
    assert "segb0: what onnxruntime computes differs from torch by" in capsys.readouterr().err
    assert list(tmp_path.glob("*.onnx")) == []


def test_a_pair_of_another_network_does_not_pass_the_check():
    models = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            models.append(build_model(PRESETS["hr18s"]).eval())
    pair = export_pair(models[0])
    assert check_pair(pair, models[0], "onnxruntime") < 1e-5
    with pytest.raises(InputError, match="differs from torch"):
        check_pair(pair, models[1], "onnxruntime")


def test_without_a_runtime_one_line_says_what_to_install(checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(load_module.importlib.util, "find_spec", lambda _: None)
    assert export.main([str(checkpoint)]) == 2
    assert "pip install '.[onnx]' or '.[openvino]' brings one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(["gone.pth"], "gone.pth: no such checkpoint"), (["x", "--size=0"], "--size: must be")],
)
def test_bad_input_ends_in_one_line(capsys, arguments, line):
    assert export.main(arguments) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
