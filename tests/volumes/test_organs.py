import pytest

from isegm.errors import InputError
from isegm.volumes.organs import find_organ, window_of
from isegm.volumes.windows import WINDOWS


def test_the_liver_includes_its_tumour_and_lung_carries_a_note():
    assert find_organ("liver").labels == (1, 2)
    assert find_organ("spleen").labels == (1,)
    assert find_organ("lung").labels == (1,)
    assert "tumour" in find_organ("lung").note
    assert find_organ("liver").note == find_organ("lung", [10]).note == ""


def test_windows():
    assert find_organ("lung").window == window_of("lung") == WINDOWS["lung"]
    assert {window_of(name) for name in ("liver", "spleen", "kidney")} == {WINDOWS["abdomen"]}


def test_other_organs_need_labels():
    assert find_organ("kidney", [3, 2, 3]).labels == (2, 3)
    with pytest.raises(InputError, match="--labels"):
        find_organ("kidney")


@pytest.mark.parametrize("name", ["", " ", "..", ".hidden", "a/b", "-x", "a\0b", "c:"])
def test_an_organ_names_a_folder(name):
    with pytest.raises(InputError, match="folder"):
        find_organ(name, [1])


@pytest.mark.parametrize("labels", [[0], [-1], [1, 0]])
def test_background_is_no_organ(labels):
    with pytest.raises(InputError, match="above 0"):
        find_organ("kidney", labels)
