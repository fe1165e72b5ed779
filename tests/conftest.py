"""Networks for the tests: untrained ones, and those with the original implementation's outputs.

What is too large for the repository, real scans and the larger networks' outputs, lies in a folder ``shared``
beside the checkout. Without it the tests that need it are skipped.
"""

import contextlib
import functools
from pathlib import Path

import pytest
from hypothesis import settings

import isegm  # noqa: F401 - before any test imports OpenCV, which it tells how large pictures may be
from tests.small_files import (  # noqa: F401 - fixtures
    ct,
    extraer_imagenes,
    metricas,
    normalize_ct_images,
    save,
    save_nifti,
    set_scaling,
)

# The first example of a property pays for the imports and would miss the deadline.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


LARGE = {"hr18", "hr32", "segb3"}
"""What is computed with these networks is among the slow tests; their small sisters go the same ways."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        computes = {"untrained", "reference_model", "reference_file", "pair_of"} & set(item.fixturenames)
        if computes and any(isinstance(value, str) and value in LARGE for value in values):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def shared():
    """The folder of reference data."""
    if not SHARED.is_dir():
        pytest.skip("the reference data are not at hand")
    return SHARED.resolve()


@pytest.fixture(scope="session")
def parity():
    """``parity(name)``: the file of that name with outputs of the original implementation."""

    def find(name):
        places = (Path(__file__).parent / "parity" / name, SHARED / "parity" / name)
        path = next(filter(Path.is_file, places), None)
        return path or pytest.skip(f"the original implementation's {name} is not at hand")

    return find


@pytest.fixture(scope="session")
def one_thread():
    """Small networks gain nothing from more, and parallel test processes would fight for the cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def reference_file(parity, tmp_path_factory, one_thread):
    """``reference_file(name)``: a checkpoint file, as released ones are, with the references' weights."""
    import torch

    from tests.parity.weights import checkpoint

    folder = tmp_path_factory.mktemp("references")

    @functools.cache
    def write(name):
        content = checkpoint(parity(f"manifest_{name}.json"), parity(f"bn_{name}.npz"))
        torch.save(content, folder / f"{name}.pth")
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


@pytest.fixture(scope="session")
def shipped(one_thread):
    """The network that comes with the package, for reading only."""
    from isegm.commands.places import default_weights
    from isegm.model.checkpoint import load_model

    return load_model(default_weights())


@pytest.fixture(scope="session")
def clicked(shipped):
    """Generated slices with clicks placed on the shipped network's masks; the last two are wider."""
    from isegm.benchmark.clicked_pictures import clicked_pictures
    from isegm.inference.predictor import Predictor

    return clicked_pictures(Predictor(shipped, size=256), [(256, 256)] * 4 + [(256, 320)] * 2, clicks=4)


@pytest.fixture
def full_disk():
    """``with full_disk():`` no file can grow beyond 4 KiB, whoever writes it, as on a disk that is full."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
