import numpy as np
import pytest

from isegm.datasets import available_datasets, open_dataset, open_folder
from isegm.errors import InputError


def test_available_are_those_whose_folder_exists_in_the_order_of_the_config(tmp_path, config_of):
    for name in ("d585", "kidney", "grab"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    config = config_of(
        EXPS_PATH=tmp_path,
        KIDNEY_PATH=tmp_path / "kidney",
        DAVIS585_PATH=tmp_path / "d585",
        LIVER_PATH=tmp_path / "nothing",
        LUNG_PATH=tmp_path / "file",
        GRABCUT_PATH=tmp_path / "grab",
    )
    assert available_datasets(config) == ["kidney", "D585_SP", "D585_STM", "D585_ZERO", "GrabCut"]


@pytest.mark.parametrize(
    ("asked", "name"),
    [("grabcut", "GrabCut"), ("GRABCUT", "GrabCut"), ("Kidney_2", "kidney_2"), ("KIDNEY_2", "kidney_2")],
)
def test_names_are_matched_in_any_case(tmp_path, save, config_of, asked, name):
    for folder in ("data_GT", "boundary_GT", "images", "masks"):
        save(tmp_path / folder / "a.png", [[255]])
    assert open_dataset(asked, config_of(GRABCUT_PATH=tmp_path, KIDNEY_2_PATH=tmp_path)).name == name


@pytest.mark.parametrize(
    "name", ["spleen", "../liver", "/etc", "liver/", "", "EXPS", "INTERACTIVE_MODELS", "a\nb"]
)
def test_an_unknown_name_lists_the_known_and_how_to_add_one(tmp_path, config_of, name):
    config = config_of(GRABCUT_PATH=tmp_path, EXPS_PATH=tmp_path, LIVER_PATH=tmp_path)
    with pytest.raises(InputError) as caught:
        open_dataset(name, config)
    assert str(caught.value) == (
        f"{name!a}: no such data set in config.yml (it has GrabCut, liver); for a folder with images/ and "
        "masks/ add a row <NAME>_PATH: <folder>"
    )


def test_a_benchmark_without_its_row_names_the_row(config_of):
    with pytest.raises(InputError) as caught:
        open_dataset("d585_sp", config_of())
    assert str(caught.value) == "D585_SP: config.yml has no row DAVIS585_PATH; add DAVIS585_PATH: <folder>"


def test_a_missing_folder_names_data_set_row_and_folder(tmp_path, config_of):
    with pytest.raises(InputError) as caught:
        open_dataset("sbd", config_of(SBD_PATH=tmp_path / "SBD"))
    assert str(caught.value) == (
        f"SBD: there is no folder {tmp_path}/SBD; put the data set there or change SBD_PATH in config.yml"
    )


def test_a_row_that_takes_a_name_of_another_is_refused(tmp_path, config_of):
    config = config_of(DAVIS585_PATH=tmp_path, D585_SP_PATH=tmp_path)
    with pytest.raises(InputError, match="D585_SP_PATH would give a second data set d585_sp; rename the row"):
        available_datasets(config)


@pytest.mark.parametrize("name", ["davis", "GrabCut", "sbd", "d585_sp", "liver"])
def test_a_folder_is_read_as_one_whatever_its_name(tmp_path, save, name):
    save(tmp_path / name / "images" / "a.png", np.zeros((3, 4, 3)))
    save(tmp_path / name / "masks" / "a.png", [[0, 0, 0, 0], [0, 200, 1, 0], [0, 200, 1, 0]])
    dataset = open_folder(tmp_path / name)
    assert (dataset.name, dataset.names, dataset.folder) == (name, ("a",), tmp_path / name)
    np.testing.assert_array_equal(dataset[0].truth, [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]])
