"""Every reader, for a moment: whatever bytes change, it returns or names the file in an ``InputError``."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.readers import READERS

pytestmark = pytest.mark.filterwarnings("ignore::isegm.errors.InputWarning")

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "remove", "insert", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.one_of(
            st.binary(min_size=1, max_size=8),
            st.sampled_from(
                [b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"-1", b"1e999", b"NaN", b"\r\n", b'"', b"../"]
            ),
        ),
    ),
    min_size=1,
    max_size=4,
)
EXAMPLES = {
    "checkpoint": 15,
    "checkpoint-pickle": 25,
    "state": 15,
    "extraction": 25,
    "volume-gz": 25,
    "onnx": 25,
    "dicom": 40,
    "dicom-jpeg-2000": 25,
    "dicom-jpeg-ls": 25,
    "dicom-jpeg-lossless": 25,
    "dicom-rle": 25,
    "dicom-seg": 25,
}


def change(content, changes):
    """``content`` with bytes set, removed, inserted or repeated at parts of its length."""
    for kind, part, piece in changes:
        at = int(part * len(content))
        if kind == "set":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "remove":
            content = content[:at] + content[at + len(piece) :]
        elif kind == "insert":
            content = content[:at] + piece + content[at:]
        else:
            content = content[:at] + content[max(0, at - 16) : at] * 9 + content[at:]
    return content


@pytest.fixture(scope="module", params=READERS)
def prepared(request, tmp_path_factory):
    """A reader, its seeds and a folder with what has to lie beside its file."""
    reader = READERS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    reader.beside(folder)
    return reader, reader.seeds(), folder, EXAMPLES.get(request.param, 60)


def test_good_files_are_read(prepared):
    reader, seeds, folder, _ = prepared
    complaints = [reader.attempt(folder, seed) for seed in seeds]
    # Of small networks the tensors are read, and found to be of none of the known ones.
    assert any(c is None or "network known here" in c for c in complaints), complaints


def test_changed_files_are_read_or_refused(prepared):
    reader, seeds, folder, examples = prepared

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.integers(0, len(seeds) - 1), CHANGES)
    def attempt(number, changes):
        reader.attempt(folder, change(seeds[number], changes))

    attempt()


def test_noise_is_refused(prepared):
    reader, _, folder, _ = prepared
    rng = np.random.default_rng(1)
    for size in (0, 1, 7, 100, 3000):
        reader.attempt(folder, rng.bytes(size))
