"""Networks as pairs of ONNX files, run by ONNX Runtime and OpenVINO, against torch."""

import copy
import functools
import json

import numpy as np
import pytest
import torch

from isegm.errors import InputError
from isegm.inference import BACKENDS
from isegm.inference import precision as precision_module
from isegm.inference.load import check_file, check_pair, check_settings, load_network, prepare_network
from isegm.inference.onnx_pair import export_pair, paths_of_pair, read_pair, require, write_pair
from isegm.inference.precision import allow_tf32, resolve_precision
from isegm.inference.predictor import Predictor
from isegm.inference.runtimes import OnnxRuntimeNetwork, OpenVinoNetwork, is_usual
from isegm.inference.torch_network import InferenceHead, InferenceModel
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import save_checkpoint

pytestmark = pytest.mark.slow  # together more than the fast tests have time for

onnx = pytest.importorskip("onnx")

CLICKS = [(20, 30, True), (2, 3, False), (33, 39, True), (5, 35, True), (30, 8, False), (17, 21, True)]
IMAGES = [
    np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    for seed, shape in enumerate([(40, 51, 3), (61, 44), (40, 51, 3)])
]


def run_by(kind, pair):
    if kind == "onnxruntime":
        pytest.importorskip("onnxruntime")
        return OnnxRuntimeNetwork(pair, threads=1)
    pytest.importorskip("openvino")
    return OpenVinoNetwork(pair, threads=1)


@pytest.fixture(scope="session")
def single(one_thread):
    """``single(name)``: a network in single precision, for reading only.

    It is as torch initialises it: signals fade in it, and with them rounding errors, which in other random
    networks grow until the choice of templates depends on them. Probabilities vary by some hundredths.
    """

    @functools.cache
    def build(name="hr18s"):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return build_model(PRESETS[name]).eval()

    return build


@pytest.fixture(scope="session")
def pair_of(single):
    """``pair_of(name)``: the same network as a pair of ONNX files."""
    return functools.cache(lambda name="hr18s": export_pair(single(name), sha256="12ab", size=96))


def assert_same_probabilities(ours, theirs, tolerance=2e-6):
    for image in IMAGES:
        for predictor in (ours, theirs):
            predictor.set_image(image)
        for click in CLICKS:
            wanted = theirs.click(*click)
            np.testing.assert_allclose(ours.click(*click), wanted, rtol=0, atol=tolerance)
            assert np.ptp(wanted) > 10 * tolerance


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", PRESETS)
def test_probabilities_are_torchs_at_any_size_and_number_of_clicks(kind, name, pair_of, single):
    network = run_by(kind, pair_of(name))
    assert network.name == name
    for settings in ({"size": 64}, {"size": 92, "flip": False}):
        ours = Predictor(network, **settings)
        assert_same_probabilities(ours, Predictor(single(name), **settings))


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_answers_stay_as_they_are_when_others_are_given(kind, pair_of):
    network = run_by(kind, pair_of())
    first, second = (Predictor(network, size=64) for _ in range(2))
    first.set_image(IMAGES[0])
    second.set_image(IMAGES[2])
    alone = first.click(*CLICKS[0])
    second.click(*CLICKS[2])
    second.click(*CLICKS[1])
    first.click(*CLICKS[1])
    first.undo()
    np.testing.assert_array_equal(first.probability, alone)
    twice = first.click(*CLICKS[1])
    first.undo()
    np.testing.assert_array_equal(first.click(*CLICKS[1]), twice)


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_an_input_with_fewer_pixels_than_templates_is_refused(kind, pair_of):
    predictor = Predictor(run_by(kind, pair_of()), size=28)
    predictor.set_image(np.zeros((28, 28), np.uint8))
    with pytest.raises(
        InputError, match="28x28 pixels: too small for hr18s as ONNX, which needs 1024 pixels"
    ):
        predictor.click(3, 4)


@pytest.mark.parametrize("name", ["hr18s", "lite0"])
def test_half_the_size_is_computed_from_weights_rounded_to_half(name, single):
    whole, half = (export_pair(single(name), half=half) for half in (False, True))
    assert len(half.first_stage) < 0.55 * len(whole.first_stage)
    rounded = InferenceModel(single(name), portable=True).half().float()
    assert_same_probabilities(Predictor(run_by("onnxruntime", half), size=64), Predictor(rounded, size=64))
    assert (half.metadata["weights"], whole.metadata["weights"]) == ("float16", "float32")


def test_a_pair_that_gives_no_numbers_or_has_weights_beyond_half_is_refused(single):
    pytest.importorskip("onnxruntime")
    model = copy.deepcopy(single())
    model.refiner.refine_pred.bias.data.fill_(1e5)
    with pytest.raises(InputError, match=r"^half: hr18s has weights that float16 cannot hold; leave it out$"):
        export_pair(model, half=True)
    model.refiner.refine_pred.bias.data.fill_(torch.nan)
    with pytest.raises(InputError, match=r"differs from torch by nan, more than 0\.0001"):
        check_pair(export_pair(model), model, "onnxruntime")


@pytest.mark.parametrize("backend", [OnnxRuntimeNetwork, OpenVinoNetwork])
def test_a_picture_is_computed_by_itself_whoever_is_in_the_batch(backend, pair_of):
    pytest.importorskip("onnxruntime" if backend is OnnxRuntimeNetwork else "openvino")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, 64, 96, generator=generator)
    points = torch.tensor([[[20.0, 30.0, 0.0], [-1.0, -1.0, -1.0]], [[5.0, 90.0, 0.0], [60.0, 2.0, 1.0]]])
    points = points[[0, 1, 0]]
    together, alone = (backend(pair_of(), threads=threads) for threads in (2, 1))
    encoded = together.encode(images, points)
    logits = together.correct(points, encoded, encoded.coarse)
    for i in range(3):
        own = alone.encode(images[i : i + 1], points[i : i + 1])
        expected = alone.correct(points[i : i + 1], own, own.coarse)
        np.testing.assert_array_equal(logits[i : i + 1], expected)


def test_openvino_keeps_a_head_a_usual_size_and_one_for_all_else_of_the_last_ones(pair_of, monkeypatch):
    monkeypatch.setattr("isegm.inference.runtimes._HEADS_KEPT", 3)
    pytest.importorskip("openvino")
    network = OpenVinoNetwork(pair_of(), threads=2)
    kept = []
    for size, flip, width in (
        (64, True, 40),
        (64, False, 40),
        (64, True, 50),
        (64, True, 47),
        (64, True, 60),
        (68, True, 40),
    ):
        predictor = Predictor(network, size=size, flip=flip)
        predictor.set_image(np.zeros((40, width), np.uint8))
        predictor.click(3, 4)
        kept.append(list(network._heads))
    two, one, rest, photo, larger = (2, 16, 16), (1, 16, 16), (2,), (2, 16, 24), (2, 17, 17)
    assert kept == [
        [two],
        [two, one],
        [two, one, rest],
        [two, one, rest],
        [one, rest, photo],
        [rest, photo, larger],
    ]


@pytest.mark.parametrize(
    ("height", "width", "usual"),
    [
        (96, 96, True),
        (96, 128, True),  # 640 x 480
        (128, 96, True),
        (96, 127, True),
        (96, 126, False),
        (96, 129, False),
        (96, 143, True),  # 481 x 321
        (96, 144, True),
        (96, 170, True),  # 854 x 480
        (97, 96, False),
        (96, 300, False),
    ],
)
def test_usual_formats_may_lack_a_pixel(height, width, usual):
    assert is_usual(height, width) == usual


# --- the files


@pytest.fixture
def files(tmp_path, pair_of):
    """A written pair."""
    paths = paths_of_pair(tmp_path / "mine_first_stage.onnx")
    write_pair(pair_of(), *paths)
    return paths


def test_a_pair_is_read_back_by_either_name(files, pair_of):
    assert [path.name for path in files] == ["mine_first_stage.onnx", "mine_correction_head.onnx"]
    for path in files:
        assert read_pair(path) == pair_of()
        check_file(path)


def test_each_file_says_what_it_belongs_to(files, single):
    said = [{e.key: e.value for e in onnx.load(path).metadata_props} for path in files]
    assert [each.pop("isegm.stage") for each in said] == ["first_stage", "correction_head"]
    assert said[0] == said[1]
    assert said[0]["isegm.preset"] == "hr18s"
    assert said[0]["isegm.sha256"] == "12ab"
    assert said[0]["isegm.size"] == "96"
    assert json.loads(said[0]["isegm.windows"]) == {}
    windows = {"lung": {"level": -500, "width": 1400}}
    assert json.loads(export_pair(single("hr18s"), windows=windows).metadata["windows"]) == windows


@pytest.mark.parametrize("path", ["hr18s.onnx", "first_stage.onnx", "x_head.onnx"])
def test_a_file_that_is_none_of_a_pair_is_refused(path, tmp_path):
    with pytest.raises(
        InputError, match=r"not one of a pair; expected a name that ends in _first_stage\.onnx"
    ):
        read_pair(tmp_path / path)


def test_bad_files_are_refused_in_one_line(files, single, tmp_path):
    first, head = files
    content = {path: path.read_bytes() for path in files}

    def refused(match):
        with pytest.raises(InputError, match=match) as caught:
            read_pair(first)
        assert "\n" not in str(caught.value)
        for path in files:
            path.write_bytes(content[path])

    head.unlink()
    refused("mine_correction_head.onnx: missing")
    first.write_bytes(content[first][:1000])
    refused("mine_first_stage.onnx: truncated, or not an ONNX file")
    first.write_bytes(b"not at all")
    refused("mine_first_stage.onnx: truncated, or not an ONNX file")
    first.write_bytes(b"")
    refused("mine_first_stage.onnx: not a network of this project")
    head.write_bytes(content[first])
    refused("mine_correction_head.onnx: holds the other stage")
    head.write_bytes(export_pair(single("hr18s"), sha256="other", size=96).correction_head)
    refused(r"mine_correction_head.onnx: of another network than mine_first_stage.onnx \(sha256 differ\)")
    model = onnx.load_model_from_string(content[first])
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    first.write_bytes(model.SerializeToString())
    refused("mine_first_stage.onnx: refers to other files")


# --- loading


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_checkpoint_runs_on_every_backend(backend, single, tmp_path):
    path = tmp_path / "mine.pth"
    save_checkpoint(path, single("hr18s"), {})
    if backend != "torch":
        pytest.importorskip(backend)
    ours = Predictor(load_network(path, backend=backend, threads=1), size=64)
    assert_same_probabilities(ours, Predictor(single("hr18s"), size=64))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_pair_runs_on_both_runtimes_and_not_on_torch(backend, files, single):
    pytest.importorskip(backend)
    ours = Predictor(load_network(files[0], backend=backend, threads=1), size=64)
    assert_same_probabilities(ours, Predictor(single("hr18s"), size=64))
    with pytest.raises(InputError, match="torch does not run ONNX files; take onnxruntime"):
        load_network(files[0])


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float64", 2e-6), ("float32", 2e-6), ("bfloat16", 2e-4), ("float16", 2e-5)]
)
def test_torch_computes_in_any_precision(precision, tolerance, single):
    before = {name: tensor.clone() for name, tensor in single("hr18s").state_dict().items()}
    network = prepare_network(single("hr18s"), precision=precision)
    assert network.dtype == getattr(torch, precision)
    assert_same_probabilities(Predictor(network, size=64), Predictor(single("hr18s"), size=64), tolerance)
    after = single("hr18s").state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (("tf", "float32", "cpu"), "backend: must be torch, onnxruntime, openvino, not tf"),
        (
            ("torch", "int8", "cpu"),
            "precision: must be float32, tf32, float64, bfloat16, float16, not int8",
        ),
        (("onnxruntime", "float64", "cpu"), "precision: onnxruntime computes in float32, not in float64"),
        (
            ("openvino", "float64", "cpu"),
            "precision: openvino computes in float32 or bfloat16 or float16, not in float64",
        ),
        (("openvino", "float32", "cuda:1"), "backend: openvino computes on the CPU here; choose it, or"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, line):
    with pytest.raises(InputError) as caught:
        check_settings(*settings)
    assert str(caught.value).startswith(line)


def test_only_torch_is_compiled():
    with pytest.raises(InputError, match="compile: is for torch; openvino compiles networks by itself"):
        check_settings("openvino", "float32", "cpu", compiled=True)


def test_a_missing_package_is_told_with_what_brings_it():
    with pytest.raises(
        InputError, match=r"^no_such_module is not installed; pip install '\.\[onnx\]' brings"
    ):
        require("no_such_module", "onnx")


@pytest.mark.parametrize(("amx", "wanted"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_half_precision_where_the_processor_is_fast_at_it(amx, wanted, monkeypatch):
    monkeypatch.setattr(precision_module, "_has_amx", lambda: amx)
    assert resolve_precision("auto", torch.device("cpu")) == wanted
    assert resolve_precision("float64", torch.device("cpu")) == "float64"


@pytest.mark.parametrize(
    ("capability", "wanted"),
    [
        ((7, 0), "float16"),
        ((7, 5), "float16"),
        ((8, 0), "bfloat16"),
        ((8, 9), "bfloat16"),
        ((9, 0), "bfloat16"),
    ],
)
def test_auto_is_what_the_gpu_that_is_used_computes_in_itself(capability, wanted, monkeypatch):
    cards = {torch.device("cuda:1"): capability}  # V100, T4, A100, L4, H100
    monkeypatch.setattr(torch.cuda, "get_device_capability", cards.__getitem__)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)  # emulated, too
    assert resolve_precision("auto", torch.device("cuda:1")) == wanted


def products():
    """Whether torch may use TF32, for convolutions and for matrix products."""
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_float32_is_float32_and_tf32_is_what_it_says(single, monkeypatch):
    exact, fast = InferenceModel(single()), InferenceModel(single(), tf32=True)
    seen = []
    monkeypatch.setattr(InferenceHead, "forward", lambda *_: seen.append(products()))
    for network in (exact, fast):
        compute = network.first_stage.image_part
        monkeypatch.setattr(
            network.first_stage, "image_part", lambda x, of=compute: seen.append(products()) or of(x)
        )
    image, points = torch.zeros(1, 3, 32, 32), torch.tensor([[[3.0, 4, 0], [-1, -1, -1]]])
    try:
        for network, earlier in ((exact, "high"), (fast, "highest"), (exact, "medium")):
            torch.set_float32_matmul_precision(earlier)
            encoded = network.encode(image, points)
            network.correct(points, encoded, encoded.coarse)
    finally:
        allow_tf32(False)
    assert seen == [(False, False)] * 2 + [(True, True)] * 2 + [(False, False)] * 2


def test_tf32_is_for_gpus():
    check_settings("torch", "tf32", "cuda:0")
    with pytest.raises(InputError, match="tf32 is for NVIDIA GPUs; give float32"):
        check_settings("torch", "tf32", "cpu")


def test_compiled_code_gives_the_same_probabilities(single):
    ours = Predictor(prepare_network(single("hr18s"), compiled=True), size=64)
    assert_same_probabilities(ours, Predictor(single("hr18s"), size=64))
