import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from isegm.errors import InputError
from isegm.training import sources
from isegm.training.scenes import Altered, Scene
from isegm.training.sources import KINDS, Mixture, open_mixture, open_source, parse_source


@pytest.mark.parametrize(
    ("text", "kind", "path", "options", "weight"),
    [
        ("phantom", "phantom", "", {}, 1.0),
        ("phantom@0.5", "phantom", "", {}, 0.5),
        ("phantom:size=256x384:jitter=0,1@2", "phantom", "", {"size": "256x384", "jitter": "0,1"}, 2.0),
        ("folder:datasets/liver", "folder", "datasets/liver", {}, 1.0),
        ("folder:/a b/c@1e-2", "folder", "/a b/c", {}, 0.01),
        ("folder:C:\\data\\x:masks=gt", "folder", "C:\\data\\x", {"masks": "gt"}, 1.0),
        ("folder:me@home@1", "folder", "me@home", {}, 1.0),
        ("folder:me@home/x", "folder", "me@home/x", {}, 1.0),
        ("coco:D:/a.json:images=E:/train@3", "coco", "D:/a.json", {"images": "E:/train"}, 3.0),
        ("nifti:T3:labels=1+2,3", "nifti", "T3", {"labels": "1+2,3"}, 1.0),
        ("nifti:T3:window=-500,1400", "nifti", "T3", {"window": "-500,1400"}, 1.0),
        ("folder:x:shrink=320@2", "folder", "x", {"shrink": "320"}, 2.0),
    ],
)
def test_grammar(text, kind, path, options, weight):
    spec = parse_source(text)
    assert (spec.kind, spec.path, spec.options, spec.weight) == (kind, path, options, weight)
    assert text.startswith(spec.text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with none of folder, nifti, coco"),
        ("datasets/liver", "begins with none of"),
        ("folder", "has no path; write folder:PATH"),
        ("folder:", "has no path"),
        ("folder:masks=gt", "has no path"),
        ("folder:x@0", "weight must be a number above 0"),
        ("folder:x@-1", "weight must be a number above 0"),
        ("folder:x@nan", "weight must be a number above 0"),
        ("folder:me@home", "add @1 to it"),
        ("folder:x:colour=red", "has no option colour=; it has content, ignore"),
        ("folder:x:masks=a:masks=b", "comes twice"),
        ("folder:x:masks=", "has no value"),
        ("phantom:here", "takes no path, but options: family, jitter, size, turn"),
        ("phantom:shrink=320", "phantom has no option shrink=; it has family, jitter, size, turn"),
    ],
)
def test_what_is_not_written_right(text, message):
    with pytest.raises(InputError, match=message):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("folder:x:content=mri", "content=mri: must be auto or ct or photo"),
        ("folder:x:read=soft", "must be labels or binary"),
        ("folder:x:ignore=-1", "not a whole number from 1"),
        ("coco:x.json", "images=FOLDER"),
        ("nifti:x:organ=kidney", "give its label values by labels="),
        ("nifti:x:labels=1+a", "'a' is not a whole number"),
        ("nifti:x:labels=1,1", "comes twice"),
        ("nifti:x:labels=1:jitter=2", "jitter=2: give by how many widths"),
        ("nifti:x:labels=1:jitter=-1,2", "shift must be at least 0"),
        ("nifti:x:labels=1:window=green", "window 'green'"),
        ("nifti:nowhere:labels=1", "nowhere: no such file or folder"),
        ("phantom:size=10", "not a whole number from 32"),
        ("phantom:size=64x64x64", "a height and a width"),
        ("folder:nowhere", "nowhere/images: no such folder"),
        ("sbd:nowhere", "train.txt: No such file"),
    ],
)
def test_what_cannot_be_opened(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        open_source(parse_source(text), tmp_path / "cache")
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_no_source_at_all(tmp_path):
    with pytest.raises(InputError, match="no source"):
        open_mixture([], tmp_path)


def test_an_error_in_the_last_source_comes_before_the_first_is_opened(tmp_path):
    with pytest.raises(InputError, match="begins with none of"):
        open_mixture(["folder:nowhere", "typo:x"], tmp_path)


def test_sources_are_drawn_by_weight(given_scenes, scene_of):
    scenes = [scene_of(np.full((2, 2), i)) for i in range(3)]
    mixture = Mixture(
        [(given_scenes(scene), weight) for scene, weight in zip(scenes, (1, 2, 5), strict=True)]
    )
    rng = np.random.default_rng(0)
    drawn = np.bincount([mixture.draw(rng).labels[0, 0] for _ in range(4000)])
    np.testing.assert_allclose(drawn / 4000, [1 / 8, 2 / 8, 5 / 8], atol=0.03)
    assert mixture.name == "given, given, given"


def test_a_mixture_travels_to_other_processes(tmp_path, save):
    save(tmp_path / "images" / "a.png", np.zeros((8, 8, 3), np.uint8))
    save(tmp_path / "masks" / "a.png", np.eye(8, dtype=np.uint8))
    mixture = open_mixture([f"folder:{tmp_path}@2", f"folder:{tmp_path}:read=binary"], tmp_path)
    other = pickle.loads(pickle.dumps(mixture))
    first, second = (m.draw(np.random.default_rng(4)) for m in (mixture, other))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)


# --- large pictures made smaller


def shrunk(scene, side):
    return sources._shrink(side, scene, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("size", "side", "shrunk_size"),
    [
        ((40, 60), 30, (20, 30)),
        ((60, 40), 30, (30, 20)),  # portrait: the longer side is the height
        ((60, 60), 30, (30, 30)),
        ((33, 100), 32, (11, 32)),  # 10.56
        ((100, 32), 32, (32, 10)),  # 10.24
        ((61, 60), 60, (60, 59)),  # 59.02
        ((1, 100), 32, (1, 32)),  # 0.32, but a picture has a pixel
        ((100, 1), 32, (32, 1)),
    ],
)
def test_a_large_picture_gets_the_longer_side(scene_of, size, side, shrunk_size):
    scene = shrunk(scene_of(np.ones(size)), side)
    assert scene.image.shape == (*shrunk_size, 3)
    assert scene.labels.shape == shrunk_size
    assert (scene.labels == 1).all()


@pytest.mark.parametrize("size", [(20, 30), (30, 20), (30, 30), (1, 1), (30, 1)])
def test_a_picture_that_is_small_enough_is_left_as_it_is(scene_of, size):
    scene = scene_of(np.ones(size))
    assert shrunk(scene, 30) is scene


def test_half_the_size_by_hand():
    """Each pixel of the picture is the mean of four; each label is one of theirs, never between."""
    labels = np.repeat(np.repeat([[0, 7], [-1, 2]], 20, axis=0), 20, axis=1).astype(np.int32)
    image = np.tile(np.array([[0, 100], [40, 200]], np.uint8), (20, 20))
    image = np.stack([image, 255 - image, labels.clip(0).astype(np.uint8)], axis=2)
    for is_ct in (True, False):
        scene = shrunk(Scene(image, labels, is_ct), 20)
        np.testing.assert_array_equal(scene.labels, labels[::2, ::2])
        assert scene.labels.dtype == np.int32
        assert scene.image.dtype == np.uint8
        assert (scene.image[..., 0] == 85).all()
        assert (scene.image[..., 1] == 170).all()
        np.testing.assert_array_equal(scene.image[..., 2], scene.labels.clip(0))
        assert scene.is_ct == is_ct


def test_labels_stay_labels_and_on_their_pixels_at_any_factor(scene_of):
    labels = np.zeros((90, 60), np.int32)
    labels[30:] = 3  # at two thirds of the size from row 20 on
    labels[:, 45:] = -1  # from column 30 on
    scene = shrunk(scene_of(labels), 60)
    expected = np.zeros((60, 40), np.int32)
    expected[20:] = 3
    expected[:, 30:] = -1
    np.testing.assert_array_equal(scene.labels, expected)
    np.testing.assert_array_equal(scene.image[..., 0], np.where(expected < 0, 255, expected * 60))
    rng = np.random.default_rng(0)
    odd = shrunk(scene_of(rng.choice([-1, 0, 2, 9], (83, 131))), 47).labels
    assert set(np.unique(odd)) == {-1, 0, 2, 9}


def test_a_label_is_that_in_the_middle_of_its_pixel(scene_of):
    labels = np.zeros((96, 96), np.int32)
    labels[:, 31:] = 1  # a third of the size: the middle of columns 30 to 32
    labels[62:] = 2
    expected = np.zeros((32, 32), np.int32)
    expected[:, 10:] = 1
    expected[21:] = 2  # row 20 is the middle of 60 to 62
    np.testing.assert_array_equal(shrunk(scene_of(labels), 32).labels, expected)


def test_the_slice_beside_moves_with_its_neighbour(scene_of):
    labels = np.arange(40 * 60).reshape(40, 60) % 7
    scene = replace(scene_of(labels), beside=scene_of(labels[::-1]).labels)
    other = replace(scene, labels=scene.beside, beside=None)
    for move in (
        lambda scene: shrunk(scene, 32),
        lambda scene: sources._turn(1.0, scene, np.random.default_rng(0)),
    ):
        np.testing.assert_array_equal(move(scene).beside, move(other).labels)
        assert move(other).beside is None


def test_a_shrunk_source_is_otherwise_the_source_itself(given_scenes, scene_of):
    source = replace(given_scenes(*(scene_of(np.full((50, 50), i)) for i in range(4))), notes=("read this",))
    small = Altered(source, partial(sources._shrink, 32))
    assert (small.name, small.notes) == ("given", ("read this",))
    rngs = [np.random.default_rng(5) for _ in range(2)]
    for _ in range(10):
        assert small.draw(rngs[0]).labels[0, 0] == source.draw(rngs[1]).labels[0, 0]


WRITTEN = {
    "folder": "folder:x",
    "nifti": "nifti:x:labels=1",
    "coco": "coco:x.json:images=y",
    "lvis": "lvis:x.json:images=y",
    "sbd": "sbd:x",
    "voc": "voc:x",
    "data": "data:x",
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_with_files_can_be_shrunk(kind, monkeypatch, tmp_path, given_scenes, scene_of):
    if kind == "phantom":  # it has size=
        with pytest.raises(InputError, match="has no option shrink="):
            parse_source("phantom:shrink=32")
        return
    scene = scene_of(np.ones((48, 64)))
    opened = replace(KINDS[kind], open=lambda spec, cache: given_scenes(scene))
    monkeypatch.setattr(sources, "KINDS", {**KINDS, kind: opened})
    plain, small = (
        open_mixture([WRITTEN[kind] + option], tmp_path).draw(np.random.default_rng(0))
        for option in ("", ":shrink=32")
    )
    assert plain is scene
    assert small.labels.shape == (24, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_can_be_turned(kind, monkeypatch, tmp_path, given_scenes, scene_of):
    labels = np.zeros((6, 8), int)
    labels[0, :3] = 1
    scene = scene_of(labels)
    opened = replace(KINDS[kind], open=lambda spec, cache: given_scenes(scene))
    monkeypatch.setattr(sources, "KINDS", {**KINDS, kind: opened})
    text = WRITTEN.get(kind, kind)
    never, always, half = (open_mixture([f"{text}:turn={p}"], tmp_path) for p in (0, 1, 0.5))
    rng = np.random.default_rng(0)
    assert never.draw(rng) is scene
    seen = set()
    for _ in range(30):
        turned = always.draw(rng)
        quarters = [k for k in (1, 2, 3) if np.array_equal(turned.labels, np.rot90(labels, k))]
        assert len(quarters) == 1
        assert np.array_equal(turned.image, np.rot90(scene.image, quarters[0]))
        seen.update(quarters)
    assert seen == {1, 2, 3}
    assert 30 < sum(half.draw(rng) is scene for _ in range(100)) < 70


@pytest.fixture
def folder(tmp_path, save):
    save(tmp_path / "data" / "images" / "a.png", np.zeros((48, 64, 3), np.uint8))
    save(tmp_path / "data" / "masks" / "a.png", np.eye(48, 64, dtype=np.uint8))
    return tmp_path / "data"


@pytest.mark.parametrize("value", ["31", "0", "-64", "64.5", "64x64", "half"])
def test_a_side_that_is_none_is_refused_in_one_line(folder, value):
    with pytest.raises(InputError) as caught:
        open_mixture([f"folder:{folder}:shrink={value}"], folder)
    assert str(caught.value) == (
        f"source folder:{folder}:shrink={value}: shrink={value}: {value!r} is not a whole number from 32 on"
    )


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "often"])
def test_a_probability_that_is_none_is_refused_in_one_line(folder, value):
    with pytest.raises(InputError) as caught:
        open_mixture([f"folder:{folder}:turn={value}"], folder)
    assert (
        str(caught.value)
        == f"source folder:{folder}:turn={value}: turn={value}: must be a number from 0 to 1"
    )


def test_a_shrunk_folder_of_files_travels_to_other_processes(folder):
    mixture = open_mixture([f"folder:{folder}:shrink=32"], folder)
    other = pickle.loads(pickle.dumps(mixture))
    assert other.name == f"folder:{folder}:shrink=32"
    for source in (mixture, other):
        scene = source.draw(np.random.default_rng(0))
        assert scene.image.shape == (24, 32, 3)
        assert scene.is_ct  # as its picture is grey
        # At half the size every second pixel of the diagonal is met.
        np.testing.assert_array_equal(scene.labels, np.eye(24, 32, dtype=np.int32))
