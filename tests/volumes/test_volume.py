import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from isegm.errors import InputError
from isegm.volumes.volume import check_finite, list_volumes, open_volume, read_slabs, stem


def refusal(path, wanted=None):
    with pytest.raises(InputError) as caught:
        for _ in read_slabs(open_volume(path), wanted):
            pass
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    return line


def read(volume):
    return np.concatenate([slab for _, slab in read_slabs(volume)], axis=2)


def test_stems():
    names = ["liver_0.nii.gz", "liver_0.nii", "liver_0.hdr", "liver_0.img.gz", "liver_0.NII.GZ", "liver_0"]
    assert {stem(name) for name in names} == {"liver_0"}
    assert stem("a.b.nii") == "a.b"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.int32, np.float32, ">f8"])
@pytest.mark.parametrize("image", [nib.Nifti1Image, nib.Nifti2Image])
def test_voxels_are_read_as_stored(suffix, dtype, image, save, tmp_path):
    array = np.arange(60).reshape(5, 4, 3).astype(dtype)
    endianness = ">" if array.dtype.byteorder == ">" else "<"
    volume = open_volume(save(tmp_path / f"a{suffix}", array, image=image, endianness=endianness))
    assert volume.shape == (5, 4, 3)
    assert volume.dtype == np.dtype(dtype)
    assert (read(volume) == array).all()
    assert [(k, slab[0, 0, 0]) for k, slab in read_slabs(volume, wanted=[2, 0])] == [(0, 0), (2, 2)]


def test_slabs_cover_a_volume_larger_than_one(save, tmp_path, monkeypatch):
    monkeypatch.setattr("isegm.volumes.volume._SLAB_BYTES", 100)
    array = np.arange(5 * 4 * 7, dtype=np.int16).reshape(5, 4, 7)  # 40 bytes a slice
    volume = open_volume(save(tmp_path / "a.nii.gz", array))
    assert [start for start, _ in read_slabs(volume)] == [0, 2, 4, 6]
    assert (read(volume) == array).all()


def test_a_pair(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    nib.Nifti1Pair(array, np.eye(4)).to_filename(tmp_path / "a.hdr")
    assert list_volumes(tmp_path) == [tmp_path / "a.hdr"]
    assert (read(open_volume(tmp_path / "a.hdr")) == array).all()
    assert (read(open_volume(tmp_path / "a.img")) == array).all()
    (tmp_path / "a.img").unlink()
    assert "a.img is missing" in refusal(tmp_path / "a.hdr")


def test_scaling_and_8bit(save, set_scaling, tmp_path):
    path = save(tmp_path / "a.nii", np.ones((2, 2, 2), np.int16))
    volume = open_volume(set_scaling(path, 2, -1024))
    assert (volume.slope, volume.inter) == (2, -1024)
    for slope, is_8bit in ((1, True), (np.nan, True), (0, True), (2, False)):
        path = save(tmp_path / "b.nii", np.ones((2, 2, 2), np.uint8))
        assert open_volume(set_scaling(path, slope, 0)).is_8bit is is_8bit
    assert not open_volume(save(tmp_path / "c.nii", np.ones((2, 2, 2), np.int8))).is_8bit


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_spacing_is_in_mm(unit, factor, save, tmp_path):
    volume = open_volume(save(tmp_path / "a.nii", np.zeros((2, 2, 2), np.int16), unit=unit))
    assert volume.spacing_mm == pytest.approx((3 * factor, 2 * factor, 5 * factor))


def test_dimensions_of_length_one_do_not_matter(save, tmp_path):
    for shape, expected in (((4, 3, 2, 1, 1), (4, 3, 2)), ((4, 3), (4, 3, 1)), ((4,), (4, 1, 1))):
        assert open_volume(save(tmp_path / "a.nii", np.zeros(shape, np.int16))).shape == expected


def test_more_dimensions_complex_numbers_and_colours_are_refused(save, tmp_path):
    path = tmp_path / "a.nii.gz"
    assert "4D" in refusal(save(path, np.zeros((4, 3, 2, 2), np.int16)))
    assert "5D" in refusal(save(path, np.zeros((4, 3, 2, 1, 3), np.int16)))
    assert "complex" in refusal(save(path, np.zeros((4, 3, 2), np.complex64)))
    rgb = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "RGB" in refusal(save(path, rgb))


def test_what_is_no_nifti(tmp_path):
    for name, content in (
        ("a.nii", b""),
        ("b.nii.gz", b""),
        ("c.nii", b"text" * 200),
        ("d.nii.gz", b"x" * 999),
    ):
        (tmp_path / name).write_bytes(content)
        refusal(tmp_path / name)
    assert "missing" in refusal(tmp_path / "nothing.nii")
    nib.MGHImage(np.zeros((2, 2, 2), np.float32), np.eye(4)).to_filename(tmp_path / "a.mgz")
    assert "not a NIfTI volume" in refusal(tmp_path / "a.mgz")


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.99])
def test_a_truncated_file(keep, save, tmp_path):
    array = np.random.default_rng(5).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)
    for name in ("a.nii", "a.nii.gz"):
        path = save(tmp_path / name, array)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
        refusal(path)


def test_a_wrong_checksum_is_noticed_after_the_last_voxel(save, tmp_path):
    array = np.random.default_rng(7).integers(-1000, 1000, (50, 50, 50)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", array)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the last eight bytes are checksum and size
    path.write_bytes(content)
    assert "damaged" in refusal(path)


@pytest.fixture
def gzipped(save, tmp_path):
    """A compressed volume's path, its voxels and its bytes."""
    array = np.random.default_rng(8).normal(0, 20, (40, 30, 50)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", array)
    return path, array, path.read_bytes()


@pytest.mark.parametrize("wanted", [None, [3]])
def test_a_gzip_file_may_have_several_members_and_zeros_after_them(wanted, gzipped):
    path, array, _ = gzipped
    plain = gzip.decompress(path.read_bytes())
    for cuts in ([50_000], [400, 30_000, 99_999], [352, len(plain)]):
        pieces = np.split(np.frombuffer(plain, np.uint8), cuts)
        path.write_bytes(b"".join(gzip.compress(piece.tobytes()) for piece in pieces) + bytes(100))
        slabs = list(read_slabs(open_volume(path), wanted))
        expected = array if wanted is None else array[:, :, wanted]
        np.testing.assert_array_equal(np.concatenate([slab for _, slab in slabs], axis=2), expected)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content + b"garbage",
        lambda content: content + b"\x1f",
        lambda content: content + content[:100],
        lambda content: content + content[:10] + b"\xff" * 100,  # no deflate block has this type
        lambda content: content[:-2] + b"xx",  # the size
        lambda content: content[:40_000] + b"\xff" * 500 + content[40_500:],
        lambda content: content[:40_000] + content[40_010:],
    ],
)
@pytest.mark.parametrize("wanted", [None, [0], []])
def test_damage_anywhere_in_a_gzip_file_is_noticed(damage, wanted, gzipped):
    """Even far behind the slices that are wanted."""
    path, _, content = gzipped
    path.write_bytes(damage(content))
    assert "damaged" in refusal(path, wanted)


def test_random_damage_to_a_gzip_file_gives_a_line(gzipped):
    """Whatever bytes change: no exception but InputError, and no voxel that was not saved."""
    path, array, content = gzipped
    rng = np.random.default_rng(9)
    lines = []
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(4, len(content), rng.integers(1, 4)):
            damaged[place] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read(open_volume(path)), array)  # the header's time changed, say
        except InputError as error:
            lines.append(str(error))
    assert len(lines) > 190
    assert not any("\n" in line for line in lines)


def test_an_enormous_claim_allocates_nothing(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((32767, 32767, 32767))
    header.set_data_dtype(np.float64)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(1000))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(1000)))
    tracemalloc.start()
    for name in ("a.nii", "a.nii.gz"):
        assert "too short" in refusal(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_random_damage_to_a_header_gives_a_line_or_a_volume(save, tmp_path):
    """Any header at all: no exception but InputError."""
    path = save(tmp_path / "a.nii", np.ones((4, 3, 2), np.int16))
    content = path.read_bytes()
    rng = np.random.default_rng(6)
    opened, lines = 0, set()
    for _ in range(400):
        damaged = bytearray(content)
        for place in rng.integers(0, 352, rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            volume = open_volume(path)
            assert volume.spacing_mm
            for _, slab in read_slabs(volume):
                check_finite(volume, slab, "it")
            opened += 1
        except InputError as error:
            lines.add(str(error))
    assert opened
    assert lines
    assert not any("\n" in line for line in lines)


def test_listing(save, tmp_path):
    for name in ("b.nii.gz", "a.nii", "._a.nii", "c.NII", "notes.txt", "d.mgz"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.nii").mkdir()
    assert [path.name for path in list_volumes(tmp_path)] == ["a.nii", "b.nii.gz", "c.NII"]
    assert list_volumes(tmp_path / "d.mgz") == [tmp_path / "d.mgz"]
    with pytest.raises(InputError, match="no such"):
        list_volumes(tmp_path / "nothing")
    with pytest.raises(InputError, match="no NIfTI"):
        list_volumes(tmp_path / "folder.nii")


def test_nan_and_infinity(save, tmp_path):
    volume = open_volume(save(tmp_path / "a.nii", np.ones((2, 2, 2), np.float32)))
    check_finite(volume, np.ones(3, np.int16), "slice 3")
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match=r"a\.nii: NaN or infinite voxels in slice 3"):
            check_finite(volume, np.array([0, value]), "slice 3")
