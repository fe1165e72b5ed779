import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isegm.datasets import DatasetProblems, open_dataset
from isegm.datasets.picture_pairs import find_folder
from isegm.errors import InputError

GREY_LEVELS = np.array([[0, 1, 64, 127], [128, 129, 200, 255]])


@pytest.mark.parametrize(
    ("name", "key", "images", "masks", "truth"),
    [
        ("GrabCut", "GRABCUT_PATH", "data_GT", "boundary_GT", [[0, 0, 0, 0], [-1, 1, 1, 1]]),
        ("Berkeley", "BERKELEY_PATH", "images", "masks", [[0, 0, 0, 0], [-1, 1, 1, 1]]),
        ("DAVIS", "DAVIS_PATH", "img", "gt", [[0, 1, 1, 1], [1, 1, 1, 1]]),
        ("COCO_MVal", "COCO_MVAL_PATH", "img", "gt", [[0, 0, 0, 0], [0, 1, 1, 1]]),
        ("kidney", "KIDNEY_PATH", "images", "masks", [[0, 0, 0, 0], [1, 1, 1, 1]]),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_mask_is_read_at_its_own_levels(
    tmp_path, save, colours, config_of, name, key, images, masks, truth, channels
):
    save(tmp_path / images / "a.bmp", colours(2, 4))
    save(tmp_path / masks / "a.png", GREY_LEVELS if channels == 1 else np.dstack([GREY_LEVELS] * 3))
    dataset = open_dataset(name, config_of(**{key: tmp_path}))
    assert (dataset.name, dataset.names, len(dataset)) == (name, ("a",), 1)
    sample = dataset[0]
    assert sample.name == "a"
    assert sample.image.dtype == np.uint8
    np.testing.assert_array_equal(sample.image, colours(2, 4))
    assert sample.truth.dtype == np.int8
    np.testing.assert_array_equal(sample.truth, truth)
    assert sample.initial_mask is None


def test_davis_counts_every_channel(tmp_path, save, config_of):
    mask = np.zeros((1, 4, 3), np.uint8)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[0, 2, 2] = 1
    save(tmp_path / "img" / "a.png", np.zeros((1, 4, 3)))
    save(tmp_path / "gt" / "a.png", mask)
    np.testing.assert_array_equal(
        open_dataset("DAVIS", config_of(DAVIS_PATH=tmp_path))[0].truth, [[1, 1, 1, 0]]
    )


def folder_with(tmp_path, save, images, masks):
    for kind, names in (("images", images), ("masks", masks)):
        (tmp_path / kind).mkdir(exist_ok=True)
        for name in names:
            save(tmp_path / kind / name, np.full((4, 5), 255))
    return tmp_path


def problems_of(folder):
    with pytest.raises(DatasetProblems) as caught:
        find_folder(folder)
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


def test_suffixes_may_differ_and_other_files_do_not_count(tmp_path, save):
    folder_with(
        tmp_path, save, ["b.JPG", "a.png", "c.d.bmp", "e.tif"], ["a.PNG", "b.png", "c.d.tiff", "e.jpeg"]
    )
    for stray in (
        "images/Thumbs.db",
        "images/.hidden.png",
        "masks/manifest.csv",
        "masks/.DS_Store",
        "masks/Icon\r",
    ):
        (tmp_path / stray).write_bytes(b"")
    (tmp_path / "masks" / "folder.png").mkdir()
    records = find_folder(tmp_path)
    pairs = [(record.name, record.image.name, record.mask.name) for record in records]
    assert pairs == [
        ("a", "a.png", "a.PNG"),
        ("b", "b.JPG", "b.png"),
        ("c.d", "c.d.bmp", "c.d.tiff"),
        ("e", "e.tif", "e.jpeg"),
    ]


def test_composed_and_decomposed_characters_are_the_same_name(tmp_path, save):
    for folder, form in (("images", "NFC"), ("masks", "NFD")):
        save(tmp_path / folder / unicodedata.normalize(form, "hígado.png"), GREY_LEVELS)
    assert [picture.name for picture in find_folder(tmp_path)] == ["hígado"]


def test_every_problem_is_listed_at_once_in_a_stable_order(tmp_path, save):
    images = ["alone2.png", "alone1.png", "two.png", "two.bmp", "good.png", "Case.png"]
    masks = ["two.png", "good.bmp", "good.png", "orphan.png", "case.png"]
    i, m = tmp_path / "images", tmp_path / "masks"
    expected = [
        f"{i}/two.bmp: has the same name as two.png; keep one",
        f"{m}/good.bmp: has the same name as good.png; keep one",
        f"{i}/Case.png: has no mask of the same name in {m}; add it or remove this file",
        f"{i}/alone1.png: has no mask of the same name in {m}; add it or remove this file",
        f"{i}/alone2.png: has no mask of the same name in {m}; add it or remove this file",
        f"{m}/case.png: has no image of the same name in {i}; add it or remove this file",
        f"{m}/orphan.png: has no image of the same name in {i}; add it or remove this file",
    ]
    assert problems_of(folder_with(tmp_path, save, images, masks)) == expected


def test_missing_and_empty_folders(tmp_path, save):
    suffixes = ".bmp, .jpeg, .jpg, .png, .tif, .tiff"
    assert problems_of(tmp_path) == [
        f"{tmp_path / 'images'}: no such folder; the data set needs it",
        f"{tmp_path / 'masks'}: no such folder; the data set needs it",
    ]
    folder_with(tmp_path, save, [], ["a.png"])
    assert problems_of(tmp_path) == [
        f"{tmp_path / 'images'}: holds no file of {suffixes}; the data set needs them"
    ]
    (tmp_path / "images").rmdir()
    (tmp_path / "images").write_bytes(b"")
    assert problems_of(tmp_path) == [f"{tmp_path / 'images'}: Not a directory"]


def test_links_are_followed_and_one_that_leads_nowhere_is_a_problem(tmp_path, save):
    folder_with(tmp_path, save, ["a.png"], [])
    (tmp_path / "masks").rmdir()
    (tmp_path / "masks").symlink_to(tmp_path / "images")
    assert len(find_folder(tmp_path)) == 1
    (tmp_path / "images" / "b.png").symlink_to(tmp_path / "nothing")
    assert problems_of(tmp_path) == [
        f"{tmp_path / kind}: the link 'b.png' leads nowhere; fix or remove it" for kind in ("images", "masks")
    ]


def test_names_that_cannot_be_printed_are_problems(tmp_path, save):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for kind in ("images", "masks"):
        (tmp_path / kind / "a\nb.png").write_bytes(b"")
    assert problems_of(tmp_path) == [
        f"{tmp_path / kind}: 'a\\nb.png' is not printable; rename the file" for kind in ("images", "masks")
    ]


def test_order_does_not_depend_on_the_order_of_creation(tmp_path, save):
    names = [f"{number}.png" for number in (10, 9, 100, 1)] + ["B.png", "a.png"]
    seen = set()
    for seed in range(4):
        random.Random(seed).shuffle(names)
        folder = tmp_path / str(seed)
        folder.mkdir()
        folder_with(folder, save, names, reversed(names))
        records = find_folder(folder)
        seen.add(tuple(record.name for record in records))
    assert seen == {("1", "10", "100", "9", "B", "a")}


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (
            "size",
            "masks/a.png: has 5 rows and 4 columns, but {}/images/a.png has 4 and 5; "
            "they must be of one size",
        ),
        ("empty", "masks/a.png: has no object pixel; mark the object or remove image and mask"),
        ("cut", "masks/a.png: not a readable picture; is it complete?"),
        ("gone", "masks/a.png: no such picture; check the path"),
        ("image", "images/a.png: not a readable picture; is it complete?"),
        ("folder", "images/a.png: Is a directory; name a file"),
    ],
)
def test_what_is_found_at_reading_names_the_file_and_spares_the_others(tmp_path, save, config_of, what, line):
    folder_with(tmp_path, save, ["a.png", "b.png"], ["a.png", "b.png"])
    dataset = open_dataset("liver", config_of(LIVER_PATH=tmp_path))
    image, mask = tmp_path / "images" / "a.png", tmp_path / "masks" / "a.png"
    if what == "size":
        save(mask, np.full((5, 4), 255))
    elif what == "empty":
        save(mask, np.zeros((4, 5)))
    elif what == "cut":
        mask.write_bytes(mask.read_bytes()[:20])
    elif what == "gone":
        mask.unlink()
    elif what == "image":
        image.write_bytes(b"")
    else:
        image.unlink()
        image.mkdir()
    with pytest.raises(InputError) as caught:
        dataset[0]
    assert str(caught.value) == f"{tmp_path}/{line.format(tmp_path)}"
    assert dataset[1].truth.all()


def test_a_mask_of_ignored_pixels_only_has_no_object(tmp_path, save, config_of):
    save(tmp_path / "images" / "a.png", np.zeros((2, 2)))
    save(tmp_path / "masks" / "a.png", np.full((2, 2), 128))
    with pytest.raises(InputError, match="has no object pixel"):
        open_dataset("Berkeley", config_of(BERKELEY_PATH=tmp_path))[0]


def test_a_data_set_can_be_walked(tmp_path, save, config_of):
    folder_with(tmp_path, save, ["a.png", "b.png"], ["a.png", "b.png"])
    dataset = open_dataset("liver", config_of(LIVER_PATH=tmp_path))
    assert [sample.name for sample in dataset] == list(dataset.names) == ["a", "b"]
    with pytest.raises(IndexError):
        dataset[2]


file_names = st.builds(
    "{}{}".format,
    st.text(st.sampled_from("ab.- ÄßŞ語\n\u200b"), min_size=1, max_size=3),
    st.sampled_from([".png", ".PNG", ".jpg", ".tif", ".csv", ".png.bak", ""]),
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=150, deadline=None)
@given(
    images=st.sets(file_names, max_size=6),
    masks=st.sets(file_names, max_size=6),
    shared=st.sets(file_names, max_size=4),
)
def test_pairing_gives_every_picture_once_or_says_why_not(tmp_path_factory, images, masks, shared):
    folder = tmp_path_factory.mktemp("pairs")
    written = {"images": images | shared, "masks": masks | shared}
    for kind, names in written.items():
        (folder / kind).mkdir()
        for name in names:
            (folder / kind / name).write_bytes(b"")
    pictures = {
        kind: [
            name
            for name in names
            if not name.startswith(".") and name.lower().endswith((".png", ".jpg", ".tif"))
        ]
        for kind, names in written.items()
    }
    stems = {kind: sorted(name[:-4] for name in names) for kind, names in pictures.items()}
    fits = (
        stems["images"] == stems["masks"] == sorted(set(stems["images"]))
        and len(stems["images"]) > 0
        and all(stem.isprintable() for stem in stems["images"])
    )
    if not fits:
        problems = problems_of(folder)
        assert problems
        assert all(str(folder) in problem for problem in problems)
        return
    records = find_folder(folder)
    assert [record.name for record in records] == stems["images"]
    assert sorted(record.image.name for record in records) == sorted(pictures["images"])
    assert sorted(record.mask.name for record in records) == sorted(pictures["masks"])


def test_a_part_of_a_data_set_has_its_name_and_some_of_its_samples(tmp_path, save, colours, config_of):
    for name in "abc":
        save(tmp_path / "images" / f"{name}.png", colours(2, 4))
        save(tmp_path / "masks" / f"{name}.png", GREY_LEVELS)
    dataset = open_dataset("kidney", config_of(KIDNEY_PATH=tmp_path))
    assert (dataset.part(1, 3).name, dataset.part(1, 3).names) == ("kidney", ("b", "c"))
    assert dataset.part(1, None).names == dataset.part(1, 9).names == ("b", "c")
    assert dataset.part(1, 2)[0].name == "b"
