"""Networks ready to be run, by whichever runtime and in whichever precision."""

import copy
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import torch

from isegm.errors import InputError, SettingError, is_out_of_memory
from isegm.inference import BACKENDS
from isegm.inference.network import Network
from isegm.inference.onnx_pair import OnnxPair, export_pair, read_pair
from isegm.inference.precision import PRECISIONS, tensor_type
from isegm.inference.predictor import Predictor
from isegm.inference.runtimes import OnnxRuntimeNetwork, OpenVinoNetwork
from isegm.inference.torch_network import InferenceModel
from isegm.model.checkpoint import load_model
from isegm.model.emc_click import EMCClick

_OPENVINO_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def load_network(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    backend: str = "torch",
    precision: str = "float32",
    threads: int | None = None,
    at_once: int = 1,
    compiled: bool = False,
) -> Network:
    """Load a network, ready to be run.

    Args:
        path: A checkpoint (``.pth``), or one of a pair of ONNX files, which torch cannot run.
        device: Where torch computes; the other backends use the CPU.
        backend: One of ``BACKENDS``. ONNX Runtime and OpenVINO are optional packages.
        precision: One of ``PRECISIONS``.
        threads: How many threads a call uses, for the backends other than torch, whose threads are set by
            ``torch.set_num_threads``; all by default.
        at_once: How many calls may run at once, from as many Python threads.
        compiled: Let ``torch.compile`` compile the correction head when it is first run, which needs a C++
            compiler.

    Raises:
        InputError: The file cannot be used, a package is missing, or the settings do not go together.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        check_settings(backend, precision, device, compiled=compiled)
        model = load_model(path, device)
        return prepare_network(
            model, backend=backend, precision=precision, threads=threads, at_once=at_once, compiled=compiled
        )
    if backend == "torch":
        raise InputError(f"{path}: torch does not run ONNX files; take onnxruntime or openvino")
    check_settings(backend, precision, device, compiled=compiled)
    pair = read_pair(path)
    try:
        return _run_pair(pair, backend, precision, threads, at_once)
    except Exception as error:
        if isinstance(error, InputError) or is_out_of_memory(error):
            raise
        raise InputError(
            f"{path}: {backend} cannot run it ({type(error).__name__}); "
            "export it again with scripts/export.py"
        ) from error


def check_file(path: Path) -> None:
    """Check that a checkpoint, or a pair of ONNX files, can be used.

    Raises:
        InputError: It cannot.
    """
    if path.suffix == ".onnx":
        read_pair(path)
    else:
        load_model(path)


def prepare_network(
    model: EMCClick,
    *,
    backend: str = "torch",
    precision: str = "float32",
    threads: int | None = None,
    at_once: int = 1,
    compiled: bool = False,
) -> Network:
    """Make a network ready to be run.

    Args:
        model: A network from ``load_model``, which is left as it is.
        backend: One of ``BACKENDS``; those other than torch run it on the CPU.
        precision: One of ``PRECISIONS``, as far as the backend has it.
        threads: How many threads a call uses, for the backends other than torch; all by default.
        at_once: How many calls may run at once, from as many Python threads.
        compiled: Let ``torch.compile`` compile the correction head when it is first run.

    Raises:
        InputError: As :func:`load_network` does.
    """
    device = next(model.parameters()).device
    check_settings(backend, precision, device, compiled=compiled)
    if backend != "torch":
        return _run_pair(export_pair(model), backend, precision, threads, at_once)
    dtype = tensor_type(precision)
    exact = copy.deepcopy(model).double() if dtype == torch.float64 else model
    ready = InferenceModel(exact, tf32=precision == "tf32").to(dtype)
    return ready.compiled() if compiled else ready


TOLERANCE = 1e-4
"""The most by which an exported network's probabilities may differ from torch's."""


def installed_runtime() -> str:
    """The first of ONNX Runtime and OpenVINO that is installed.

    Raises:
        InputError: Neither is.
    """
    for backend in BACKENDS[1:]:
        if importlib.util.find_spec(backend) is not None:
            return backend
    raise InputError(
        "neither onnxruntime nor openvino is installed; pip install '.[onnx]' or '.[openvino]' brings one"
    )


def check_pair(pair: OnnxPair, model: EMCClick, backend: str) -> float:
    """Compare a pair with the network that it was exported from, at several sizes and numbers of clicks.

    Args:
        pair: What was exported.
        model: The network.
        backend: What runs the pair.

    Returns:
        The largest difference of probabilities.

    Raises:
        InputError: It is above ``TOLERANCE``, or the runtime is not installed.
    """
    rounded = InferenceModel(model, portable=True)
    if pair.metadata["weights"] == "float16":
        rounded.half().float()
    exported = _run_pair(pair, backend, "float32", None, 1)
    random = np.random.default_rng(0)
    differences = []
    for size, shape, flip in ((64, (80, 64), True), (96, (60, 90), False)):
        # Neither uniform, where many pixels are equally good templates, nor noise.
        image = cv2.resize(random.integers(0, 256, (8, 8, 3), dtype=np.uint8), shape[::-1]).astype(np.uint8)
        ours, theirs = (Predictor(network, size=size, flip=flip) for network in (exported, rounded))
        for predictor in (ours, theirs):
            predictor.set_image(image)
        for number, place in enumerate(random.uniform(0, np.subtract(shape, 1), (5, 2))):
            click = (*place.tolist(), number % 2 == 0)
            differences.append(np.abs(ours.click(*click) - theirs.click(*click)).max())
    greatest = float(np.max(differences))  # NaN if one is, which Python's max() passes over
    if not greatest <= TOLERANCE:
        raise InputError(
            f"{model.name}: what {backend} computes differs from torch by {greatest:.1e}, more than "
            f"{TOLERANCE:g}; try another version of {backend}"
        )
    return greatest


def check_settings(
    backend: str, precision: str, device: torch.device | str, *, compiled: bool = False
) -> None:
    """Check that settings go together, without loading anything.

    Raises:
        InputError: They do not, or one is unknown.
    """
    if backend not in BACKENDS:
        raise SettingError("backend", f"must be {', '.join(BACKENDS)}, not {backend}")
    if precision not in PRECISIONS:
        raise SettingError("precision", f"must be {', '.join(PRECISIONS)}, not {precision}")
    able = {"torch": PRECISIONS, "onnxruntime": ("float32",), "openvino": _OPENVINO_PRECISIONS}[backend]
    if precision not in able:
        raise SettingError("precision", f"{backend} computes in {' or '.join(able)}, not in {precision}")
    if precision == "tf32" and torch.device(device).type != "cuda":
        raise SettingError("precision", "tf32 is for NVIDIA GPUs; give float32")
    if backend != "torch" and torch.device(device).type != "cpu":
        raise SettingError(
            "backend", f"{backend} computes on the CPU here; choose it, or leave torch its GPU"
        )
    if backend != "torch" and compiled:
        raise SettingError("compile", f"is for torch; {backend} compiles networks by itself")


def _run_pair(pair: OnnxPair, backend: str, precision: str, threads: int | None, at_once: int) -> Network:
    threads = threads or torch.get_num_threads()
    if backend == "onnxruntime":
        return OnnxRuntimeNetwork(pair, threads=threads)
    return OpenVinoNetwork(pair, threads=threads, at_once=at_once, precision=_OPENVINO_PRECISIONS[precision])
