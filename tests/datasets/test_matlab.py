import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csc_matrix

from isegm.datasets.matlab import read_struct_field

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def outlines(labels):
    """What stands beside the labels in SBD's files: a cell array of sparse matrices."""
    cells = np.empty((2, 1), object)
    for i in range(2):
        cells[i, 0] = csc_matrix(labels == i)
    return cells


def mat_file(path, *, compressed=True, **fields):
    scipy.io.savemat(path, {"other": np.eye(2), "GTinst": fields}, do_compression=compressed)
    return path.read_bytes()


@settings(deadline=None, max_examples=60)
@given(
    labels=hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    ),
    compressed=st.booleans(),
    first=st.booleans(),
)
def test_reads_what_scipy_writes(tmp_path_factory, labels, compressed, first):
    others = {"Boundaries": outlines(labels), "Categories": np.array([[15], [2]], np.uint8)}
    fields = {"Segmentation": labels, **others} if first else {**others, "Segmentation": labels}
    content = mat_file(tmp_path_factory.mktemp("mat") / "a.mat", compressed=compressed, **fields)
    read = read_struct_field(content, "GTinst", "Segmentation")
    assert read.dtype == labels.dtype
    np.testing.assert_array_equal(read, labels, strict=True)


@pytest.mark.parametrize(
    ("variable", "field", "reason"),
    [
        ("GTcls", "Segmentation", "no struct GTcls"),
        ("other", "Segmentation", "no struct other"),
        ("GTinst", "Nothing", "no field Nothing"),
        ("GTinst", "Boundaries", "not a matrix of integers"),
        ("GTinst", "Real", "not a matrix of integers"),
        ("GTinst", "Three", "not a matrix of integers"),
    ],
)
def test_says_what_is_missing(tmp_path, variable, field, reason):
    content = mat_file(
        tmp_path / "a.mat", Boundaries=outlines(LABELS), Real=LABELS / 7, Three=np.ones((2, 2, 2), np.uint8)
    )
    with pytest.raises(ValueError, match=reason):
        read_struct_field(content, variable, field)


@pytest.mark.parametrize("content", [b"", b"MATLAB", bytes(4096), b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_other_files(content):
    with pytest.raises(ValueError, match="not a little-endian MATLAB file of version 5 to"):
        read_struct_field(content, "GTinst", "Segmentation")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_cut_off_before_the_end_of_the_field_is_refused(tmp_path, compressed):
    content = mat_file(tmp_path / "a.mat", compressed=compressed, Segmentation=LABELS)
    for length in range(len(content) - 4):
        with pytest.raises(ValueError, match=r"\w"):
            read_struct_field(content[:length], "GTinst", "Segmentation")


def test_a_compressed_file_with_any_byte_changed_is_refused_or_reads_the_same(tmp_path):
    content = mat_file(tmp_path / "a.mat", Segmentation=LABELS)
    for position in range(128, len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x55
        try:
            read = read_struct_field(bytes(changed), "GTinst", "Segmentation")
        except ValueError:
            continue
        np.testing.assert_array_equal(read, LABELS)


def test_what_decompresses_without_end_is_refused(tmp_path):
    content = mat_file(tmp_path / "a.mat", Segmentation=np.zeros((9000, 9000), np.uint8))
    assert len(content) < 200_000
    with pytest.raises(ValueError, match="far too long"):
        read_struct_field(content, "GTinst", "Segmentation")


@settings(deadline=None, max_examples=400)
@given(
    changes=st.lists(st.tuples(st.integers(100, 450), st.integers(0, 255)), max_size=5),
    end=st.integers(0, 700),
)
def test_wild_bytes_give_a_matrix_or_a_value_error(tmp_path_factory, changes, end):
    content = bytearray(
        mat_file(tmp_path_factory.getbasetemp() / "wild.mat", compressed=False, Segmentation=LABELS)
    )
    for position, value in changes:
        content[position % len(content)] = value
    try:
        read = read_struct_field(bytes(content[: max(end, 128)]), "GTinst", "Segmentation")
    except ValueError:
        return
    assert read.ndim == 2
    assert read.dtype.kind in "iu"
