"""Every tool does its work whoever reads what it prints."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from tests.commands.workspace import REPOSITORY, environment

pytestmark = pytest.mark.slow  # together more than the fast tests have time for

# A new pipe without a reader for each tool, as of "| head" that has seen enough.
CHILD = """
import json, os, sys
from isegm.commands import run
statuses = []
for name, words in json.loads(sys.argv[1]):
    reader, writer = os.pipe()
    os.close(reader)
    for stream in (1, 2):
        os.dup2(writer, stream)
    os.close(writer)
    statuses.append(run(name, words))
with open("statuses.json", "w") as file:
    json.dump(statuses, file)
"""


def test_files_are_written_and_the_status_is_the_works(workspace):
    for part, dtype in (("imagesTr", np.int16), ("labelsTr", np.uint8)):
        (workspace / part).mkdir()
        voxels = np.zeros((24, 20, 3), dtype)
        voxels[6:18, 5:15] = 1
        if part == "imagesTr":
            voxels = voxels * np.int16(1100) - np.int16(1000)
        nib.save(nib.Nifti1Image(voxels, np.diag((2, 2, 5, 1))), workspace / part / "liver_0.nii.gz")
    (workspace / "damaged").mkdir()
    (workspace / "damaged" / "liver_0.nii.gz").write_bytes(b"cut")
    fast = ["EMC-Click", "--checkpoint=hr32", "--eval-mode=fixed64", "--n-clicks=1", "--cpu"]
    lines = {
        "window": ["imagesTr", "windowed", "abdomen", "--workers=1"],
        "extract": ["labelsTr", "slices", "liver", "--workers=1"],
        "metrics": ["datasets/liver/masks", "datasets/liver/masks", "liver", "--output=metrics"],
        "evaluate": [*fast, "--datasets=spleen", "--logs-path=run"],
        "report": ["run"],
        "shrink": ["weights/hr32.pth", "small.pth"],
        "train": [
            *("fine-tune", "--folder=trained", "--sources", "folder:datasets/lung", "--cpu", "--workers=0"),
            *("--crop-height=32", "--crop-width=32", "--batch-size=2", "--epochs=1", "--epoch-samples=2"),
        ],
        "demo": ["--data=.", "--organ=liver", "--checkpoint=weights/hr32.pth"],
    }
    lines = [*lines.items(), ("window", ["damaged", "nothing", "abdomen"])]
    variables = environment() | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-c", CHILD, json.dumps(lines)]
    subprocess.run(words, cwd=workspace, env=variables, check=True, timeout=280)
    assert json.loads((workspace / "statuses.json").read_text()) == [0] * 8 + [1]
    for path in (
        "windowed/liver_0.nii.gz",
        "slices/liver/manifest.csv",
        "metrics/metrics_liver.json",
        "run/results.json",
        "run/report.html",
        "small.pth",
        "trained/checkpoints/last.pth",
        "demo/overview.png",
    ):
        assert (workspace / path).stat().st_size
