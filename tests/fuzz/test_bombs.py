"""Files that claim or unpack to gigabytes end in one line, in processes that may take one GiB more."""

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from isal import igzip

from tests.fuzz import bombs

pytestmark = pytest.mark.slow  # together more than the fast tests have time for

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30

CHILD = """
import importlib.util, json, os, resource, sys
root, calls = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, root)
mains = {}
for tool in dict.fromkeys(tool for tool, _ in calls):
    spec = importlib.util.spec_from_file_location(tool.rpartition("/")[2], f"{root}/{tool}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mains[tool] = module.main
    if tool.startswith("scripts/"):  # torch, which these import only when there is something to compute
        importlib.import_module("isegm.evaluation.evaluate")
with open("/proc/self/status") as file:
    size = next(int(line.split()[1]) for line in file if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, size + 2**30))
for tool, argv in calls:
    sys.argv = [f"{tool.rpartition('/')[2]}.py"]
    status = mains[tool](argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(2, f"=== {status}\\n".encode())
"""


def run(calls, folder):
    """The exit status and the lines on stderr of each call of a tool, all in one process of little memory."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROOT), json.dumps(calls)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    parts, lines = [], []
    for line in done.stderr.splitlines():
        if line.startswith("=== "):
            parts.append((int(line[4:]), lines))
            lines = []
        else:
            lines.append(line)
    return parts


def sparse(path, size):
    """A file of zeros that takes no place on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def gzipped_zeros(path, head, size):
    with igzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(size // 2**20):
            file.write(bytes(2**20))
    return path


def test_volumes(tmp_path):
    cases = [
        (
            "plain.nii",
            "too short: the header claims 281449207693656",
            lambda path: path.write_bytes(bombs.nifti_header([bombs.HUGE] * 3) + bytes(1000)),
        ),
        (
            "packed.nii.gz",
            "too short: the header claims",
            lambda path: path.write_bytes(bombs.gzip_of(bombs.nifti_header([bombs.HUGE] * 3) + bytes(1000))),
        ),
        (
            "slices.nii.gz",
            "claims 32767 x 3000 x 8 voxels, more than the",
            lambda path: gzipped_zeros(path, bombs.nifti_header([32767, 3000, 8], np.uint8), 800 * 2**20),
        ),
        (
            "voxels.nii",
            "claims 1100 x 1000 x 1000 voxels, more than the",
            lambda path: (
                sparse(path, 1_100_000_352)
                .open("r+b")
                .write(bombs.nifti_header([1100, 1000, 1000], np.uint8))
            ),
        ),
        (
            "after.nii.gz",
            "goes on for more than 16777216 bytes after its last voxel",
            lambda path: gzipped_zeros(path, bombs.nifti_header([8, 8, 8], np.int16), 2 * GIB),
        ),
        (
            "extension.nii.gz",
            "a header extension claims 2147483632 bytes",
            lambda path: gzipped_zeros(
                path, bombs.nifti_header([8, 8, 8], np.int16, 2**31 - 16, 10**6), 2 * GIB
            ),
        ),
        (
            "nothing.nii.gz",
            "a header extension claims 0 bytes",
            lambda path: gzipped_zeros(path, bombs.nifti_header([8, 8, 8], np.int16, 0, 10**6), 2 * GIB),
        ),
        (
            "offset.nii.gz",
            "its header puts the voxels at byte 1e+09",
            lambda path: gzipped_zeros(path, bombs.nifti_header([8, 8, 8], np.int16, offset=10**9), 2 * GIB),
        ),
        (
            "pair.hdr.gz",
            "a header extension claims 1073741824 bytes",
            lambda path: gzipped_zeros(path, bombs.nifti_header([8, 8, 8], np.int16, GIB), 2 * GIB),
        ),
    ]
    calls = []
    for name, _, write in cases:
        write(tmp_path / name)
        calls.append(("normalize_ct_images", [name, "out", "lung", "--workers", "1"]))
        if "hdr" not in name and name != "after.nii.gz":
            calls.append(("metricas", [name, name, "liver", "--output", "reports"]))
    parts = iter(run(calls, tmp_path))
    for name, words, _ in cases:
        status, lines = next(parts)
        assert (status, len(lines)) == (1, 1), (name, lines)
        assert lines[0].startswith(f"{name}: {words}"), lines
        if "hdr" not in name and name != "after.nii.gz":
            status, lines = next(parts)
            assert status == 2, (name, lines)
            nothing = f"metricas.py: error: {name}: none of its 1 pairs could be compared:"
            assert (lines[0], len(lines)) == (nothing, 2)
            assert lines[1].startswith(f"{name}: {words}"), lines
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def dicom(path, syntax, change=bytes, **tags):
    """A DICOM slice whose bytes are changed before they are written."""
    from tests.dicom_files import dataset, places, stored_values, write

    slice_ = dataset(stored_values((64, 32)), places(1)[0], **tags)
    path.write_bytes(change(write(path, slice_, syntax).read_bytes()))


def test_dicom(tmp_path):
    plain, jpeg_2000, rle = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
    deflated = "1.2.840.10008.1.2.1.99"

    def long_description(content):
        """An element that claims, and a sparse file that holds, 2 GiB."""
        at = content.index(b"\x08\0\x3e\x10")
        return content[:at] + b"\x08\0\x3e\x10UT\0\0" + (2**31 - 2).to_bytes(4, "little")

    def long_fragment(content):
        """A frame, and a sparse file that holds as much, of 2 GiB."""
        at = content.rindex(b"\xfe\xff\0\xe0")
        return content[: at + 4] + (2**31 - 2).to_bytes(4, "little") + content[at + 8 : at + 80]

    def repeated(content):
        """RLE that goes on and on: 2 bytes for 128, for 16 MB."""
        at = content.rindex(b"\xfe\xff\0\xe0")
        segments = content[at + 8 : at + 72] + b"\x81\0" * (8 * 2**20 - 100)
        return (
            content[: at + 4] + len(segments).to_bytes(4, "little") + segments + b"\xfe\xff\xdd\xe0\0\0\0\0"
        )

    def huge_codestream(content):
        at = content.index(b"\xff\x4f\xff\x51") + 8
        return content[:at] + (2**31 - 1).to_bytes(4, "big") * 2 + content[at + 8 :]

    def inflating(content):
        """A deflated file that goes on for a gigabyte of zeros."""
        end = 144 + int.from_bytes(content[140:144], "little")  # of what is not deflated
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return content[:end] + b"".join(packer.compress(bytes(2**24)) for _ in range(64)) + packer.flush()

    cases = [
        ("element.dcm", plain, long_description, {}, "it claims more than a header can hold"),
        ("fragment.dcm", jpeg_2000, long_fragment, {}, "holds more than its 1 compressed frames need"),
        ("rle.dcm", rle, repeated, {}, "frame 1 has 167"),
        ("codestream.dcm", jpeg_2000, huge_codestream, {}, "compressed as 2147483647 x 2147483647 pixels"),
        ("deflated.dcm", deflated, inflating, {}, "inflates to more than 150994944 bytes"),
        (
            "frames.dcm",
            plain,
            bytes,
            {"NumberOfFrames": 10**9},
            "claims 1000000000 x 32 x 64 voxels, more than",
        ),
        (
            "pixels.dcm",
            plain,
            bytes,
            {"Rows": 65535, "Columns": 65535},
            "claims 1 x 65535 x 65535 voxels, more",
        ),
        ("cut.dcm", plain, bytes, {"Rows": 8000, "Columns": 8000}, "cut off: has 4096 of 128000000 bytes"),
    ]
    calls = []
    for name, syntax, change, tags, _ in cases:
        dicom(tmp_path / name, syntax, change, **tags)
        if change in (long_description, long_fragment):
            with (tmp_path / name).open("r+b") as file:
                file.truncate(2**31 + 10**6)
        calls.append(("normalize_ct_images", [name, "out", "lung", "--workers", "1"]))
    for (name, *_, words), (status, lines) in zip(cases, run(calls, tmp_path), strict=True):
        assert (status, len(lines)) == (1, 1), (name, lines)
        assert lines[0].startswith(f"{name}: "), lines
        assert words in lines[0], lines


def test_pictures_and_manifests(tmp_path):
    bombs.png(tmp_path / "claims.png", 60000, 60000, 3)
    bombs.png(tmp_path / "holds.png", 32000, 32000, 32000)
    (tmp_path / "liver").mkdir()
    sparse(tmp_path / "liver" / "manifest.csv", 2 * GIB)
    sparse(tmp_path / "windows.json", 2 * GIB)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    sparse(tmp_path / "zeros.png", 2 * GIB)
    volume = bombs.nifti_header([4, 4, 4], np.int16) + bytes(128)
    for folder in ("labelsTr", "imagesTr"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.nii").write_bytes(volume)
    claims = "claims more pixels than are read"
    calls = [
        ("metricas", ["claims.png", "claims.png", "liver", "--output", "r"], claims),
        ("metricas", ["holds.png", "holds.png", "liver", "--output", "r"], claims),
        ("metricas", ["zeros.png", "zeros.png", "liver", "--output", "r"], "has 2147483648 bytes, more than"),
        ("extraer_imagenes", ["labelsTr", ".", "liver", "--workers", "1"], "has 2147483648 bytes, more than"),
        ("normalize_ct_images", ["imagesTr", "out", "windows.json"], "has 2147483648 bytes, more than"),
        ("normalize_ct_images", ["imagesTr", "out", "deep.json"], "not readable JSON"),
    ]
    for (tool, _, words), (status, lines) in zip(
        calls, run([(tool, argv) for tool, argv, _ in calls], tmp_path), strict=True
    ):
        assert status == 2
        assert words in lines[-1], lines
        assert len(lines) == (2 if tool == "metricas" else 1), lines


def test_data_sets_and_networks(tmp_path):
    (tmp_path / "config.yml").write_text(
        "LIVER_PATH: liver\nSBD_PATH: sbd\nPASCALVOC_PATH: voc\nEXPS_PATH: runs\n"
    )
    (tmp_path / "aliases.yml").write_bytes(bombs.aliases(12))
    sparse(tmp_path / "large.yml", 2 * GIB)
    for name, rows in (("claims", 3), ("holds", 12000)):
        for folder in ("images", "masks"):
            (tmp_path / "liver" / folder).mkdir(parents=True, exist_ok=True)
        bombs.png(tmp_path / "liver" / "images" / f"{name}.png", 12000, 12000, rows)
        cv2.imwrite(str(tmp_path / "liver" / "masks" / f"{name}.png"), np.full((8, 8), 255, np.uint8))
    for folder, names in (("sbd", ["img", "inst"]), ("voc", ["JPEGImages", "SegmentationObject"])):
        for name in names:
            (tmp_path / folder / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / names[0] / "a.jpg"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "sbd" / "val.txt").write_text("a\n")
    bombs.matlab(tmp_path / "sbd" / "inst" / "a.mat", 30, 40)
    (tmp_path / "voc" / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "voc" / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    bombs.png(tmp_path / "voc" / "SegmentationObject" / "a.png", 9000, 9000, 9000, palette=True)

    from tests.fuzz.readers import _pickle_seeds, zip_of_pickle

    bombs.zip_bomb(tmp_path / "zip.pth", _pickle_seeds()[0], 1100)
    (tmp_path / "array.pth").write_bytes(zip_of_pickle(bombs.bytearray_pickle(2**31 - 1)))
    (tmp_path / "old.pth").write_bytes(bombs.bytearray_pickle(2**31 - 1) * 5)
    sparse(tmp_path / "large.pth", 3 * GIB)
    sparse(tmp_path / "a_first_stage.onnx", 3 * GIB)
    sparse(tmp_path / "a_correction_head.onnx", 3 * GIB)

    evaluate = "scripts/evaluate_model"
    small = ["EMC-Click", "--cpu", "--n-clicks", "1", "--logs-path"]
    calls = [
        (
            evaluate,
            ["EMC-Click", "--cpu", "--config-path", "aliases.yml"],
            2,
            ["aliases.yml: only rows <NAME>_PATH: <folder> are used, not A0_PATH", "none of its data sets"],
        ),
        (
            evaluate,
            ["EMC-Click", "--cpu", "--config-path", "large.yml"],
            2,
            ["large.yml: has 2147483648 bytes"],
        ),
        (
            evaluate,
            [*small, "a", "--datasets", "sbd"],
            2,
            ["a.mat: compressed data that is cut off or far too"],
        ),
        (evaluate, [*small, "b", "--datasets", "voc"], 2, None),
        (evaluate, [*small, "b", "--datasets", "pascalvoc"], 2, ["a.png: claims 9000 x 9000 pixels"]),
        (
            evaluate,
            [*small, "c", "--datasets", "liver"],
            1,
            [None, "claims.png: claims more pixels than", "holds.png: claims more pixels than"],
        ),
        ("scripts/shrink_checkpoint", ["zip.pth", "out.pth"], 2, ["zip.pth: holds compressed entries"]),
        ("scripts/shrink_checkpoint", ["array.pth", "out.pth"], 2, ["(builtins bytearray)"]),
        ("scripts/shrink_checkpoint", ["old.pth", "out.pth"], 2, ["(builtins bytearray)"]),
        ("scripts/shrink_checkpoint", ["large.pth", "out.pth"], 2, ["large.pth: has 3221225472 bytes"]),
        (
            evaluate,
            [*small, "d", "--backend=onnxruntime", "--checkpoint=a_first_stage.onnx", "--datasets=liver"],
            2,
            ["a_first_stage.onnx: has 3221225472 bytes"],
        ),
    ]
    parts = run([(tool, argv) for tool, argv, _, _ in calls], tmp_path)
    for (_, argv, wanted, words), (status, lines) in zip(calls, parts, strict=True):
        assert status == wanted, (argv, lines)
        if words is not None:
            # A run that has begun shows its progress, too.
            lines = [line for line in lines if not re.search(r"^\s*$|sample/s|no --checkpoint", line)]
            words = [word for word in words if word is not None]
            assert len(lines) == len(words), (argv, lines)
            for line, word in zip(lines, words, strict=True):
                assert word in line, (argv, lines)


@pytest.mark.parametrize("levels", [3, 60])
def test_metadata_that_hold_themselves(tmp_path, levels):
    from isegm.errors import InputError
    from isegm.model.checkpoint import read_metadata
    from tests.fuzz.readers import zip_of_pickle

    path = tmp_path / "net.pth"
    path.write_bytes(zip_of_pickle(bombs.nested_pickle(levels)))
    if levels == 3:
        lists = [[1, 2]]
        for _ in range(levels):
            lists.append([lists[-1], lists[-1]])
        assert read_metadata(path) == {"windows": lists}
    else:
        with pytest.raises(InputError, match="larger than can be meant"):
            read_metadata(path)
