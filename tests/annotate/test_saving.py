"""What is saved is what the training reads, by the command that the page shows."""

import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isegm.annotate.saving import save_case, training_command
from isegm.commands.train import build_parser
from isegm.training.sources import open_mixture
from isegm.volumes.files import open_volume
from isegm.volumes.windows import Window
from tests.annotate.conftest import write_picture, write_volume

WINDOW = Window(40, 350)


def words_of(command):
    isegm, train, *words = shlex.split(command)
    assert (isegm, train) == ("isegm", "train")
    return build_parser().parse_args(words)


@pytest.mark.parametrize("kind", ["a volume", "volumes with one name each", "pictures"])
def test_the_command_that_is_shown_finds_what_was_saved(kind, tmp_path, start, computing):
    folder = tmp_path / "in put"
    for name in ["a"] if kind == "a volume" else ["a", "b"]:
        if kind == "pictures":
            write_picture(tmp_path / "in put" / f"{name}.png")
        else:
            write_volume(folder / f"{name}.nii.gz")
    session = start(folder, labels=["liver", "spleen"])
    for index in range(len(session.cases)):
        case = session.open(index, lambda _: None)
        place = (0, 20, 30) if kind == "pictures" else (6, 20, 20)
        case.click(1, place, True, WINDOW, computing)
        save_case(session, case)
    args = words_of(training_command(session, case, Path("weights/a.pth"), "hr18s"))
    assert (args.recipe, args.preset, args.pretrained) == ("fine-tune", "hr18s", "weights/a.pth")
    mixture = open_mixture(tuple(args.sources), tmp_path / "cache")
    scene = mixture.sources[0].draw(np.random.default_rng(0))
    assert scene.labels.shape == case.pixels.shape[1:]
    expected = case.masks.stack(1)[place[0]]
    np.testing.assert_array_equal(scene.labels == 1, expected)


def test_dicom_is_saved_as_nifti_and_seg(tmp_path, start, computing, shared):
    series = shared / "data" / "volumes" / "totalsegmentator" / "dicom20"
    session = start(series, labels=["liver"])
    case = session.open(0, lambda _: None)
    case.click(1, (9, 250, 200), True, WINDOW, computing)
    nifti, seg = save_case(session, case)
    expected = case.pixels.plan.array(case.masks.stack(1))
    np.testing.assert_array_equal(np.asarray(nib.load(nifti).dataobj) == 1, expected)
    read = open_volume(seg).on_grid_of(case.pixels.volume)
    found = np.zeros(read.shape, bool)
    for z, slab in read.slabs():
        found[:, :, z : z + slab.stored.shape[2]] = slab.labels() == 1
    np.testing.assert_array_equal(found, expected)
    assert (session.output / "imagesTr" / "dicom20").resolve() == series.resolve()
