"""Reading checkpoints: the good ones exactly, the bad ones with one line that names the file."""

import copy
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import isegm
from isegm.errors import InputError
from isegm.model import PUBLISHED
from isegm.model.checkpoint import load_model

WEIGHT = "refiner.image_conv2.conv1x1.weight"  # (64, 64, 1, 1)
BIAS = "refiner.image_conv2.conv1x1.bias"
COUNTER = "feature_extractor.bn1.num_batches_tracked"
MEAN_AND_DEVIATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def values(untrained):
    """The tensors of an hr18s, float32."""
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in untrained("hr18s").state_dict().items()
    }


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.pth"
    yield path
    if path.is_file():
        path.unlink()  # 17 MB


def complaint(path):
    """The error's message, which must be one line that begins with the file's name, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < len(str(path)) + 600
    return message.removeprefix(f"{path}: ")


def config_of(class_name="isegm.model.is_refine_model.HRNetRefineModel", **params):
    return {
        "class": class_name,
        "params": {
            name: {"type": "builtin", "value": value, "specified": True} for name, value in params.items()
        },
    }


def assert_holds(model, values):
    state = model.state_dict()
    assert state.keys() == values.keys()
    for name, tensor in state.items():
        assert tensor.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        assert torch.equal(tensor, values[name]), name


# --- good files


@pytest.mark.parametrize("legacy", [False, True])
def test_what_is_saved_is_loaded(values, file, legacy):
    config = config_of(width=18, ocr_width=48, small=True)
    torch.save(
        {"state_dict": OrderedDict(values), "config": config},
        file,
        _use_new_zipfile_serialization=not legacy,
    )
    model = load_model(file)
    assert_holds(model, values)
    assert model.name == "hr18s"
    assert not any(module.training for module in model.modules())
    fresh = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert fresh
    assert all(".f_pixel." in name or ".f_object." in name for name in fresh)


def test_a_loaded_network_computes_what_the_saved_one_did(values, file, untrained, picture):
    torch.save({"state_dict": values}, file)
    points = torch.tensor([[[8.0, 9, 0], [20, 30, 1]]], dtype=torch.float64)
    with torch.no_grad():
        saved = copy.deepcopy(untrained("hr18s")).float().double()(picture(1, 32, 36), points)
        loaded = load_model(str(file)).double()(picture(1, 32, 36), points)  # a path may be text
    assert torch.equal(loaded.corrected, saved.corrected)
    assert torch.equal(loaded.coarse, saved.coarse)


@pytest.mark.parametrize("name", ["segb0", "hr18", "lite0"])
def test_the_network_is_told_by_the_shapes(name, untrained, file):
    state = {key: tensor.float() for key, tensor in untrained(name).state_dict().items()}
    torch.save(state, file)  # and a bare state_dict will do
    assert load_model(file).name == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_released_form_loads_strictly(name, reference_file):
    path = reference_file(name)
    content = torch.load(path, weights_only=True)
    model = load_model(path)
    assert model.name == name
    assert_holds(model, content["state_dict"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_loaded_as_float32_with_equal_values(values, file, dtype):
    stored = {name: tensor.to(dtype) for name, tensor in values.items()}  # the counters too
    torch.save({"state_dict": stored}, file)
    expected = {
        name: tensor.long() if name.endswith("num_batches_tracked") else tensor.float()
        for name, tensor in stored.items()
    }
    assert_holds(load_model(file), expected)


def test_every_parameter_has_memory_of_its_own(values, file):
    spread = values | {WEIGHT: torch.zeros(1).expand(64, 64, 1, 1)}
    torch.save({"state_dict": spread}, file)
    weight = load_model(file).get_parameter(WEIGHT)
    assert weight.is_contiguous()


def test_parameters_are_read_as_tensors_are(values, file):
    torch.save({"state_dict": values | {WEIGHT: torch.nn.Parameter(values[WEIGHT])}}, file)
    assert_holds(load_model(file), values)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "hr32",
        17,
        ["HRNetRefineModel"],
        {},
        {"class": None, "params": {"width": {"value": 32}}},
        {"class": "HRNetRefineModel"},
        {"class": "HRNetRefineModel", "params": None},
        {"class": "HRNetRefineModel", "params": [1]},
        {"class": "HRNetRefineModel", "params": {"width": 32, "small": {}, "ocr_width": {"type": "builtin"}}},
        {"class": "somebody.elses.Network", "params": {"width": {"value": 32}}},
        config_of(width=torch.tensor([18, 1]), small=[1, 2], ocr_width={"a": 1}),
        config_of(norm_radius=5.0, width=18.0, small=1),
        config_of(norm_mean_std=[list(part) for part in MEAN_AND_DEVIATION]),
        config_of(norm_mean_std=MEAN_AND_DEVIATION),
        config_of(refiner_conf={"mid_dims": 64, "later": "addition"}, with_aux_output=False, own="argument"),
        config_of("HRNetRefineModel", width=18, ocr_width=48, small=True, clicks_groups=None),
    ],
    ids=str,
)
def test_a_config_that_says_nothing_to_the_contrary_is_no_hindrance(values, file, config):
    torch.save({"state_dict": values, "config": config}, file)
    assert load_model(file).name == "hr18s"


def test_load_model_and_predictor_are_what_the_package_offers():
    assert isegm.load_model is load_model


# --- contradictions between the config and the tensors


@pytest.mark.parametrize(
    ("name", "value", "ours"),
    [
        ("width", 32, 18),
        ("width", "18", 18),
        ("width", None, 18),
        ("ocr_width", 64, 48),
        ("small", False, True),
        ("norm_radius", 3, 5),
        ("use_disks", False, True),
        ("use_rgb_conv", True, False),
        ("use_leaky_relu", False, True),
        ("with_prev_mask", False, True),
        ("binary_prev_mask", True, False),
        ("only_first_click", False, True),
        ("conv_extend", True, False),
        ("feature_stride", 8, 4),
        ("refiner_conf", None, None),
        ("refiner_conf", {"corr_channel": 64, "mid_dims": 96}, None),
        ("refiner_conf", {"corr_channel": 96, "mid_dims": 64}, None),
        ("refiner_conf", {"conv_layer": "xconv"}, None),
        ("norm_mean_std", ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), MEAN_AND_DEVIATION),
        ("norm_mean_std", [[0.485, 0.456, 0.406], [0.229, 0.224, 0.224]], MEAN_AND_DEVIATION),
        ("norm_mean_std", [[0.485, 0.456, 0.406]], MEAN_AND_DEVIATION),
        ("norm_mean_std", 3, MEAN_AND_DEVIATION),
        ("width", "1\n8\x1b[31m", 18),
        ("width", "9" * 10_000, 18),
    ],
)
def test_a_config_that_contradicts_the_tensors_is_refused(values, file, name, value, ours):
    torch.save({"state_dict": values, "config": config_of(**{name: value})}, file)
    message = complaint(file)
    assert message.startswith(f"its config says {name} = {repr(value)[:60]}")
    assert "its tensors are those of hr18s" in message
    assert f"which has {name} = {'' if ours is None else ours}" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_version", "b3"),
        ("refiner_conf", {"mid_dims": 96}),
        ("norm_radius", 4),
        ("class", "a.HRNetRefineModel"),
    ],
)
def test_so_is_one_of_a_segformer(untrained, file, name, value):
    state = untrained("segb0").state_dict()
    config = config_of("a.SegFormerModel", **({} if name == "class" else {name: value}))
    if name == "class":
        config["class"] = value
    torch.save({"state_dict": state, "config": config}, file)
    message = complaint(file)
    assert "its tensors are those of segb0" in message
    assert ("HRNetRefineModel" if name == "class" else f"{name} = {value!r}") in message
    torch.save({"state_dict": state, "config": config_of("SegFormerModel", model_version="b0")}, file)
    assert load_model(file).name == "segb0"


def test_the_class_of_another_network_is_refused(values, file):
    torch.save({"state_dict": values, "config": config_of("a.b.SegFormerModel")}, file)
    assert complaint(file) == "its config says SegFormerModel, but its tensors are those of hr18s"


# --- files that are not checkpoints, or not whole


def test_truncated_anywhere(values, file):
    torch.save({"state_dict": values}, file)
    content = file.read_bytes()
    for length in (1, 2, 4, 30, 1000, len(content) // 2, len(content) - 1000, len(content) - 1):
        file.write_bytes(content[:length])
        assert complaint(file).startswith(("truncated, or not a checkpoint", "not a checkpoint"))


def test_a_truncated_legacy_file(values, file):
    torch.save({"state_dict": values}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    for length in (1, 20, 100, 1000, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        assert complaint(file).startswith(("truncated, or not a checkpoint", "not a checkpoint"))


def test_a_damaged_byte_inside_is_noticed_or_harmless(file):
    torch.save({"state_dict": {WEIGHT: torch.ones(3)}}, file)
    content = bytearray(file.read_bytes())
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        file.write_bytes(damaged)
        complaint(file)  # such a small file is refused in any case; nothing else may happen


@pytest.mark.parametrize(
    "content",
    [b"", b"hr32 weights\n", b"<!DOCTYPE html>\n<html></html>", b"\0" * 4096, b"PK\3\4xx"],
)
def test_foreign_files(file, content):
    file.write_bytes(content)
    assert complaint(file).startswith(("truncated, or not a checkpoint", "not a checkpoint"))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
@example(pickle.dumps({"state_dict": {}}))
@example(b"\x80\x02}q\x00.")
@example(b"cos\nsystem\n.")
@example(b"c\x1b[2J\rall is well\n\x00\n.")  # a message must not carry this to a terminal
@example(b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f.")
def test_random_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random.pth"
    path.write_bytes(content)
    complaint(path)


def test_a_zip_that_is_no_checkpoint(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.txt", "no tensors")
    assert complaint(file).startswith("truncated, or not a checkpoint")


@pytest.mark.parametrize(
    ("content", "start"),
    [
        ([1, 2], "holds a list, not a checkpoint"),
        (torch.ones(2), "holds a Tensor, not a checkpoint"),
        ("hr32", "holds a str, not a checkpoint"),
        (None, "holds a NoneType, not a checkpoint"),
        ({}, "its state_dict holds no tensors"),
        ({"state_dict": None}, "its state_dict holds no tensors"),
        ({"state_dict": {}}, "its state_dict holds no tensors"),
        ({"state_dict": [torch.ones(1)]}, "its state_dict holds no tensors"),
        ({"state_dict": torch.ones(1)}, "its state_dict holds no tensors"),
        ({"epoch": 3}, "entry 'epoch' of its state_dict is not a plain tensor"),
        ({"state_dict": {1: torch.ones(1)}}, "entry 1 of its state_dict is not a plain tensor"),
        ({"state_dict": {"a": torch.ones(1)}}, "has no correction head"),
        ({"state_dict": {"refiner.a": torch.ones(1)}}, "its tensors are those of no network known here"),
    ],
    ids=str,
)
def test_other_contents(file, content, start):
    torch.save(content, file)
    message = complaint(file)
    assert message.startswith(start)
    assert "expected an EMC-Click checkpoint (hr18s, hr18, hr32, segb0, segb3, lite0)" in message


def test_a_checkpoint_of_another_method_is_called_so(values, file):
    torch.save({"state_dict": {k: v for k, v in values.items() if not k.startswith("refiner.")}}, file)
    assert "has no correction head (no refiner.* tensors), so it is of another method" in complaint(file)


class Payload:
    """Runs a command where a pickle is trusted."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


class PayloadBySystem(Payload):
    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


class PayloadByEval(Payload):
    def __reduce__(self):
        return eval, (f"open({str(self.mark)!r}, 'w')",)


@pytest.mark.parametrize("payload", [Payload, PayloadBySystem, PayloadByEval])
@pytest.mark.parametrize("place", ["config", "state_dict", "beside", "alone"])
@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
def test_nothing_in_a_file_is_run(file, tmp_path, payload, place, form, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # not even by its leave
    mark = tmp_path / "mark"
    planted = payload(mark)
    content = {"state_dict": {WEIGHT: torch.ones(1)}, "config": {"class": "HRNetRefineModel", "params": {}}}
    if place == "config":
        content["config"]["params"] = planted
    elif place == "state_dict":
        content["state_dict"][BIAS] = planted
    elif place == "beside":
        content["other"] = planted
    else:
        content = planted
    if form == "plain pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    assert complaint(file).startswith(
        ("not a checkpoint, or holds more than tensors and plain values", "truncated, or not a checkpoint")
    )
    assert not mark.exists()
    # The payload does work where a pickle is trusted: the test would notice.
    if form == "plain pickle":
        pickle.loads(file.read_bytes())
        assert mark.exists()


# --- places that are not files


def test_a_missing_file_and_a_folder(tmp_path):
    assert complaint(tmp_path / "none.pth") == "no such checkpoint; check the path"
    assert complaint(tmp_path) == "a folder, not a checkpoint file; name a file in it"
    (tmp_path / "text").write_text("")
    assert complaint(tmp_path / "text" / "net.pth") == "cannot be read: Not a directory"
    assert complaint(tmp_path / ("a" * 300)) == "cannot be read: File name too long"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(file):
    file.write_bytes(b"")
    file.chmod(0)
    assert complaint(file) == "no permission to read it"


# --- tensors that are not as they should be


@pytest.mark.parametrize("names", [[WEIGHT], [WEIGHT, BIAS, COUNTER]])
def test_missing_tensors(values, file, names):
    torch.save({"state_dict": {k: v for k, v in values.items() if k not in names}}, file)
    first = next(name for name in values if name in names)
    more = " and 2 more" if len(names) > 1 else ""
    assert complaint(file) == f"is missing the tensor {first!r}{more}; the file is damaged or altered"


def test_left_over_tensors(values, file):
    extra = {"refiner.new\nlayer.weight": torch.ones(2), "head.bias": torch.ones(2)}
    torch.save({"state_dict": values | extra}, file)
    assert complaint(file) == (
        "has left over the tensor 'refiner.new\\nlayer.weight' and 1 more; the file is damaged or altered"
    )


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1, 2), ()])
def test_a_wrong_shape(values, file, shape):
    torch.save({"state_dict": values | {WEIGHT: torch.ones(shape)}}, file)
    assert complaint(file) == (
        f"tensor {WEIGHT!r} is {shape}, not (64, 64, 1, 1); the file is damaged or altered"
    )


def with_one(value, dtype=torch.float32):
    tensor = torch.zeros(64, 64, 1, 1, dtype=dtype)
    tensor[-1, -1] = value
    return tensor


@pytest.mark.parametrize(
    "tensor",
    [
        with_one(float("nan")),
        with_one(float("inf")),
        with_one(float("-inf"), torch.float16),
        with_one(1e300, torch.float64),  # infinite as a float32
    ],
)
def test_values_that_are_not_finite(values, file, tensor):
    torch.save({"state_dict": values | {WEIGHT: tensor}}, file)
    assert complaint(file) == f"tensor {WEIGHT!r} has NaN or infinite values; get the file again"


def test_a_counter_that_is_not_finite(values, file):
    torch.save({"state_dict": values | {COUNTER: torch.tensor(float("nan"))}}, file)
    assert complaint(file) == f"tensor {COUNTER!r} has NaN or infinite values; get the file again"


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn], ids=str)
def test_weights_of_a_kind_that_weights_are_not_of(values, file, dtype):
    torch.save({"state_dict": values | {WEIGHT: torch.zeros(64, 64, 1, 1).to(dtype)}}, file)
    assert complaint(file) == f"tensor {WEIGHT!r} is {dtype}, not torch.float32; get the file again"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(64, 64, 1, 1, dtype=torch.complex64),
        lambda: torch.eye(64).to_sparse(),
        lambda: torch.eye(64).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(torch.zeros(64, 64, 1, 1), 0.1, 0, torch.qint8),
        lambda: torch.empty(64, 64, 1, 1, device="meta"),
        lambda: [0.0] * 64,
        lambda: None,
    ],
    ids=["complex", "sparse", "sparse rows", "quantised", "without values", "list", "nothing"],
)
def test_tensors_that_are_not_plain(values, file, make):
    torch.save({"state_dict": values | {WEIGHT: make()}}, file)
    assert complaint(file).startswith(f"entry {WEIGHT!r} of its state_dict is not a plain tensor")


@pytest.mark.parametrize("name", ["corr_conv", "corr_conv_pos", "corr_conv_neg"])
def test_the_three_copies_of_the_correlation_block_must_be_equal(values, file, name):
    altered = f"refiner.{name}.conv1x1.bias"
    torch.save({"state_dict": values | {altered: values[altered] + 1e-6}}, file)
    message = complaint(file)
    assert message.endswith("must be equal: they are one layer's")
    assert "'refiner.corr_conv.conv1x1.bias'" in message
