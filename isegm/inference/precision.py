"""The precisions that networks compute in, and the settings of torch for each."""

import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # command lines name the precisions in their help, which is not to wait for torch
    import torch

PRECISIONS = ("float32", "tf32", "float64", "bfloat16", "float16")
"""The precisions that can be asked for.

``tf32`` rounds the factors of float32 products to 10 bits, as NVIDIA GPUs since Ampere can.
"""


def tensor_type(precision: str) -> "torch.dtype":
    """The type of the tensors in one of ``PRECISIONS``."""
    import torch

    found: torch.dtype = getattr(torch, "float32" if precision == "tf32" else precision)
    return found


def resolve_precision(precision: str, device: "torch.device") -> str:
    """What ``auto`` means on a device: half precision where the hardware is much faster at it.

    bfloat16 on GPUs that compute in it (from compute capability 8.0 on; older ones emulate it), float16 on
    older ones, bfloat16 on CPUs with AMX, else float32. Any other name means itself.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        import torch

        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float16"
    return "bfloat16" if _has_amx() else "float32"


def _has_amx() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 by itself (Linux only)."""
    try:
        return platform.system() == "Linux" and "amx_bf16" in Path("/proc/cpuinfo").read_text(
            encoding="utf-8"
        )
    except OSError:
        return False


def allow_tf32(allowed: bool) -> None:
    """Let products of float32 be computed in TF32, or not.

    By itself torch computes convolutions in TF32, which moves probabilities by 1e-2. Its switches are the
    process's: whatever computes sets them before, and leaves them as they are.
    """
    import torch

    if hasattr(torch.backends, "fp32_precision"):  # from torch 2.9 on; what stands there goes first
        torch.backends.fp32_precision = "tf32" if allowed else "ieee"
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
