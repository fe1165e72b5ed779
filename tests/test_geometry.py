import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isegm.errors import InputError
from isegm.geometry import Click, input_size
from isegm.limits import MOST_INPUT_SIDE


def test_scaling_multiplies_each_coordinate_by_its_own_ratio_unrounded():
    assert Click(3, 7, True).scaled(2, 0.25) == Click(6, 1.75, True)
    assert Click(1.5, 2, False).scaled(1 / 3, 1) == Click(0.5, 2, False)


def test_mirroring_exchanges_the_first_and_the_last_column():
    assert Click(3, 0, True).mirrored(8) == Click(3, 7, True)
    assert Click(3, 7, False).mirrored(8) == Click(3, 0, False)
    assert Click(3, 3.5, True).mirrored(8) == Click(3, 3.5, True)
    assert Click(3, 5.25, True).mirrored(8) == Click(3, 1.75, True)


@given(st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_mirroring_twice_changes_nothing(row, col, positive):
    click = Click(row, col, positive)
    assert click.mirrored(10).mirrored(10) == click


def test_a_click_cannot_be_changed():
    click = Click(1, 2, True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        click.row = 3
    assert click in {Click(1.0, 2.0, True)}


@pytest.mark.parametrize(
    ("image", "shorter", "size"),
    [
        ((512, 512), 384, (384, 384)),
        ((480, 640), 384, (384, 512)),
        ((100, 133), 385, (384, 512)),  # 385 and 512.05, cut down to multiples of 4
        ((2, 3), 5, (4, 8)),  # 7.5 is rounded to the even 8
        ((32, 512), 384, (384, MOST_INPUT_SIDE)),
        ((512, 32), 384, (MOST_INPUT_SIDE, 384)),
        ((1, 1), MOST_INPUT_SIDE, (MOST_INPUT_SIDE, MOST_INPUT_SIDE)),
    ],
)
def test_the_networks_input_has_the_published_size(image, shorter, size):
    assert input_size(*image, shorter, 4) == size


@pytest.mark.parametrize(
    ("height", "width", "longer"),
    [(3, 512, "65,536"), (8, 4096, "196,608"), (20000, 4, "1,920,000"), (31, 512, "6,342")],
)
def test_a_picture_too_narrow_for_the_network_is_refused_with_its_size(height, width, longer):
    with pytest.raises(InputError) as caught:
        input_size(height, width, 384, 4)
    assert str(caught.value) == (
        f"too long and narrow: {height}x{width} pixels would become {longer} on the longer side for the "
        "network, and 6,144 is the limit; crop it, pad it, or use a smaller input size"
    )
