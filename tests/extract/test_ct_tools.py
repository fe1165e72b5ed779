"""Both tools as a user starts them, and on real files."""

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isegm.extract.manifest import read_manifest
from isegm.pictures import read_grey

ROOT = Path(__file__).resolve().parents[2]


def launch(tool, *arguments):
    command = [sys.executable, ROOT / f"{tool}.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_processes(ct, tmp_path):
    """Several workers, which import the tool themselves; no torch, no bar where there is no terminal."""
    (tmp_path / "labelsTr" / "a.nii").write_bytes(b"")
    done = launch("extraer_imagenes", tmp_path / "labelsTr", tmp_path / "out", "liver", "--workers", 2)
    assert done.returncode == 1
    assert done.stdout == f"1 picture from 1 volume in {tmp_path / 'out' / 'liver'}\n"
    assert (
        done.stderr == f"{tmp_path}/labelsTr/a.nii: no image a.nii.gz for it in {tmp_path}/imagesTr; add it\n"
    )
    done = launch("normalize_ct_images", tmp_path / "imagesTr", tmp_path / "n", "-500,1400")
    assert (done.returncode, done.stderr) == (0, "")
    done = launch("normalize_ct_images", tmp_path / "nowhere", tmp_path / "n", "liver")
    assert done.returncode == 2
    assert done.stderr == (
        f"normalize_ct_images.py: error: {tmp_path}/nowhere: no such file or folder; check the path\n"
    )


def test_what_nibabel_corrects_in_a_header_is_not_printed(ct, tmp_path):
    path = tmp_path / "imagesTr" / "case_7.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[252:254] = (512).to_bytes(2, "little")  # no code of a qform's
    path.write_bytes(gzip.compress(content))
    done = launch("normalize_ct_images", tmp_path / "imagesTr", tmp_path / "n", "lung")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_tools_start_without_torch():
    code = "import sys, isegm.extract.slices, isegm.extract.normalize; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60).returncode == 0


@pytest.fixture
def ctrl_c_is_heard():
    """A process that ignores Ctrl-C, as a shell's background jobs do, starts others that ignore it, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_leaves_no_unfinished_files(save_nifti, tmp_path):
    noise = np.random.default_rng(0).integers(-1000, 1000, (512, 512, 60)).astype(np.int16)
    for name in ("a", "b", "c"):
        save_nifti(tmp_path / "in" / f"{name}.nii", noise)
    output = tmp_path / "out"
    command = [sys.executable, ROOT / "normalize_ct_images.py", tmp_path / "in", output / "x", "mediastinum"]
    with subprocess.Popen(
        [*command, "--workers", "2"], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 30
        while not list(output.glob("x/.tmp-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "normalize_ct_images.py: interrupted\n"
    assert list(output.glob("x/.*")) == []


@pytest.mark.parametrize(
    ("task", "organ", "count"),
    [("Task03_Liver", "liver", 3), ("Task06_Lung", "lung", 1), ("Task09_Spleen", "spleen", 3)],
)
def test_decathlon(task, organ, count, shared, extraer_imagenes, normalize_ct_images, tmp_path):
    folder = shared / "data/decathlon" / task
    argv = [str(folder / "labelsTr"), str(tmp_path / "d"), organ, "--workers", "1"]
    assert extraer_imagenes.main(argv) == 0
    rows = read_manifest(tmp_path / "d" / organ / "manifest.csv")
    assert len(rows) == count
    argv = [str(folder / "imagesTr"), str(tmp_path / "n"), organ, "--workers", "1"]
    assert normalize_ct_images.main(argv) == 0
    for row in rows:
        # By nibabel alone: the slice is the fullest, and both tools see the same greys in it.
        label = np.isin(np.asanyarray(nib.load(folder / "labelsTr" / row["label"]).dataobj), [1, 2])
        counts = label.sum(axis=(0, 1))
        assert (int(row["slice"]), int(row["organ_pixels"])) == (counts.argmax(), counts.max())
        affine = nib.load(folder / "labelsTr" / row["label"]).affine
        for kind, volume in (
            ("images", nib.load(tmp_path / "n" / row["volume"])),
            ("masks", nib.Nifti1Image(label.astype(np.uint8) * 255, affine)),
        ):
            canonical = np.asanyarray(nib.as_closest_canonical(volume).dataobj)
            picture = read_grey(tmp_path / "d" / organ / kind / f"{row['name']}.png")
            assert (picture == canonical[::-1, ::-1, int(row["slice"])].T).all()


def test_awkward_files_give_a_result_or_a_line(
    shared, extraer_imagenes, normalize_ct_images, tmp_path, capsys
):
    files = [path for path in sorted((shared / "data/nifti_robustness").glob("*/*")) if path.is_file()]
    assert files
    for number, path in enumerate(files):
        extraction = [path, tmp_path / f"x{number}", "bone", "--labels", 1, "--images", path.parent]
        windowing = [path, tmp_path / f"n{number}", "abdomen"]
        for tool, argv in ((normalize_ct_images, windowing), (extraer_imagenes, extraction)):
            status = tool.main([*map(str, argv)])
            out, err = capsys.readouterr()
            assert status in (0, 1), path
            # Most of these are no CT, which is said.
            assert all("warning" in line or status for line in err.splitlines()), path
            assert all(path.name.partition(".")[0] in line for line in err.splitlines()), path
            assert err or not status
            assert out.startswith("0 " if status else "1 ")
    # By nibabel: which of these are three-dimensional HU, free of NaN
    windowed = {path.name for path in tmp_path.glob("n*/*.nii*")}
    assert {"anatomical.nii", "AIL.nii.gz", "shear.nii.gz", "strokez.nii.gz", "little.nii.gz"} <= windowed
    assert not {"standard.nii.gz", "complex.nii.gz", "example4d.nii.gz"} & windowed


def test_awkward_images_are_extracted_upright(shared, extraer_imagenes, tmp_path):
    for name in ("niivue/AIL.nii.gz", "niivue/shear.nii.gz", "nifti_reader_js/big.nii.gz"):
        image = nib.load(shared / "data/nifti_robustness" / name)
        organ = np.zeros(image.shape, np.uint8)
        organ[tuple(size // 2 for size in image.shape)] = 1
        label = tmp_path / "labels" / Path(name).name
        label.parent.mkdir(exist_ok=True)
        nib.Nifti1Image(organ, image.affine).to_filename(label)
        argv = [label, tmp_path / "out", "brain", "--labels", 1, "--window", "abdomen", "--images"]
        argv.append(shared / "data/nifti_robustness" / name)
        assert extraer_imagenes.main([*map(str, argv)]) == 0
        canonical = nib.as_closest_canonical(nib.Nifti1Image(organ, image.affine))
        index = np.argwhere(np.asanyarray(canonical.dataobj))[0][2]
        hu = nib.as_closest_canonical(image).get_fdata()[::-1, ::-1, index].T
        greys = np.floor(np.clip((hu + 135) * 255 / 350, 0, 255) + 0.5)
        (picture,) = (tmp_path / "out" / "brain" / "images").glob(f"{label.name.partition('.')[0]}_*")
        assert (np.abs(read_grey(picture) - greys) <= 1).all()  # nibabel scales in another order
        assert (read_grey(picture) == greys).mean() > 0.999
