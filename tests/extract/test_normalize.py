import gzip
import json
import shutil
import tracemalloc
import unicodedata

import nibabel as nib
import numpy as np
import pytest

from isegm.errors import InputError
from isegm.extract.normalize import NormalizeJob, normalize_volume, parse_windows
from isegm.volumes.windows import WINDOWS, Window


@pytest.fixture
def normalize(normalize_ct_images, tmp_path, capsys):
    """normalize(*options) runs the tool on tmp_path/imagesTr; gives (status, stdout, stderr)."""

    def run(*options, source=tmp_path / "imagesTr", target=tmp_path / "out", organ="liver"):
        argv = [source, target, organ, "--workers", 1, *options]
        status = normalize_ct_images.main([*map(str, argv)])
        return status, *capsys.readouterr()

    return run


def greys(hu, window="abdomen"):
    level, width = WINDOWS[window].level, WINDOWS[window].width
    return np.floor(np.clip((hu - (level - width / 2)) * 255.0 / width, 0, 255) + 0.5)


# What the third argument means


@pytest.mark.parametrize(
    ("organ", "window"),
    [(name, name) for name in WINDOWS] + [(name, "abdomen") for name in ("liver", "spleen", "kidney")],
)
def test_windows_and_organs(organ, window):
    assert parse_windows(organ) == WINDOWS[window]


@pytest.mark.parametrize("organ", ["-500,1400", " -500,1400", "-500.0, 1400"])
def test_level_and_width(organ):
    assert parse_windows(organ) == Window(-500, 1400)


@pytest.mark.parametrize("organ", ["", "40", "40,", "40,0", "lung,liver", "nothing.json", "lungs", "foo"])
def test_what_is_no_window(organ):
    with pytest.raises(InputError):
        parse_windows(organ)


def test_json(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(
        '{"a.nii": "lung", "b.nii": "50,100", "c.nii": [40, 350], "d.nii": {"level": 1.5, "width": 2}}'
    )
    assert parse_windows(str(path)) == {
        "a.nii": Window(-500, 1400),
        "b.nii": Window(50, 100),
        "c.nii": Window(40, 350),
        "d.nii": Window(1.5, 2),
    }


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '"lung"',
        '{"a": 1}',
        '{"a": [1]}',
        '{"a": [40, 0]}',
        '{"a": ["x", 1]}',
        '{"a": {"level": 3}}',
        '{"a": [NaN, 1]}',
        '{"a": [null, 1]}',
        '{"a": "lungs"}',
        '{"a": [1, Infinity]}',
        "ÿ",
    ],
)
def test_a_malformed_json(content, tmp_path):
    path = tmp_path / "w.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"w\.json"):
        parse_windows(str(path))


# What is written


def test_greys_and_record(ct, normalize, tmp_path):
    status, out, err = normalize(organ="lung")
    assert (status, err) == (0, "")
    assert out == f"1 volume in {tmp_path / 'out'}, window level -500, width 1400\n"
    image = nib.load(tmp_path / "out" / "case_7.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert (np.asanyarray(image.dataobj) == greys(ct[0], "lung")).all()
    record = json.loads((tmp_path / "out" / "windows.json").read_text())
    volume = "../imagesTr/case_7.nii.gz"
    assert record == {"case_7.nii.gz": {"level": -500, "width": 1400, "volume": volume}}


@pytest.mark.parametrize(("suffix", "codes"), [(".nii", (2, 1)), (".nii.gz", (0, 3)), (".nii.gz", (0, 0))])
def test_the_geometry_is_kept(suffix, codes, save_nifti, normalize, tmp_path):
    """As of all that is written: see the tests of write_nifti."""
    array = np.random.default_rng(0).integers(-200, 300, (7, 6, 5, 1)).astype(np.int16)
    path = save_nifti(tmp_path / "imagesTr" / f"a{suffix}", array, codes=codes)
    assert normalize()[0] == 0
    before, after = nib.load(path), nib.load(tmp_path / "out" / f"a{suffix}")
    assert after.shape == before.shape
    assert (after.affine == before.affine).all()
    assert (after.dataobj.slope, after.dataobj.inter) == (1, 0)
    assert (after.header["cal_min"], after.header["cal_max"]) == (0, 255)
    assert after.header["descrip"].item() == b"window L=40 W=350"
    assert (np.asanyarray(after.dataobj) == greys(array)).all()


def test_scaling_is_applied_and_reset(save_nifti, set_scaling, normalize, tmp_path):
    stored = np.arange(256, dtype=np.uint8).reshape(8, 8, 4)
    set_scaling(save_nifti(tmp_path / "imagesTr" / "a.nii", stored), 8, -1024)
    assert normalize()[0] == 0
    image = nib.load(tmp_path / "out" / "a.nii")
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    assert (np.asanyarray(image.dataobj) == greys(stored * 8.0 - 1024)).all()


def test_extensions_are_kept(normalize, tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"kept"))
    (tmp_path / "imagesTr").mkdir()
    image.to_filename(tmp_path / "imagesTr" / "a.nii.gz")
    assert normalize()[0] == 0
    after = nib.load(tmp_path / "out" / "a.nii.gz")
    assert [e.get_content().rstrip(b"\0") for e in after.header.extensions] == [b"kept"]
    assert (np.asanyarray(after.dataobj) == 98).all()  # 135 * 255 / 350 = 98.4


def test_a_pair_becomes_one_file_whose_window_is_found_again(normalize, tmp_path):
    array = np.random.default_rng(0).integers(-200, 300, (7, 6, 5)).astype(np.int16)
    (tmp_path / "imagesTr").mkdir()
    nib.Nifti1Pair(array, np.eye(4)).to_filename(tmp_path / "imagesTr" / "a.hdr")
    assert normalize()[0] == 0
    after = nib.load(tmp_path / "out" / "a.nii")
    assert type(after) is nib.Nifti1Image
    assert normalize("--force", organ=tmp_path / "out" / "windows.json")[0] == 0
    assert (np.asanyarray(after.dataobj) == greys(array)).all()


def test_the_same_volume_gives_the_same_bytes(ct, normalize, tmp_path):
    assert normalize()[0] == 0
    assert normalize(target=tmp_path / "again")[0] == 0
    first, second = (tmp_path / d / "case_7.nii.gz" for d in ("out", "again"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[3:8] == bytes(5)  # neither a name nor a time
    assert gzip.decompress(first.read_bytes())[344:348] == b"n+1\0"


def test_one_file_to_a_folder_or_a_file(ct, normalize, tmp_path):
    source = tmp_path / "imagesTr" / "case_7.nii.gz"
    assert normalize(source=source)[0] == 0
    assert normalize(source=source, target=tmp_path / "o" / "x.nii")[0] == 0
    a, b = nib.load(tmp_path / "out" / "case_7.nii.gz"), nib.load(tmp_path / "o" / "x.nii")
    assert (np.asanyarray(a.dataobj) == np.asanyarray(b.dataobj)).all()
    assert set(json.loads((tmp_path / "o" / "windows.json").read_text())) == {"x.nii"}


def test_windows_by_file_name(ct, save_nifti, normalize, tmp_path):
    save_nifti(tmp_path / "imagesTr" / "b.nii", ct[0])
    save_nifti(tmp_path / "imagesTr" / "c.nii", ct[0])
    windows = tmp_path / "w.json"
    windows.write_text('{"case_7.nii.gz": "lung", "b.nii": [50, 100]}')
    status, out, err = normalize(organ=windows)
    assert (status, out[:9], err.count("\n")) == (1, "2 volumes", 1)
    assert "c.nii: the JSON file has no window" in err
    assert (np.asanyarray(nib.load(tmp_path / "out/b.nii").dataobj) == greys(ct[0], "brain")).all()
    # What was recorded can be given again.
    assert normalize("--force", organ=tmp_path / "out" / "windows.json")[1][:9] == "2 volumes"


# What is refused


def test_8bit_volumes_are_refused_so_that_nothing_is_windowed_twice(ct, normalize, tmp_path):
    assert normalize()[0] == 0
    status, out, err = normalize(source=tmp_path / "out", target=tmp_path / "twice")
    assert (status, out[:9]) == (1, "0 volumes")
    assert "8-bit already" in err
    assert not (tmp_path / "twice").exists()


def test_nothing_is_overwritten_unless_forced(ct, normalize, tmp_path):
    assert normalize()[0] == 0
    before = (tmp_path / "out" / "case_7.nii.gz").read_bytes()
    status, _, err = normalize(organ="bone")
    assert (status, "exists already; --force replaces it" in err) == (1, True)
    assert (tmp_path / "out" / "case_7.nii.gz").read_bytes() == before
    assert normalize("--force", organ="bone")[0] == 0
    assert (tmp_path / "out" / "case_7.nii.gz").read_bytes() != before
    record = json.loads((tmp_path / "out" / "windows.json").read_text())
    assert (record["case_7.nii.gz"]["level"], record["case_7.nii.gz"]["width"]) == (400, 1000)


@pytest.mark.parametrize("label", ["segmentations/liver.nii.gz", "segmentation.nii.gz"])
def test_patients_are_told_apart_by_their_folders(label, ct, save_nifti, normalize, tmp_path):
    for number in range(3):
        save_nifti(tmp_path / f"set/s{number}" / label, ct[1].astype(np.int16))
        save_nifti(tmp_path / f"set/s{number}/ct.nii.gz", ct[0] + np.int16(number))
    # One after the other, by their volumes or their folders, or all at once: the names are the same.
    assert normalize(source=tmp_path / "set/s0/ct.nii.gz")[0] == 0
    assert normalize("--force", source=tmp_path / "set/s1")[0] == 0
    status, out, err = normalize(source=tmp_path / "set")
    assert (status, out[:9], err.count("exists already")) == (1, "1 volume ", 2)
    for number in range(3):
        copy = nib.load(tmp_path / f"out/s{number}_ct.nii.gz")
        assert (np.asanyarray(copy.dataobj) == greys(ct[0] + number)).all()
    assert len(list((tmp_path / "out").iterdir())) == 4
    # Volumes alone in their folders, as those that are to be segmented.
    for number in range(3):
        (tmp_path / f"set/s{number}" / label).unlink()
    assert normalize(source=tmp_path / "set", target=tmp_path / "again")[0] == 0
    assert (tmp_path / "again" / "s2_ct.nii.gz").exists()


def test_force_does_not_replace_the_copy_of_another_volume(ct, save_nifti, normalize, tmp_path):
    assert normalize()[0] == 0
    before = (tmp_path / "out" / "case_7.nii.gz").read_bytes()
    save_nifti(tmp_path / "other" / "case_7.nii.gz", ct[0] * 0)
    for options in ((), ("--force",)):
        status, _, err = normalize(*options, source=tmp_path / "other")
        assert (status, err.count("\n")) == (1, 1)
        assert "case_7.nii.gz is the copy of another volume, ../imagesTr/case_7.nii.gz; write to" in err
    assert (tmp_path / "out" / "case_7.nii.gz").read_bytes() == before


def test_the_volumes_themselves_are_never_replaced(ct, normalize, tmp_path):
    source = tmp_path / "imagesTr" / "case_7.nii.gz"
    before = source.read_bytes()
    for one in (source.parent, source):
        for target in (source.parent, tmp_path / "imagesTr" / ".." / "imagesTr", source):
            assert normalize("--force", source=one, target=target)[0] in (1, 2)
    assert source.read_bytes() == before
    assert [path.name for path in source.parent.iterdir()] == [source.name]


def test_problems_leave_nothing_and_the_others_go_on(ct, save_nifti, normalize, tmp_path):
    folder = tmp_path / "imagesTr"
    nan = np.zeros((4, 4, 4), np.float32)
    nan[1, 2, 3] = np.nan
    save_nifti(folder / "nan.nii.gz", nan)
    save_nifti(folder / "four.nii", np.zeros((4, 4, 4, 2), np.int16))
    save_nifti(folder / "complex.nii", np.zeros((4, 4, 4), np.complex64))
    shutil.copy(folder / "case_7.nii.gz", folder / "cut.nii.gz")
    (folder / "cut.nii.gz").write_bytes((folder / "cut.nii.gz").read_bytes()[:-10])
    (folder / "empty.nii").write_bytes(b"")
    (folder / "._case_7.nii.gz").write_bytes(b"of macOS")
    results = []
    for workers in (1, 2):
        status, out, err = normalize("--workers", workers)
        assert (status, out[:9]) == (1, "1 volume ")
        names = [line.split(":")[0].rpartition("/")[2] for line in err.splitlines()]
        assert names == ["complex.nii", "cut.nii.gz", "empty.nii", "four.nii", "nan.nii.gz"]
        assert "slice 3" in err
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"case_7.nii.gz", "windows.json"}
        results.append((err, (tmp_path / "out" / "case_7.nii.gz").read_bytes()))
        shutil.rmtree(tmp_path / "out")
    assert results[0] == results[1]


def test_outputs_of_one_name(ct, normalize, save_nifti, tmp_path):
    nib.Nifti1Pair(ct[0], np.eye(4)).to_filename(tmp_path / "imagesTr" / "a.hdr")
    save_nifti(tmp_path / "imagesTr" / "a.nii", ct[0])
    for form in ("NFC", "NFD"):
        save_nifti(tmp_path / "imagesTr" / unicodedata.normalize(form, "hígado.nii"), ct[0])
    status, out, err = normalize()
    assert (status, out[:9], err.count("rename one")) == (1, "1 volume ", 4)


def test_a_malformed_record_is_said_at_once(ct, normalize, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "windows.json").write_text("{")
    status, out, err = normalize()
    assert (status, out, "windows.json" in err) == (2, "", True)
    assert not (tmp_path / "out" / "case_7.nii.gz").exists()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_memory_holds_a_slab_and_no_volume(suffix, tmp_path):
    shape = (512, 512, 300)
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "a.nii"
    with path.open("wb") as file:  # 150 MiB of zeros, of which the disk holds none
        file.write(header.binaryblock)
        file.truncate(352 + 2 * 512 * 512 * 300)
    if suffix == ".nii.gz":
        path = tmp_path / "a.nii.gz"
        with (tmp_path / "a.nii").open("rb") as plain, gzip.open(path, "wb", 1) as compressed:
            shutil.copyfileobj(plain, compressed, 1 << 24)
    tracemalloc.start()
    normalize_volume(NormalizeJob(path, tmp_path / "out" / path.name, WINDOWS["abdomen"], force=False))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20  # the uint8 volume alone has 75 MiB, the float one 600
    assert nib.load(tmp_path / "out" / path.name).dataobj[3, 4, 299] == 98
