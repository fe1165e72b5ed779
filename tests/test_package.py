"""What ``import isegm`` costs and offers."""

import subprocess
import sys

import pytest

import isegm


def run(code):
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_importing_the_package_does_not_import_torch_but_using_a_network_does():
    offered = "isegm.Predictor, isegm.load_model, isegm.load_network"
    assert run(f"import sys, isegm; print('torch' in sys.modules); {offered}") == ["False"]
    assert run("import sys, isegm; isegm.load_model; print('torch' in sys.modules)") == ["True"]


@pytest.mark.parametrize(
    "module",
    [
        "isegm.storage",
        "isegm.masks",
        "isegm.commands.command_line",
        "isegm.geometry",
        "isegm.simulation.next_click",
    ],
)
def test_what_needs_no_network_starts_without_torch(module):
    assert run(f"import sys, {module}; print('torch' in sys.modules)") == ["False"]


def test_what_reads_volumes_is_imported_on_first_use():
    """pydicom and highdicom would take a while, and may not be installed."""
    modules = run("import sys, isegm.volumes.files, isegm.volumes.mask_writing; print(*sys.modules)")
    assert not {"pydicom", "highdicom", "nibabel"} & set(modules)


def test_what_it_offers():
    assert isegm.__all__ == [
        "Predictor",
        "VolumePredictor",
        "__version__",
        "load_model",
        "load_network",
        "open_volume",
    ]
    assert isegm.__version__.count(".") >= 1
    with pytest.raises(AttributeError, match="module 'isegm' has no attribute 'predictor_of_lottery'"):
        isegm.predictor_of_lottery  # noqa: B018
