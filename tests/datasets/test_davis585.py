import numpy as np
import pytest

from isegm.datasets import DatasetProblems, open_dataset
from isegm.errors import InputError

TRUTH = np.array([[0, 255, 255], [0, 129, 128]])
STM = np.array([[0, 0, 255], [0, 0, 0]])
SP = np.array([[255, 255, 255], [0, 0, 0]])


@pytest.fixture
def folder(tmp_path, save):
    for sequence, frame, objects in (("bmx-bumps", "00042", (2, 1)), ("bear", "00009", (1,))):
        save(tmp_path / sequence / f"{frame}.jpg", np.full((2, 3, 3), 90))
        for k in objects:
            save(tmp_path / sequence / f"object{k}_{frame}.png", TRUTH)
            save(tmp_path / sequence / f"init_stm_object{k}_{frame}.png", np.dstack([STM] * 3))
            save(tmp_path / sequence / f"init_sp_object{k}_{frame}.png", SP)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("")
    (tmp_path / "list.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "initial"),
    [("D585_SP", [[1, 1, 1], [0, 0, 0]]), ("D585_STM", [[0, 0, 1], [0, 0, 0]]), ("D585_ZERO", None)],
)
def test_every_mask_is_a_sample_with_its_initial_mask(folder, config_of, name, initial):
    dataset = open_dataset(name.lower(), config_of(DAVIS585_PATH=folder))
    assert dataset.name == name
    assert dataset.names == ("bear-object1_00009", "bmx-bumps-object1_00042", "bmx-bumps-object2_00042")
    for sample in dataset:
        np.testing.assert_array_equal(sample.image, np.full((2, 3, 3), 90))
        np.testing.assert_array_equal(sample.truth, [[0, 1, 1], [0, 1, 0]])
        if initial is None:
            assert sample.initial_mask is None
        else:
            assert sample.initial_mask.dtype == np.bool_
            np.testing.assert_array_equal(sample.initial_mask, initial)


def test_an_initial_mask_may_be_empty_but_not_of_another_size(folder, save, config_of):
    dataset = open_dataset("D585_SP", config_of(DAVIS585_PATH=folder))
    save(folder / "bear" / "init_sp_object1_00009.png", np.zeros((2, 3)))
    assert not dataset[0].initial_mask.any()
    save(folder / "bear" / "init_sp_object1_00009.png", np.zeros((2, 4)))
    with pytest.raises(
        InputError, match=r"init_sp_object1_00009\.png: has 2 rows and 4 columns, but .*00009\.jpg"
    ):
        dataset[0]


def test_all_problems_at_once(folder, save, config_of):
    (folder / "bmx-bumps" / "init_sp_object2_00042.png").unlink()
    save(folder / "bear" / "object2_00010.png", TRUTH)
    save(folder / "bear" / "preview.png", TRUTH)
    save(folder / "camel" / "00001.jpg", TRUTH)
    config = config_of(DAVIS585_PATH=folder)
    with pytest.raises(DatasetProblems) as caught:
        open_dataset("D585_SP", config)
    image_missing = (
        f"{folder}/bear/object2_00010.png: has no image 00010.jpg beside it; add it or remove the mask"
    )
    wrong_name = f"{folder}/bear/preview.png: is not named as a mask (objectK_NNNNN.png); rename or remove it"
    no_mask = f"{folder}/camel: holds no mask (objectK_NNNNN.png); add one or remove the folder"
    assert caught.value.problems == [
        image_missing,
        f"{folder}/bear/object2_00010.png: has no init_sp_object2_00010.png beside it; add it",
        wrong_name,
        f"{folder}/bmx-bumps/object2_00042.png: has no init_sp_object2_00042.png beside it; add it",
        no_mask,
    ]
    with pytest.raises(DatasetProblems) as caught:
        open_dataset("D585_ZERO", config)
    assert caught.value.problems == [image_missing, wrong_name, no_mask]


def test_a_folder_without_sequences(tmp_path, config_of):
    with pytest.raises(DatasetProblems, match="holds no folder with pictures; it needs one a sequence"):
        open_dataset("D585_ZERO", config_of(DAVIS585_PATH=tmp_path))
