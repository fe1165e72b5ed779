import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def square(top, left, side, shape=(32, 40)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def save(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask.astype(np.uint8) * 255)


@pytest.fixture
def folders(tmp_path):
    """Two images: ``a`` predicted one pixel too far right (Dice 0.9, IoU 9/11), ``b`` exactly."""
    truth, prediction = tmp_path / "liver" / "masks", tmp_path / "predictions"
    save(truth / "a.png", square(4, 4, 10))
    save(prediction / "a.png", square(4, 5, 10))
    save(truth / "b.png", square(2, 3, 20))
    save(prediction / "b.png", square(2, 3, 20))
    return truth, prediction


FILES = {
    "metrics_liver.csv",
    "metrics_liver.json",
    "metrics_liver_precision_vs_area.png",
    "metrics_liver_recall_vs_area.png",
}


@pytest.fixture
def run(metricas, folders, tmp_path):
    """Run the tool on ``folders`` and return the exit status, the rows and the summary."""

    def run(*options):
        status = metricas.main([*map(str, folders), "liver", *options])
        reports = tmp_path / "predictions_metrics"
        with (reports / "metrics_liver.csv").open() as file:
            rows = {row["name"]: row for row in csv.DictReader(file)}
        return status, rows, json.loads((reports / "metrics_liver.json").read_text())

    return run


def test_figures_worked_out_by_hand(run, tmp_path, capsys):
    status, rows, summary = run()
    assert status == 0
    assert rows["a"] == {
        "name": "a",
        "dice": "0.9",
        "iou": str(90 / 110),
        "precision": "0.9",
        "recall": "0.9",
        "hd95": "1.0",
        "nsd": "1.0",
        "unit": "px",
        "truth_area_px": "100",
        "prediction_area_px": "100",
        "truth_area_mm": "nan",
        "prediction_area_mm": "nan",
        "axes": "2",
        "included": "True",
    }
    assert float(rows["b"]["dice"]) == 1
    dice = summary["metrics"]["dice"]
    assert dice["mean"] == pytest.approx(0.95)
    assert dice["std"] == pytest.approx(0.1 / math.sqrt(2))
    assert dice["median"] == pytest.approx(0.95)
    assert dice["ci95"] == pytest.approx([0.9, 1.0])
    assert (dice["n"], dice["undefined"]) == (2, 0)
    assert {path.name for path in (tmp_path / "predictions_metrics").iterdir()} == FILES
    printed = capsys.readouterr()
    assert "liver: 2 images" in printed.out
    assert "0.9500" in printed.out
    assert "spacing unknown" in printed.out
    assert printed.err == ""


def test_the_manifest_turns_pixels_into_mm(run, folders, capsys):
    (folders[0].parent / "manifest.csv").write_text("name,spacing_row_mm,spacing_col_mm\na,0.5,3\nb,0.5,3\n")
    _, rows, summary = run()
    assert (rows["a"]["unit"], float(rows["a"]["hd95"])) == ("mm", 3)
    assert float(rows["a"]["truth_area_mm"]) == 150
    # 3 mm is beyond the tolerance: the outer column of each square, 10 of its 36 boundary pixels, is not
    # within it. The other upright side is, being at most 4 rows from a corner of the other square.
    assert float(rows["a"]["nsd"]) == 52 / 72
    assert "hd95_mm" in summary["metrics"]
    assert "px" not in capsys.readouterr().out


def test_given_spacing_goes_before_the_manifest(run, folders):
    (folders[0].parent / "manifest.csv").write_text("name,spacing_row_mm,spacing_col_mm\na,x,y\n")
    _, rows, _ = run("--spacing", "1,2")
    assert float(rows["a"]["hd95"]) == 2


def test_units_are_summarised_apart(run, folders):
    (folders[0].parent / "manifest.csv").write_text("name,spacing_row_mm,spacing_col_mm\na,1,4\n")
    _, rows, summary = run()
    assert (rows["a"]["unit"], rows["b"]["unit"]) == ("mm", "px")
    assert (summary["metrics"]["hd95_mm"]["mean"], summary["metrics"]["hd95_mm"]["n"]) == (4, 1)
    assert (summary["metrics"]["hd95_px"]["mean"], summary["metrics"]["hd95_px"]["n"]) == (0, 1)


def test_the_tolerance_decides_the_nsd(run):
    _, rows, summary = run("--tolerance", "0")
    # The squares share the upper and lower sides but for one pixel each, and nothing of the others.
    assert float(rows["a"]["nsd"]) == 36 / 72
    assert summary["settings"]["tolerance"] == 0


def test_undefined_values_are_counted_not_averaged(run, folders, capsys):
    truth, prediction = folders
    save(truth / "empty.png", square(0, 0, 0))
    save(prediction / "empty.png", square(0, 0, 0))
    save(truth / "missed.png", square(4, 4, 10))
    save(prediction / "missed.png", square(0, 0, 0))
    status, rows, summary = run()
    assert status == 0
    assert {rows["empty"][key] for key in ("dice", "iou", "precision", "recall", "hd95", "nsd")} == {"nan"}
    assert [rows["missed"][key] for key in ("dice", "precision", "recall", "hd95", "nsd")] == [
        "0.0",
        "nan",
        "0.0",
        "nan",
        "0.0",
    ]
    counted = {key: (value["n"], value["undefined"]) for key, value in summary["metrics"].items()}
    assert counted == {
        "dice": (3, 1),
        "iou": (3, 1),
        "precision": (2, 2),
        "recall": (3, 1),
        "hd95_px": (2, 2),
        "nsd_px": (3, 1),
    }
    assert summary["metrics"]["dice"]["mean"] == pytest.approx(1.9 / 3)


@pytest.mark.parametrize(("least", "n"), [("100", 2), ("101", 1), ("401", 0)])
def test_min_area_leaves_smaller_truths_out_of_the_summary(run, capsys, least, n):
    status, rows, summary = run("--min-area", least)
    assert status == 0
    assert len(rows) == 2
    assert sum(row["included"] == "True" for row in rows.values()) == n
    assert summary["metrics"]["dice"]["n"] == n
    assert (summary["images"], summary["included"]) == (2, n)
    assert f"{2 - n} of them below {least} pixels left out" in capsys.readouterr().out
    if n == 0:
        assert summary["metrics"]["dice"] == {
            "mean": None,
            "std": None,
            "median": None,
            "ci95": [None, None],
            "n": 0,
            "undefined": 0,
        }


def test_unmatched_and_unusable_files_are_listed_and_the_rest_goes_on(run, folders, capsys):
    truth, prediction = folders
    save(truth / "lone.png", square(1, 1, 2))
    save(prediction / "a_pred.png", square(1, 1, 2))
    save(truth / "size.png", square(1, 1, 2))
    save(prediction / "size.png", square(1, 1, 2, (40, 32)))
    save(truth / "broken.png", square(1, 1, 2))
    (prediction / "broken.png").write_bytes((truth / "broken.png").read_bytes()[:40])
    save(truth / "mixed.png", square(1, 1, 2))
    (prediction / "mixed.nii").touch()
    status, rows, summary = run()
    assert status == 1
    assert set(rows) == {"a", "b"}
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0].split("/")[-1] for line in lines] == [
        "a_pred.png",
        "lone.png",
        "broken.png",
        "mixed.nii",
        "size.png",
    ]
    assert "40 x 32" in lines[-1]
    assert (len(summary["unmatched"]), len(summary["problems"])) == (2, 3)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(13, "Permission denied"),
            "Permission denied; change its permissions, or name another place",
        ),
        (MemoryError(), "not enough memory to compare it; use a larger machine"),
    ],
)
def test_whatever_goes_wrong_with_one_pair_is_listed(run, monkeypatch, capsys, error, said):
    read_bytes = Path.read_bytes

    def failing(path):
        if path.parent.name == "predictions" and path.name == "a.png":
            raise error
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    status, rows, _ = run()
    assert (status, set(rows)) == (1, {"b"})
    assert capsys.readouterr().err.endswith(f"predictions/a.png: {said}\n")


def test_if_no_pair_can_be_compared_nothing_is_written(metricas, tmp_path, capsys):
    save(tmp_path / "t" / "a.png", square(1, 1, 2))
    save(tmp_path / "p" / "a.png", square(1, 1, 2, (9, 9)))
    assert metricas.main([str(tmp_path / "t"), str(tmp_path / "p"), "liver"]) == 2
    assert "none of its 1 pairs could be compared" in capsys.readouterr().err
    assert not (tmp_path / "p_metrics").exists()


def test_earlier_reports_are_kept_without_force(run, folders, metricas, tmp_path, capsys):
    _, first, _ = run()
    before = (tmp_path / "predictions_metrics" / "metrics_liver.csv").stat().st_mtime_ns
    assert metricas.main([*map(str, folders), "liver"]) == 2
    assert "exists; --force overwrites it" in capsys.readouterr().err
    assert (tmp_path / "predictions_metrics" / "metrics_liver.csv").stat().st_mtime_ns == before
    _, second, _ = run("--force")
    assert first == second


def test_volumes_are_measured_in_mm(metricas, tmp_path):
    truth, prediction = np.zeros((2, 12, 12, 6), np.uint8)
    truth[2:8, 2:8, 1:4] = prediction[2:8, 2:8, 2:5] = 1
    truth[4, 4, 2] = 2
    for folder, values in (("t", truth), ("p", prediction)):
        (tmp_path / folder).mkdir()
        nibabel.save(
            nibabel.Nifti1Image(values, np.diag([0.5, 0.5, 4, 1])), tmp_path / folder / "case.nii.gz"
        )
    output = tmp_path / "reports"
    options = [str(tmp_path / "t"), str(tmp_path / "p"), "liver", "--output", str(output)]
    assert metricas.main(options) == 0
    with (output / "metrics_liver.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (float(row["dice"]), float(row["hd95"]), row["unit"], row["axes"]) == (2 / 3, 4, "mm", "3")
    assert (row["truth_area_px"], row["truth_area_mm"]) == ("108", "108.0")
    assert metricas.main([*options, "--labels", "1", "--force"]) == 0
    with (output / "metrics_liver.csv").open() as file:
        assert next(csv.DictReader(file))["truth_area_px"] == "107"


def test_two_files_are_compared_as_they_are(metricas, folders, tmp_path):
    truth, prediction = folders[0] / "a.png", folders[1] / "b.png"
    assert metricas.main([str(truth), str(prediction), "liver"]) == 0
    assert (folders[1] / "b_metrics" / "metrics_liver.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["../liver"], "organ '../liver'"),
        ([""], "organ ''"),
        (["liver", "--labels", "1"], "is a picture; labels are for volumes"),
        (["liver", "--output", "PREDICTIONS"], "holds masks; write to another folder"),
    ],
)
def test_what_the_user_can_mend_is_one_line(metricas, folders, capsys, arguments, said):
    arguments = [str(folders[1]) if argument == "PREDICTIONS" else argument for argument in arguments]
    assert metricas.main([*map(str, folders), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--min-area", "-1", "a whole number from 0 up"),
        ("--tolerance", "inf", "a number from 0 up"),
        ("--tolerance", "two", "a number from 0 up"),
        ("--spacing", "1", "two or three positive numbers"),
        ("--spacing", "1,0", "two or three positive numbers"),
        ("--labels", "0", "a list of labels other than 0"),
        ("--labels", "liver", "a list of labels other than 0"),
    ],
)
def test_options_are_checked(metricas, folders, capsys, option, value, said):
    assert metricas.main([*map(str, folders), "liver", f"{option}={value}"]) == 2
    error = capsys.readouterr().err
    assert f"argument {option}: {value!r} is not {said}" in error
    assert error.count("\n") == 1


def test_a_real_process_needs_no_torch(folders):
    program = (
        "import runpy, sys\n"
        "sys.argv[0] = 'metricas.py'\n"
        "try:\n"
        "    runpy.run_path('metricas.py', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        "heavy = {'torch', 'scipy', 'nibabel'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    command = [sys.executable, "-c", program, *map(str, folders), "liver"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "liver: 2 images" in done.stdout


def test_a_real_process_reports_its_status(tmp_path):
    command = [sys.executable, "metricas.py", str(tmp_path / "absent"), str(tmp_path), "liver"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"metricas.py: error: {tmp_path / 'absent'}: no such file or folder; check the path\n"
    )
