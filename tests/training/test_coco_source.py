import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isegm.errors import InputError
from isegm.training.coco_source import open_coco, paint
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


def draw(path, images, **options):
    return open_coco("coco", path, images, **options).draw(np.random.default_rng(0))


def test_polygons_codes_and_crowds(write):
    annotations = [
        {"segmentation": square(2, 3, 12, 23)},
        {"segmentation": uncompressed(box(20, 5, 30, 15)), "iscrowd": 0},
        {"segmentation": compressed(box(20, 30, 38, 55)), "iscrowd": 0},
        {"segmentation": uncompressed(box(0, 40, 25, 60)), "iscrowd": 1},
    ]
    scene = draw(*write(annotations))
    expected = np.zeros((HEIGHT, WIDTH), np.int32)
    expected[0:25, 40:60] = -1
    expected[2:12, 3:23] = 1
    expected[20:30, 5:15] = 2
    expected[20:38, 30:55] = 3
    np.testing.assert_array_equal(scene.labels, expected)
    assert abs(int(scene.image.mean()) - 50) <= 1  # the second picture has no object and never comes
    assert not scene.is_ct


def test_the_smaller_of_two_overlapping_objects_is_seen(write):
    small, large = square(10, 10, 20, 20), square(5, 5, 35, 50)
    for annotations in ([small, large], [large, small]):
        labels = draw(*write([{"segmentation": a} for a in annotations])).labels
        number = annotations.index(small) + 1
        assert (labels == number).sum() == 100
        assert (labels == 3 - number).sum() == 30 * 45 - 100


def test_an_object_of_several_polygons_is_one(write):
    labels = draw(*write([{"segmentation": square(0, 0, 5, 5) + square(10, 10, 15, 15)}])).labels
    assert (labels == 1).sum() == 50


@settings(deadline=None)
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_code_is_read_as_pycocotools_does(mask):
    for segmentation in (uncompressed(mask), compressed(mask)):
        labels = paint([{"segmentation": segmentation, "crowd": 0}], *mask.shape)
        np.testing.assert_array_equal(labels == 1, mask)


@settings(deadline=None)
@given(st.text(min_size=0, max_size=20, alphabet=st.characters(min_codepoint=48, max_codepoint=111)))
def test_a_random_code_does_no_harm(counts):
    try:
        labels = paint([{"segmentation": {"size": [6, 7], "counts": counts}, "crowd": 0}], 6, 7)
    except ValueError:
        return
    code = {"size": [6, 7], "counts": counts.encode()}
    np.testing.assert_array_equal(labels == 1, coco_masks.decode(code) == 1)


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [[1, 2, 3, 4, 5, "6"]],
        [[1, 2, 3, 4, 5, 1e12]],
        "text",
        None,
        {"size": [HEIGHT, WIDTH], "counts": [3, 4]},
        {"size": [HEIGHT, WIDTH], "counts": [-5, 5 + HEIGHT * WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": "PP0000"},
        {"size": [WIDTH, HEIGHT], "counts": [0, HEIGHT * WIDTH]},
        {"counts": [0, HEIGHT * WIDTH]},
    ],
)
def test_a_wrong_segmentation_is_named(write, segmentation):
    path, images = write([{"segmentation": segmentation}])
    source = open_coco("coco", path, images)
    with pytest.raises(InputError, match=r"instances.json: an object of a.jpg: "):
        source.draw(np.random.default_rng(0))


def test_categories(write):
    path, images = write(
        [
            {"segmentation": square(0, 0, 10, 10)},
            {"segmentation": square(20, 20, 30, 30), "category_id": 7, "image_id": 11},
        ]
    )
    scene = draw(path, images, categories=["dog"])
    assert abs(int(scene.image.mean()) - 100) <= 1
    assert (scene.labels > 0).sum() == 100
    with pytest.raises(InputError, match="has no category 'horse'; it has cat, dog"):
        draw(path, images, categories=["horse"])
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
        draw(path, images)


@pytest.mark.parametrize("name", ["c.jpg", "../instances.json", "/etc/passwd", "sub/a.jpg"])
def test_missing_pictures_are_counted_and_nothing_else_is_opened(write, name):
    path, images = write([{"segmentation": square(0, 0, 10, 10)}], names=(name,))
    with pytest.raises(InputError, match=r"1 of its 1 pictures with objects are missing, .* images="):
        open_coco("coco", path, images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ('{"images": [', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not an annotation file of COCO's format"),
        ("{}", "not an annotation file of COCO's format"),
        ('{"images": [{"id": 1}], "annotations": 3}', "not an annotation file"),
        ('{"images": [], "annotations": [], "categories": []}', "holds no object"),
        ('{"images": [{"id": 1}], "annotations": [{"image_id": 1}]}', "not an annotation file"),
    ],
)
def test_what_is_no_annotation_file(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=rf"a.json: {message}"):
        open_coco("coco", tmp_path / "a.json", tmp_path)


def test_a_missing_annotation_file(tmp_path):
    with pytest.raises(InputError, match="no such annotation file"):
        open_coco("coco", tmp_path / "a.json", tmp_path)


def test_without_pycocotools(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.startswith("pycocotools"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(InputError, match="pip install pycocotools"):
        open_coco("coco", tmp_path / "a.json", tmp_path)
