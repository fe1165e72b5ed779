import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isegm.datasets import Dataset
from isegm.errors import InputError
from isegm.evaluation.window_check import (
    TrainedWindow,
    check_windows,
    data_windows,
    manifest_windows,
    trained_windows,
    window_warnings,
    windows_in_metadata,
)
from isegm.extract.manifest import COLUMNS, write_manifest
from isegm.model.build import PRESETS, build_model
from isegm.model.checkpoint import save_checkpoint
from isegm.volumes.windows import WINDOWS, Window
from tests.commands.workspace import REPOSITORY

ABDOMEN = {"level": 40, "width": 350}


def row(name, level, width):
    return dict.fromkeys(COLUMNS, "1") | {"name": name, "window_level": level, "window_width": width}


class Named(Dataset):
    """A data set of which only the names are asked for."""

    def __init__(self, folder, *names):
        super().__init__(folder.name, [], folder)
        self.names = names


@pytest.fixture
def data(tmp_path):
    """``data(name, rows)``: a data set with a manifest of these rows."""

    def make(name, *rows):
        write_manifest(tmp_path / name / "manifest.csv", [row(*entry) for entry in rows])
        return Named(tmp_path / name, *(entry[0] for entry in rows))

    return make


def test_reading_yml_names_the_window_of_deep_pictures(data, tmp_path):
    dataset = data("a", ("1", "400", "1000"))
    (tmp_path / "a" / "reading.yml").write_text("window: abdomen\noffset: -32768\n")
    assert data_windows(dataset) == (Window(40, 350),)
    (tmp_path / "a" / "reading.yml").write_text("window: 2048,4096\n")  # of no HU
    assert data_windows(dataset) == ()
    (tmp_path / "a" / "reading.yml").write_text("masks: labels\n")
    assert data_windows(dataset) == (Window(400, 1000),)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """``checkpoint(metadata)``: a file of a network with this metadata."""
    folder = tmp_path_factory.mktemp("checkpoints")
    model = build_model(PRESETS["hr18s"])

    def make(metadata):
        path = folder / f"net{len(list(folder.iterdir()))}.pth"
        save_checkpoint(path, model, metadata)
        return path

    return make


def test_the_manifest_names_each_window_once(data):
    dataset = data("a", ("1", "400", "1000"), ("2", "40", "350"), ("3", "40.0", "350"), ("4", "", ""))
    assert data_windows(dataset) == (Window(40, 350), Window(400, 1000))
    dataset.names = ("2", "4", "elsewhere")
    assert data_windows(dataset) == (Window(40, 350),)


def test_without_a_manifest_of_ours_nothing_is_known(tmp_path, data):
    assert data_windows(Dataset("a", [])) == ()
    assert manifest_windows(tmp_path / "none") == ()
    assert data_windows(data("grey", ("1", "", ""))) == ()
    for content in ("organ,file\nliver,a.png\n", "", "\0\xff"):
        (tmp_path / "manifest.csv").write_text(content, encoding="latin-1")
        assert manifest_windows(tmp_path) == ()


@pytest.mark.parametrize(
    ("level", "width"),
    [("40", ""), ("", "350"), ("40", "0"), ("40", "-350"), ("nan", "350"), ("1e999", "350"), ("wide", "350")],
)
def test_what_is_no_window_is_told_with_file_and_row(data, tmp_path, level, width):
    with pytest.raises(InputError) as caught:
        data_windows(data("a", ("slice_7", level, width)))
    assert str(caught.value) == (
        f"{tmp_path / 'a' / 'manifest.csv'}: 'slice_7' has window_level {level!r} and window_width {width!r}"
        ", which is no window; extract it again or fix the row"
    )


@pytest.mark.parametrize("damage", [b"\0", b"half,a,row\n", b"\xff\xfe\n", b'"' + b"x" * 200_000])
def test_a_damaged_manifest_is_one_line(data, damage):
    dataset = data("a", ("1", "40", "350"))
    path = dataset.folder / "manifest.csv"
    path.write_bytes(path.read_bytes() + damage)
    with pytest.raises(InputError, match=r"manifest.csv: not a manifest of this tool's; move it away"):
        data_windows(dataset)


@pytest.mark.parametrize(
    ("shift", "stretch", "window", "seen"),
    [
        (0.2, 1.5, Window(40, 350), True),
        (0.2, 1.5, Window(110, 350), True),  # 70 HU are 0.2 of 350
        (0.2, 1.5, Window(111, 350), False),
        (0.2, 1.5, Window(-30, 525), True),
        (0.2, 1.5, Window(40, 526), False),
        (0.2, 1.5, Window(40, 350 / 1.5), True),
        (0.2, 1.5, Window(40, 233), False),
        (0.0, 1.0, Window(75, 420), True),  # a tenth and a fifth are never told apart
        (0.0, 1.0, Window(76, 350), False),
        (0.0, 1.0, Window(40, 421), False),
        (1.0, 1.5, Window(-310, 350), True),
    ],
)
def test_a_window_counts_as_seen_within_what_training_varied(shift, stretch, window, seen):
    assert TrainedWindow(Window(40, 350), shift, stretch).covers(window) == seen


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ({"nifti:a": [40, 350]}, [(40, 350, 0.2, 1.5)]),
        ({"lung": {"level": -500, "width": 1400}}, [(-500, 1400, 0.2, 1.5)]),
        ({"a": [ABDOMEN | {"shift": 0, "stretch": 1}, [50, 100]]}, [(40, 350, 0, 1), (50, 100, 0.2, 1.5)]),
        ({"a": [40, 350], "b": [40, 350]}, [(40, 350, 0.2, 1.5)]),
        ({}, []),
        (None, []),
        ("abdomen", []),
        ({"a": [], "b": "wide", "c": [1], "d": [40, 0], "e": {"level": 40}, "f": [[[1, 2], 3]], "g": 5}, []),
        ({"a": ABDOMEN | {"stretch": 0.5}, "b": ABDOMEN | {"shift": "nan"}, "c": [10**999, 1]}, []),
    ],
)
def test_metadata_by_hand(windows, expected):
    found = windows_in_metadata({"windows": windows})
    assert [(one.window.level, one.window.width, one.shift, one.stretch) for one in found] == expected


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["phantom"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["level", "width", "a"]), inner)
    ),
    max_leaves=12,
)


@given(json_values, json_values)
def test_any_metadata_are_windows_or_nothing(windows, sources):
    for metadata in ({"windows": windows, "recipe": {"sources": sources}}, {"recipe": sources}):
        for one in windows_in_metadata(metadata):
            assert math.isfinite(one.window.level)
            assert one.covers(one.window)


def test_older_files_trained_on_generated_ct_have_seen_the_named_windows():
    metadata = {"windows": {}, "recipe": {"sources": ["coco:a", "phantom:size=384@5"]}}
    assert [one.window for one in windows_in_metadata(metadata)] == list(WINDOWS.values())
    metadata["windows"] = {"phantom:size=384": [ABDOMEN]}  # a newer file says it itself
    assert [one.window for one in windows_in_metadata(metadata)] == [Window(40, 350)]


def test_the_weights_of_the_project_have_seen_the_windows_of_the_tools():
    seen = trained_windows(REPOSITORY / "weights" / "emcclick_ct_lite0.pth")
    assert {one.window for one in seen} == set(WINDOWS.values())


def test_a_warning_names_data_set_network_and_both_windows():
    data = {"bones": [Window(400, 1000)], "liver": [Window(40, 350)], "old": []}
    trained = {
        "soft": [
            TrainedWindow(Window(40, 350)),
            TrainedWindow(Window(50, 100)),
            TrainedWindow(Window(50, 100), 1),
        ],
        "unknown": [],
        "all": [TrainedWindow(window) for window in WINDOWS.values()],
    }
    assert window_warnings(data, trained) == [
        "bones: its CT is windowed at level 400, width 1000, which soft was not trained in (it was in level "
        "40, width 350; level 50, width 100); extract the slices in one of these, or use another checkpoint"
    ]


def test_of_several_windows_those_that_are_new_are_named():
    data = {"mixed": [Window(40, 350), Window(400, 1000), Window(-500, 1400)]}
    (warning,) = window_warnings(data, {"soft": [TrainedWindow(Window(40, 350))]})
    assert warning.startswith(
        "mixed: its CT is windowed at level 400, width 1000; level -500, width 1400, which"
    )


def test_the_whole_check_from_files_and_strictly(data, checkpoint):
    datasets = [
        data("liver", ("1", "40", "350")),
        data("bones", ("1", "400", "1000")),
        data("grey", ("1", "", "")),
    ]
    paths = {"soft": checkpoint({"windows": {"nifti:a": [40, 350]}}), "released": checkpoint({})}
    report = check_windows(paths, datasets)
    assert [warning.partition(":")[0] for warning in report.warnings] == ["bones"]
    about = {
        "started": "now",
        "checkpoints": [{"name": "soft", "sha256": "x"}, {"name": "released"}],
        "datasets": [{"name": name} for name in ("liver", "bones", "grey")],
    }
    assert json.loads(json.dumps(report.added_to(about))) == {
        "started": "now",
        "checkpoints": [
            {"name": "soft", "sha256": "x", "windows": [ABDOMEN | {"shift": 0.2, "stretch": 1.5}]},
            {"name": "released", "windows": None},
        ],
        "datasets": [
            {"name": "liver", "window": [ABDOMEN]},
            {"name": "bones", "window": [{"level": 400, "width": 1000}]},
            {"name": "grey", "window": None},
        ],
        "warnings": list(report.warnings),
    }
    assert report.lines() == [f"warning: {report.warnings[0]}"]
    with pytest.raises(InputError, match=r"^bones: its CT is windowed at level 400"):
        check_windows(paths, datasets, strict=True)
    check_windows({"released": paths["released"]}, datasets, strict=True)
    check_windows(paths, datasets[::2], strict=True)
