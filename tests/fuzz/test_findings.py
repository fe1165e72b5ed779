"""What fuzzing and reading found, each as the smallest file that showed it."""

import json
import struct
import zipfile

import nibabel as nib
import numpy as np
import pytest
import tifffile

from isegm.compare.mask_pairs import Pair
from isegm.compare.mask_reading import read_mask_pair
from isegm.datasets.coco import clean_segmentation, find_coco
from isegm.errors import InputError
from isegm.masks import read_mask
from isegm.volumes.files import open_volume
from tests.fuzz.readers import READERS, zip_of_pickle

onnx = pytest.importorskip("onnx")


def nifti(path, place, kind, *values):
    content = bytearray(nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.eye(4)).to_bytes())
    struct.pack_into(f"<{len(values)}{kind}", content, place, *values)
    path.write_bytes(content)
    return Pair("a", path, path)


@pytest.mark.parametrize("shape", [(0, 3, 2), (4, 0, 2), (4, 3, 0), (-4, 3, 2), (4, 3, -1)])
def test_a_mask_volume_without_voxels(tmp_path, shape):
    with pytest.raises(InputError, match=r"a\.nii: "):
        read_mask_pair(nifti(tmp_path / "a.nii", 42, "h", *shape), {})


def test_a_unit_that_nifti_does_not_have_means_millimetres(tmp_path):
    pair = nifti(tmp_path / "a.nii", 123, "B", 7)
    assert read_mask_pair(pair, {}).spacing.tolist() == [1.0, 1.0, 1.0]
    assert open_volume(pair.truth).spacing_mm == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("length", [0, 7, -1, -(2**31)])
def test_a_header_extension_without_a_length(tmp_path, length):
    content = nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.eye(4)).to_bytes()
    head = bytearray(content[:348])
    struct.pack_into("<f", head, 108, 384)
    path = tmp_path / "a.nii"
    path.write_bytes(head + b"\1\0\0\0" + struct.pack("<ii", length, 6) + bytes(24) + content[352:])
    for read in (open_volume, lambda path: read_mask_pair(Pair("a", path, path), {})):
        with pytest.raises(InputError, match=f"a.nii: a header extension claims {length} bytes"):
            read(path)


def test_more_header_extensions_than_can_be_meant(tmp_path):
    content = nib.Nifti1Image(np.ones((4, 3, 2), np.int16), np.eye(4)).to_bytes()
    head = bytearray(content[:348])
    struct.pack_into("<f", head, 108, 352 + 16 * 1001)
    path = tmp_path / "a.nii"
    path.write_bytes(head + b"\1\0\0\0" + (struct.pack("<ii", 16, 6) + b"comments") * 1001 + content[352:])
    with pytest.raises(InputError, match="more than 1000 header extensions"):
        open_volume(path)


@pytest.mark.parametrize(
    ("key", "value"), [("height", "tall"), ("height", float("inf")), ("width", float("nan")), ("id", [1])]
)
def test_numbers_in_an_annotation_file_that_are_none(tmp_path, key, value):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8} | {key: value}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="holds no object that can be used; left out of 1: no entry"):
        find_coco(tmp_path / "instances.json", tmp_path)


@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.float64, np.int16, np.int8])
def test_a_colour_picture_of_a_depth_that_masks_do_not_have(tmp_path, dtype):
    path = tmp_path / "a.tif"
    pixels = np.arange(24).reshape(2, 4, 3).astype(dtype)
    tifffile.imwrite(path, pixels, photometric="rgb")
    with pytest.raises(InputError, match=r"a\.tif: (a mask must be an 8- or 16-bit picture|not a readable)"):
        read_mask(path)


def attempt_onnx(tmp_path, alter):
    """The complaint about a good ONNX file that ``alter`` has changed."""
    reader = READERS["onnx"]
    reader.beside(tmp_path)
    model = onnx.load_model_from_string(reader.seeds()[0])
    alter(model)
    return reader.attempt(tmp_path, model.SerializeToString())


def elsewhere(tensor):
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")


@pytest.mark.parametrize(
    "alter",
    [
        lambda model: elsewhere(model.graph.initializer[0]),
        lambda model: elsewhere(model.graph.node[0].attribute[0].t),
        lambda model: elsewhere(model.graph.node[0].attribute[0].tensors.add()),
        lambda model: elsewhere(model.graph.sparse_initializer.add().values),
        lambda model: model.graph.initializer[0].external_data.add(key="location", value="x"),
    ],
)
def test_an_onnx_file_refers_to_no_other_wherever_it_may(tmp_path, alter):
    assert "refers to other files" in (attempt_onnx(tmp_path, alter) or "")


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (
            lambda model: model.graph.node[0].attribute.add().g.CopyFrom(onnx.GraphProto(name="x")),
            "loops or functions",
        ),
        (
            lambda model: elsewhere(model.training_info.add().initialization.initializer.add()),
            "loops or functions",
        ),
        (lambda model: model.functions.add(name="f"), "loops or functions"),
        (lambda model: setattr(model.graph.node[0], "domain", "evil"), "has an operator of 'evil'"),
    ],
)
def test_an_onnx_file_has_nothing_that_ours_never_have(tmp_path, alter, words):
    assert attempt_onnx(tmp_path, lambda model: None) is None
    assert words in (attempt_onnx(tmp_path, alter) or "")


def test_metadata_of_an_onnx_file_that_are_no_text(tmp_path):
    reader = READERS["onnx"]
    reader.beside(tmp_path)
    content = reader.seeds()[0].replace(b"isegm.preset", b"isegm.\xff\xfe\xfd\xfc\xfb\xfa")
    assert "a_first_stage.onnx: " in (reader.attempt(tmp_path, content) or "")


def test_a_config_that_holds_itself_is_shown_in_short(tmp_path):
    """What a checkpoint's config says is shown where it contradicts the tensors, but not a million times."""
    from isegm.model.checkpoint import _in_a_line

    value = [1, 2]
    for _ in range(60):
        value = [value, value]
    assert len(_in_a_line(value)) <= 80


@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/data/0"])
def test_a_checkpoint_is_not_inflated(tmp_path, name):
    from isegm.model.checkpoint import read_tensors

    path = tmp_path / "net.pth"
    path.write_bytes(zip_of_pickle(READERS["checkpoint-pickle"].seeds()[0]))
    assert read_tensors(path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED if entry == name else zipfile.ZIP_STORED)
    with pytest.raises(InputError, match="holds compressed entries"):
        read_tensors(path)


def test_a_run_length_that_never_ends_is_not_followed():
    with pytest.raises(ValueError, match="run lengths that do not add up"):
        clean_segmentation({"size": [8, 8], "counts": "o" * 100}, 8, 8)
