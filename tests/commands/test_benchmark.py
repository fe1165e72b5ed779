"""The benchmark script: tiny real runs, and what it says of bad arguments. Nothing here depends on times."""

import json
import math
import warnings

import cv2
import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
import torch

from isegm.benchmark import click_speed, evaluation_speed, growth
from isegm.benchmark.memory import peak_megabytes
from isegm.benchmark.ways import (
    NetworkSettings,
    load_images,
    load_segmenter,
    untrained_model,
    usable_backends,
)
from isegm.commands.benchmark import main
from isegm.config import read_config
from isegm.datasets import open_dataset
from isegm.evaluation.click_loop import evaluate_sample
from isegm.evaluation.protocol import Protocol
from isegm.inference.predictor import Predictor
from isegm.model.build import PRESETS
from isegm.model.checkpoint import load_model

pytestmark = pytest.mark.slow  # together more than the fast tests have time for

TINY = ["--presets=hr18s", "--backends=torch", "--threads=1"]


@pytest.fixture(autouse=True)
def _threads(one_thread):
    yield
    torch.set_num_threads(1)


@pytest.fixture
def measured_in_this_process(monkeypatch):
    """What is measured in processes of their own, which take seconds to start, is made up."""
    monkeypatch.setattr(
        click_speed, "peak_megabytes", lambda mode, settings, image: {"torch": 321.5}.get(mode, 654.5)
    )
    monkeypatch.setattr(growth, "_rate_together", lambda mode, settings, image, count, clicks: count + 0.5)


def last_line(out):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    result = json.loads(out.splitlines()[-1], parse_constant=refuse)
    assert set(result["hardware"]) == {
        "cpu", "vector_instructions", "cores", "threads", "load_average", "gpu",
    }  # fmt: skip
    assert {"isegm", "python", "torch", "onnxruntime", "openvino", "numpy"} == set(result["versions"])
    assert result["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert result["hardware"]["cpu"]
    return result


def is_spread(spread, count):
    assert set(spread) == {"median", "q1", "q3", "count"}
    assert spread["count"] == count
    return 0 < spread["q1"] <= spread["median"] <= spread["q3"]


@pytest.mark.parametrize("words", [["network"], []], ids=["by name", "by default"])
def test_network(words, capsys, measured_in_this_process):
    clicks = 3 if words else 1
    assert main([*words, *TINY, "--size=64", f"--clicks={clicks}", "--repeats=2"]) == 0
    out = capsys.readouterr().out
    result = last_line(out)
    assert result["benchmark"] == "network"
    assert result["settings"] == {
        "size": 64, "flip": True, "precision": "float32", "threads": 1, "device": "cpu", "clicks": clicks,
        "repeats": 2,
    }  # fmt: skip
    (measured,) = result["networks"]
    assert (measured["name"], measured["preset"]) == ("hr18s", "hr18s")
    assert [row["mode"] for row in measured["modes"]] == ["reference", "torch"]
    for row in measured["modes"]:
        assert is_spread(row["first_click_ms"], 2)
        assert row["gmacs"]["first_click"] == row["gmacs"]["encode"] + row["gmacs"]["correct"]
        assert row["gmacs"]["further_click"] == row["gmacs"]["correct"] > 0
        assert 0 <= row["largest_difference"] < 1e-4
        assert 0.99 < row["mask_iou"] <= 1
        assert row["first_click_ratio"] > 0
        if clicks == 1:
            assert row["further_click_ms"]["count"] == 0
            assert row["further_click_ratio"] is row["clicks_per_second"] is None
        else:
            assert is_spread(row["further_click_ms"], 4)
            assert math.isclose(row["clicks_per_second"] * row["further_click_ms"]["median"], 1000)
    reference, ours = measured["modes"]
    assert (reference["first_click_ratio"], reference["largest_difference"]) == (1.0, 0.0)
    assert reference["gmacs"]["further_click"] > ours["gmacs"]["further_click"]
    assert (reference["peak_mb"], ours["peak_mb"]) == (654.5, 321.5)
    assert math.isclose(
        ours["first_click_ratio"],
        reference["first_click_ms"]["median"] / ours["first_click_ms"]["median"],
    )
    # Hardware, an empty line, the network, its table, JSON.
    lines = out.splitlines()
    assert [lines[2], *(line.split()[1] for line in lines[6:8])] == ["hr18s", "reference", "torch"]
    assert len(lines) == 10


def test_a_backend_that_cannot_is_left_out_with_one_line_unless_it_was_asked_for(
    capsys, measured_in_this_process
):
    tiny = ["network", "--presets=hr18s", "--threads=1", "--size=64", "--clicks=1", "--repeats=1"]
    assert main([*tiny, "--precision=float64"]) == 0
    out, err = capsys.readouterr()
    (measured,) = last_line(out)["networks"]
    assert [row["mode"] for row in measured["modes"]] == ["reference", "torch"]
    left_out = [line.partition(": warning: ")[2] for line in err.splitlines() if "warning" in line]
    assert [line.partition(": ")[0] for line in left_out] == ["left out onnxruntime", "left out openvino"]
    assert main([*tiny, "--precision=float64", "--backends=torch,openvino"]) == 2
    error = capsys.readouterr().err
    assert "openvino computes in float32" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("precision", "device", "backends"),
    [
        ("float32", "cpu", ["torch", "onnxruntime", "openvino"]),
        ("bfloat16", "cpu", ["torch", "openvino"]),
        ("float64", "cpu", ["torch"]),
        ("float32", "cuda", ["torch"]),
    ],
)
def test_by_default_a_benchmark_takes_every_backend_that_can(precision, device, backends):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert usable_backends(precision, device) == backends
    assert len(caught) == (3 - len(backends) if device == "cpu" else 0)


def test_the_table_of_a_network_shows_every_figure():
    spread = {"median": 12.34, "q1": 11.0, "q3": 15.0, "count": 3}
    row = {
        "mode": "torch",
        "first_click_ms": spread,
        "first_click_ratio": 2.0,
        "further_click_ms": {"median": 4.0, "q1": 3.5, "q3": 4.5, "count": 6},
        "further_click_ratio": 3.456,
        "clicks_per_second": 250.0,
        "largest_difference": 1.5e-6,
        "mask_iou": 0.99996,
        "gmacs": {"encode": 8.0, "correct": 1.0, "first_click": 9.0, "further_click": 1.0},
        "peak_mb": 950.4,
    }
    text = click_speed.format_clicks({"name": "mine", "preset": "hr32", "modes": [row]})
    assert text.splitlines()[1] == "mine (hr32)"
    assert text.splitlines()[-2].replace("|", " ").split() == [
        "torch", "12.3", "11.0-15.0", "2.00x", "4.0", "3.5-4.5", "3.46x", "250.00", "9.00", "1.00", "950",
        "1.5e-06", "1.0000",
    ]  # fmt: skip


def test_a_checkpoint_and_pictures_of_your_own(workspace, capsys, measured_in_this_process):
    assert main(
        ["network", "--checkpoint=weights/hr32.pth", "--backends=torch", "--size=64", "--no-flip",
         "--clicks=1", "--repeats=1", "--threads=1", "--images", "datasets/liver/images"]
    ) == 0  # fmt: skip
    out = capsys.readouterr().out
    result = last_line(out)
    assert (result["networks"][0]["name"], result["networks"][0]["preset"]) == ("hr32", "hr18s")
    assert result["settings"]["flip"] is False
    assert "\nhr32 (hr18s)\n" in out


def test_pictures_are_the_same_every_time_and_folders_are_read_in_order(tmp_path):
    first, second = load_images(None, 2)
    assert first.shape == (512, 512, 3)
    assert first.dtype == np.uint8
    assert first.std() > 20
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(load_images(None, 1)[0], first)
    for name, value in (("b.png", 2), ("a.png", 1)):
        assert cv2.imwrite(str(tmp_path / name), np.full((3, 4, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("x")
    assert [image[0, 0, 0] for image in load_images([tmp_path], 1)] == [1, 2]
    assert [image[0, 0, 0] for image in load_images([tmp_path / "b.png"], 1)] == [2]


def test_an_untrained_network_is_the_same_every_time_and_its_output_varies(tmp_path):
    state = torch.random.get_rng_state()
    model, again = untrained_model("hr18s"), untrained_model("hr18s")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not model.training
    for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    predictor = Predictor(model, size=64)
    predictor.set_image(load_images(None, 1)[0])
    assert predictor.click(100, 100).std() > 0.01


def test_evaluation(workspace, capsys, monkeypatch):
    monkeypatch.setattr(evaluation_speed, "cores_for", lambda processes: 1)
    words = ["evaluation", "--datasets=kidney,spleen", "--checkpoint=weights/hr32.pth", "--backends=torch"]
    words += ["--limit=3", "--eval-mode=fixed64", "--n-clicks=3"]
    assert main(words) == 0
    out = capsys.readouterr().out
    result = last_line(out)
    assert result["benchmark"] == "evaluation"
    assert (result["settings"]["preset"], result["settings"]["n_clicks"]) == ("hr18s", 3)
    assert result["settings"]["eval_mode"] == "fixed64"
    assert [(row["dataset"], row["images"]) for row in result["datasets"]] == [("kidney", 3), ("spleen", 1)]
    for row in result["datasets"]:
        reference, ours = row["modes"]
        assert [reference["mode"], ours["mode"]] == ["reference", "torch"]
        assert math.isclose(ours["ratio"], reference["seconds"] / ours["seconds"])
        assert math.isclose(ours["images_per_second"], row["images"] / ours["seconds"])
        assert (reference["same_clicks"], reference["noc90_difference"]) == (1.0, 0.0)
    # The project's own evaluation, sample by sample.
    protocol = Protocol(eval_mode="fixed64", n_clicks=3)
    predictor = Predictor(load_model("weights/hr32.pth"), size=64, threshold=protocol.thresh)
    dataset = open_dataset("kidney", read_config(workspace / "config.yml"))
    scores = [evaluate_sample(predictor, dataset[index], protocol)[0].scores for index in range(3)]
    expected = sum(next((n for n, s in enumerate(row, 1) if s >= 0.9), 3) for row in scores) / 3
    assert result["datasets"][0]["modes"][1]["noc90"] == pytest.approx(expected)
    assert "\nkidney, 3 images\n" in out
    assert "\nspleen, 1 images\n" in out


def test_growth(tmp_path, capsys, measured_in_this_process):
    plot = tmp_path / "new" / "growth.png"
    words = ["growth", *TINY, "--size=64", "--repeats=1", "--clicks=2,1", "--sizes=32", "--views=1,3"]
    assert main([*words, f"--plot={plot}"]) == 0
    out = capsys.readouterr().out
    result = last_line(out)
    both = ["reference", "torch"]
    assert [(row["clicks"], row["mode"]) for row in result["clicks"]] == [
        (n, m) for n in (1, 2) for m in both
    ]
    assert [(row["size"], row["mode"]) for row in result["sizes"]] == [(n, m) for n in (32,) for m in both]
    assert [(row["views"], row["mode"]) for row in result["views"]] == [(1, "torch"), (3, "torch")]
    assert [(row["threads"], row["mode"]) for row in result["threads"]] == [(1, m) for m in both]
    assert [(row["processes"], row["mode"]) for row in result["processes"]] == [(1, m) for m in both]
    assert all(is_spread(row["further_click_ms"], 1) for row in result["clicks"])
    for row in result["sizes"] + result["threads"]:
        assert is_spread(row["first_click_ms"], 1)
        assert is_spread(row["further_click_ms"], 5)
    for row in result["views"]:
        assert is_spread(row["encode_ms"], 1)
        assert is_spread(row["correct_ms"], 1)
    assert [row["clicks_per_second"] for row in result["processes"]] == [1.5, 1.5]
    headings = [line.split()[1:4] for line in out.splitlines() if line.startswith("| mode")]
    assert headings == [["mode", "|", part] for part in ("clicks", "size", "views", "threads", "processes")]
    pixels = matplotlib.image.imread(plot)
    assert pixels.shape[0] > 800
    assert pixels.shape[1] > 1200
    assert pixels.std() > 0.05


def test_processes_wait_for_each_other_and_give_a_rate(workspace):
    settings = NetworkSettings(checkpoint="weights/hr32.pth", size=32)
    image = load_images(None, 1)[0]
    assert growth._rate_together("torch", settings, image, 2, 2) > 0


def test_peak_memory_is_that_of_a_process_of_its_own(workspace):
    settings = NetworkSettings(checkpoint="weights/hr32.pth", size=32)
    image = load_images(None, 1)[0]
    alone = peak_megabytes("torch", settings, image)
    large = np.ones(250_000_000)  # 2000 MB in the process that asks
    beside = peak_megabytes("torch", settings, image)
    assert alone > 100
    # A figure that came from the asking process would have the 2000 MB in it.
    assert abs(beside - alone) < large.nbytes / 4e6


def test_threads_double_up_to_the_most():
    assert [growth._up_to(most) for most in (1, 2, 3, 4, 6, 16)] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6], [1, 2, 4, 8, 16],
    ]  # fmt: skip


def test_settings_reach_the_network(workspace):
    settings = NetworkSettings(
        checkpoint="weights/hr32.pth", size=48, flip=False, precision="float64", threads=1
    )
    predictor = load_segmenter("torch", settings)
    assert (predictor.size, predictor.flip, predictor.network.dtype) == (48, False, torch.float64)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("network --backends=jax", "--backends: must be among torch, onnxruntime, openvino, not 'jax'"),
        ("network --backends=torch,torch", "--backends: must be different names like torch,onnxruntime"),
        ("network --backends=", "--backends: must be different names"),
        ("network --checkpoint=absent.pth", "absent.pth: no such checkpoint; check the path"),
        ("network --presets=hr64", f"--presets: must be among {', '.join(PRESETS)}, not 'hr64'"),
        ("network --presets=hr18s --checkpoint=weights/hr32.pth", "--presets: cannot go with --checkpoint"),
        ("network --size=16", "--size: must be at least 32, not 16"),
        ("network --size=big", "argument --size: must be a whole number, not 'big'"),
        ("network --repeats=0", "--repeats: must be at least 1, not 0"),
        ("network --clicks=0", "--clicks: must be at least 1, not 0"),
        ("network --threads=0", "--threads: must be at least 1, not 0"),
        ("network --images absent.png", "absent.png"),
        ("network --images weights", "weights: holds no file of .bmp"),
        ("network --device=cuda", "--device: no GPU is usable here; give --device=cpu"),
        ("network --presets=hr18s --precision=int3", "--precision"),
        ("growth --sizes=384,31", "--sizes: must be at least 32, not 31"),
        ("growth --sizes=384,384", "--sizes: must be different whole numbers"),
        ("growth --views=none", "--views: must be different whole numbers"),
        ("growth --clicks=0", "--clicks: must be at least 1, not 0"),
        ("growth --plot=growth.txt", "--plot: must be a .png file, not 'growth.txt'"),
        ("growth --presets=hr18s,hr18", "--presets: name one network"),
        ("evaluation", "--datasets"),
        ("evaluation --datasets=liver --checkpoint=absent.pth", "absent.pth: no such checkpoint"),
        ("evaluation --datasets=x --backends=torch", "'x': no such data set"),
        ("evaluation --datasets=liver --limit=0", "--limit: must be at least 1, not 0"),
        ("evaluation --datasets=liver --eval-mode=large", "--eval-mode: must be emc-click"),
        ("elsewhere", "invalid choice: 'elsewhere'"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_in_one_line(workspace, words, line, capsys):
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_a_data_set_with_initial_masks_is_refused(workspace, capsys):
    folder = workspace / "datasets" / "d585" / "bear"
    folder.mkdir(parents=True)
    for name in ("00000.jpg", "object1_00000.png", "init_sp_object1_00000.png"):
        assert cv2.imwrite(str(folder / name), np.full((40, 40, 3), 255, np.uint8))
    (workspace / "config.yml").write_text("DAVIS585_PATH: ./datasets/d585\n")
    words = "evaluation --datasets=D585_SP --checkpoint=weights/hr32.pth --backends=torch"
    assert main([*words.split(), "--eval-mode=fixed64"]) == 2
    error = capsys.readouterr().err
    assert (
        "D585_SP: has initial masks, which the reference does not start from; measure other data sets"
        in error
    )
    assert error.count("\n") == 1


def test_clicks(capsys):
    assert main(["clicks", "--repeats=2"]) == 0
    out = capsys.readouterr().out
    result = last_line(out)
    assert (result["benchmark"], result["settings"]) == ("clicks", {"repeats": 2, "side": 512})
    assert len(result["clicks"]) == 8
    for name, spread in result["clicks"].items():
        assert is_spread(spread, 2)
        assert f"\n| {name} " in out


@pytest.fixture
def task(tmp_path):
    """A labelsTr with one volume of 24 x 20 x 6 voxels of noise, and its image."""
    label = np.zeros((24, 20, 6), np.uint8)
    label[5:15, 5:15, 2] = 1
    noise = np.random.default_rng(0).integers(-200, 300, label.shape, dtype=np.int16)
    for folder, values in (("labelsTr", label), ("imagesTr", noise)):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / folder / "spleen_1.nii.gz")
    return tmp_path / "labelsTr"


def test_ct(task, capsys):
    assert main(["ct", str(task), "spleen", "--repeats=3"]) == 0
    out = capsys.readouterr().out
    result = last_line(out)
    (volume,) = result["volumes"]
    assert volume["volume"] == "spleen_1.nii.gz"
    assert volume["megabytes"] == 24 * 20 * 6 * 3 / 1e6
    for work in ("extract", "read", "pictures", "window", "recompress"):
        assert is_spread(volume[work], 3)
    for above in ("extract_by_reading", "extract_by_reading_and_pictures", "window_by_reading_and_writing"):
        assert volume[above] > 0
    assert volume["extract_by_reading"] > volume["extract_by_reading_and_pictures"]
    assert "spleen_1.nii.gz" in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["clicks", "--repeats=0"], "--repeats: must be at least 1, not 0"),
        (["ct", "gone", "spleen"], "gone: no such file or folder"),
    ],
)
def test_bad_arguments_of_the_simulator_and_the_ct_tools(words, line, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
