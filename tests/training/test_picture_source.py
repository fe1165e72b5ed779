from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from isegm.config import read_config
from isegm.datasets import open_dataset
from isegm.datasets.instances import PASCAL_VOC, SBD
from isegm.datasets.picture_pairs import find_folder
from isegm.errors import InputError
from isegm.pictures import read_image
from isegm.training.crops import SampleSettings, TrainingSamples
from isegm.training.picture_source import PictureSource
from isegm.training.sources import open_mixture

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def draws(source, count=20):
    return [source.draw(np.random.default_rng(i)) for i in range(count)]


def grid(*values, dtype=np.uint8):
    """A mask of 10 x 10 blocks, one a value."""
    return np.kron(np.array([values]), np.ones((10, 10))).astype(dtype)


def blocks_of(labels):
    return labels[5, 5::10].tolist()


def save_palette(path, indexes, colours):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(indexes)
    picture.putpalette([channel for colour in colours for channel in colour])
    picture.save(path)
    return path


def test_a_folder_gives_its_pictures_and_masks(tmp_path, save, save_nifti):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (20, 30 + i, 3), np.uint8) for i in range(3)]
    for i, image in enumerate(images):
        save(tmp_path / "img" / f"{i}.png", image)
        save(tmp_path / "gt" / f"{i}.bmp", np.full(image.shape[:2], i + 1, np.uint8))
    source = PictureSource("mine", find_folder(tmp_path, images="img", masks="gt"))
    widths = set()
    for scene in draws(source):
        np.testing.assert_array_equal(scene.image, images[scene.image.shape[1] - 30])
        assert not scene.is_ct
        widths.add(scene.image.shape[1])
    assert widths == {30, 31, 32}


def test_grey_pictures_are_taken_for_ct_and_their_tone_varies(tmp_path, save):
    save(tmp_path / "images" / "a.png", np.tile(np.arange(256, dtype=np.uint8), (10, 1)))
    save(tmp_path / "masks" / "a.png", np.full((10, 256), 255, np.uint8))
    scenes = draws(PictureSource("grey", find_folder(tmp_path)))
    assert all(scene.is_ct for scene in scenes)
    rows = np.array([scene.image[0, :, 0] for scene in scenes]).astype(int)
    assert (np.diff(rows, axis=1) >= 0).all()
    assert np.ptp(rows[:, 128]) > 20
    assert all((scene.image == scene.image[:1, :, :1]).all() for scene in scenes)
    photo = PictureSource("grey", find_folder(tmp_path), content="photo").draw(np.random.default_rng(0))
    assert not photo.is_ct
    np.testing.assert_array_equal(photo.image, read_image(tmp_path / "images" / "a.png"))
    save(tmp_path / "images" / "a.png", np.arange(7680, dtype=np.uint32).reshape(10, 256, 3).astype(np.uint8))
    assert not PictureSource("x", find_folder(tmp_path)).draw(np.random.default_rng(0)).is_ct
    assert PictureSource("x", find_folder(tmp_path), content="ct").draw(np.random.default_rng(0)).is_ct


def test_volumes_in_random_windows_show_what_is_in_view_alone(tmp_path, save_nifti):
    """Two blocks that differ from what is around them: by 60 HU at 40 HU, and by 700 HU in bone."""
    hu, labels = np.full((60, 60, 3), 40, np.int16), np.zeros((60, 60, 3), np.uint8)
    for value, rows, contrast in ((1, slice(5, 25), 60), (2, slice(35, 55), 700)):
        hu[rows, 10:50] += contrast
        labels[rows, 10:50] = value
    save_nifti(tmp_path / "imagesTr" / "a.nii.gz", hu)
    save_nifti(tmp_path / "labelsTr" / "a.nii.gz", labels)
    source = open_mixture([f"nifti:{tmp_path}:window=random"], tmp_path / "cache")
    seen, backgrounds = set(), set()
    for scene in draws(source, 150):
        objects = frozenset(np.unique(scene.labels[scene.labels > 0]).tolist())
        seen.add(objects)
        assert scene.is_ct
        background = int(np.bincount(scene.image[:, :, 0][scene.labels == 0]).argmax())
        backgrounds.add(background)
        for value in objects:
            grey = scene.image[:, :, 0][scene.labels == value]
            assert abs(int(np.median(grey)) - background) >= 3
    assert {frozenset({1, 2}), frozenset({2})} <= seen
    assert len(backgrounds) > 30


def test_files_that_cannot_be_used_are_named(tmp_path, save):
    save(tmp_path / "images" / "a.png", np.zeros((10, 20, 3), np.uint8))
    mask = save(tmp_path / "masks" / "a.png", np.zeros((10, 20), np.uint8))
    source = PictureSource("f", find_folder(tmp_path))
    with pytest.raises(InputError, match=r"masks/a.png: has no object pixel"):
        source.draw(np.random.default_rng(0))
    save(mask, np.ones((20, 10), np.uint8))
    with pytest.raises(InputError, match=r"a.png: has 20 rows and 10 columns, but .* one size"):
        source.draw(np.random.default_rng(0))
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(InputError, match=r"masks/a.png: not a readable picture"):
        source.draw(np.random.default_rng(0))
    mask.unlink()
    with pytest.raises(InputError, match=r"masks/a.png: no such picture"):
        source.draw(np.random.default_rng(0))
    save(mask, np.ones((10, 20), np.uint8))
    (tmp_path / "images" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"images/a.png: not a readable picture"):
        source.draw(np.random.default_rng(0))


def test_an_empty_folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match=r"images: holds no file"):
        PictureSource("f", find_folder(tmp_path))


def test_sbd(tmp_path, save):
    inst = grid(0, 1, 2)
    for name in ("2008_1", "2008_2", "2008_3"):
        save(tmp_path / "img" / f"{name}.jpg", np.full((10, 30, 3), 90, np.uint8))
        (tmp_path / "inst").mkdir(exist_ok=True)
        struct = {"Segmentation": inst, "Categories": np.array([[3], [15]], np.uint8)}
        scipy.io.savemat(tmp_path / "inst" / f"{name}.mat", {"GTinst": struct}, do_compression=True)
    (tmp_path / "train.txt").write_text("2008_1\n2008_3\n")
    (tmp_path / "val.txt").write_text("2008_2\n")
    source = PictureSource("sbd", SBD.find_pictures(tmp_path, "train"), "photo")
    assert [picture.name for picture in source.pictures] == ["2008_1", "2008_3"]
    for scene in draws(source, 3):
        assert blocks_of(scene.labels) == [0, 1, 2]
        assert not scene.is_ct  # though its picture is grey
    settings = SampleSettings(crop=(10, 30), scale=(1, 1), min_object_pixels=100, merge_probability=0)
    labels = [TrainingSamples(source, settings, 0)[i].label for i in range(40)]
    assert {tuple(blocks_of(label)) for label in labels} == {(0, 1, 0), (0, 0, 1), (1, 0, 0)}
    assert [picture.name for picture in SBD.find_pictures(tmp_path, "val")] == ["2008_2"]
    (tmp_path / "inst" / "2008_3.mat").unlink()
    with pytest.raises(InputError, match=r"train.txt: lists '2008_3', but .*inst has no such file"):
        SBD.find_pictures(tmp_path, "train")
    (tmp_path / "val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val.txt: lists no image"):
        SBD.find_pictures(tmp_path, "val")
    (tmp_path / "inst" / "2008_1.mat").write_bytes(b"broken")
    (tmp_path / "train.txt").write_text("2008_1\n")
    with pytest.raises(InputError, match=r"2008_1.mat: not a"):
        SBD.find_pictures(tmp_path, "train")[0].read()


def test_pascal_voc(tmp_path, save):
    save(tmp_path / "JPEGImages" / "a.jpg", np.zeros((10, 40, 3), np.uint8))
    save_palette(
        tmp_path / "SegmentationObject" / "a.png", grid(0, 1, 16, 255), [(i, 0, 0) for i in range(256)]
    )
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    scene = PASCAL_VOC.find_pictures(tmp_path, "train")[0].read()
    assert blocks_of(scene.labels) == [0, 1, 16, -1]


def test_training_sees_what_the_evaluation_reads(tmp_path, save):
    """A benchmark's pictures, in the benchmark's own reading: 128 is ignored, above is the object."""
    save(tmp_path / "data_GT" / "a.jpg", np.full((10, 30, 3), 90, np.uint8))
    save(tmp_path / "boundary_GT" / "a.png", grid(64, 128, 255))
    (tmp_path / "config.yml").write_text("GRABCUT_PATH: .\n")
    text = f"data:GrabCut:config={tmp_path / 'config.yml'}:content=photo"
    scene = open_mixture([text], tmp_path).draw(np.random.default_rng(0))
    assert blocks_of(scene.labels) == [0, -1, 1]
    sample = open_dataset("GrabCut", read_config(tmp_path / "config.yml"))[0]
    np.testing.assert_array_equal(sample.truth, scene.labels)
    np.testing.assert_array_equal(sample.image, scene.image)


def test_a_data_set_of_many_objects_a_picture_gives_each_picture_once(tmp_path, save, monkeypatch):
    for name in "ab":
        save(tmp_path / "img" / f"{name}.jpg", np.zeros((10, 30, 3), np.uint8))
        (tmp_path / "inst").mkdir(exist_ok=True)
        struct = {"Segmentation": grid(0, 1, 2)}
        scipy.io.savemat(tmp_path / "inst" / f"{name}.mat", {"GTinst": struct})
    (tmp_path / "val.txt").write_text("a\nb\n")
    (tmp_path / "config.yml").write_text("SBD_PATH: .\n")
    monkeypatch.chdir(tmp_path)
    (source,) = open_mixture(["data:sbd"], tmp_path).sources
    assert [picture.name for picture in source.pictures] == ["a", "b"]
    with pytest.raises(InputError, match=r"'liver': no such data set in config\.yml"):
        open_mixture(["data:liver"], tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the published data beside the checkout")
@pytest.mark.parametrize(
    "text",
    ["benchmarks/COCO_MVal:images=img:masks=gt", "ct_slices/liver", "ct_slices/spleen", "ct_slices/lung"],
)
def test_real_folders(text, tmp_path):
    mixture = open_mixture([f"folder:{DATA}/{text}"], tmp_path)
    samples = TrainingSamples(mixture, SampleSettings(), 0)
    for i in range(12):
        sample = samples[i]
        assert sample.problems == ()
        assert (sample.label == 1).sum() >= 1000
        assert sample.label[sample.first_click] == 1
