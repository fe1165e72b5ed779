"""What libraries say where memory does not suffice: asked of each for more than any machine has."""

import errno
import mmap
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from isegm.errors import InputError, is_out_of_memory

MORE_THAN_THERE_IS = 2**50  # bytes: more than a process can address


def by_onnx_runtime():
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["zeros"])],
        "zeros",
        [helper.make_tensor_value_info("shape", kinds.INT64, [1])],
        [helper.make_tensor_value_info("zeros", kinds.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    session.run(None, {"shape": np.array([MORE_THAN_THERE_IS // 4])})


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(MORE_THAN_THERE_IS, dtype=torch.uint8),
        lambda: np.empty(MORE_THAN_THERE_IS, np.uint8),
        lambda: cv2.repeat(np.zeros((2, 2)), 2**24, 2**20),
        lambda: bytearray(MORE_THAN_THERE_IS * 2**10),
        lambda: mmap.mmap(-1, MORE_THAN_THERE_IS),
        by_onnx_runtime,
    ],
    ids=["torch", "numpy", "opencv", "python", "system", "onnxruntime"],
)
def test_each_librarys_own_error_is_recognised(ask):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any type
        ask()
    assert is_out_of_memory(caught.value)


OPENVINO_UNDER_A_LIMIT = """
import resource, sys
import numpy as np
import openvino
from openvino import opset8
from isegm.errors import is_out_of_memory
shape = opset8.parameter([1], np.int64)
model = openvino.Model([opset8.broadcast(opset8.constant(np.float32(0)), shape)], [shape])
compiled = openvino.Core().compile_model(model, "CPU")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))
try:
    compiled([np.array([2**30])])
except RuntimeError as error:
    sys.exit(0 if is_out_of_memory(error) else str(error))
sys.exit("no error")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_openvinos_error_is_recognised():
    pytest.importorskip("openvino")
    ended = subprocess.run([sys.executable, "-c", OPENVINO_UNDER_A_LIMIT], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


class OutOfMemoryError(RuntimeError):
    """As torch calls its own, on a GPU."""


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("Allocation on device 0 would exceed allowed memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 12 bytes."),
        RuntimeError("Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc\n"),
        RuntimeError("bad allocation"),
    ],
    ids=str,
)
def test_what_only_other_machines_say_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        ValueError("memory format is not channels_last"),
        OSError(errno.ENOSPC, "No space left on device"),
        InputError("out of memory/a.png: no such picture; check the path"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)
