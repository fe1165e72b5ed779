import pytest

from isegm.errors import InputError
from isegm.volumes.organs import Organ, find_organ, window_of
from isegm.volumes.windows import WINDOWS, Window


def test_the_liver_includes_its_tumour_and_lung_carries_a_note():
    assert find_organ("liver").labels == (1, 2)
    assert find_organ("spleen").labels == (1,)
    assert find_organ("lung").labels == (1,)
    assert "tumour" in find_organ("lung").note
    assert find_organ("liver").note == find_organ("lung", [10]).note == ""


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("lung", "lung"),
        ("lung_upper_lobe_left", "lung"),
        ("liver", "abdomen"),
        ("Kidney", "abdomen"),
        ("kidney-left", "abdomen"),
        ("heart", "mediastinum"),
        ("vertebrae_L1", "bone"),
        ("brain", "brain"),
    ],
)
def test_windows_by_the_first_word(name, window):
    assert window_of(name) == WINDOWS[window]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lungs", "is lung meant"),
        ("livr", "is liver meant"),
        ("Kidneys", "is kidney meant"),
        ("foo", "organ 'foo': its window"),
    ],
)
def test_an_unknown_organ_s_window_must_be_given(name, said):
    for attempt in (lambda: window_of(name), lambda: find_organ(name, [1])):
        with pytest.raises(InputError, match=rf"{said}.*give one of lung, .*or level,width"):
            attempt()
    assert find_organ(name, [1], Window(1, 2)) == Organ(name, (1,), Window(1, 2))


def test_other_organs_need_labels():
    assert find_organ("kidney", [3, 2, 3]).labels == (2, 3)
    with pytest.raises(InputError, match="'kidney': not one of liver, spleen, lung; give its `labels`"):
        find_organ("kidney")
    with pytest.raises(InputError, match="'lungs': is lung meant"):
        find_organ("lungs")


@pytest.mark.parametrize("name", ["", " ", "..", ".hidden", "a/b", "-x", "a\0b", "c:"])
def test_an_organ_names_a_folder(name):
    with pytest.raises(InputError, match="folder"):
        find_organ(name, [1])


@pytest.mark.parametrize("labels", [[0], [-1], [1, 0]])
def test_background_is_no_organ(labels):
    with pytest.raises(InputError, match="above 0"):
        find_organ("kidney", labels)
