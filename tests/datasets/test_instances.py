import numpy as np
import pytest
import scipy.io
from PIL import Image
from scipy.sparse import csc_matrix

from isegm.datasets import DatasetProblems, open_dataset
from isegm.errors import InputError

TWO = np.array([[0, 1, 1, 2], [0, 1, 2, 2], [0, 0, 0, 2]], np.uint8)
BORDERED = np.array([[255, 255, 0, 0], [1, 255, 17, 17], [1, 255, 17, 255]], np.uint8)
VOC_LIST = "ImageSets/Segmentation/val.txt"


def write_list(path, *names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def write_mat(path, labels):
    """A label picture in the nested form of SBD's ``inst`` files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [i for i in np.unique(labels) if i]
    boundaries = np.empty((len(ids), 1), object)
    for row, i in enumerate(ids):
        boundaries[row, 0] = csc_matrix(labels == i)
    fields = {
        "Segmentation": labels,
        "Boundaries": boundaries,
        "Categories": np.full((len(ids), 1), 15, np.uint8),
    }
    scipy.io.savemat(path, {"GTinst": fields}, do_compression=True)


def voc_palette():
    """VOC's colours: the bits of the index, dealt in turn to red, green and blue from the top bit down."""
    colours = np.zeros((256, 3), int)
    for index in range(256):
        for bit in range(8):
            colours[index, bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return colours.ravel().tolist()


def write_palette_png(path, labels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    picture.putpalette(voc_palette())
    picture.save(path, **options)


@pytest.fixture
def sbd(tmp_path, save, colours, config_of):
    write_list(tmp_path / "val.txt", "2008_000009", "2008_000003")
    for name, labels in (("2008_000009", TWO), ("2008_000003", TWO.T.copy()), ("2008_000001", TWO)):
        save(tmp_path / "img" / f"{name}.jpg", np.full((*labels.shape, 3), 90))
        write_mat(tmp_path / "inst" / f"{name}.mat", labels)
    return tmp_path


@pytest.fixture
def voc(tmp_path, save):
    write_list(tmp_path / VOC_LIST, "2007_000033", "", "2007_000042 ")
    for name, labels in (("2007_000033", BORDERED), ("2007_000042", TWO)):
        save(tmp_path / "JPEGImages" / f"{name}.jpg", np.full((*labels.shape, 3), 90))
        write_palette_png(tmp_path / "SegmentationObject" / f"{name}.png", labels)
    save(tmp_path / "JPEGImages" / "2007_000001.jpg", np.zeros((2, 2)))
    return tmp_path


def test_sbd_every_object_of_the_list_is_a_sample_in_its_order(sbd, config_of):
    dataset = open_dataset("sbd", config_of(SBD_PATH=sbd))
    assert dataset.name == "SBD"
    assert dataset.names == ("2008_000009_1", "2008_000009_2", "2008_000003_1", "2008_000003_2")
    np.testing.assert_array_equal(dataset[0].truth, [[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(dataset[1].truth, [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]])
    np.testing.assert_array_equal(dataset[2].truth, dataset[0].truth.T)
    np.testing.assert_array_equal(dataset[0].image, np.full((3, 4, 3), 90))
    assert dataset[0].truth.dtype == np.int8
    assert dataset[0].initial_mask is None


def test_voc_labels_are_palette_indexes_and_the_border_is_ignored(voc, config_of):
    dataset = open_dataset("PascalVOC", config_of(PASCALVOC_PATH=voc))
    assert dataset.names == ("2007_000033_1", "2007_000033_17", "2007_000042_1", "2007_000042_2")
    np.testing.assert_array_equal(dataset[0].truth, [[-1, -1, 0, 0], [1, -1, 0, 0], [1, -1, 0, -1]])
    np.testing.assert_array_equal(dataset[1].truth, [[-1, -1, 0, 0], [0, -1, 1, 1], [0, -1, 1, -1]])
    np.testing.assert_array_equal(dataset[3].truth, [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]])


def test_voc_objects_whose_colours_are_equally_bright_stay_apart(tmp_path, save, config_of):
    """1 and 16 are both grey level 38, so reading colours as grey would make one object of them."""
    write_list(tmp_path / VOC_LIST, "a")
    save(tmp_path / "JPEGImages" / "a.jpg", np.zeros((1, 3)))
    write_palette_png(tmp_path / "SegmentationObject" / "a.png", np.array([[1, 16, 0]], np.uint8))
    dataset = open_dataset("PascalVOC", config_of(PASCALVOC_PATH=tmp_path))
    assert dataset.names == ("a_1", "a_16")
    np.testing.assert_array_equal(dataset[0].truth, [[1, 0, 0]])


def test_voc_palettes_of_fewer_bits(tmp_path, save, config_of):
    write_list(tmp_path / VOC_LIST, "a")
    save(tmp_path / "JPEGImages" / "a.jpg", np.zeros((3, 4)))
    write_palette_png(tmp_path / "SegmentationObject" / "a.png", TWO, bits=2)
    np.testing.assert_array_equal(
        open_dataset("PascalVOC", config_of(PASCALVOC_PATH=tmp_path))[1].truth,
        [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]],
    )


def problems_of(name, config):
    with pytest.raises(DatasetProblems) as caught:
        open_dataset(name, config)
    return caught.value.problems


def test_sbd_lists_all_problems_at_once(sbd, config_of):
    (sbd / "img" / "2008_000009.jpg").unlink()
    (sbd / "inst" / "2008_000003.mat").write_bytes(b"MATLAB 5.0")
    write_list(sbd / "val.txt", "2008_000009", "2008_000003", "../2008_000001", "2008_000001", "2008_000001")
    assert problems_of("SBD", config_of(SBD_PATH=sbd)) == [
        f"{sbd}/val.txt: lists '2008_000001' more than once; keep one line",
        f"{sbd}/val.txt: lists '2008_000009', but {sbd}/img has no such file",
        f"{sbd}/val.txt: lists '../2008_000001', but {sbd}/img has no such file",
        f"{sbd}/val.txt: lists '../2008_000001', but {sbd}/inst has no such file",
        f"{sbd}/inst/2008_000003.mat: not a little-endian MATLAB file of version 5 to 7.2; "
        "take the original file of SBD",
    ]


def test_an_empty_folder_lists_what_it_lacks(tmp_path, config_of):
    assert problems_of("PascalVOC", config_of(PASCALVOC_PATH=tmp_path)) == [
        f"{tmp_path}/{VOC_LIST}: No such file or directory; the list of images is needed, one name a line",
        f"{tmp_path}/JPEGImages: no such folder; the data set needs it",
        f"{tmp_path}/SegmentationObject: no such folder; the data set needs it",
    ]


def test_a_list_that_is_no_text_and_one_without_objects(sbd, config_of):
    (sbd / "val.txt").write_bytes(b"\xff\xfe\x00")
    assert problems_of("SBD", config_of(SBD_PATH=sbd)) == [
        f"{sbd}/val.txt: not a text; the list of images is needed, one name a line"
    ]
    write_list(sbd / "val.txt")
    assert problems_of("SBD", config_of(SBD_PATH=sbd)) == [
        f"{sbd}/val.txt: lists no image; take the original file"
    ]
    write_list(sbd / "val.txt", "2008_000009")
    write_mat(sbd / "inst" / "2008_000009.mat", np.zeros((3, 4), np.uint8))
    assert problems_of("SBD", config_of(SBD_PATH=sbd)) == [
        f"{sbd}/val.txt: lists no image with an object; take the original file"
    ]


def test_voc_masks_that_are_no_palette_pngs(voc, save, config_of):
    masks = voc / "SegmentationObject"
    Image.fromarray(np.dstack([TWO] * 3)).save(masks / "2007_000033.png")
    complete = (masks / "2007_000042.png").read_bytes()
    (masks / "2007_000042.png").write_bytes(complete[:-40])
    assert problems_of("PascalVOC", config_of(PASCALVOC_PATH=voc)) == [
        f"{masks}/2007_000033.png: has no palette, whose indexes are the objects; take the original file",
        f"{masks}/2007_000042.png: not a readable picture; is it complete?",
    ]


def test_a_picture_that_claims_to_be_huge_is_refused(voc, config_of, monkeypatch):
    monkeypatch.setattr("isegm.pictures.MOST_PIXELS", 5)
    assert len(problems_of("PascalVOC", config_of(PASCALVOC_PATH=voc))) == 2


def test_files_that_change_after_opening_are_named(sbd, save, config_of):
    dataset = open_dataset("SBD", config_of(SBD_PATH=sbd))
    (sbd / "inst" / "2008_000009.mat").unlink()
    with pytest.raises(InputError, match=r"2008_000009\.mat: No such file or directory"):
        dataset[0]
    write_mat(sbd / "inst" / "2008_000003.mat", TWO)
    with pytest.raises(
        InputError, match=r"2008_000003\.mat: has 3 rows and 4 columns, but .*jpg has 4 and 3;"
    ):
        dataset[2]
    write_mat(sbd / "inst" / "2008_000003.mat", np.minimum(TWO.T, 1))
    with pytest.raises(InputError, match=r"2008_000003\.mat: has no object pixel"):
        dataset[3]
