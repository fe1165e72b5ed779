"""What is saved is what the training reads, by the command that the page shows."""

import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isegm.annotate.saving import check_output, save_case, training_command
from isegm.annotate.server import Server
from isegm.commands.train import build_parser
from isegm.errors import FileWarning, InputError, InputWarning
from isegm.training.sources import open_mixture
from isegm.volumes.files import open_volume
from isegm.volumes.windows import Window
from tests.annotate.conftest import volume_values, write_picture, write_volume
from tests.dicom_files import places, stored_values, write_series

WINDOW = Window(40, 350)


def words_of(command):
    isegm, train, *words = shlex.split(command)
    assert (isegm, train) == ("isegm", "train")
    return build_parser().parse_args(words)


@pytest.mark.parametrize(
    "kind", ["a volume", "volumes with one name each", "pictures", "a series", "patients' series"]
)
def test_the_command_that_is_shown_finds_what_was_saved(kind, tmp_path, start, computing):
    folder = tmp_path / "in put"
    for name in ["a"] if kind in ("a volume", "a series") else ["a", "b"]:
        if "series" in kind:
            values = volume_values().transpose(2, 1, 0) + 1024
            write_series(folder / name, values, StudyInstanceUID=f"1.2.{ord(name)}")
        elif kind == "pictures":
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


def test_a_series_among_several_is_the_one_that_is_named_also_in_the_command(tmp_path, start, computing):
    folder = tmp_path / "study"
    for number in (3, 5):
        shape = (4, 12 + number, 40)
        write_series(
            folder / str(number), stored_values(shape), SeriesNumber=number, SeriesInstanceUID=f"1.2.{number}"
        )
    with pytest.raises(InputError, match="holds several CT volumes; name one of its series by `series`"):
        start(folder).open(0, lambda _: None)
    session = start(folder, series="5", labels=["liver"])
    case = session.open(0, lambda _: None)
    assert case.pixels.shape == (4, 17, 40)
    stroke = np.zeros((17, 40), bool)
    stroke[3:12, 5:30] = True
    case.draw(1, "axial", 2, stroke, add=True)
    save_case(session, case)
    args = words_of(training_command(session, case, Path("weights/a.pth"), ""))
    scene = open_mixture(tuple(args.sources), tmp_path / "cache").sources[0].draw(np.random.default_rng(0))
    np.testing.assert_array_equal(scene.labels == 1, stroke)
    # Another series of that folder is another case.
    with pytest.raises(InputError, match="was begun on another"):
        start(folder, series="3").open(0, lambda _: None)


def test_a_tilted_series_is_straight_where_that_is_asked_for(tmp_path, start, computing):
    series = tmp_path / "tilted"
    write_series(series, stored_values((5, 20, 24)), places(5, shift=(0, 0.6, 0)))
    with pytest.warns(FileWarning, match="the gantry was tilted"):
        assert start(series).open(0, lambda _: None).pixels.shape == (5, 20, 24)
    with pytest.raises(InputError, match="was begun on another"):
        start(series, untilt=True).open(0, lambda _: None)
    session = start(series, untilt=True, output=tmp_path / "straight", labels=["liver"])
    case = session.open(0, lambda _: None)
    slices, rows, columns = case.pixels.shape
    assert (slices, columns) == (5, 24)
    assert rows > 20
    stroke = np.zeros((rows, columns), bool)
    stroke[3:12, 5:20] = True
    case.draw(1, "axial", 2, stroke, add=True)
    (written,) = save_case(session, case)  # no SEG, which would refer to the tilted slices
    labels, image = nib.load(written), nib.load(session.output / "imagesTr" / "tilted.nii")
    np.testing.assert_array_equal(labels.affine, image.affine)
    steps = image.affine[:3, :3]
    np.testing.assert_allclose(steps.T @ steps, np.diag(np.diag(steps.T @ steps)), atol=1e-5)
    np.testing.assert_array_equal(case.pixels.plan.pictures(image.get_fdata()), case.pixels.values)
    args = words_of(training_command(session, case, Path("weights/a.pth"), ""))
    scene = open_mixture(tuple(args.sources), tmp_path / "cache").sources[0].draw(np.random.default_rng(0))
    np.testing.assert_array_equal(scene.labels == 1, stroke)


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
    linked = session.output / "imagesTr" / "dicom20"
    assert {file.read_bytes() for file in linked.iterdir()} == {
        file.read_bytes() for file in series.iterdir()
    }


def test_a_series_that_can_have_no_seg_is_saved_as_nifti(tmp_path, start, computing):
    write_series(tmp_path / "a", volume_values().transpose(2, 1, 0) + 1024, FrameOfReferenceUID=None)
    session = start(tmp_path / "a", labels=["liver"])
    case = session.open(0, lambda _: None)
    case.click(1, (6, 20, 20), True, WINDOW, computing)
    with pytest.warns(
        InputWarning, match=r"has no FrameOfReferenceUID, which a SEG needs; .* only that is saved"
    ):
        (nifti,) = save_case(session, case)
    assert np.asarray(nib.load(nifti).dataobj).any()
    assert case.is_saved
    assert len(list((session.output / "imagesTr" / "a").iterdir())) == 12


def test_when_all_labels_are_gone_so_is_their_seg(tmp_path, start, computing):
    write_series(tmp_path / "a", volume_values().transpose(2, 1, 0) + 1024)
    session = start(tmp_path / "a", labels=["liver"])
    case = session.open(0, lambda _: None)
    case.click(1, (6, 20, 20), True, WINDOW, computing)
    _, seg = save_case(session, case)
    assert seg.exists()
    case.undo()
    (nifti,) = save_case(session, case)
    assert not np.asarray(nib.load(nifti).dataobj).any()
    assert not seg.exists()


@pytest.mark.parametrize("kind", ["pictures", "volumes"])
def test_masks_that_no_session_has_saved_are_not_replaced(kind, tmp_path, start, computing):
    data = tmp_path / "data"
    if kind == "pictures":
        write_picture(data / "images" / "a.png")
        mask = write_picture(data / "masks" / "a.png")
    else:
        write_volume(data / "imagesTr" / "a.nii.gz")
        mask = write_volume(data / "labelsTr" / "a.nii.gz")
    content = mask.read_bytes()
    for _ in range(2):  # what the first try has left does not let the second one through
        with pytest.raises(
            InputError, match=r"a\.(png|nii\.gz): is there already, and saving would replace it"
        ):
            check_output(start(data, output=data))
    assert mask.read_bytes() == content
    session = start(data, output=tmp_path / "out")
    check_output(session)
    save_case(session, session.open(0, lambda _: None))
    check_output(start(data, output=tmp_path / "out"))


def test_one_case_that_cannot_be_saved_keeps_no_other_from_it(tmp_path, start, computing):
    for name in "ab":
        write_picture(tmp_path / "in" / f"{name}.png")
    session = start(tmp_path / "in")
    server = Server(session, computing, "t" * 24, None)
    for index in range(2):
        session.open(index, lambda _: None).click(1, (0, 20, 30), True, None, computing)
    (session.output / "masks" / "a.png").mkdir(parents=True)
    written, problems = server.save_all()
    assert written == [session.output / "masks" / "b.png", session.output / "clicks.jsonl"]
    (line,) = problems
    assert line.startswith(f"{session.output / 'masks' / 'a.png'}: ")
