"""A network as a pair of ONNX files: the first stage, run once an image, and the head, run every click.

Both take any batch, any height and width that are multiples of 4 (and give the head at least as many pixels
as it wants templates), and any number of clicks. Their tensors are those of
:meth:`isegm.inference.torch_network.InferenceModel.encode` and ``correct``:

- first stage: ``image`` (B, 3, H, W), normalised, and ``points`` (B, 2N, 3) to ``image_share`` and
  ``feature_share`` (B, M, h, w) and ``coarse``;
- correction head: ``points``, ``image_share``, ``feature_share`` and ``previous`` to ``logits``.

``coarse``, ``previous`` and ``logits`` are masks, (B, 1, h, w) or, with a finer head, (B, 1, 2h, 2w).

Everything is float32. Each file says in its metadata what it belongs to.
"""

import importlib
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isegm._version import __version__
from isegm.errors import InputError, SettingError, is_out_of_memory
from isegm.geometry import Click
from isegm.inference.torch_network import Encoded, InferenceModel
from isegm.limits import MOST_NETWORK_BYTES, read_bytes
from isegm.model.build import PRESETS
from isegm.model.click_maps import encode_clicks
from isegm.model.emc_click import MEAN, STANDARD_DEVIATION, EMCClick
from isegm.storage import write_bytes

FIRST_STAGE = "first_stage"
CORRECTION_HEAD = "correction_head"
STAGES = (FIRST_STAGE, CORRECTION_HEAD)

ENCODED_NAMES = ("image_share", "feature_share", "coarse")
HEAD_INPUTS = ("points", "image_share", "feature_share", "previous")

# The first opset with everything that the networks need, so that old runtimes can read the files, too.
_OPSET = 17
_SHARES = ("image_share", "feature_share")
_MASKS = ("coarse", "previous", "logits")
_PREFIX = "isegm."


@dataclass(frozen=True)
class OnnxPair:
    """Both files' contents.

    Attributes:
        first_stage: The first stage's file.
        correction_head: The correction head's file.
        metadata: What the files say of themselves: ``preset``, ``sha256`` (the checkpoint's), ``size`` (the
            shorter side they are meant for), ``windows`` (CT windows of the training data, JSON),
            ``normalisation`` (JSON), ``weights`` (what they are stored as) and ``version``.
    """

    first_stage: bytes
    correction_head: bytes
    metadata: Mapping[str, str]

    @property
    def preset(self) -> str:
        """The network's name."""
        return self.metadata["preset"]


def export_pair(
    model: EMCClick,
    *,
    sha256: str = "",
    size: int = 384,
    windows: Mapping[str, object] | None = None,
    half: bool = False,
) -> OnnxPair:
    """Turn a network into ONNX.

    Args:
        model: A network from ``load_model``; it is left as it is.
        sha256: The checkpoint's.
        size: Pixels of the network input's shorter side that it is meant for.
        windows: The CT windows of what it was trained on, as JSON has them.
        half: Store the weights as float16, half the size; runtimes compute in float32 all the same.

    Raises:
        InputError: The package ``onnx`` is not installed, or a weight is too large for float16.
    """
    require("onnx", "onnx")
    ready = InferenceModel(model, portable=True).cpu().float()
    if half:
        ready.half().float()  # the weights as they will be read back
        if not all(tensor.isfinite().all() for tensor in ready.state_dict().values()):
            raise SettingError("half", f"{model.name} has weights that float16 cannot hold; leave it out")
    metadata = {
        "version": __version__,
        "preset": model.name,
        "sha256": sha256,
        "size": str(size),
        "windows": json.dumps(windows or {}),
        "normalisation": json.dumps({"mean": MEAN, "std": STANDARD_DEVIATION}),
        "weights": "float16" if half else "float32",
    }
    # Height and width differ so that the exporter cannot take one for the other.
    image, points = _example(batch=2, height=64, width=96, clicks=3)
    with torch.no_grad():
        encoded = ready.encode(image, points)
    first_stage = _export(_FirstStage(ready), (image, points), ("image", "points"), ENCODED_NAMES)
    head = _export(
        _CorrectionHead(ready), (points, *(t.contiguous() for t in encoded)), HEAD_INPUTS, ("logits",)
    )
    return OnnxPair(
        _finish(first_stage, {**metadata, "stage": FIRST_STAGE}, half=half),
        _finish(head, {**metadata, "stage": CORRECTION_HEAD}, half=half),
        metadata,
    )


def write_pair(pair: OnnxPair, first_stage: Path, correction_head: Path) -> None:
    """Write both files, each whole or not at all."""
    write_bytes(first_stage, pair.first_stage)
    write_bytes(correction_head, pair.correction_head)


def paths_of_pair(path: Path) -> tuple[Path, Path]:
    """The first stage's and the correction head's file, of which ``path`` names one.

    Raises:
        InputError: ``path`` names neither.
    """
    for stage in STAGES:
        ending = f"_{stage}.onnx"
        if path.name.endswith(ending):
            name = path.name.removesuffix(ending)
            return path.with_name(f"{name}_{FIRST_STAGE}.onnx"), path.with_name(
                f"{name}_{CORRECTION_HEAD}.onnx"
            )
    raise InputError(
        f"{path}: not one of a pair; expected a name that ends in _{FIRST_STAGE}.onnx or "
        f"_{CORRECTION_HEAD}.onnx, as scripts/export.py writes them"
    )


def read_pair(path: Path) -> OnnxPair:
    """Read a pair of files.

    Args:
        path: Either of them.

    Raises:
        InputError: One is missing, not an ONNX file, not from here, refers to other files, or they are not of
            the same network; or the package ``onnx`` is not installed.
    """
    paths = paths_of_pair(path)
    contents = [_read(each) for each in paths]
    metadata = [_metadata(each, content) for each, content in zip(paths, contents, strict=True)]
    for each, found, stage in zip(paths, metadata, STAGES, strict=True):
        if found.pop("stage") != stage:
            raise InputError(f"{each}: holds the other stage; give it its own name back, or export again")
    if metadata[0] != metadata[1]:
        differing = sorted(key for key in metadata[0] if metadata[0][key] != metadata[1].get(key))
        raise InputError(
            f"{paths[1]}: of another network than {paths[0].name} ({', '.join(differing)} differ); "
            "export both again"
        )
    return OnnxPair(contents[0], contents[1], metadata[0])


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{module} is not installed; pip install '.[{extra}]' brings it") from None


class _FirstStage(nn.Module):
    def __init__(self, ready: InferenceModel) -> None:
        super().__init__()
        self.ready = ready

    def forward(self, image: Tensor, points: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.ready.encode(image, points))


class _CorrectionHead(nn.Module):
    def __init__(self, ready: InferenceModel) -> None:
        super().__init__()
        self.head = ready.head

    def forward(self, points: Tensor, image: Tensor, features: Tensor, previous: Tensor) -> Tensor:
        return self.head(points, Encoded(image, features, previous), previous)


def _example(*, batch: int, height: int, width: int, clicks: int) -> tuple[Tensor, Tensor]:
    """A picture (B, 3, H, W) and as many positive clicks as negative ones, (B, 2N, 3), both float32."""
    random = np.random.default_rng(batch * height + width + clicks)
    image = torch.from_numpy(random.standard_normal((batch, 3, height, width), dtype=np.float32))
    placed = [
        [
            Click(float(row), float(col), number % 2 == 0)
            for number, (row, col) in enumerate(random.uniform(0, (height, width), (2 * clicks, 2)))
        ]
        for _ in range(batch)
    ]
    return image, torch.stack([encode_clicks(each) for each in placed]).float()


def _export(
    module: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    axes = {
        "image": {0: "B", 2: "H", 3: "W"},
        "points": {0: "B", 1: "2N"},
        **{name: {0: "B", 2: "h", 3: "w"} for name in _SHARES},
        **{name: {0: "B", 2: "mask height", 3: "mask width"} for name in _MASKS},
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        path = Path(folder) / "network.onnx"
        # What the tracer warns of (sizes in Python) is tried out at other sizes by the check.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            example,
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: axes[name] for name in (*inputs, *outputs)},
            opset_version=_OPSET,
            dynamo=False,  # the newer exporter takes ten times as long, and its networks run no faster
        )
        return path.read_bytes()


def _finish(content: bytes, metadata: Mapping[str, str], *, half: bool) -> bytes:
    """Add the metadata; store the weights as float16, cast back when they are read, if ``half``."""
    onnx = require("onnx", "onnx")
    model = onnx.load_model_from_string(content)
    for key, value in metadata.items():
        model.metadata_props.add(key=_PREFIX + key, value=value)
    if half:
        graph, helper, casts = model.graph, onnx.helper, []
        for weight in graph.initializer:
            if weight.data_type == onnx.TensorProto.FLOAT:
                values = onnx.numpy_helper.to_array(weight).astype(np.float16)
                name = weight.name
                weight.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}.float16"))
                casts.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=onnx.TensorProto.FLOAT))
        nodes = [*casts, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
    return model.SerializeToString()


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_NETWORK_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; a network is a pair of files, see scripts/export.py") from None


def _metadata(path: Path, content: bytes) -> dict[str, str]:
    onnx = require("onnx", "onnx")
    try:
        model = onnx.load_model_from_string(content)
        # Texts that are no UTF-8 come as bytes.
        found = {str(entry.key): str(entry.value) for entry in model.metadata_props}
    # protobuf's errors differ by version; whatever it was, it is no model.
    except Exception as error:  # noqa: BLE001
        if is_out_of_memory(error):
            raise InputError(f"{path}: not enough memory to read it; use fewer processes") from None
        raise InputError(
            f"{path}: truncated, or not an ONNX file ({type(error).__name__}); export it again"
        ) from None
    _check_contents(path, model)
    own = {key.removeprefix(_PREFIX): value for key, value in found.items() if key.startswith(_PREFIX)}
    wanted = {"version", "preset", "sha256", "size", "windows", "normalisation", "weights", "stage"}
    if set(own) != wanted or own["preset"] not in PRESETS:
        raise InputError(f"{path}: not a network of this project; export it with scripts/export.py")
    return own


def _check_contents(path: Path, model: Any) -> None:  # noqa: ANN401 - onnx has no types
    """Refuse what exported networks never have: tensors in other files, loops, functions, foreign operators.

    A tensor may stand anywhere, in a node's attribute say, so every part is looked at.

    Raises:
        InputError: There is any.
    """
    onnx = require("onnx", "onnx")
    again = "export it again with scripts/export.py"
    ahead = [model]
    while ahead:
        part = ahead.pop()
        if isinstance(part, onnx.TensorProto) and (part.external_data or part.data_location):
            raise InputError(f"{path}: refers to other files; {again}")
        if isinstance(part, onnx.NodeProto) and part.domain not in ("", "ai.onnx"):
            raise InputError(f"{path}: has an operator of {part.domain!a:.40}; {again}")
        if isinstance(part, onnx.FunctionProto) or (
            isinstance(part, onnx.GraphProto) and part is not model.graph
        ):
            raise InputError(f"{path}: has loops or functions; {again}")
        for field, value in part.ListFields():
            if field.message_type is not None:
                ahead += [value] if hasattr(value, "ListFields") else value
