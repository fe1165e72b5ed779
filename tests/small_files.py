"""Small files for the tests, and the published tools as modules."""

import importlib.util
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
LAS_3MM = np.array([[-3.0, 0, 0, 90], [0, 2, 0, -120], [0, 0, 5, -300], [0, 0, 0, 1]])


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def extraer_imagenes():
    return load_tool("extraer_imagenes")


@pytest.fixture(scope="session")
def normalize_ct_images():
    return load_tool("normalize_ct_images")


@pytest.fixture(scope="session")
def metricas():
    return load_tool("metricas")


@pytest.fixture
def save():
    """save(path, pixels) writes a grey or RGB picture of 8 or 16 bits."""

    def write(path, pixels):
        array = np.asarray(pixels)
        array = array if array.dtype == np.uint16 else array.astype(np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)
        return path

    return write


@pytest.fixture
def save_nifti():
    """save_nifti(path, array, ...) writes a NIfTI file; ``codes`` are those of sform and qform."""

    def write(path, array, affine=LAS_3MM, codes=(2, 1), unit="mm", image=nib.Nifti1Image, endianness="<"):
        path.parent.mkdir(parents=True, exist_ok=True)
        header = image.header_class(endianness=endianness)
        header.set_data_dtype(array.dtype)
        nifti = image(array, affine if any(codes) else None, header)
        if any(codes):
            nifti.header.set_sform(affine, codes[0])
            nifti.header.set_qform(affine, codes[1])
        nifti.header.set_xyzt_units(unit)
        nifti.to_filename(path)
        return path

    return write


@pytest.fixture
def set_scaling():
    """set_scaling(path, slope, inter) in the header of an uncompressed little-endian NIfTI-1 file."""

    def write(path, slope, inter):
        content = bytearray(path.read_bytes())
        content[112:120] = np.array([slope, inter], "<f4").tobytes()  # scl_slope, scl_inter
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def ct(save_nifti, tmp_path):
    """A (6, 5, 4) CT volume and its label: organ voxels 0, 3, 9, 2 in slices 0 to 3."""
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 1000, (6, 5, 4)).astype(np.int16)
    label = np.zeros(hu.shape, np.uint8)
    label[0, :3, 1] = 1
    label[1:4, 1:4, 2] = 1
    label[5, 3:, 3] = 2
    save_nifti(tmp_path / "imagesTr" / "case_7.nii.gz", hu)
    save_nifti(tmp_path / "labelsTr" / "case_7.nii.gz", label)
    return hu, label
