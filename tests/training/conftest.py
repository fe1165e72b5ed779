"""Small data sets of every kind, made for a test."""

from dataclasses import dataclass

import cv2
import nibabel as nib
import numpy as np
import pytest

from isegm.training.scenes import Scene


@pytest.fixture
def save():
    """save(path, pixels) writes a grey or RGB picture, its folders made."""

    def write(path, pixels):
        array = np.asarray(pixels)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)
        return path

    return write


@pytest.fixture
def save_nifti():
    """save_nifti(path, array, affine) writes a NIfTI file; by default LAS (left, anterior, superior)."""

    def write(path, array, affine=((-1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(array, np.array(affine, float)).to_filename(path)
        return path

    return write


@dataclass(frozen=True)
class GivenScenes:
    """A source of scenes made beforehand; an exception among them is raised."""

    scenes: tuple
    name: str = "given"
    notes: tuple = ()

    def draw(self, rng):
        scene = self.scenes[rng.integers(len(self.scenes))]
        if isinstance(scene, Exception):
            raise scene
        return scene


@pytest.fixture
def given_scenes():
    return lambda *scenes: GivenScenes(scenes)


def scene_of(labels, is_ct=True):
    """A scene whose image tells its labels: red is 60 a label, ignored 255; green row, blue column."""
    labels = np.asarray(labels, np.int32)
    rows, cols = np.indices(labels.shape)
    image = np.stack([np.where(labels < 0, 255, labels * 60), rows % 256, cols % 256], axis=2).astype(
        np.uint8
    )
    return Scene(image, labels, is_ct)


@pytest.fixture(name="scene_of")
def scene_of_fixture():
    return scene_of
