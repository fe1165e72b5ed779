import pickle

import numpy as np
import pytest

from isegm.errors import InputError
from isegm.training.sources import Mixture, open_mixture, open_source, parse_source


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
        ("phantom:here", "takes no path, but options: jitter, size"),
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
        ("folder:x:ignore=-1", "no whole number from 1"),
        ("coco:x.json", "images=FOLDER"),
        ("nifti:x:organ=kidney", "give its label values by labels="),
        ("nifti:x:labels=1+a", "'a' is no whole number"),
        ("nifti:x:labels=1,1", "comes twice"),
        ("nifti:x:labels=1:jitter=2", "jitter=2: give by how many widths"),
        ("nifti:x:labels=1:jitter=-1,2", "shift must be at least 0"),
        ("nifti:x:labels=1:window=green", "window 'green'"),
        ("nifti:nowhere:labels=1", "nowhere: no such file or folder"),
        ("phantom:size=10", "no whole number from 32"),
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
