"""The peak memory of a network, each in a process of its own.

The peak is the largest resident set of a process that loads the network from a checkpoint and does a first
and a further click: Python, torch and what loading takes are in it. On a GPU it is what torch allocated
there.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from isegm.benchmark.timing import random_clicks
from isegm.benchmark.ways import Image, NetworkSettings, load_segmenter

_PACKAGES = Path(__file__).resolve().parents[2]
"""The folder that the package is imported from."""
_PEAK = "peak.txt"


def peak_megabytes(mode: str, settings: NetworkSettings, image: Image) -> float:
    """The peak memory of clicking, in MB (10^6 bytes).

    Args:
        mode: As ``load_segmenter`` takes it.
        settings: The network and how to run it.
        image: (H, W, 3).

    Raises:
        CalledProcessError: The process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.npy"
        np.save(file, image)
        command = [sys.executable, "-m", __name__, mode, json.dumps(asdict(settings)), str(file)]
        path = os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH")]))
        subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=True)  # noqa: S603 - our own
        return float(file.with_name(_PEAK).read_text()) / 1e6


def _click_twice(mode: str, settings: str, file: str) -> None:
    """Load a network, click twice and write the peak, in bytes, beside the image."""
    given = NetworkSettings(**json.loads(settings))
    image = np.load(file)
    segmenter = load_segmenter(mode, given)
    segmenter.set_image(image)
    for click in random_clicks(image.shape[:2], 2):
        segmenter.click(click.row, click.col, click.positive)
    peak = torch.cuda.max_memory_allocated() if given.device == "cuda" else resident_set("VmHWM")
    Path(file).with_name(_PEAK).write_text(f"{peak}")


def resident_set(figure: str = "VmRSS") -> int:
    """This process's resident set in bytes, or by ``VmHWM`` its largest so far.

    Not by ``getrusage``, whose figure a process inherits from the one that started it.
    """
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {figure}")


if __name__ == "__main__":
    _click_twice(*sys.argv[1:])
