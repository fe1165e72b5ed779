"""Networks for the tests: untrained ones, and the reference ones where their data are at hand.

The reference data are not part of the repository: a folder ``shared`` beside the checkout. Without it the
tests that need it are skipped.
"""

import functools
import importlib.util
from pathlib import Path

import pytest

import isegm  # noqa: F401 - before any test imports OpenCV, which it tells how large pictures may be

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


@pytest.fixture(scope="session")
def shared():
    """The folder of reference data."""
    if not SHARED.is_dir():
        pytest.skip("the reference data are not at hand")
    return SHARED.resolve()


@pytest.fixture(scope="session")
def parity(shared):
    """The folder of outputs of the original implementation."""
    folder = shared / "parity"
    if not folder.is_dir():
        pytest.skip("the original implementation's outputs are not at hand")
    return folder


@pytest.fixture(scope="session")
def one_thread():
    """Small networks gain nothing from more, and parallel test processes would fight for the cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def reference_file(parity, tmp_path_factory, one_thread):
    """``reference_file(name)``: a checkpoint file, as released ones are, with the references' weights."""
    import torch

    spec = importlib.util.spec_from_file_location("reference_weights", parity / "weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    folder = tmp_path_factory.mktemp("references")

    @functools.cache
    def write(name):
        checkpoint = weights.checkpoint(name)
        entry = checkpoint["config"]["params"]["norm_mean_std"]
        entry["value"] = tuple(map(tuple, entry["value"]))
        torch.save(checkpoint, folder / f"{name}.pth")
        return folder / f"{name}.pth"

    return write


@pytest.fixture(scope="session")
def reference_model(reference_file):
    """``reference_model(name)``: that network in float64, for reading only."""
    from isegm.model.checkpoint import load_model

    @functools.lru_cache(maxsize=1)
    def load(name):
        return load_model(reference_file(name)).double()

    return load


@pytest.fixture(scope="session")
def untrained(one_thread):
    """``untrained(name)``: a float64 network in eval mode with outputs that vary, for reading only."""
    import torch
    from torch import nn

    from isegm.model.build import PRESETS, build_model

    @functools.cache
    def build(name="hr18s"):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = build_model(PRESETS[name]).double()
            norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
            for tensor_name, parameter in model.named_parameters():
                if parameter.dim() > 1:  # torch's own initialisation lets the signal fade in a deep network
                    nn.init.kaiming_normal_(parameter, nonlinearity="relu")
                elif tensor_name.endswith("bias"):
                    nn.init.normal_(parameter, std=0.05)
            for norm in norms:
                norm.momentum = 1.0
            points = torch.tensor([[20.0, 30, 0], [9, 50, 2], [40, 12, 1], [-1, -1, -1]]).double()
            # Pictures of many kinds: BatchNorms that see one value a picture need a spread.
            images = torch.rand(8, 3, 48, 56).double() * torch.rand(8, 3, 1, 1) + 0.5 * torch.rand(8, 3, 1, 1)
            with torch.no_grad():  # measure the running statistics
                model(images, points.expand(8, -1, -1))
            for norm in norms:
                norm.momentum = 0.1
        return model.eval()

    return build


@pytest.fixture
def picture():
    """``picture(batch, height, width)``: the same random images in [0, 1] every time, float64."""

    import torch

    def make(batch, height, width, channels=3):
        generator = torch.Generator().manual_seed(height * 1000 + width)
        return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)

    return make
