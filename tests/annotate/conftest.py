"""Small cases, and sessions on them, computed without a network."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isegm.annotate.cases import find_cases
from isegm.annotate.session import Session
from isegm.pictures import write_image
from tests.annotate.flooding import Flooding

SHAPE = (40, 36, 12)


def volume_values(shape=SHAPE):
    """A box of 60 HU in air, different along each axis, with a hole."""
    x, y, z = np.indices(shape)
    values = np.full(shape, -1000, np.int16)
    values[(x > 5) & (x < 30) & (y > 9) & (y < 31) & (z > 1) & (z < 10)] = 60
    values[12:16, 14:20, 3:9] = -1000
    return values


def write_volume(path, affine=None, values=None):
    affine = np.diag([0.8, 0.8, 2.5, 1]) if affine is None else affine
    image = nib.Nifti1Image(volume_values() if values is None else values, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_picture(path, seed=0):
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[10:30, 20:50] = (200, 120, 90)
    picture[0, 0] = seed
    write_image(path, picture)
    return path


@pytest.fixture
def computing():
    return Flooding(Path("weights.pth"))


@pytest.fixture
def start(tmp_path):
    """``start(paths, ...)``: a session; what an earlier one of the test holds is given up, as by a kill."""
    sessions = []

    def start(*paths, masks=None, output=tmp_path / "out", **settings):
        for session in sessions:
            session.close()
        session = Session(find_cases(paths, masks), output, **settings)
        sessions.append(session)
        return session

    yield start
    for session in sessions:
        session.close()


@pytest.fixture
def volume_case(tmp_path, start):
    session = start(write_volume(tmp_path / "patient.nii.gz"), labels=["liver", "spleen"])
    return session.open(0, lambda _: None)
