import pickle
from pathlib import Path

import pytest

from isegm.config import read_config
from isegm.datasets import available_datasets
from isegm.errors import InputError, InputWarning

ROOT = Path(__file__).resolve().parents[2]


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "config.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_relative_folders_start_at_the_config_file(tmp_path):
    config = read_config(
        written(tmp_path, "EXPS_PATH: ./runs\nLIVER_PATH: ../liver\nGRABCUT_PATH: /data/g\n")
    )
    assert config.places == {
        "EXPS_PATH": tmp_path / "runs",
        "LIVER_PATH": tmp_path / "../liver",
        "GRABCUT_PATH": Path("/data/g"),
    }
    assert list(config.dataset_places) == ["LIVER_PATH", "GRABCUT_PATH"]
    assert config.place("EXPS_PATH") == tmp_path / "runs"


def test_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    config = read_config(written(tmp_path, "A_PATH: ~/a\nB_PATH: ~no such user/b\n"))
    assert config.places == {"A_PATH": Path("/home/someone/a"), "B_PATH": tmp_path / "~no such user/b"}


def test_row_names_are_read_in_any_case(tmp_path):
    assert list(read_config(written(tmp_path, "liver_Path: a")).places) == ["LIVER_PATH"]


def test_byte_order_mark_and_windows_lines(tmp_path):
    config = read_config(written(tmp_path, b"\xef\xbb\xbfLIVER_PATH: a\r\nLUNG_PATH: b\r\n"))
    assert config.places == {"LIVER_PATH": tmp_path / "a", "LUNG_PATH": tmp_path / "b"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "not a mapping; write one row <NAME>_PATH: <folder> a line"),
        ("- a\n- b\n", "not a mapping; write one row <NAME>_PATH: <folder> a line"),
        ("just words", "not a mapping; write one row <NAME>_PATH: <folder> a line"),
        ("LIVER_PATH: a\nliver_path: b\n", "line 2: LIVER_PATH comes twice; keep one"),
    ],
)
def test_errors_name_the_file_and_the_row(tmp_path, text, line):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert str(caught.value) == f"{path}: {line}"


@pytest.mark.parametrize(
    "content", ["a: [", "a: b: c", "\x00", b"\xff\xfe\xfd", "[" * 20000, "*nobody", "a: 1\n---\nb: 2"]
)
def test_what_is_not_yaml_is_one_line(tmp_path, content):
    path = written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: n")
    assert "\n" not in str(caught.value)


ORIGINALS = """
INTERACTIVE_MODELS_PATH: "./weights"
EXPS_PATH: "./experiments"
LVIS_v1_PATH: "/data/LVIS_v1"
IMAGENET_PRETRAINED_MODELS:
  HRNETV2_W18_SMALL: "./pretrained_models/hrnet_w18_small_model_v2.pth"
NOC_THRESHOLDS: [0.85, 0.90]
MAX_CLICKS: 20
SBD_PATH:
LIVER_PATH: 3
LUNG_PATH: [a, b]
DAVIS_PATH: ' '
SPLEEN: ./spleen
_PATH: x
../up_PATH: x
[a]: x
RUN_PATH: !!python/object/apply:os.system ['true']
"""


def test_rows_of_other_kinds_are_left_out_and_named_in_one_line(tmp_path):
    path = written(tmp_path, ORIGINALS)
    with pytest.warns(InputWarning) as caught:
        config = read_config(path)
    assert list(config.places) == ["INTERACTIVE_MODELS_PATH", "EXPS_PATH", "LVIS_V1_PATH"]
    assert [str(each.message) for each in caught] == [
        f"{path}: only rows <NAME>_PATH: <folder> are used, not IMAGENET_PRETRAINED_MODELS, NOC_THRESHOLDS, "
        "MAX_CLICKS, SBD_PATH, LIVER_PATH, LUNG_PATH, DAVIS_PATH, SPLEEN, _PATH, ../up_PATH, ...; if "
        "SBD_PATH is to be used, put its one folder in quotes"
    ]


def test_rows_are_attributes(tmp_path):
    config = read_config(written(tmp_path, "LIVER_PATH: a\nEXPS_PATH: /runs\n"))
    assert (tmp_path / "a", Path("/runs")) == (config.LIVER_PATH, config.EXPS_PATH)
    assert not hasattr(config, "LUNG_PATH")
    with pytest.raises(AttributeError, match=r"config\.yml: has no row LUNG_PATH"):
        config.LUNG_PATH  # noqa: B018 - it is the reading that fails
    assert pickle.loads(pickle.dumps(config)) == config


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such config file"):
        read_config(tmp_path / "config.yml")


def test_missing_row_names_the_row(tmp_path):
    config = read_config(written(tmp_path, "LIVER_PATH: a"))
    with pytest.raises(InputError, match="has no row EXPS_PATH; add one"):
        config.place("EXPS_PATH")


def test_the_shipped_config_names_every_data_set_and_no_machine(monkeypatch):
    config = read_config(ROOT / "config.yml")
    assert config.place("INTERACTIVE_MODELS_PATH") == ROOT / "weights"
    assert all(place.is_relative_to(ROOT) for place in config.places.values())
    monkeypatch.setattr(Path, "is_dir", lambda self: True)
    assert available_datasets(config) == [
        *("GrabCut", "Berkeley", "DAVIS", "SBD", "PascalVOC", "COCO_MVal"),
        *("D585_SP", "D585_STM", "D585_ZERO", "lung", "liver", "spleen"),
    ]


@pytest.mark.parametrize("value", ["2024", "yes", "[a, b]", "{a: b}", ""])
def test_a_folder_that_yaml_takes_for_something_else_is_to_be_quoted(tmp_path, value):
    path = written(tmp_path, f"LIVER_PATH: {value}\nTHRESHOLD: 0.5\n")
    with pytest.warns(InputWarning) as said:
        assert not read_config(path).places
    (line,) = (str(one.message) for one in said)
    assert line.endswith(
        "not LIVER_PATH, THRESHOLD; if LIVER_PATH is to be used, put its one folder in quotes"
    )
    quoted = read_config(written(tmp_path, "LIVER_PATH: '2024'\n"))
    assert quoted.place("LIVER_PATH") == tmp_path / "2024"
