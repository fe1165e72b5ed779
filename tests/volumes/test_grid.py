import numpy as np
import pytest

from isegm.errors import FileWarning, InputError
from isegm.volumes.files import open_volume
from isegm.volumes.grid import common_grid

AFFINE = np.array([[-1.5, 0, 0, -100], [0, -1.25, 0, 80], [0, 0, 3, 30], [0, 0, 0, 1]])
EMPTY = np.zeros((40, 32, 12), np.int16)


@pytest.fixture
def opened(save_nifti, tmp_path):
    """opened(affine, codes, shape) gives a second volume beside one that lies by AFFINE, and that one."""

    def opened(affine=AFFINE, codes=(2, 0), array=EMPTY, other_codes=(2, 0)):
        first = save_nifti(tmp_path / "first.nii", array, affine, codes)
        return open_volume(first), open_volume(
            save_nifti(tmp_path / "second.nii", EMPTY, AFFINE, other_codes)
        )

    return opened


def changed(row, column, by):
    affine = AFFINE.copy()
    affine[row, column] += by
    return affine


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("affine", "is_same"),
    [
        (changed(0, 3, 0.0124), True),  # a hundredth of 1.25 mm is 0.0125 mm
        (changed(0, 3, 0.0126), False),
        (changed(0, 1, 2e-8), True),
        (changed(0, 0, 0.0003), True),  # at the far end 39 times as much: 0.0117 mm
        (changed(0, 0, 0.00033), False),
        (np.diag([-1, 1, 1, 1]) @ AFFINE, False),
    ],
)
def test_voxels_may_lie_a_hundredth_of_the_smallest_spacing_apart(affine, is_same, opened):
    first, second = opened(affine)
    if is_same:
        assert common_grid(first, second) is second
    else:
        with pytest.raises(InputError, match=r"first\.nii: lies elsewhere than .*second\.nii.*resample it"):
            common_grid(first, second)


def test_other_shapes_are_refused(opened):
    with pytest.raises(InputError, match=r"first\.nii: has 40 x 32 x 11 voxels, but .*has 40 x 32 x 12"):
        common_grid(*opened(array=EMPTY[:, :, 1:]))


@pytest.mark.parametrize(
    ("codes", "other_codes", "holds", "said"),
    [
        ((0, 0), (2, 0), 1, r"first\.nii: does not say .*; the other volume's is taken"),
        ((0, 0), (0, 1), 1, r"first\.nii: does not say .*; the other volume's is taken"),
        ((1, 0), (0, 0), 0, r"second\.nii: does not say .*; the other volume's is taken"),
        ((0, 0), (0, 0), 1, r"second\.nii: does not say .*; LAS is taken"),
    ],
)
def test_one_without_orientation_takes_the_other_s(codes, other_codes, holds, said, opened):
    pair = opened(codes=codes, other_codes=other_codes)
    with pytest.warns(FileWarning, match=said):
        assert common_grid(*pair) is pair[holds]


@pytest.mark.parametrize("row", [[0, 1, 0, 0], [np.nan, 0, 0, 0], [0, 0, 0, 1]])
def test_a_singular_affine_is_refused(row, save_nifti, tmp_path):
    path = save_nifti(tmp_path / "first.nii", EMPTY, AFFINE, (2, 0))
    content = bytearray(path.read_bytes())
    content[280:296] = np.array(row, "<f4").tobytes()  # srow_x
    path.write_bytes(content)
    volume = open_volume(path)
    with pytest.raises(InputError, match=r"first\.nii: its affine is singular or NaN"):
        common_grid(volume, volume)
