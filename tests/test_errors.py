"""The table in docs/errors.md: every row of it is done here, and says what the row says.

The table holds the lines; this module holds what brings each about, by the words of the row. After a change
of either, ``python tests/test_errors.py`` writes the table again; look at what changed.
"""

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "errors.md"
HEADING = "| what was done | line on stderr | status |"
WEIGHTS = ROOT / "weights" / "emcclick_ct_lite0.pth"

EVALUATE = ("scripts/evaluate_model", "EMC-Click", "--cpu", "--n-clicks=1", "--logs-path=results")
VOLUMES = ("scripts/evaluate_volumes", "--cpu", "--no-slice-by-slice", "--logs-path=results")
EXTRACT = ("extraer_imagenes", "labelsTr", "datasets", "liver", "--workers=1")
WINDOW = ("normalize_ct_images", "imagesTr", "windowed", "liver", "--workers=1")
MEASURE = ("metricas", "truth", "predicted", "liver")
TRAIN = ("scripts/train", "ct", "--cpu", "--workers=0", "--folder=run")


# --- what the cases are made of


def volume(path, shape=(6, 5, 4), *, value=1, affine=None, dtype=np.int16):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.zeros(shape, dtype)
    voxels[1:3, 1:3, 1] = value
    nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine).to_filename(path)


def volumes(**label):
    volume(Path("imagesTr/a.nii.gz"), value=-1000)
    volume(Path("labelsTr/a.nii.gz"), **label)


def dicom(folder, series="3", shift=(0, 0, 0), **tags):
    from tests.dicom_files import places, stored_values, write_series

    tags["SeriesNumber"], tags["SeriesInstanceUID"] = series, f"1.2.{series}"
    write_series(Path(folder), stored_values((6, 12, 10)), places(6, shift=shift), **tags)


def picture(path, shape=(8, 9), value=255):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(shape, value, np.uint8))


def masks(*names):
    for name in names or ("a.png",):
        picture(Path("truth") / name)
        picture(Path("predicted") / name)


def data_set():
    Path("config.yml").write_text("LIVER_PATH: liver\nEXPS_PATH: runs\n")
    for name in ("a", "b"):
        picture(f"liver/images/{name}.png", (32, 40, 3), 90)
        mask = np.zeros((32, 40), np.uint8)
        mask[8:20, 8:20] = 255
        Path("liver/masks").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f"liver/masks/{name}.png", mask)


def begun(*arguments):
    """A run of one small evaluation, in ``results``."""
    data_set()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        assert load(EVALUATE[0])([*EVALUATE[1:], "--eval-mode=fixed64", *arguments]) == 0


def cut(path, part=0.5):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * part)])


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def checkpoint(content):
    import torch

    torch.save(content, "net.pth")


def with_bombs(make):
    def prepare():
        sys.path.insert(0, str(ROOT))
        from tests.fuzz import bombs

        make(bombs)

    return prepare


CASES = {}
"""By the words of the row: what prepares the folder, and the tool with its arguments."""


def case(words, prepare, *call):
    CASES[words] = (prepare, call)


# --- the cases: arguments

case("an option that there is not", lambda: None, *MEASURE, "--colour=red")
case("an argument that is missing", lambda: None, "normalize_ct_images", "imagesTr")
case("a number that is none", lambda: None, *EXTRACT, "--every=often")
case("a number out of its range", lambda: None, *EXTRACT, "--every=0")
case("a window that is none", volumes, *EXTRACT, "--window=40")
case("an organ that is misspelt", volumes, "normalize_ct_images", "imagesTr", "windowed", "lungs")
case("an organ whose labels are not known", volumes, "extraer_imagenes", "labelsTr", "datasets", "kidney")
case("a data set that there is not", data_set, *EVALUATE, "--datasets=kidney")
# --- places

case("a folder that is missing", lambda: None, *EXTRACT)
case("a folder without volumes", lambda: Path("labelsTr").mkdir(), *EXTRACT)
case("masks in one folder only", lambda: (picture("truth/a.png"), picture("predicted/b.png")), *MEASURE)
case("a checkpoint that is missing", data_set, *EVALUATE, "--datasets=liver", "--checkpoint=./none.pth")
case("a config file that is missing", lambda: None, *EVALUATE, "--config-path=none.yml")
case(
    "an output folder that is a file",
    lambda: (volumes(), write("windowed", "")),
    *WINDOW,
)
case(
    "an output folder below a file",
    lambda: (masks(), write("reports", "")),
    *MEASURE,
    "--output=reports/liver",
)
case(
    "results that are there already",
    lambda: (data_set(), write("results/results.json", "{}")),
    *EVALUATE,
    "--datasets=liver",
)
case("--resume without a folder", data_set, *EVALUATE[:-1], "--datasets=liver", "--resume")
case(
    "results without a journal, to be gone on with",
    lambda: (data_set(), write("results/results.json", "{}")),
    *EVALUATE,
    "--datasets=liver",
    "--resume",
)
case(
    "a run to go on with, by other settings",
    lambda: begun("--datasets=liver"),
    *EVALUATE,
    "--datasets=liver",
    "--eval-mode=fixed64",
    "--thresh=0.5",
    "--resume",
)
case(
    "a damaged journal",
    lambda: (begun("--datasets=liver"), write("results/journal/1/process_0.jsonl", "{}\n")),
    *EVALUATE,
    "--datasets=liver",
    "--eval-mode=fixed64",
    "--resume",
)
case("a click model that is none", data_set, *EVALUATE, "--datasets=liver", "--click-model=jitter=far")
case("several users who click alike", data_set, *EVALUATE, "--datasets=liver", "--seeds=3")
case("a set of volumes without its organ", volumes, *VOLUMES, "labelsTr")
case("an organ twice", volumes, *VOLUMES, "liver=labelsTr", "liver=labelsTr")
case(
    "options of one set with several",
    volumes,
    *(*VOLUMES, "liver=labelsTr", "spleen=labelsTr", "--window=lung"),
)
case("labels without the organ", lambda: volumes(value=5), *VOLUMES, "spleen=labelsTr")
case("a report of a folder without results", lambda: None, "scripts/report", "results")
case(
    "a report of results that are cut short",
    lambda: write("results/results.json", "{"),
    "scripts/report",
    "results",
)
# --- config.yml

case("a config file that is no YAML", lambda: write("config.yml", "A_PATH: [x"), *EVALUATE)
case("a row that comes twice", lambda: write("config.yml", "A_PATH: x\na_path: y"), *EVALUATE)
case("a line break in a folder's name", lambda: write("config.yml", 'A_PATH: "x\\ny"'), *EVALUATE)
case(
    "a config file of two gigabytes",
    lambda: (write("config.yml", ""), os.truncate("config.yml", 2**31)),
    *EVALUATE,
)

# --- data sets and pictures

case(
    "an image without a mask",
    lambda: (data_set(), Path("liver/masks/a.png").unlink()),
    *EVALUATE,
    "--datasets=liver",
)
case(
    "a link that leads nowhere",
    lambda: (data_set(), Path("liver/masks/c.png").symlink_to("none.png")),
    *EVALUATE,
    "--datasets=liver",
)
case(
    "a name with a line break",
    lambda: (
        data_set(),
        Path("liver/images/a.png").rename("liver/images/a\nb.png"),
        Path("liver/masks/a.png").unlink(),
    ),
    *EVALUATE,
    "--datasets=liver",
)
case(
    "a link out of the data set",
    lambda: (
        masks("a.png", "b.png"),
        Path("truth/a.png").rename("../a.png"),
        Path("truth/a.png").symlink_to("../../a.png"),
    ),
    *MEASURE,
)
case("a picture that is cut off", lambda: (masks("a.png", "b.png"), cut("truth/a.png")), *MEASURE)
case(
    "a text that is called a picture", lambda: (masks("a.png", "b.png"), write("truth/a.png", "x")), *MEASURE
)
case(
    "a picture that claims 60000 x 60000 pixels",
    with_bombs(lambda bombs: (masks("a.png", "b.png"), bombs.png(Path("truth/a.png"), 60000, 60000, 3))),
    *MEASURE,
)
case(
    "a mask of another size",
    lambda: (masks("a.png", "b.png"), picture("predicted/a.png", (7, 7))),
    *MEASURE,
)
case(
    "a manifest without its columns",
    lambda: (masks(), write("truth/manifest.csv", "name,spacing_row_mm\na,1\n")),
    *MEASURE,
)
case(
    "a spacing that is none",
    lambda: (masks(), write("truth/manifest.csv", "name,spacing_row_mm,spacing_col_mm\na,1,-1\n")),
    *MEASURE,
)

# --- volumes

case("a volume that is cut off", lambda: (volumes(), cut("imagesTr/a.nii.gz")), *WINDOW)
case(
    "a volume that claims 32767 voxels a side",
    with_bombs(
        lambda bombs: (
            volumes(),
            Path("imagesTr/a.nii.gz").write_bytes(bombs.gzip_of(bombs.nifti_header([bombs.HUGE] * 3))),
        )
    ),
    *WINDOW,
)
case(
    "a volume larger than the limit",
    with_bombs(
        lambda bombs: (
            volumes(),
            Path("imagesTr/a.nii").write_bytes(bombs.nifti_header([1100, 1000, 1000], np.uint8)),
            os.truncate("imagesTr/a.nii", 1_100_000_352),
            Path("imagesTr/a.nii.gz").unlink(),
        )
    ),
    *WINDOW,
)
case(
    "a header extension of a gigabyte",
    with_bombs(
        lambda bombs: (
            volumes(),
            Path("imagesTr/a.nii.gz").write_bytes(
                bombs.gzip_of(bombs.nifti_header([4, 4, 4], np.int16, 2**30, 10**6) + bytes(10**6))
            ),
        )
    ),
    *WINDOW,
)
case("a text that is called a volume", lambda: (volumes(), write("imagesTr/a.nii.gz", "x")), *WINDOW)
case(
    "a volume of four dimensions",
    lambda: (volumes(), volume(Path("imagesTr/a.nii.gz"), (4, 4, 4, 2))),
    *WINDOW,
)
case("a label without its image", lambda: (volumes(), volume(Path("labelsTr/b.nii.gz"))), *EXTRACT)
case(
    "a volume that is not in HU",
    lambda: (volumes(), volume(Path("imagesTr/a.nii.gz"), value=1024)),
    *EXTRACT,
)
case(
    "another patient's label of the same name",
    lambda: (
        volumes(),
        shutil.copytree("labelsTr", "site_2/labelsTr"),
        shutil.copytree("imagesTr", "site_2/imagesTr"),
        load(EXTRACT[0])(EXTRACT[1:]),
    ),
    "extraer_imagenes",
    "site_2/labelsTr",
    "datasets",
    "liver",
    "--force",
)
case("a label of another shape", lambda: volumes(shape=(6, 5, 3)), *EXTRACT)
case("a label without the organ", lambda: volumes(value=7), *EXTRACT)
case("a folder of two DICOM series", lambda: (dicom("imagesTr"), dicom("imagesTr/2", "5")), *WINDOW)
case("a DICOM series that there is not", lambda: dicom("imagesTr"), *WINDOW, "--series=7")
case("a DICOM series that is asked of NIfTI files", volumes, *WINDOW, "--series=7")
case(
    "a DICOM series that lacks a slice",
    lambda: (dicom("imagesTr"), Path("imagesTr/slice001.dcm").unlink()),
    *WINDOW,
)
case("a DICOM file that is cut off", lambda: (dicom("imagesTr"), cut("imagesTr/slice002.dcm", 0.95)), *WINDOW)
case("a DICOM series that is no CT", lambda: dicom("imagesTr", Modality="MR"), *WINDOW)
case("a tilted gantry", lambda: dicom("imagesTr", shift=(0, 0.5, 0)), *WINDOW)
case(
    "pictures that are there already",
    lambda: (
        volumes(),
        picture("datasets/liver/images/a_001.png"),
    ),
    *EXTRACT,
)
case(
    "a manifest of another tool",
    lambda: (volumes(), write("datasets/liver/manifest.csv", "a,b\n1,2\n")),
    *EXTRACT,
)
case(
    "a manifest whose names lead elsewhere",
    lambda: (
        volumes(),
        write(
            "datasets/liver/manifest.csv",
            "name,volume,label,slice,axis,height,width,spacing_row_mm,spacing_col_mm,window_level,window_width,"
            "orientation,labels,organ_pixels,label_folder\n"
            "a_/../../../precious,a,a,1,2,4,4,1,1,40,350,upright,1,4,b\n",
        ),
    ),
    *EXTRACT,
    "--force",
)
case(
    "a table of windows that is no JSON",
    lambda: (volumes(), write("windows.json", "{")),
    "normalize_ct_images",
    "imagesTr",
    "windowed",
    "windows.json",
)

# --- networks

case(
    "a checkpoint that is cut off",
    lambda: Path("net.pth").write_bytes(WEIGHTS.read_bytes()[:100_000]),
    "scripts/shrink_checkpoint",
    "net.pth",
    "out.pth",
)
case(
    "a checkpoint of another method",
    lambda: checkpoint({"state_dict": {"conv.weight": __import__("torch").ones(2)}}),
    "scripts/shrink_checkpoint",
    "net.pth",
    "out.pth",
)
case(
    "a checkpoint with a program in it",
    lambda: checkpoint({"state_dict": {}, "config": subprocess.Popen}),
    "scripts/shrink_checkpoint",
    "net.pth",
    "out.pth",
)
case(
    "a checkpoint that asks for memory",
    with_bombs(lambda bombs: Path("net.pth").write_bytes(bombs.bytearray_pickle(2**31 - 1))),
    "scripts/shrink_checkpoint",
    "net.pth",
    "out.pth",
)
case(
    "half of a pair of ONNX files",
    lambda: (data_set(), write("a_first_stage.onnx", "")),
    *EVALUATE,
    "--datasets=liver",
    "--backend=onnxruntime",
    "--checkpoint=a_first_stage.onnx",
)
case(
    "a text that is called an ONNX file",
    lambda: (data_set(), write("a_first_stage.onnx", "x"), write("a_correction_head.onnx", "x")),
    *EVALUATE,
    "--datasets=liver",
    "--backend=onnxruntime",
    "--checkpoint=a_first_stage.onnx",
)

# --- training

case("a source that there is not", lambda: None, *TRAIN, "--sources", "video:x")
case("a run that there is not", lambda: None, *TRAIN, "--resume")
case(
    "a run's state that cannot be read",
    lambda: write("run/state.pt", "x"),
    *TRAIN,
    "--resume",
)
case(
    "an annotation file that is no JSON",
    lambda: (write("instances.json", "{"), Path("pictures").mkdir()),
    *TRAIN,
    "--sources",
    "coco:instances.json:images=pictures",
)
case(
    "an annotation file that leads elsewhere",
    lambda: (
        picture("secret.png"),
        Path("pictures").mkdir(),
        write(
            "instances.json",
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "../secret.png", "height": 8, "width": 9}],
                    "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}],
                    "categories": [{"id": 1, "name": "cat"}],
                }
            ),
        ),
    ),
    *TRAIN,
    "--sources",
    "coco:instances.json:images=pictures",
)


# --- doing them


def load(tool):
    spec = importlib.util.spec_from_file_location(tool.rpartition("/")[2], ROOT / f"{tool}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@contextlib.contextmanager
def working_in(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def perform(words, folder):
    """What doing a row's words gives: the line on stderr, and the exit status."""
    prepare, (tool, *arguments) = CASES[words]
    error, program = io.StringIO(), sys.argv
    with working_in(folder):
        prepare()
        sys.argv = [f"{tool}.py"]
        with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
            status = load(tool)(arguments)
        sys.argv = program
    said = error.getvalue()
    assert "Traceback" not in said, said
    said = said.replace(f"{folder}/", "").replace(f"{folder.parent}/", "../")
    lines = [line for line in said.splitlines() if not line.startswith(("note: ", "no --"))]
    # Of a whole run that fails the last line says no more than that.
    lines = [line for line in lines if "none of its 1 pairs" not in line]
    assert len(lines) == 1, said
    return lines[0], status


def rows():
    """The table's rows: words, line, status."""
    table = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)[2]
    found = re.findall(r"^\| ([^|`]+) \| `` (.*) `` \| (\d+) \|$", table, re.MULTILINE)
    return {words: (line, int(status)) for words, line, status in found}


def test_the_table_has_a_row_for_each_case():
    assert list(rows()) == list(CASES)


@pytest.mark.parametrize("words", CASES)
def test_what_a_user_can_cause_ends_as_the_table_says(words, tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = tmp_path / "work"
    folder.mkdir()
    assert perform(words, folder) == rows()[words]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "a window that is none",
        "a volume that is cut off",
        "a mask of another size",
        "a checkpoint that is cut off",
    ],
)
def test_so_do_real_processes(words, tmp_path):
    prepare, (tool, *arguments) = CASES[words]
    line, status = rows()[words]
    for debug in ([], ["--debug"]):
        folder = tmp_path / f"work{len(debug)}"
        folder.mkdir()
        with working_in(folder):
            prepare()
        done = subprocess.run(
            [sys.executable, ROOT / f"{tool}.py", *arguments, *debug],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == status
        assert done.stderr.splitlines()[-1] == line
        assert ("Traceback" in done.stderr) == (bool(debug) and status == 2)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    lines = [HEADING, "|---|---|---|"]
    for each in CASES:
        with tempfile.TemporaryDirectory() as place:
            inner = Path(place) / "work"
            inner.mkdir()
            try:
                text, number = perform(each, inner)
            except AssertionError as failed:
                text, number = f"FAILED {failed}", -1
            lines.append(f"| {each} | `` {text} `` | {number} |")
            print(lines[-1], flush=True)
    document = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)[0]
    DOCUMENT.write_text(document + "\n".join(lines) + "\n", encoding="utf-8")
