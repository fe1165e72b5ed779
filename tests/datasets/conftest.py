from collections.abc import Callable
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from isegm.config import Config

LAS = np.diag([-1, 1, 1, 1])

Save = Callable[[Path, npt.ArrayLike], Path]


@pytest.fixture
def save() -> Save:
    """Write a grey or RGB picture, its folders made; returns its path."""

    def save(path: Path, pixels: npt.ArrayLike) -> Path:
        array = np.asarray(pixels, np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)
        return path

    return save


@pytest.fixture
def save_nifti() -> Callable[..., Path]:
    """Write a NIfTI file: ``save_nifti(path, array, affine)``; by default LAS (left, anterior, superior)."""

    def write(path: Path, array: npt.NDArray, affine: npt.ArrayLike = LAS) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(array, np.array(affine, float)).to_filename(path)
        return path

    return write


@pytest.fixture
def config_of() -> Callable[..., Config]:
    """A config from rows: ``config_of(LIVER_PATH=folder)``."""
    return lambda **places: Config(Path("config.yml"), places)


@pytest.fixture
def colours() -> Callable[[int, int], npt.NDArray[np.uint8]]:
    """A picture of (height, width) in which no two neighbours or channels are alike."""

    def colours(height: int, width: int) -> npt.NDArray[np.uint8]:
        return (np.arange(height * width * 3).reshape(height, width, 3) * 7 % 251).astype(np.uint8)

    return colours
