"""Networks run by ONNX Runtime or OpenVINO, on the CPU, from a pair of ONNX files.

A picture of a batch, or its mirror image, is computed by itself, several at once, each by its share of the
threads: threads that compute one picture each need not wait for each other at every layer.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from isegm.errors import InputError
from isegm.inference.network_input import one_thread
from isegm.inference.onnx_pair import ENCODED_NAMES, HEAD_INPUTS, OnnxPair, require
from isegm.inference.torch_network import Encoded
from isegm.model.build import PRESETS
from isegm.model.correction.templates import STRIDE
from isegm.model.emc_click import check_size

if TYPE_CHECKING:
    import onnxruntime
    import openvino

_USUAL_BATCH = 2
"""A picture and its mirror image."""

_HEADS_KEPT = 8
"""Sizes of input for which OpenVINO's correction head is kept ready: hr32's takes some 100 MB each."""

_FORMATS = (1, 1), (4, 3), (3, 2), (16, 9)
"""Formats of most pictures, longer side by shorter, for whose sizes OpenVINO's head is compiled."""

_CLICK_MAP = "click_map_"
"""How inputs are called that one network computes for another."""

_Array = npt.NDArray[np.float32]


class _RuntimeNetwork(ABC):
    """What both runtimes' networks share; :class:`isegm.inference.network.Network` says what they do."""

    def __init__(self, pair: OnnxPair, threads: int) -> None:
        self.name = pair.preset
        self.sees_logits = PRESETS[pair.preset].sees_logits
        self._templates = PRESETS[pair.preset].correction.templates
        self._threads = threads
        self._lock = threading.Lock()

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """float32: that of what it takes and gives, whatever it computes in."""
        return torch.float32

    def image_part(self, image: Tensor) -> tuple[Tensor, ...]:
        """Nothing yet: the first stage is one network, which the click enters."""
        return (image,)

    def click_part(self, maps: tuple[Tensor, ...], points: Tensor) -> Encoded:
        """Run the first stage."""
        return self.encode(maps[0], points)

    @abstractmethod
    def encode(self, image: Tensor, points: Tensor) -> Encoded:
        """Run the first stage."""

    def _pictures_at_once(self, batch: int) -> int:
        """How many pictures of a batch are computed at once."""
        return min(batch, self._threads)

    def _check_size(self, image: Tensor) -> None:
        height, width = check_size(image)
        if (height // STRIDE) * (width // STRIDE) < self._templates:
            raise InputError(
                f"network input of {height}x{width} pixels: too small for {self.name} as ONNX, which needs "
                f"{self._templates * STRIDE**2} pixels; take a larger size, or torch"
            )


class OnnxRuntimeNetwork(_RuntimeNetwork):
    """A network run by ONNX Runtime.

    Args:
        pair: Both files.
        threads: How many threads a call uses.
    """

    def __init__(self, pair: OnnxPair, *, threads: int) -> None:
        super().__init__(pair, threads)
        self._runtime = require("onnxruntime", "onnx")
        self._pair = pair
        self._sessions: dict[int, _Sessions] = {}
        self._pool = ThreadPoolExecutor(threads)
        self._sessions_for(_USUAL_BATCH)

    def encode(self, image: Tensor, points: Tensor) -> Encoded:
        """Run the first stage."""
        self._check_size(image)
        session = self._sessions_for(image.shape[0]).first_stage
        return Encoded(*self._run(session, ENCODED_NAMES, image=image, points=points))

    def correct(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        """Run the correction head."""
        inputs = dict(zip(HEAD_INPUTS, (points, encoded.image, encoded.features, previous), strict=True))
        return self._run(self._sessions_for(points.shape[0]).head, ("logits",), **inputs)[0]

    def _sessions_for(self, batch: int) -> "_Sessions":
        """Both stages' sessions, of as many threads as a picture of a batch has."""
        threads = self._threads // self._pictures_at_once(batch)
        with self._lock:
            if threads not in self._sessions:
                options = self._runtime.SessionOptions()
                options.intra_op_num_threads = threads
                options.inter_op_num_threads = 1
                # Threads that wait in a loop for the next call take the processor from whatever else runs.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                options.log_severity_level = 3
                self._sessions[threads] = _Sessions(
                    *(
                        self._runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
                        for content in (self._pair.first_stage, self._pair.correction_head)
                    )
                )
            return self._sessions[threads]

    def _run(
        self, session: "onnxruntime.InferenceSession", outputs: tuple[str, ...], **inputs: Tensor
    ) -> list[Tensor]:
        def run(picture: dict[str, _Array]) -> list[_Array]:
            return session.run(list(outputs), picture)

        pictures = _pictures({name: _array(tensor) for name, tensor in inputs.items()})
        each = self._pool.map if self._pictures_at_once(len(pictures)) > 1 else map
        return _batch(list(each(run, pictures)))


class _Sessions(NamedTuple):
    """ONNX Runtime's sessions of both stages."""

    first_stage: "onnxruntime.InferenceSession"
    head: "onnxruntime.InferenceSession"


class OpenVinoNetwork(_RuntimeNetwork):
    """A network run by OpenVINO.

    The first stage is compiled once for all sizes of input. The correction head is a quarter faster if it is
    compiled for one size, which takes as long as twenty clicks: that is done for the usual formats, which CT
    slices and most photographs have. It follows from the size alone, because last bits depend on it.

    Args:
        pair: Both files.
        threads: How many threads a call uses.
        at_once: How many calls may run at once, from as many threads of Python's.
        precision: What it computes in: ``f32``, ``bf16`` or ``f16``.
    """

    def __init__(self, pair: OnnxPair, *, threads: int, at_once: int = 1, precision: str = "f32") -> None:
        super().__init__(pair, threads)
        self._openvino = require("openvino", "openvino")
        self._core = self._openvino.Core()
        self._at_once = at_once
        self._precision = precision
        self._pair = pair
        self._first_stages: dict[int, _Compiled] = {}
        self._heads: dict[tuple[int, ...], _Compiled] = {}
        self._first_stage(_USUAL_BATCH)

    def encode(self, image: Tensor, points: Tensor) -> Encoded:
        """Run the first stage."""
        self._check_size(image)
        first_stage = self._first_stage(image.shape[0])
        image_share, feature_share, coarse = self._run(
            first_stage, image=_array(image), points=_array(points)
        )
        with one_thread():  # OpenVINO takes longer for it, where the size is left open
            image_share = image_share.contiguous(memory_format=torch.channels_last)
            feature_share = feature_share.contiguous(memory_format=torch.channels_last)
        return Encoded(image_share, feature_share, coarse)

    def correct(self, points: Tensor, encoded: Encoded, previous: Tensor) -> Tensor:
        """Run the correction head."""
        shares = (_array(share.permute(0, 2, 3, 1)) for share in (encoded.image, encoded.features))
        inputs = dict(zip(HEAD_INPUTS, (_array(points), *shares, _array(previous)), strict=True))
        return self._run(self._head(encoded.image, previous), **inputs)[0]

    def _first_stage(self, batch: int) -> "_Compiled":
        """The first stage for pictures of a batch."""
        at_once = self._pictures_at_once(batch)
        with self._lock:
            if at_once not in self._first_stages:
                model = self._core.read_model(self._pair.first_stage)
                self._first_stages[at_once] = self._compile(model, at_once)
            return self._first_stages[at_once]

    def _head(self, share: Tensor, previous: Tensor) -> "_Compiled":
        """The correction head for a batch of maps of the height and width of ``share``."""
        batch, _, height, width = share.shape
        at_once = self._pictures_at_once(batch)
        fixed = is_usual(height, width)
        key = (at_once, height, width) if fixed else (at_once,)
        ready = self._heads.get(key)  # without the lock: nobody waits for another size's compiling
        if ready is not None:
            return ready
        with self._lock:
            if key not in self._heads:
                model = self._core.read_model(self._pair.correction_head)
                if fixed:
                    shares = {
                        name: [1, model.input(name).partial_shape[1], height, width]
                        for name in ENCODED_NAMES[:2]
                    }
                    model.reshape({**shares, "previous": [1, *previous.shape[1:]], "points": [1, -1, 3]})
                while len(self._heads) >= _HEADS_KEPT:
                    del self._heads[next(iter(self._heads))]
                self._heads[key] = self._compile(self._channels_last(model), at_once)
            return self._heads[key]

    def _channels_last(self, head: "openvino.Model") -> "openvino.Model":
        """Let the shares come as (B, h, w, M), the order of memory that OpenVINO computes in."""
        processor = self._openvino.preprocess.PrePostProcessor(head)
        for name in ENCODED_NAMES[:2]:
            share = processor.input(name)
            share.tensor().set_layout(self._openvino.Layout("NHWC"))
            share.model().set_layout(self._openvino.Layout("NCHW"))
        return processor.build()

    def _compile(self, model: "openvino.Model", pictures_at_once: int) -> "_Compiled":
        streams = pictures_at_once * self._at_once
        settings = {
            "INFERENCE_NUM_THREADS": self._threads // pictures_at_once * streams,
            "NUM_STREAMS": streams,
            "INFERENCE_PRECISION_HINT": self._precision,
            # Processes of one evaluation would all pin their threads to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        click_maps = None
        if self._precision != "f32":  # in half precision a click would lie pixels away from its place
            exact = {**settings, "INFERENCE_PRECISION_HINT": "f32"}
            click_maps = self._core.compile_model(self._split_off_click_maps(model), "CPU", exact)
        return _Compiled(click_maps, self._core.compile_model(model, "CPU", settings))

    def _split_off_click_maps(self, model: "openvino.Model") -> "openvino.Model":
        """Cut a network where what depends on the clicks alone meets products or what depends on more.

        Returns:
            What computes the values there; ``model`` takes them as inputs from now on.
        """
        sources: dict[str, set[str]] = {}  # what each node's values, not its shapes, depend on
        cuts: dict[tuple[str, int], list[openvino.Input]] = {}
        outputs: dict[tuple[str, int], openvino.Output] = {}
        for node in model.get_ordered_ops():
            kind = node.get_type_name()
            if kind == "ShapeOf":
                sources[node.get_friendly_name()] = set()
                continue
            own = {node.output(0).get_any_name()} if kind == "Parameter" else set[str]()
            own |= {kind} & {"Convolution", "GroupConvolution", "MatMul"}
            read = [value.get_source_output() for value in node.inputs()]
            names = [output.get_node().get_friendly_name() for output in read]
            depends = own.union(*(sources[name] for name in names))
            sources[node.get_friendly_name()] = depends
            for value, output, name in zip(node.inputs(), read, names, strict=True):
                if sources[name] == {"points"} != depends:
                    place = name, output.get_index()
                    cuts.setdefault(place, []).append(value)
                    outputs[place] = output
        click_maps = self._openvino.Model(list(outputs.values()), model.get_parameters(), "clicks").clone()
        for number, (place, output) in enumerate(outputs.items()):
            made = self._openvino.opset13.parameter(output.get_partial_shape(), output.get_element_type())
            made.output(0).set_names({f"{_CLICK_MAP}{number}"})
            for value in cuts[place]:
                value.replace_source_output(made.output(0))
            model.add_parameters([made])
        return click_maps

    @staticmethod
    def _run(compiled: "_Compiled", **inputs: _Array) -> list[Tensor]:
        def start(
            network: "openvino.CompiledModel", picture: dict[str, _Array]
        ) -> Callable[[], list[_Array]]:
            request = network.create_infer_request()
            request.start_async(picture, share_inputs=True)

            def answer() -> list[_Array]:
                request.wait()
                return [request.results[output] for output in network.outputs]

            return answer

        def started(picture: dict[str, _Array]) -> Callable[[], list[_Array]]:
            if compiled.click_maps is not None:
                maps = start(compiled.click_maps, picture)()
                picture |= {f"{_CLICK_MAP}{number}": each for number, each in enumerate(maps)}
            return start(compiled.network, picture)

        answers = [started(picture) for picture in _pictures(inputs)]
        return _batch([answer() for answer in answers])


class _Compiled(NamedTuple):
    """A network, and what computes its maps of the clicks where it does not do so itself."""

    click_maps: "openvino.CompiledModel | None"
    network: "openvino.CompiledModel"


def is_usual(height: int, width: int) -> bool:
    """Whether a size is one of the usual formats', or lacks a pixel that was cut off.

    Args:
        height: Of the head's maps, in their pixels.
        width: Likewise.
    """
    short, long = sorted((height, width))
    return any(0 <= across * short - down * long <= down for across, down in _FORMATS)


def _array(tensor: Tensor) -> _Array:
    return tensor.contiguous().numpy()


def _pictures(inputs: dict[str, _Array]) -> list[dict[str, _Array]]:
    """Split a batch into its pictures, each a batch of one."""
    batch = len(next(iter(inputs.values())))
    return [{name: each[i : i + 1] for name, each in inputs.items()} for i in range(batch)]


def _batch(pictures: list[list[_Array]]) -> list[Tensor]:
    """Put what was computed of each picture together into one batch."""
    return [torch.from_numpy(np.concatenate(same)) for same in zip(*pictures, strict=True)]
