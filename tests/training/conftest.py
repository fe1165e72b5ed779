"""Small data sets of every kind, made for a test."""

from dataclasses import dataclass

import numpy as np
import pytest

from isegm.training.scenes import Scene


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
