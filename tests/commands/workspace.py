"""A workspace as a user's: config.yml, small data sets, and checkpoints of networks whose masks are known."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from isegm.model.build import PRESETS, build_model
from isegm.model.emc_click import EMCClick
from isegm.model.layers import DepthwiseSeparableBlock

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "evaluate_model.py"


def bright_network(limit: float = 0.0) -> EMCClick:
    """An hr18s network that takes for the object what is bright, and what is clicked for what it was called.

    Channel 0 of the correction head carries, at a quarter of the resolution, the red channel (normalised),
    plus 4 on positive and minus 4 on negative clicks' disks; all other channels are random and reach no mask.
    """
    torch.manual_seed(0)
    model = build_model(PRESETS["hr18s"]).eval()
    head = model.refiner

    def carry(block: nn.Module, source: int) -> None:
        assert isinstance(block, DepthwiseSeparableBlock)
        for conv in (block.conv3x3_1, block.conv3x3_2):
            conv.weight.zero_()
            conv.weight[:, 0, 1, 1] = 1
            conv.bias.zero_()
        block.conv1x1.weight[0] = 0
        block.conv1x1.weight[0, source] = 1
        block.conv1x1.bias[0] = 0

    with torch.no_grad():
        for block in (head.image_conv2, head.fusion1[1], head.all_fusion):
            carry(block, 0)
        for block in (head.refine_fusion1, head.refine_fusion2):
            carry(block, 0)
        carry(head.fusion1[0], 64)  # the cached features come first
        carry(head.image_conv1[1], 0)
        weight = head.image_conv1[1].conv1x1.weight[0, :, 0, 0]
        weight.zero_()
        weight[0:16] = 1 / 16  # red
        weight[48:64] = 4 / 16  # positive disks
        weight[64:80] = -4 / 16  # negative disks
        head.image_conv1[1].conv1x1.bias[0] = 8  # above what ReLU cuts
        head.cross_attention.out_proj.weight[0] = 0
        head.cross_attention.out_proj.bias[0] = 0
        head.refine_pred.weight.zero_()
        head.refine_pred.weight[0, 0, 1, 1] = 10
        head.refine_pred.bias[0] = -10 * (8 + limit)
    return model


def save_sample(
    folder: Path, name: str, image: npt.ArrayLike, truth: npt.ArrayLike, suffix: str = ".png"
) -> None:
    for kind, pixels in (
        ("images", np.asarray(image, np.uint8)),
        ("masks", np.asarray(truth) * np.uint8(255)),
    ):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / kind / f"{name}{suffix if kind == 'images' else '.png'}"), pixels)


def easy_sample(height: int = 40, width: int = 56) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A bright rectangle, rows 10 to 29 and columns 20 to 43: one click is enough, in row 19 and column 29.

    That is the first pixel, row by row, that is 10 from the rectangle's end on all sides.
    """
    truth = np.zeros((height, width), np.uint8)
    truth[10:30, 20:44] = 1
    return np.repeat(np.where(truth, 200, 50).astype(np.uint8)[..., None], 3, axis=2), truth


def hard_sample(number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """An easy one with a dark part in the object and a bright part outside: both want clicks of their own."""
    image, truth = easy_sample(40 + 3 * number, 64 - 2 * number)
    image[12 : 14 + 2 * number, 24:30] = 50
    image[2:7, 4 : 8 + number] = 200
    return image, truth


def copy_of(template: Path, folder: Path) -> Path:
    """A workspace for one test: its data sets may be changed. The checkpoint is a link."""
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "hr32.pth").symlink_to(template / "weights" / "hr32.pth")
    (folder / "config.yml").write_text((template / "config.yml").read_text())
    for file in (template / "datasets").rglob("*.png"):
        copy = folder / file.relative_to(template)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return folder


LAUNCHER_VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS"
)  # fmt: skip

Shell = Callable[..., subprocess.CompletedProcess[str]]


def environment() -> dict[str, str]:
    """Of a process that no launcher has started, and that sees no GPU; ``python`` is this one."""
    kept = {name: value for name, value in os.environ.items() if name not in LAUNCHER_VARIABLES}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"CUDA_VISIBLE_DEVICES": "", "PATH": path}


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line as a shell splits it, in a folder."""
    return subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=280
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
