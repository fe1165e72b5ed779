import cv2
import numpy as np
import pytest

from isegm.errors import InputError
from isegm.evaluation.window_check import USUAL_SHIFT, USUAL_STRETCH, windows_in_metadata
from isegm.extract.manifest import COLUMNS, write_manifest
from isegm.training.ct_appearance import WindowJitter
from isegm.training.trained_windows import windows_of_sources
from isegm.volumes.windows import WINDOWS, Window


def test_windows_of_volumes_and_of_generated_ct_are_kept_and_how_they_are_varied():
    sources = [
        "phantom:size=64",
        "nifti:a:organ=lung@2",
        "nifti:b:window=-20,400:labels=1:jitter=0.5,3",
        "coco:x",
    ]
    told = windows_of_sources(sources)
    assert told["nifti:a:organ=lung"] == [{"level": -500, "width": 1400, "shift": 0.2, "stretch": 1.5}]
    assert told["nifti:b:window=-20,400:labels=1:jitter=0.5,3"] == [
        {"level": -20, "width": 400, "shift": 0.5, "stretch": 3}
    ]
    assert [(entry["level"], entry["width"]) for entry in told["phantom:size=64"]] == [
        (window.level, window.width) for window in WINDOWS.values()
    ]
    assert len(told) == 3


def test_the_windows_of_a_folder_are_those_of_its_manifest(tmp_path):
    row = dict.fromkeys(COLUMNS, "1")
    path = tmp_path / "liver" / "manifest.csv"
    write_manifest(path, [row | {"window_level": "40", "window_width": "350"}])
    source = f"folder:{tmp_path / 'liver'}"
    assert windows_of_sources([source, f"folder:{tmp_path / 'none'}"]) == {
        source: [{"level": 40, "width": 350, "shift": 0, "stretch": 1.2}]
    }
    path.write_text(path.read_text() + "half a row")
    with pytest.raises(InputError, match=r"manifest.csv: not a manifest"):
        windows_of_sources([source])


def test_the_windows_of_a_data_set_of_the_config_file_are_those_of_its_folder(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "liver" / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "liver" / kind / "a.png"), np.full((8, 8), 255, np.uint8))
    row = dict.fromkeys(COLUMNS, "1") | {"window_level": "40", "window_width": "350"}
    write_manifest(tmp_path / "liver" / "manifest.csv", [row])
    (tmp_path / "config.yml").write_text("LIVER_PATH: liver\n")
    source = f"data:liver:config={tmp_path / 'config.yml'}"
    expected = [{"level": 40, "width": 350, "shift": 0, "stretch": 1.2}]
    assert windows_of_sources([f"{source}@2"]) == {source: expected}


def test_the_windows_of_deep_pictures_are_those_of_reading_yml(tmp_path):
    source = f"folder:{tmp_path}"
    (tmp_path / "reading.yml").write_text("window: abdomen\noffset: -1024\n")
    assert windows_of_sources([source]) == {
        source: [{"level": 40, "width": 350, "shift": 0.2, "stretch": 1.5}]
    }
    (tmp_path / "reading.yml").write_text("window: 2048,4096\n")  # of no HU
    assert windows_of_sources([source]) == {}


def test_what_training_tells_evaluation_understands():
    told = windows_of_sources(["phantom", "nifti:b:window=0,1500:labels=1"])
    (*named, wide) = windows_in_metadata({"windows": told})
    assert [one.window for one in named] == list(WINDOWS.values())
    assert wide.window == Window(0, 1500)


def test_training_varies_windows_as_evaluation_takes_for_usual():
    assert (WindowJitter().shift, WindowJitter().stretch) == (USUAL_SHIFT, USUAL_STRETCH)
