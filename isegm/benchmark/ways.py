"""What the benchmarks of networks share: arguments, networks, pictures."""

import argparse
import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from isegm.benchmark.timing import REFERENCE
from isegm.datasets.listing import PICTURE_SUFFIXES
from isegm.distributed import cores_for
from isegm.errors import InputError
from isegm.inference.load import BACKENDS, load_network
from isegm.inference.network import Network
from isegm.inference.predictor import Predictor
from isegm.inference.reference import ReferencePredictor
from isegm.inference.segmenter import Segmenter
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import load_model, save_checkpoint
from isegm.model.emc_click import EMCClick
from isegm.phantom.patients import random_slice
from isegm.pictures import read_image
from isegm.volumes.windows import WINDOWS, apply_window
from isegm.wording import names

SMALLEST_SIZE = 32
PICTURE_SIDE = 512
"""Pixels of each side of the pictures that are made on the spot."""

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a network is loaded and run."""

    checkpoint: str
    """Its file."""
    size: int = 384
    """Pixels of the network input's shorter side."""
    flip: bool = True
    """Average the logits with those of the mirrored image."""
    precision: str = "float32"
    """What the optimised ways compute in; the reference computes in float32."""
    threads: int = 1
    """How many of them one click may use."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""


def check_click_arguments(args: argparse.Namespace) -> None:
    """Check what the command line of click benchmarks gives.

    Raises:
        InputError: A value is out of its range, or two do not go together.
    """
    at_least("--repeats", args.repeats, 1)
    at_least("--size", args.size, SMALLEST_SIZE)
    if args.threads is not None:
        at_least("--threads", args.threads, 1)
    if args.checkpoint is not None and args.presets is not None:
        raise InputError("--presets: cannot go with --checkpoint; give one of them")
    check_device(args.device)


def check_device(device: str) -> None:
    """Check that there is such a device.

    Raises:
        InputError: There is no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device: no GPU is usable here; give --device=cpu")


def at_least(option: str, value: int, smallest: int) -> None:
    """Check a number.

    Raises:
        InputError: It is below ``smallest``.
    """
    if value < smallest:
        raise InputError(f"{option}: must be at least {smallest}, not {value}")


def choose_backends(text: str | None, device: str) -> list[str]:
    """The backends that were asked for, by default torch and, on the CPU, every other that is installed.

    Raises:
        InputError: One is unknown or named twice, or there is none.
    """
    if text is None:
        others = [name for name in BACKENDS if name != "torch" and importlib.util.find_spec(name)]
        return ["torch", *(others if device == "cpu" else [])]
    return choose("--backends", text, BACKENDS)


def choose(option: str, text: str, known: Sequence[str]) -> list[str]:
    """Split a comma-separated list of known names.

    Raises:
        InputError: A name is unknown or comes twice, or there is none.
    """
    chosen = names(text)
    for name in chosen:
        if name not in known:
            raise InputError(f"{option}: must be among {', '.join(known)}, not {name!a}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"{option}: must be different names like {','.join(known[:2])}, not {text!a}")
    return chosen


def threads_of(args: argparse.Namespace) -> int:
    """How many threads one click may use."""
    return args.threads or cores_for(1)


@contextlib.contextmanager
def checkpoints_of(args: argparse.Namespace) -> Iterator[dict[str, Path]]:
    """The files of the networks that were asked for, by the name for tables.

    Untrained networks are written as files, too: so every process that measures loads the same one.
    """
    if args.checkpoint is not None:
        yield {args.checkpoint.stem: args.checkpoint}
        return
    presets = choose("--presets", "hr32" if args.presets is None else args.presets, list(PRESETS))
    with tempfile.TemporaryDirectory() as folder:
        files = {preset: Path(folder) / f"{preset}.pth" for preset in presets}
        for preset, path in files.items():
            save_checkpoint(path, untrained_model(preset), {})
        yield files


def untrained_model(preset: str) -> EMCClick:
    """A network in evaluation mode with torch's initial weights, the same ones every time.

    Only its last layer is scaled so that the logits of a picture vary about 0. As they are they hardly do,
    and any two ways to compute a probability of a half everywhere would seem to agree.
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


def load_segmenter(mode: str, settings: Settings) -> Segmenter:
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


def load_backend(backend: str, settings: Settings) -> Network:
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
    """Pictures to click on, (H, W, 3) uint8: those that were named, else ``count`` generated CT slices.

    Raises:
        InputError: A file cannot be read, or a folder has no pictures.
        OSError: A folder cannot be read.
    """
    if paths is None:
        return [_generated_slice(seed, PICTURE_SIDE) for seed in range(count)]
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
