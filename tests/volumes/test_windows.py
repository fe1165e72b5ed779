import numpy as np
import pytest

from isegm.errors import InputError
from isegm.volumes.windows import WINDOWS, Window, apply_window, parse_window


def test_named_windows():
    assert {name: (window.level, window.width) for name, window in WINDOWS.items()} == {
        "lung": (-500, 1400),
        "abdomen": (40, 350),
        "bone": (400, 1000),
        "air": (-426, 1000),
        "brain": (50, 100),
        "mediastinum": (50, 350),
    }


@pytest.mark.parametrize(
    ("window", "hu", "grey"),
    [
        # abdomen: -135 to 215 HU
        ("abdomen", -1024, 0),
        ("abdomen", -135, 0),
        ("abdomen", -134, 1),  # 255 / 350 = 0.73
        ("abdomen", 40, 128),  # 127.5, a half goes up
        ("abdomen", 214, 254),  # 349 * 255 / 350 = 254.27
        ("abdomen", 215, 255),
        ("abdomen", 3071, 255),
        # lung: -1200 to 200 HU
        ("lung", -1200, 0),
        ("lung", -1000, 36),  # 200 * 255 / 1400 = 36.43
        ("lung", -500, 128),
        ("lung", 200, 255),
        # a width of 510 and a level of 255: two HU a grey, so every odd HU is a half
        ("255,510", 1, 1),
        ("255,510", 2, 1),
        ("255,510", 3, 2),
    ],
)
@pytest.mark.parametrize("dtype", [np.int16, ">i2", np.int32, np.int64, np.float32, ">f4", np.float64])
def test_hand_derived_greys(window, hu, grey, dtype):
    values = np.full((2, 3), hu, dtype)
    assert (apply_window(values, parse_window(window)) == grey).all()


def test_the_same_hu_give_the_same_grey_in_every_type_and_scaling():
    hu = np.arange(-2000, 2000)
    expected = [
        min(255, max(0, (2 * 255 * (h + 135) + 350) // (2 * 350))) for h in range(-2000, 2000)
    ]  # exact, in integers
    abdomen = WINDOWS["abdomen"]
    assert apply_window(hu.astype(np.int16), abdomen).tolist() == expected
    assert apply_window(hu.astype(np.float32), abdomen).tolist() == expected
    assert apply_window((hu + 2048).astype(np.uint16), abdomen, 1, -2048).tolist() == expected
    assert apply_window((hu * 4).astype(np.int32), abdomen, 0.25, 0).tolist() == expected


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "<u2", ">u2"])
@pytest.mark.parametrize("large_tables", [True, False])
@pytest.mark.parametrize(("slope", "inter"), [(1.0, 0.0), (0.5, -1024.0), (-0.37, 12.3)])
def test_every_value_of_a_small_type_has_the_grey_of_that_number(
    dtype, large_tables, slope, inter, monkeypatch
):
    # Whether OpenCV has the tables or not
    if not large_tables:
        monkeypatch.setattr("isegm.volumes.windows._CV2_HAS_LARGE_TABLES", False)
    limits = np.iinfo(dtype)
    numbers = np.arange(limits.min, limits.max + 1)
    values = np.random.default_rng(3).permutation(np.repeat(numbers, 3)).astype(dtype)
    for window in (WINDOWS["abdomen"], Window(-0.3, 17.7)):
        expected = apply_window(values.astype(np.float64), window, slope, inter)
        np.testing.assert_array_equal(apply_window(values, window, slope, inter), expected)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.float32])
def test_of_nothing_the_grey_is_nothing(dtype):
    assert apply_window(np.zeros((4, 0, 3), dtype), WINDOWS["lung"]).shape == (4, 0, 3)


def test_a_window_does_not_depend_on_what_is_in_the_volume():
    values = np.random.default_rng(1).integers(-1000, 1000, 1000).astype(np.int16)
    whole = apply_window(values, WINDOWS["bone"])
    assert (apply_window(values[:10], WINDOWS["bone"]) == whole[:10]).all()
    assert (apply_window(np.zeros((4, 4), np.int16), WINDOWS["bone"]) == 26).all()  # 25.5


def test_infinity_is_clipped_and_larger_arrays_than_a_block_keep_their_order():
    assert apply_window(np.array([-np.inf, np.inf]), WINDOWS["lung"]).tolist() == [0, 255]
    values = np.random.default_rng(2).integers(-1000, 1000, (50, 60, 70)).astype(np.int16)
    grey = apply_window(values, WINDOWS["lung"])
    fortran = apply_window(np.asfortranarray(values), WINDOWS["lung"])
    assert fortran.flags.f_contiguous
    assert (fortran == grey).all()
    assert (apply_window(values[::2, :, 3], WINDOWS["lung"]) == grey[::2, :, 3]).all()


def test_parsing():
    assert parse_window("lung") == Window(-500, 1400)
    assert parse_window(" -500,1400") == Window(-500, 1400)
    assert parse_window("40.5, 350") == Window(40.5, 350)


@pytest.mark.parametrize("text", ["", "lungs", "40", "40,", "40,0", "40,-1", "nan,5", "5,inf", "1,2,3"])
def test_what_is_no_window(text):
    with pytest.raises(InputError, match="window"):
        parse_window(text)
