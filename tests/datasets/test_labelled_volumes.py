"""Data sets of volumes: which there are, what they hold, and what is refused."""

import numpy as np
import pytest

from isegm.datasets.dataset import DatasetProblems
from isegm.datasets.labelled_volumes import find_volumes
from isegm.errors import InputError
from isegm.volumes.organs import find_organ
from tests.evaluation.volumes_by_hand import box, save_nifti, save_pair

SPLEEN = find_organ("spleen")
TRUTH = box((8, 9, 5), (2, 6), (3, 7), (1, 4))


@pytest.fixture
def task(tmp_path):
    for name in ("b", "a"):
        save_pair(tmp_path / "Task", name, TRUTH)
    return tmp_path / "Task"


def test_volumes_come_by_name_with_their_labels(task):
    found = find_volumes(task, None, SPLEEN)

    assert (found.name, found.names, len(found)) == ("spleen", ("a", "b"), 2)
    assert found.records[0].files == (task / "imagesTr" / "a.nii.gz", task / "labelsTr" / "a.nii.gz")
    sample = found[1]
    assert (sample.name, sample.volume.path) == ("b", task / "imagesTr" / "b.nii.gz")
    assert sample.window == SPLEEN.window
    assert found.settings == {"labels": "1", "shown_in": "level 40, width 350"}
    np.testing.assert_array_equal(sample.truth, TRUTH)


def test_all_labels_of_an_organ_are_its_object(tmp_path):
    labels = np.zeros((8, 9, 5), np.uint8)
    labels[1, 1, 1], labels[2, 2, 2], labels[3, 3, 3] = 1, 2, 5
    save_pair(tmp_path, "a", TRUTH)
    save_nifti(tmp_path / "labelsTr" / "a.nii.gz", labels)

    assert np.argwhere(find_volumes(tmp_path, None, find_organ("liver"))[0].truth).tolist() == [
        [1, 1, 1], [2, 2, 2]
    ]  # fmt: skip
    fifth = find_organ("liver", (5,))
    assert np.argwhere(find_volumes(tmp_path, None, fifth)[0].truth).tolist() == [[3, 3, 3]]


def test_a_volume_without_the_organ_is_refused(task):
    path = save_nifti(task / "labelsTr" / "a.nii.gz", np.zeros((8, 9, 5), np.uint8))
    with pytest.raises(InputError, match=rf"{path}: no voxel is spleen \(label 1\); give other labels"):
        find_volumes(task, None, SPLEEN)[0]


def test_labels_of_another_grid_are_refused(task):
    save_nifti(task / "labelsTr" / "a.nii.gz", np.ones((8, 9, 6), np.uint8))
    with pytest.raises(InputError, match="8 x 9 x 6 voxels"):
        find_volumes(task, None, SPLEEN)[0]


def test_all_labels_without_an_image_are_told(task):
    for name in "ab":
        (task / "imagesTr" / f"{name}.nii.gz").rename(task / "imagesTr" / f"x{name}.nii.gz")
    with pytest.raises(DatasetProblems) as caught:
        find_volumes(task, None, SPLEEN)
    assert len(caught.value.problems) == 2


def test_a_dicom_series_is_read_with_its_label_volume(shared):
    place = shared / "data/volumes/totalsegmentator"
    found = find_volumes(place / "example_seg_dicom.nii.gz", place / "dicom20", find_organ("liver", (5,)))
    sample = found[0]

    assert len(found.records[0].files) == 20 + 1
    assert (sample.volume.shape, int(sample.truth.sum())) == ((512, 512, 20), 366708)
    assert found.settings == {"labels": "5", "shown_in": "level 40, width 350"}
    chosen = find_volumes(
        place / "example_seg_dicom.nii.gz", place / "dicom20", find_organ("liver", (5,)), "1", untilt=True
    )
    assert chosen.settings == found.settings | {"series": "1", "untilt": "yes"}
