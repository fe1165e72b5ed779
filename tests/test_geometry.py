import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isegm.geometry import Click


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
