"""Reading released checkpoints, strictly and without running anything that is in them.

A released file is a dictionary: ``state_dict`` (tensors by name) and ``config`` (a class name and its
arguments). The shapes of the tensors decide which network it is; whatever the config claims must agree. The
class name is looked up in a table here and never imported.
"""

import functools
import io
import json
import pickle
import pickletools
import re
import reprlib
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from isegm.errors import InputError, is_out_of_memory
from isegm.limits import MOST_NETWORK_BYTES, check_bytes
from isegm.model.build import PRESETS, Preset, build_model
from isegm.model.emc_click import MEAN, STANDARD_DEVIATION, EMCClick
from isegm.storage import write_bytes

EXPECTED = f"expected an EMC-Click checkpoint ({', '.join(PRESETS)}), released or trained here"

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types that tensors may be stored in; all become float32 (but a counter stays an integer)."""

_PICKLES_IN_A_FILE = 5
"""In files of the form before torch 1.6: three that say so, the content, and the names of its arrays."""

_MOST_METADATA = 100_000
"""Values that a checkpoint may say of its making."""

_SHORT = reprlib.Repr()  # does not follow a value that holds itself a million times
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong = 4, 200, 200

_COMMON_CLAIMS: dict[str, Any] = {
    "use_leaky_relu": True,
    "use_rgb_conv": False,
    "use_disks": True,
    "norm_radius": 5,
    "binary_prev_mask": False,
    "with_prev_mask": True,
    "only_first_click": True,
    "feature_stride": 4,
    "conv_extend": False,
    "clicks_groups": None,
    "norm_mean_std": (MEAN, STANDARD_DEVIATION),
}
"""Arguments of the original's classes that change what a network computes, with their values here."""


def load_model(path: str | Path, device: str | torch.device = "cpu") -> EMCClick:
    """Load a network from a checkpoint file.

    Args:
        path: A released file (``hr32.pth``) or one trained here. Tensors may be float16; they are loaded as
            float32.
        device: Where the network is put.

    Returns:
        The network in evaluation mode, float32.

    Raises:
        InputError: The file is missing, truncated, not a checkpoint, of another method, or of a network that
            is none of the presets; its config contradicts its tensors; or a tensor is missing, left over, of
            another shape or kind, or not finite.
    """
    path = Path(path)
    content = _read(path)
    tensors = _tensors(path, content)
    model = _model_from_shapes(path, tensors)
    _check_claims(path, content.get("config"), PRESETS[model.name])
    _check_names_and_shapes(path, tensors, model.state_dict())
    model.load_state_dict(_values(path, tensors, model.state_dict()), assign=True)
    return model.to(device).eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file's tensors by name, whatever network they are of; nothing in the file is run.

    Raises:
        InputError: The file is missing, unreadable, or holds no plain tensors.
    """
    return _plain_tensors(path, _read(path))


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what a checkpoint trained here says of its making; empty for others.

    Raises:
        InputError: The file is missing or unreadable, or says more than can be meant.
    """
    metadata = _read(path).get("metadata")
    if not isinstance(metadata, Mapping):
        return {}
    # A value may stand in a file once and be in a thousand places, each of them in a thousand others.
    ahead: list[object] = [metadata]
    for _ in range(_MOST_METADATA):
        if not ahead:
            return dict(metadata)
        value = ahead.pop()
        if isinstance(value, Mapping):
            ahead += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            ahead += value
    raise InputError(f"{path}: its metadata are larger than can be meant; get the file again")


def save_checkpoint(
    path: Path, model: EMCClick, metadata: Mapping[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write a network as a checkpoint in the released form, whole or not at all.

    Args:
        path: Where to.
        model: The network, on any device.
        metadata: Plain values about its making, as JSON has them, kept in the file under ``metadata``.
        dtype: What its tensors are written as: float32, or float16 for a file of half the size.

    Raises:
        InputError: A value is too large for ``dtype``.
        TypeError: ``metadata`` holds something else.
        OSError: The file cannot be written.
    """
    tensors = {}
    for name, tensor in model.state_dict().items():
        # Contiguous: a file is in the released form whatever order of memory the network was trained in.
        tensors[name] = (tensor.to(dtype) if tensor.is_floating_point() else tensor).cpu().contiguous()
        if not tensors[name].isfinite().all():
            raise InputError(f"{path}: tensor {name!r} has values that {dtype} cannot hold; write float32")
    content = {
        "state_dict": tensors,
        "config": released_config(PRESETS[model.name]),
        "metadata": json.loads(json.dumps(metadata)),  # plain values only, or no file can be read safely
    }
    write_container(path, content)


def released_config(preset: Preset) -> dict[str, Any]:
    """The ``config`` with which the original's tools find their class and its arguments for ``preset``."""
    first = preset.first_stage
    params = {
        name: {"type": "builtin", "value": value, "specified": True}
        for name, value in {**_claims(preset), "with_aux_output": True}.items()
    }
    return {"class": f"isegm.model.{first.released_module}.{first.released_class}", "params": params}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():  # of odd contents, which are refused in one line anyway
            warnings.simplefilter("ignore")
            check_container(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder, not a checkpoint file; name a file in it") from None
    except PermissionError:
        raise InputError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from None
    except pickle.UnpicklingError as error:
        refused = re.search(r"Unsupported (?:class|operand)[^\n]*|GLOBAL [\w.]+", str(error))
        said = refused.group(0).strip()[:100] if refused else ""  # in the file's own words, not all printable
        reason = f" ({''.join(c if c.isprintable() else '?' for c in said)})" if said else ""
        raise InputError(
            f"{path}: not a checkpoint, or holds more than tensors and plain values{reason}; {EXPECTED}"
        ) from None
    # torch reports a truncated or foreign file in many ways; whatever it was, this file cannot be read.
    except Exception as error:  # noqa: BLE001
        if is_out_of_memory(error):
            raise InputError(f"{path}: not enough memory to read it; use fewer processes") from None
        raise InputError(
            f"{path}: truncated, or not a checkpoint ({type(error).__name__}); {EXPECTED}"
        ) from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a checkpoint; {EXPECTED}")
    return content


def write_container(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values in torch's format, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    # In memory first: of a disk that is full torch's own writer says something that only it understands.
    written = io.BytesIO()
    torch.save(content, written)
    write_bytes(path, written.getbuffer())


def check_container(path: Path) -> None:
    """Refuse a file of torch's that would take more memory than it has bytes, before torch reads it.

    torch executes nothing when it reads plain values only, but it inflates compressed entries, and makes an
    array of bytes of any length that a file asks for. It writes neither.

    Raises:
        InputError: The file is too large, has compressed entries, or asks for an array of bytes.
        OSError: It is missing or cannot be read.
    """
    check_bytes(path, MOST_NETWORK_BYTES)
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            _check_pickles(path, file)
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > path.stat().st_size:
                raise InputError(f"{path}: holds compressed entries, which torch never writes; {EXPECTED}")
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as file:
                    _check_pickles(path, file)


def _check_pickles(path: Path, file: IO[bytes]) -> None:
    """Look through the pickles at a file's beginning without following them."""
    try:
        for _ in range(_PICKLES_IN_A_FILE):
            for code, argument, _ in pickletools.genops(file):
                if code.name == "GLOBAL" and str(argument).endswith(" bytearray"):
                    raise InputError(
                        f"{path}: not a checkpoint, or holds more than tensors and plain values "
                        f"({argument}); {EXPECTED}"
                    )
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - pickletools reports what is no pickle in many ways
        # Not refused here: the pickles may just be over, and what pickletools cannot follow, torch, which
        # knows fewer codes, refuses with a reason of its own.
        return


def _plain_tensors(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """A file's tensors by name, each plain and dense; a bare ``state_dict`` is accepted."""
    tensors = content.get("state_dict", content)
    if not isinstance(tensors, Mapping) or not tensors:
        raise InputError(f"{path}: its state_dict holds no tensors; {EXPECTED}")
    for name, tensor in tensors.items():
        plain = (
            isinstance(tensor, Tensor)
            and tensor.layout is torch.strided
            and not (tensor.is_meta or tensor.is_quantized or tensor.is_complex())
        )
        if not (isinstance(name, str) and plain):
            raise InputError(
                f"{path}: entry {_in_a_line(name)} of its state_dict is not a plain tensor; {EXPECTED}"
            )
    return dict(tensors)


def _tensors(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint of this method."""
    tensors = _plain_tensors(path, content)
    if not any(name.startswith("refiner.") for name in tensors):
        raise InputError(
            f"{path}: has no correction head (no refiner.* tensors), so it is of another method, "
            f"such as RITM or FocalClick; {EXPECTED}"
        )
    return tensors


def _model_from_shapes(path: Path, tensors: Mapping[str, Tensor]) -> EMCClick:
    """Build, without values, the network that has most of the file's tensors, by name and shape."""

    def likeness(preset: str) -> float:
        shapes = _shapes(preset)
        common = [name for name in shapes if name in tensors and tensors[name].shape == shapes[name]]
        return len(common) / max(len(shapes), len(tensors))

    closest = max(PRESETS, key=likeness)
    if likeness(closest) < 0.5:
        raise InputError(f"{path}: its tensors are those of no network known here; {EXPECTED}")
    return _without_values(closest)


@functools.cache
def _shapes(preset: str) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in _without_values(preset).state_dict().items()}


def _without_values(preset: str) -> EMCClick:
    with torch.device("meta"):
        return build_model(PRESETS[preset])


def _claims(preset: Preset) -> dict[str, Any]:
    """The arguments with which the original would build ``preset``."""
    head = {
        "mid_dims": preset.correction.width,
        "corr_channel": preset.correction.templates,
        "conv_layer": "xconv2",
    }
    return {**_COMMON_CLAIMS, **preset.first_stage.released_arguments(), "refiner_conf": head}


def _check_claims(path: Path, config: object, preset: Preset) -> None:
    """Hold what the file's config says against what its tensors are; what it does not say is not asked."""
    if not isinstance(config, Mapping) or not isinstance(config.get("class"), str):
        return
    claimed_class = config["class"].rpartition(".")[2]
    if claimed_class not in {known.first_stage.released_class for known in PRESETS.values()}:
        return  # not a class of ours: what its arguments mean is not known
    if claimed_class != preset.first_stage.released_class:
        raise InputError(
            f"{path}: its config says {claimed_class}, but its tensors are those of {preset.name}"
        )
    params = config.get("params")
    if not isinstance(params, Mapping):
        return
    for name, value in _claims(preset).items():
        entry = params.get(name)
        if isinstance(entry, Mapping) and not _agrees(entry.get("value", value), value):
            raise InputError(
                f"{path}: its config says {name} = {_in_a_line(entry['value'])}, but its tensors are those "
                f"of {preset.name}, which has {name} = {value}"
            )


def _in_a_line(value: object) -> str:
    return " ".join(_SHORT.repr(value).split())[:80]


def _agrees(claimed: object, value: object) -> bool:
    """Tell whether a claimed plain value equals ours.

    Lists count as tuples and a dictionary's further keys are not compared. What is no plain value of the same
    kind claims nothing.
    """
    if isinstance(value, dict) and isinstance(claimed, Mapping):
        return all(_agrees(claimed.get(name, item), item) for name, item in value.items())
    if isinstance(value, tuple) and isinstance(claimed, list | tuple):
        return len(claimed) == len(value) and all(map(_agrees, claimed, value))
    if isinstance(claimed, bool | int | float | str | None):
        return claimed == value
    return True


def _check_names_and_shapes(
    path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    missing = [name for name in expected if name not in tensors]
    left_over = [name for name in tensors if name not in expected]
    for names, what in ((missing, "is missing"), (left_over, "has left over")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(f"{path}: {what} the tensor {names[0]!r}{more}; the file is damaged or altered")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise InputError(
                f"{path}: tensor {name!r} is {tuple(tensor.shape)}, not {tuple(expected[name].shape)}; "
                "the file is damaged or altered"
            )


def _values(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with the network's own data types, each finite and whole in memory."""
    values = {}
    for name, tensor in tensors.items():
        wanted = expected[name].dtype
        if tensor.dtype not in (wanted, *_FLOATS):
            raise InputError(f"{path}: tensor {name!r} is {tensor.dtype}, not {wanted}; get the file again")
        values[name] = tensor.to(wanted).contiguous()
        if not (tensor.isfinite().all() and values[name].isfinite().all()):
            raise InputError(f"{path}: tensor {name!r} has NaN or infinite values; get the file again")
    for name, value in values.items():
        shared = re.sub(r"\.corr_conv_(pos|neg)\.", ".corr_conv.", name)
        if not torch.equal(value, values[shared]):
            raise InputError(f"{path}: tensors {name!r} and {shared!r} must be equal: they are one layer's")
    return values
