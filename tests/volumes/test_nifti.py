import gzip
import struct
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pytest

from isegm.errors import FileWarning, InputError
from isegm.volumes.files import open_volume
from isegm.volumes.nifti import nifti_files


def refusal(path, wanted=None):
    with pytest.raises(InputError) as caught:
        for _ in open_volume(path).slabs(wanted):
            pass
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    return line


def read(volume):
    return np.concatenate([slab.stored for _, slab in volume.slabs()], axis=2)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.int32, np.float32, ">f8"])
@pytest.mark.parametrize("image", [nib.Nifti1Image, nib.Nifti2Image])
def test_voxels_are_read_as_stored(suffix, dtype, image, save_nifti, tmp_path):
    array = np.arange(60).reshape(5, 4, 3).astype(dtype)
    endianness = ">" if array.dtype.byteorder == ">" else "<"
    volume = open_volume(save_nifti(tmp_path / f"a{suffix}", array, image=image, endianness=endianness))
    assert volume.shape == (5, 4, 3)
    assert volume.dtype == np.dtype(dtype)
    assert (read(volume) == array).all()
    assert [(k, slab.stored[0, 0, 0]) for k, slab in volume.slabs(wanted=[2, 0])] == [(0, 0), (2, 2)]


def test_slabs_cover_a_volume_larger_than_one(save_nifti, tmp_path, monkeypatch):
    monkeypatch.setattr("isegm.volumes.nifti._SLAB_BYTES", 100)
    array = np.arange(5 * 4 * 7, dtype=np.int16).reshape(5, 4, 7)  # 40 bytes a slice
    volume = open_volume(save_nifti(tmp_path / "a.nii.gz", array))
    assert [start for start, _ in volume.slabs()] == [0, 2, 4, 6]
    assert (read(volume) == array).all()


def test_a_pair(tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    nib.Nifti1Pair(array, np.eye(4)).to_filename(tmp_path / "a.hdr")
    assert (read(open_volume(tmp_path / "a.hdr")) == array).all()
    assert (read(open_volume(tmp_path / "a.img")) == array).all()
    (tmp_path / "a.img").unlink()
    assert "a.img is missing" in refusal(tmp_path / "a.hdr")


def test_scaling_and_8bit(save_nifti, set_scaling, tmp_path):
    path = save_nifti(tmp_path / "a.nii", np.ones((2, 2, 2), np.int16))
    volume = open_volume(set_scaling(path, 2, -1024))
    assert (volume.slope, volume.inter) == (2, -1024)
    for slope, is_8bit in ((1, True), (np.nan, True), (0, True), (2, False)):
        path = save_nifti(tmp_path / "b.nii", np.ones((2, 2, 2), np.uint8))
        assert open_volume(set_scaling(path, slope, 0)).is_8bit is is_8bit
    assert not open_volume(save_nifti(tmp_path / "c.nii", np.ones((2, 2, 2), np.int8))).is_8bit


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_spacing_is_in_mm(unit, factor, save_nifti, tmp_path):
    volume = open_volume(save_nifti(tmp_path / "a.nii", np.zeros((2, 2, 2), np.int16), unit=unit))
    assert volume.spacing_mm == pytest.approx((3 * factor, 2 * factor, 5 * factor))


def test_dimensions_of_length_one_do_not_matter(save_nifti, tmp_path):
    for shape, expected in (((4, 3, 2, 1, 1), (4, 3, 2)), ((4, 3), (4, 3, 1)), ((4,), (4, 1, 1))):
        assert open_volume(save_nifti(tmp_path / "a.nii", np.zeros(shape, np.int16))).shape == expected


def test_more_dimensions_complex_numbers_and_colours_are_refused(save_nifti, tmp_path):
    path = tmp_path / "a.nii.gz"
    assert "4D" in refusal(save_nifti(path, np.zeros((4, 3, 2, 2), np.int16)))
    assert "5D" in refusal(save_nifti(path, np.zeros((4, 3, 2, 1, 3), np.int16)))
    assert "complex" in refusal(save_nifti(path, np.zeros((4, 3, 2), np.complex64)))
    rgb = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "RGB" in refusal(save_nifti(path, rgb))


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
def test_a_truncated_file(keep, save_nifti, tmp_path):
    array = np.random.default_rng(5).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)
    for name in ("a.nii", "a.nii.gz"):
        path = save_nifti(tmp_path / name, array)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
        refusal(path)


def test_a_wrong_checksum_is_noticed_after_the_last_voxel(save_nifti, tmp_path):
    array = np.random.default_rng(7).integers(-1000, 1000, (50, 50, 50)).astype(np.int16)
    path = save_nifti(tmp_path / "a.nii.gz", array)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the last eight bytes are checksum and size
    path.write_bytes(content)
    assert "damaged" in refusal(path)


@pytest.fixture
def gzipped(save_nifti, tmp_path):
    """A compressed volume's path, its voxels and its bytes."""
    array = np.random.default_rng(8).normal(0, 20, (40, 30, 50)).astype(np.int16)
    path = save_nifti(tmp_path / "a.nii.gz", array)
    return path, array, path.read_bytes()


@pytest.mark.parametrize("wanted", [None, [3]])
def test_a_gzip_file_may_have_several_members_and_zeros_after_them(wanted, gzipped):
    path, array, _ = gzipped
    plain = gzip.decompress(path.read_bytes())
    for cuts in ([50_000], [400, 30_000, 99_999], [352, len(plain)]):
        pieces = np.split(np.frombuffer(plain, np.uint8), cuts)
        path.write_bytes(b"".join(gzip.compress(piece.tobytes()) for piece in pieces) + bytes(100))
        slabs = [slab.stored for _, slab in open_volume(path).slabs(wanted)]
        expected = array if wanted is None else array[:, :, wanted]
        np.testing.assert_array_equal(np.concatenate(slabs, axis=2), expected)


def test_everything_that_a_gzip_header_may_hold_is_passed_over(gzipped):
    path, array, content = gzipped
    deflated = content[10:] if not content[3] & 8 else content[content.index(b"\0", 10) + 1 :]
    flags = 2 | 4 | 8 | 16  # a checksum of the header, extra fields, a name and a comment
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6) + struct.pack("<H4s", 4, b"BCxx") + b"name\0comment\0"
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    path.write_bytes(head + deflated)
    np.testing.assert_array_equal(read(open_volume(path)), array)


@pytest.mark.parametrize(
    "damage",
    [
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


@pytest.mark.filterwarnings("ignore::isegm.errors.FileWarning")
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


@pytest.mark.filterwarnings("ignore::isegm.errors.FileWarning")
def test_random_damage_to_a_header_gives_a_line_or_a_volume(save_nifti, tmp_path):
    """Any header at all: no exception but InputError."""
    path = save_nifti(tmp_path / "a.nii", np.ones((4, 3, 2), np.int16))
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
            for _, slab in volume.slabs():
                slab.check_finite("it")
            opened += 1
        except InputError as error:
            lines.add(str(error))
    assert opened
    assert lines
    assert not any("\n" in line for line in lines)


def test_nan_and_infinity(save_nifti, tmp_path):
    for value in (np.nan, np.inf, -np.inf):
        values = np.ones((2, 2, 2), np.float32)
        values[1, 1, 1] = value
        ((_, slab),) = open_volume(save_nifti(tmp_path / "a.nii", values)).slabs()
        slab[0].check_finite("slice 2")
        with pytest.raises(InputError, match=r"a\.nii: NaN or infinite voxels in slice 3"):
            slab[1].check_finite("slice 3")


@pytest.mark.parametrize("rest", [b"garbage", b"\x1f", b"\r\n" * 3, bytes(300_000) + b"x"])
def test_other_bytes_after_a_gzip_stream_are_left_out_with_a_word(rest, gzipped):
    path, array, content = gzipped
    path.write_bytes(content + rest)
    volume = open_volume(path)
    with pytest.warns(FileWarning, match=r"a\.nii\.gz: has other bytes after its gzip stream"):
        np.testing.assert_array_equal(read(volume), array)


def test_a_file_that_was_compressed_twice(gzipped):
    path, _, content = gzipped
    path.write_bytes(gzip.compress(content))
    assert "compressed twice; decompress it once" in refusal(path)


def test_other_bytes_in_the_place_of_voxels_are_damage(gzipped):
    path, _, content = gzipped
    plain = gzip.decompress(content)
    path.write_bytes(gzip.compress(plain[:-8]) + b"garbage")
    assert "ends in slice 49" in refusal(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffixes", [(".nii.gz", ".nii"), (".hdr", ".hdr"), (".hdr.gz", ".hdr")])
def test_files_named_otherwise_than_they_are_stored(suffixes, save_nifti, tmp_path):
    array = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    saved, named = (tmp_path / f"{name}{suffix}" for name, suffix in zip("ab", suffixes, strict=True))
    image = nib.Nifti1Pair if ".hdr" in suffixes[0] else nib.Nifti1Image
    files = zip(nifti_files(save_nifti(saved, array, image=image)), nifti_files(named), strict=True)
    for source, target in files:
        content = source.read_bytes()
        if suffixes[0] == suffixes[1]:
            content = gzip.compress(content)
        target.write_bytes(content)
    with pytest.warns(FileWarning, match="is compressed, whatever its name says; rename it with"):
        volume = open_volume(named)
    np.testing.assert_array_equal(read(volume), array)

    plain = tmp_path / "c.nii.gz"
    plain.write_bytes(save_nifti(tmp_path / "c.nii", array).read_bytes())
    with pytest.warns(FileWarning, match=r"c\.nii\.gz: is not compressed, whatever its name says; rename"):
        volume = open_volume(plain)
    np.testing.assert_array_equal(read(volume), array)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", ["mm", "meter", "micron"])
@pytest.mark.parametrize("codes", [(2, 0), (2, 1), (0, 1), (0, 0)])
def test_of_two_spacings_the_affine_s_is_taken_with_a_word(unit, codes, save_nifti, tmp_path):
    """pixdim is what a qform is made of, and all that a file without sform and qform has."""
    path = save_nifti(tmp_path / "a.nii", np.zeros((3, 3, 3), np.int16), codes=codes, unit=unit)
    scale = {"mm": 1, "meter": 1000, "micron": 0.001}[unit]
    spacing = np.array([3, 2, 5]) if any(codes) else np.ones(3)
    assert open_volume(path).spacing_mm == pytest.approx(spacing * scale)

    content = bytearray(path.read_bytes())
    content[80:92] = np.array([1.5, 2, 2], "<f4").tobytes()  # pixdim
    path.write_bytes(content)
    if codes[0]:
        with pytest.warns(
            FileWarning, match="has voxels of .* mm by pixdim, but of .* mm by its affine, which is"
        ):
            assert open_volume(path).spacing_mm == pytest.approx(spacing * scale)
    else:
        assert open_volume(path).spacing_mm == pytest.approx(np.array([1.5, 2, 2]) * scale)


def test_the_affine_leads_to_millimetres(save_nifti, tmp_path):
    affine = np.array([[-3.0, 0, 0, 90], [0, 2, 0.5, -120], [0, 0, 5, -300], [0, 0, 0, 1]])
    path = save_nifti(tmp_path / "a.nii", np.zeros((3, 3, 3), np.int16), affine, (2, 0), "micron")
    np.testing.assert_allclose(open_volume(path).affine[:3], affine[:3] / 1000)


@pytest.mark.parametrize(("stored", "slope"), [(255, 1 / 255), (1, 1.0009), (100, 0.01), (1, 1.0)])
def test_labels_within_a_thousandth_of_an_integer(stored, slope, save_nifti, set_scaling, tmp_path):
    path = save_nifti(tmp_path / "a.nii", np.full((2, 2, 2), stored, np.uint8))
    ((_, slab),) = open_volume(set_scaling(path, slope, 0)).slabs()
    assert (slab.labels() == 1).all()
    for off in (1.002, 0.5, np.nan, np.inf, 1e20):
        ((_, slab),) = open_volume(save_nifti(path, np.full((2, 2, 2), off, np.float32))).slabs()
        with pytest.raises(InputError, match=r"a\.nii: holds .*, no label"):
            slab.labels()


@pytest.mark.filterwarnings("ignore::isegm.errors.FileWarning")
def test_real_awkward_files(shared):
    """As nibabel reads them: see CONTENTS.txt beside the files."""
    opened = 0
    for path in sorted((shared / "data/nifti_robustness").rglob("*")):
        if not path.name.endswith((".nii", ".nii.gz", ".hdr", ".hdr.gz")):
            continue
        try:
            volume = open_volume(path)
        except InputError as error:
            assert path.name in str(error)  # noqa: PT017 - most can be read, some cannot
            continue
        image = nib.load(path)
        np.testing.assert_allclose(volume.affine, image.affine)
        values = np.concatenate([slab.hu() for _, slab in volume.slabs()], axis=2)
        np.testing.assert_allclose(values, image.get_fdata().reshape(values.shape, order="F"))
        opened += 1
    assert opened == 19
