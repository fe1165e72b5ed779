"""The networks that benchmarks run, the ways to run them, and the pictures that are clicked on."""

import contextlib
import importlib.util
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from isegm.benchmark.timing import REFERENCE
from isegm.errors import InputError, InputWarning
from isegm.inference import BACKENDS
from isegm.inference.load import check_settings, load_network
from isegm.inference.network import Network
from isegm.inference.predictor import Predictor
from isegm.inference.reference import ReferencePredictor
from isegm.inference.segmenter import Segmenter
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import load_model, save_checkpoint
from isegm.model.emc_click import EMCClick
from isegm.phantom.slices import random_slice
from isegm.pictures import PICTURE_SUFFIXES, read_image
from isegm.volumes.windows import WINDOWS, apply_window

_SIDE = 512
"""Pixels of each side of generated pictures."""

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """How a network is loaded and run."""

    checkpoint: str
    """Its file."""
    size: int = 384
    """Pixels of the network input's shorter side."""
    flip: bool = True
    """Average the logits with those of the mirrored image."""
    precision: str = "float32"
    """Precision of the optimised methods; the reference computes in float32."""
    threads: int = 1
    """How many of them one click may use."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""

    def shared(self) -> dict[str, Any]:
        """Return all but the checkpoint, as JSON has it."""
        return {name: value for name, value in asdict(self).items() if name != "checkpoint"}


def usable_backends(precision: str, device: str) -> list[str]:
    """Return the installed backends that compute in a precision on a device; torch is always one of them.

    An :class:`InputWarning` names each that is installed and cannot.

    Raises:
        InputError: torch cannot.
    """
    check_settings("torch", precision, device)
    found = ["torch"]
    for backend in BACKENDS:
        if backend == "torch" or device != "cpu" or importlib.util.find_spec(backend) is None:
            continue
        try:
            check_settings(backend, precision, device)
        except InputError as error:
            warnings.warn(InputWarning(f"left out {backend}: {error}"), stacklevel=2)
        else:
            found.append(backend)
    return found


@contextlib.contextmanager
def untrained_checkpoints(presets: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Yield files of untrained networks by preset, for as long as the context lasts.

    They are files so that every process that measures loads the same network.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {preset: Path(folder) / f"{preset}.pth" for preset in presets}
        for preset, path in files.items():
            save_checkpoint(path, untrained_model(preset), {})
        yield files


def untrained_model(preset: str) -> EMCClick:
    """Return a network in evaluation mode with torch's initial weights, the same ones every time.

    Only its last layer is scaled, so that the logits of a picture vary about 0. Otherwise they hardly vary,
    and any two ways that compute a probability of a half everywhere would seem to agree.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(PRESETS[preset]).eval()
    image = torch.from_numpy(_generated_slice(0, 128)).permute(2, 0, 1).unsqueeze(0) / 255
    points = torch.tensor([[[64.0, 64.0, 0.0], [-1.0, -1.0, -1.0]]])
    last = model.refiner.refine_pred
    with torch.no_grad():
        logits = model(image, points).state.previous
        last.weight *= 2 / logits.std()
        last.bias -= logits.mean()
        last.bias *= 2 / logits.std()
    return model


def load_segmenter(mode: str, settings: NetworkSettings) -> Segmenter:
    """Load a network to click with: by the published computation, or by a backend.

    Args:
        mode: ``reference`` or one of ``BACKENDS``.
        settings: The network and how to run it. For torch, the calling thread's number of threads is set.

    Raises:
        InputError: The file cannot be used, or the backend not with these settings.
    """
    if mode == REFERENCE:
        torch.set_num_threads(settings.threads)
        model = load_model(settings.checkpoint, settings.device)
        return ReferencePredictor(model, size=settings.size, flip=settings.flip)
    return Predictor(load_backend(mode, settings), size=settings.size, flip=settings.flip)


def load_backend(backend: str, settings: NetworkSettings) -> Network:
    """Load a network that a backend runs; as :func:`load_segmenter` does."""
    torch.set_num_threads(settings.threads)
    return load_network(
        Path(settings.checkpoint),
        device=settings.device,
        backend=backend,
        precision=settings.precision,
        threads=settings.threads,
    )


def load_images(paths: Sequence[Path] | None, count: int) -> list[Image]:
    """Return pictures to click on, (H, W, 3) uint8: those that are named, else generated CT slices.

    Args:
        paths: Pictures, or folders of them; None for generated slices.
        count: How many slices to generate.

    Raises:
        InputError: A file cannot be read, or a folder has no pictures.
        OSError: A folder cannot be read.
    """
    if paths is None:
        return [_generated_slice(seed, _SIDE) for seed in range(count)]
    images = []
    for path in paths:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        pictures = [f for f in files if f == path or f.suffix.lower() in PICTURE_SUFFIXES]
        if not pictures:
            raise InputError(f"{path}: holds no file of {', '.join(sorted(PICTURE_SUFFIXES))}")
        images += [read_image(picture) for picture in pictures]
    return images


def _generated_slice(seed: int, side: int) -> Image:
    hu = random_slice(np.random.default_rng(seed), side, side, "anatomy").hu
    return np.repeat(apply_window(hu, WINDOWS["abdomen"])[:, :, None], 3, axis=2)
