import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isegm.datasets import Dataset, available_datasets, open_dataset
from isegm.datasets.coco import clean_segmentation, find_coco, paint
from isegm.datasets.dataset import single_objects
from isegm.errors import InputError, InputWarning
from isegm.training.sources import open_mixture

coco_masks = pytest.importorskip("pycocotools.mask")

HEIGHT, WIDTH = 40, 60


def square(top, left, bottom, right):
    return [[left, top, right, top, right, bottom, left, bottom]]


def uncompressed(mask):
    """COCO's run lengths: column by column, beginning with a run of zeros."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()}


def compressed(mask):
    code = coco_masks.encode(np.asfortranarray(mask, np.uint8))
    return {"size": code["size"], "counts": code["counts"].decode()}


def box(top, left, bottom, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.fixture
def write(tmp_path, save):
    """write(annotations, ...) a data set of two pictures; returns the annotation file and the folder."""

    def write(annotations, names=("a.jpg", "b.jpg"), **more):
        for value, name in enumerate(("a.jpg", "b.jpg")):
            save(tmp_path / "train2017" / name, np.full((HEIGHT, WIDTH, 3), 50 * (value + 1), np.uint8))
        content = {
            "images": [
                {"id": 10 + i, "file_name": name, "height": HEIGHT, "width": WIDTH}
                for i, name in enumerate(names)
            ],
            "annotations": [
                {"image_id": 10, "category_id": 1, "id": i} | a for i, a in enumerate(annotations)
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        } | more
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(content))
        return path, tmp_path / "train2017"

    return write


def read(path, images, **options):
    """The only picture with an object, all of whose objects could be used."""
    (picture,), notes = find_coco(path, images, **options)
    assert notes == []
    return picture.read()


def test_polygons_codes_and_crowds(write):
    annotations = [
        {"segmentation": square(2, 3, 12, 23)},
        {"segmentation": uncompressed(box(20, 5, 30, 15)), "iscrowd": 0},
        {"segmentation": compressed(box(20, 30, 38, 55)), "iscrowd": 0},
        {"segmentation": uncompressed(box(0, 40, 25, 60)), "iscrowd": 1},
    ]
    picture = read(*write(annotations))
    expected = np.zeros((HEIGHT, WIDTH), np.int32)
    expected[0:25, 40:60] = -1
    expected[2:12, 3:23] = 1
    expected[20:30, 5:15] = 2
    expected[20:38, 30:55] = 3
    np.testing.assert_array_equal(picture.labels, expected)
    assert abs(int(picture.image().mean()) - 50) <= 1  # the second picture has no object and never comes


def test_the_smaller_of_two_overlapping_objects_is_seen(write):
    small, large = square(10, 10, 20, 20), square(5, 5, 35, 50)
    for annotations in ([small, large], [large, small]):
        labels = read(*write([{"segmentation": a} for a in annotations])).labels
        number = annotations.index(small) + 1
        assert (labels == number).sum() == 100
        assert (labels == 3 - number).sum() == 30 * 45 - 100


def test_an_object_of_several_polygons_is_one(write):
    labels = read(*write([{"segmentation": square(0, 0, 5, 5) + square(10, 10, 15, 15)}])).labels
    assert (labels == 1).sum() == 50


@settings(deadline=None)
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_code_is_read_as_pycocotools_does(mask):
    for segmentation in (uncompressed(mask), compressed(mask)):
        cleaned, strays = clean_segmentation(segmentation, *mask.shape)
        assert strays == 0
        labels = paint([(cleaned, False)], *mask.shape)
        np.testing.assert_array_equal(labels == 1, mask)


@settings(deadline=None)
@given(st.text(min_size=0, max_size=20, alphabet=st.characters(min_codepoint=48, max_codepoint=111)))
def test_a_random_code_does_no_harm(counts):
    try:
        cleaned, _ = clean_segmentation({"size": [6, 7], "counts": counts}, 6, 7)
    except ValueError:
        return
    labels = paint([(cleaned, False)], 6, 7)
    code = {"size": [6, 7], "counts": counts.encode()}
    np.testing.assert_array_equal(labels == 1, coco_masks.decode(code) == 1)


NO_OUTLINE = "no outline"
NO_POLYGON = "no polygon in the picture"
OTHER_SIZE = "run lengths for another size"
NO_SUM = "run lengths that do not add up to the picture"
GOOD = square(2, 3, 12, 23)


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ("no key", NO_OUTLINE),
        (None, NO_OUTLINE),
        ([], NO_OUTLINE),
        ("text", NO_OUTLINE),
        ([[]], NO_POLYGON),
        ([[1, 2, 3, 4]], NO_POLYGON),
        ([[1, 2, 3, 4, 5, 6, 7]], NO_POLYGON),
        ([1, 2, 3, 4, 5, 6], NO_POLYGON),
        ([[1, 2, 3, 4, 5, float("nan")]], NO_POLYGON),
        ([[1, 2, 3, 4, 5, float("-inf")]], NO_POLYGON),
        ([[1, 2, 3, 4, 5, "6"]], NO_POLYGON),
        ([[1, 2, 3, 4, 5, None]], NO_POLYGON),
        ([[1, 2, 3, 4, 5, 1e12]], NO_POLYGON),
        ([[1, 2, 3, 4, 5, 10**400]], NO_POLYGON),
        ({"size": [HEIGHT, WIDTH]}, NO_SUM),
        ({"size": [HEIGHT, WIDTH], "counts": [3, 4]}, NO_SUM),
        ({"size": [HEIGHT, WIDTH], "counts": [3, "4"]}, NO_SUM),
        ({"size": [HEIGHT, WIDTH], "counts": [-5, 5 + HEIGHT * WIDTH]}, NO_SUM),
        ({"size": [HEIGHT, WIDTH], "counts": "PP0000"}, NO_SUM),
        ({"size": [WIDTH, HEIGHT], "counts": [0, HEIGHT * WIDTH]}, OTHER_SIZE),
        ({"counts": [0, HEIGHT * WIDTH]}, OTHER_SIZE),
    ],
    ids=repr,
)
def test_an_object_that_cannot_be_used_costs_no_other(write, segmentation, reason):
    bad = {} if segmentation == "no key" else {"segmentation": segmentation}
    path, images = write([bad, {"segmentation": GOOD}, {**bad, "image_id": 11}])
    (picture,), notes = find_coco(path, images)
    assert notes == [f"{path}: left out of 3 objects: {reason} (2)"]
    assert picture.name == "a"
    np.testing.assert_array_equal(picture.read().labels, box(2, 3, 12, 23))
    path, images = write([bad])
    with pytest.raises(InputError) as caught:
        find_coco(path, images)
    assert str(caught.value) == f"{path}: holds no object that can be used; left out of 1: {reason} (1)"


def test_a_stray_polygon_costs_no_other_of_its_object(write):
    path, images = write([{"segmentation": [[20, 20, 30, 30], *GOOD, [1, 1]]}])
    (picture,), notes = find_coco(path, images)
    assert notes == [f"{path}: left out of 1 objects: stray polygon, of two corners say (2)"]
    np.testing.assert_array_equal(picture.read().labels, box(2, 3, 12, 23))


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"image_id": 99, "segmentation": GOOD}, "no entry of the picture with its size"),
        ({"image_id": None, "segmentation": GOOD}, "no entry of the picture with its size"),
        ({"image_id": [10], "segmentation": GOOD}, "no entry of the picture with its size"),
        ({"image_id": 12, "segmentation": GOOD}, "no entry of the picture with its size"),
        ({"image_id": 13, "segmentation": GOOD}, "picture not in {images}"),
    ],
)
def test_neither_does_a_picture_that_is_not_there(write, annotation, reason):
    entries = [
        {"id": 10, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 12, "file_name": "b.jpg", "height": "tall"},
        {"id": 13, "file_name": "c.jpg", "height": HEIGHT, "width": WIDTH},
        "no entry",
        {"file_name": "b.jpg"},
    ]
    path, images = write([{"segmentation": GOOD}, annotation], images=entries)
    (picture,), notes = find_coco(path, images)
    assert picture.image.name == "a.jpg"
    assert notes == [f"{path}: left out of 2 objects: {reason.format(images=images)} (1)"]


def test_objects_by_number(write):
    annotations = [
        {"segmentation": square(20, 5, 30, 15), "iscrowd": 1},
        {"segmentation": GOOD},
        {"segmentation": []},
        {"segmentation": square(20, 30, 38, 55)},
    ]
    (picture,), _ = find_coco(*write(annotations))
    assert picture.numbers() == [2, 3]
    samples = Dataset("coco", single_objects([picture], problems := []))
    assert problems == []
    assert samples.names == ("a_2", "a_3")
    np.testing.assert_array_equal(samples[0].truth, box(2, 3, 12, 23) - box(20, 5, 30, 15).astype(int))
    np.testing.assert_array_equal(samples[1].truth, box(20, 30, 38, 55) - box(20, 5, 30, 15).astype(int))


@pytest.mark.parametrize("annotations", ["annotations/instances_val2017.json", "instances.json"])
@pytest.mark.parametrize("images", ["images", "train2017"])
def test_a_row_of_the_config_file_may_name_an_annotation_file(
    write, tmp_path, config_of, annotations, images
):
    path, folder = write([{"segmentation": GOOD}, {"segmentation": []}, {"segmentation": GOOD}])
    content = json.loads(path.read_text())
    content["images"][0]["coco_url"] = "http://images.cocodataset.org/train2017/a.jpg"
    path.unlink()
    folder.rename(tmp_path / images)
    place = tmp_path / annotations
    place.parent.mkdir(exist_ok=True)
    config = config_of(COCO_VAL_PATH=place, LVIS_PATH=tmp_path / "none.json")
    assert available_datasets(config) == []
    place.write_text(json.dumps(content))
    assert available_datasets(config) == ["coco_val"]
    with pytest.warns(InputWarning, match=r"left out of 3 objects: no outline \(1\)"):
        dataset = open_dataset("coco_val", config)
    assert dataset.names == ("a_2",)  # the later of two equal objects is in front
    assert dataset.folder is None
    np.testing.assert_array_equal(dataset[0].truth, box(2, 3, 12, 23))


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["x/1.png", "y/1.png", "y/2.png"], ["x_1", "y_1", "2"]),
        (["x/1.png", "y/1.png", "x_1.png"], ["x_1", "y_1", "x_1_2"]),
        (["1.png", "1.jpg", "2.png", "2.png"], ["1", "1_2", "2", "2_2"]),
    ],
)
def test_pictures_of_one_name_stay_apart(write, save, files, names):
    entries = [{"id": i, "file_name": file, "height": HEIGHT, "width": WIDTH} for i, file in enumerate(files)]
    path, images = write([{"segmentation": GOOD, "image_id": e["id"]} for e in entries], images=entries)
    for file in files:
        save(images / file, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    pictures, _ = find_coco(path, images)
    assert [picture.name for picture in pictures] == names


def test_training_says_what_was_left_out(write):
    path, images = write([{"segmentation": GOOD}, {"segmentation": []}])
    mixture = open_mixture([f"coco:{path}:images={images}"], images)
    assert mixture.notes == (f"{path}: left out of 2 objects: no outline (1)",)


def test_categories(write):
    path, images = write(
        [
            {"segmentation": square(0, 0, 10, 10)},
            {"segmentation": square(20, 20, 30, 30), "category_id": 7, "image_id": 11},
        ]
    )
    picture = read(path, images, categories=["dog"])
    assert abs(int(picture.image().mean()) - 100) <= 1
    assert (picture.labels > 0).sum() == 100
    with pytest.raises(InputError, match="has no category 'horse'; it has cat, dog"):
        read(path, images, categories=["horse"])
    mixture = open_mixture([f"coco:{path}:images={images}:categories=dog,cat"], images)
    assert {int(mixture.draw(np.random.default_rng(i)).image.mean()) // 49 for i in range(20)} == {1, 2}


@pytest.mark.parametrize("folder", ["", "train2017"])
def test_lvis_pictures_are_found_by_their_url(write, tmp_path, folder):
    entry = {
        "id": 10,
        "coco_url": "http://images.cocodataset.org/train2017/a.jpg",
        "height": HEIGHT,
        "width": WIDTH,
    }
    path, _ = write([{"segmentation": square(0, 0, 10, 10)}], images=[entry])
    mixture = open_mixture([f"lvis:{path}:images={tmp_path / folder}"], tmp_path)
    assert (mixture.draw(np.random.default_rng(0)).labels == 1).sum() == 100


def test_a_picture_of_another_size_than_annotated(write, save):
    path, images = write([{"segmentation": square(0, 0, 10, 10)}])
    save(images / "a.jpg", np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8))
    with pytest.raises(
        InputError, match=r"a.jpg: has 20 rows and 30 columns, but 40 and 60 by .*instances.json"
    ):
        read(path, images)


@pytest.mark.parametrize("name", ["c.jpg", "../instances.json", "/etc/passwd", "sub/a.jpg", 7, "a\0.jpg"])
def test_missing_pictures_are_counted_and_nothing_else_is_opened(write, name):
    path, images = write([{"segmentation": square(0, 0, 10, 10)}], names=(name,))
    with pytest.raises(InputError, match=r"holds no object .* of 1: picture not in"):
        find_coco(path, images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ('{"images": [', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an annotation file of COCO's format"),
        ("{}", "not an annotation file of COCO's format"),
        ('{"images": [{"id": 1}], "annotations": 3}', "not an annotation file"),
        ('{"images": [], "annotations": [], "categories": []}', "holds no object that can be used; is it"),
        (
            '{"images": [{"id": 1}], "annotations": [{"image_id": 1}, 3]}',
            "holds no object that can be used; left out of 2: ",
        ),
    ],
)
def test_what_is_no_annotation_file(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=rf"a.json: {message}"):
        find_coco(tmp_path / "a.json", tmp_path)


def test_a_missing_annotation_file(tmp_path):
    with pytest.raises(InputError, match="no such annotation file"):
        find_coco(tmp_path / "a.json", tmp_path)


def test_without_pycocotools(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.startswith("pycocotools"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(InputError, match="pip install pycocotools"):
        find_coco(tmp_path / "a.json", tmp_path)
