"""The readers of files from strangers, each with small good files to begin from.

To add one: write a function that reads a path, one that gives the bytes of good files, and a line in
``READERS``. ``test_readers.py`` then tries it for a moment in every run of the tests, and
``fuzz_readers.py`` for as long as wanted.
"""

import contextlib
import csv
import functools
import gzip
import importlib
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import scipy.io

from isegm.errors import InputError

Content = bytes


@dataclass(frozen=True)
class Reader:
    """A reader and what it is tried with.

    Attributes:
        name: The name of the file that it is given, or how that name ends.
        read: Reads the file. It may return whatever it likes, and raise ``InputError``.
        seeds: The contents of good files, before ``wrap``.
        wrap: Makes a file's content of what is varied, so that a checksum does not end every attempt.
        beside: Writes the files that have to lie beside the one that is read.
    """

    name: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[Content]]
    wrap: Callable[[Content], Content] = bytes
    beside: Callable[[Path], None] = lambda folder: None

    def attempt(self, folder: Path, content: Content) -> str | None:
        """Read ``content``; the complaint's message, None if the reader took it.

        Raises:
            AssertionError: The complaint does not name the file.
            Exception: Whatever the reader raised that is no ``InputError``.
        """
        path = folder / self.name
        path.write_bytes(self.wrap(content))
        try:
            self.read(path)
        except InputError as error:
            complaint = error
        else:
            return None
        assert str(folder) in str(complaint), f"does not name the file: {complaint!a:.300}"
        assert all(complaint.lines), f"a line without words: {complaint!a:.300}"
        return str(complaint)


# --- texts


def _read_config(path):
    from isegm.config import read_config
    from isegm.datasets import available_datasets

    available_datasets(read_config(path))


def _config_seeds():
    return [
        b"LIVER_PATH: ./liver\nEXPS_PATH: ~/runs\n",
        b"# a comment\nA_PATH: &x 'b'\nC_PATH: *x\n\"D_PATH\": |\n  text\n",
        b'{A_PATH: /x, B_PATH: "\\x41\\u00e4"}',
        b"--- !!map\n? A_PATH\n: !!str 5\n...\n",
    ]


READING = b"window: 40,350\noffset: -1024\nmasks: labels\nignore: 255\n"


def _read_reading(path):
    from isegm.reading import read_reading

    read_reading(path.parent)


def _read_manifest(path):
    from isegm.extract.manifest import read_manifest

    read_manifest(path)


def _manifest_seeds():
    from isegm.extract.manifest import COLUMNS

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, ["liver_0_003", "liver_0.nii.gz", "liver_0.nii.gz", *range(12)]])
    return [text.getvalue().encode(), b'name,spacing_row_mm,spacing_col_mm\na,0.7,0.7\n"b ""c""",1,2\nd,,\n']


def _read_spacings(path):
    from isegm.compare.mask_reading import read_spacings

    read_spacings(path.parent)


def _read_windows(path):
    from isegm.extract.normalize import read_windows

    read_windows(path)


def _windows_seeds():
    return [b'{"a.nii.gz": "lung", "b.nii": "40,350", "c.nii": [40, 350], "d": {"level": 4e1, "width": 350}}']


def _read_list(path):
    from isegm.datasets.dataset import DatasetProblems
    from isegm.datasets.instances import read_list

    problems = []
    read_list(path, problems)
    if problems:
        raise DatasetProblems(problems)


def _read_coco(path):
    from isegm.datasets.coco import find_coco

    pictures, _ = find_coco(path, path.parent / "train2017", ["cat"])
    for picture in pictures:
        picture.numbers()
        picture.read()


def _coco_pictures(folder):
    (folder / "train2017").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "train2017" / "a.png"), np.zeros((20, 30, 3), np.uint8))


def _coco_seeds():
    codes = [
        [[1, 1, 9, 1, 9, 9.5]],
        {"size": [20, 30], "counts": [100, 50, 450]},
        {"size": [20, 30], "counts": "T3b1R>"},
    ]
    kinds = [
        {"image_id": 1, "category_id": 1, "id": i, "iscrowd": i % 2, "segmentation": code}
        for i, code in enumerate(codes)
    ]
    images = [
        {"id": 1, "file_name": "a.png", "height": 20, "width": 30},
        {"id": 1, "coco_url": "http://x/train2017/a.png", "height": 20, "width": 30},
    ]
    categories = [{"id": 1, "name": "cat"}]
    return [
        json.dumps({"images": [image], "annotations": [kind], "categories": categories}).encode()
        for image in images
        for kind in kinds
    ]


# --- pictures


def _read_picture(path):
    from isegm.pictures import is_turned, read_grey, read_image, read_stored, read_values

    read_image(path)
    read_grey(path)
    read_stored(path)
    read_values(path)
    is_turned(path)


def _read_mask(path):
    from isegm.datasets.picture_pairs import read_any_colour, read_bright, read_trimap
    from isegm.masks import read_labels, read_mask

    for read in (read_mask, read_bright, read_any_colour, read_trimap, read_labels):
        read(path)


def _picture_seeds():
    ramp = np.arange(12 * 16 * 3).reshape(12, 16, 3).astype(np.uint8)
    encoded = [
        cv2.imencode(suffix, pixels)[1].tobytes()
        for suffix in (".png", ".jpg", ".bmp", ".tif")
        for pixels in (ramp, ramp[..., 0])
    ]
    deep = cv2.imencode(".png", ramp.astype(np.uint16) * 200)[1].tobytes()
    real = cv2.imencode(".tif", ramp.astype(np.float32))[1].tobytes()
    return [*encoded, deep, real, *_palette_seeds(), *_turned_seeds()]


def _turned_seeds():
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = []
    for kind in ("PNG", "JPEG"):
        file = io.BytesIO()
        Image.fromarray(np.arange(40, dtype=np.uint8).reshape(5, 8)).save(file, kind, exif=exif)
        seeds.append(file.getvalue())
    return seeds


def _palette_seeds():
    from PIL import Image

    seeds = []
    for interlaced in (False, True):
        file = io.BytesIO()
        picture = Image.fromarray(np.arange(40, dtype=np.uint8).reshape(5, 8), mode="P")
        picture.putpalette(list(range(120)))
        picture.save(file, "PNG", interlace=interlaced, transparency=3)
        seeds.append(file.getvalue())
    return seeds


def repair_png(content):
    """Make the checksums of a PNG's chunks true; other contents stay as they are."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    repaired, position = bytearray(content), 8
    while position + 12 <= len(repaired):
        (length,) = struct.unpack_from(">I", repaired, position)
        end = position + 8 + length
        if end + 4 > len(repaired):
            break
        struct.pack_into(">I", repaired, end, zlib.crc32(repaired[position + 4 : end]))
        position = end + 4
    return bytes(repaired)


def _read_palette(path):
    from isegm.datasets.instances import read_voc_labels

    read_voc_labels(path)


def _read_matlab(path):
    from isegm.datasets.instances import read_sbd_labels

    read_sbd_labels(path)


def _matlab_seeds():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    seeds = []
    for compressed in (False, True):
        file = io.BytesIO()
        scipy.io.savemat(
            file, {"other": np.eye(2), "GTinst": {"Segmentation": labels}}, do_compression=compressed
        )
        seeds.append(file.getvalue())
    return seeds


# --- volumes


def _read_volume(path):
    from isegm.errors import InputError
    from isegm.volumes.files import open_volume
    from isegm.volumes.hu_check import HuCheck
    from isegm.volumes.nifti import write_nifti
    from isegm.volumes.windows import WINDOWS

    volume = open_volume(path)
    assert len(volume.spacing_mm) == 3
    check = HuCheck(path)

    def grey():
        for _, slab in volume.slabs():
            slab.check_finite("it")
            check.add(slab)
            with contextlib.suppress(InputError):
                slab.labels()
            yield slab.windowed(WINDOWS["lung"])

    with tempfile.TemporaryDirectory() as folder:
        write_nifti(Path(folder) / "copy.nii.gz", volume, grey())
    check.warn()


def _extract_volume(path):
    from isegm.extract.slices import Extraction, ExtractionJob, extract_volume
    from isegm.extract.volume_pairs import VolumePair
    from isegm.volumes.organs import find_organ
    from isegm.volumes.windows import WINDOWS

    image = path.with_name("volume_image.nii")
    image.write_bytes(path.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        extraction = Extraction(organ=find_organ("x", (1,), WINDOWS["lung"]), folder=Path(folder))
        extract_volume(ExtractionJob(VolumePair(path, image, "volume"), extraction))


def _read_mask_volume(path):
    from isegm.compare.mask_pairs import Pair
    from isegm.compare.mask_reading import read_mask_pair

    read_mask_pair(Pair("volume", path, path), {})


def _volume_seeds():
    seeds = []
    for image, dtype in (
        (nib.Nifti1Image, np.int16),
        (nib.Nifti2Image, np.float32),
        (nib.Nifti1Image, np.uint8),
    ):
        volume = image(np.arange(24).reshape(4, 3, 2).astype(dtype), np.diag([2.0, 3, 4, 1]))
        volume.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a word"))
        seeds.append(volume.to_bytes())
    return seeds


def _dicom_seeds(*syntaxes):
    """A slice in each syntax, and one enhanced multi-frame file."""
    from tests.dicom_files import dataset, enhanced, places, stored_values, write

    stored = stored_values((2, 64, 32))
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seed.dcm"
        for syntax in syntaxes:
            padded = dataset(
                stored[0], places(1)[0], PixelPaddingValue=7, PhotometricInterpretation="MONOCHROME1"
            )
            seeds.append(write(file, padded, syntax).read_bytes())
        seeds.append(write(file, enhanced(stored, places(2), [1, 2]), syntaxes[0]).read_bytes())
    return seeds


def _segmentation_seeds():
    from isegm.volumes.files import open_volume
    from isegm.volumes.mask_writing import write_mask
    from tests.dicom_files import write_series

    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder) / "ct")
        volume = open_volume(Path(folder) / "ct")
        labels = np.arange(np.prod(volume.shape)).reshape(volume.shape) % 3
        write_mask(Path(folder) / "seg.dcm", volume, labels)
        return [(Path(folder) / "seg.dcm").read_bytes()]


# --- networks


def _read_checkpoint(path):
    from isegm.model.checkpoint import load_model, read_metadata, read_tensors

    read_metadata(path)
    read_tensors(path)
    load_model(path)


def _checkpoint_seeds():
    import torch

    contents = [
        {"state_dict": {"refiner.a": torch.arange(4.0)}, "config": {"class": "x.HRNetRefineModel"}},
        {"conv1.weight": torch.ones(2, 4, dtype=torch.float16).T, "n": torch.tensor([3, 4])},
    ]
    seeds = []
    for content in contents:
        for zipped in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            seeds.append(file.getvalue())
    return seeds


def _pickle_seeds():
    return [
        zipfile.ZipFile(io.BytesIO(seed)).read("archive/data.pkl")
        for seed in _checkpoint_seeds()
        if seed.startswith(b"PK")
    ]


def zip_of_pickle(pickled):
    """A checkpoint whose tensors' bytes are good and whose pickle is ``pickled``."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for number in range(3):
            archive.writestr(f"archive/data/{number}", bytes(16))
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def _read_state(path):
    from isegm.training.recipe import Recipe
    from isegm.training.state import load_state

    load_state(path.parent, Recipe(preset="hr18s", sources=("phantom",)))


def _state_seeds():
    import torch

    from isegm.training.recipe import Recipe
    from isegm.training.state import plain_recipe

    content = {"step": 3, "model": {"a": torch.ones(2)}, "optimiser": {}, "average": None, "best_noc": 3.5}
    file = io.BytesIO()
    torch.save(content | {"recipe": plain_recipe(Recipe(preset="hr18s", sources=("phantom",)))}, file)
    return [file.getvalue()]


def _read_onnx(path):
    from isegm.inference.onnx_pair import read_pair

    read_pair(path)


def _onnx_model(stage):
    onnx = importlib.import_module("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto
    value = helper.make_tensor("w", tensor.FLOAT, [2], [1.0, 2.0])
    node = helper.make_node("Constant", [], ["logits"], value=value)
    output = helper.make_tensor_value_info("logits", tensor.FLOAT, [2])
    model = helper.make_model(helper.make_graph([node], "g", [], [output], [value]))
    facts = {"version": "1", "preset": "hr18s", "sha256": "", "size": "384", "windows": "{}"}
    for key, fact in {**facts, "normalisation": "{}", "weights": "float32", "stage": stage}.items():
        model.metadata_props.add(key=f"isegm.{key}", value=fact)
    return model.SerializeToString()


def _second_stage(folder):
    (folder / "a_correction_head.onnx").write_bytes(_onnx_model("correction_head"))


def _read_journal(path):
    from isegm.evaluation.journal import Journal
    from isegm.evaluation.record import Job

    Journal(path.parents[2]).entries(_three_samples(), Job("hr32", "liver"), "iou", 20)


def _three_samples():
    from isegm.datasets import Dataset
    from isegm.datasets.dataset import Record
    from isegm.datasets.picture import PictureFiles
    from isegm.masks import read_labels

    return Dataset("liver", [Record(n, PictureFiles(n, Path(n), Path(n), read_labels)) for n in "abc"])


def _journal_seeds():
    line = {
        "model": "hr32", "dataset": "liver", "index": 1, "name": "b",
        "clicks": [[10, 2, True], [3, 4, False]], "ious": [0.5, 0.9], "seconds": [0.1, 0.2],
        "dice": 0.5, "hd95": None, "nsd": 1,
        "mask_sha256": "0f", "at": 1.5,
    }  # fmt: skip
    failure = {"model": "hr32", "dataset": "liver", "index": 2, "name": "c", "problem": "c.png: bad", "at": 2}
    return ["".join(json.dumps(part) + "\n" for part in (line, failure)).encode() + b'{"model": "hr3']


def _read_identity(path):
    from isegm.evaluation.journal import Journal

    Journal(path.parents[1]).check_same(_identity(), {"liver": {"a": "1"}})


def _identity():
    return {"settings": {"n_clicks": 20}, "datasets": [{"name": "liver", "sha256": "x"}]}


def _identity_beside(folder):
    (folder / "journal").mkdir(exist_ok=True)
    (folder / "journal" / "data.json").write_text('{"liver": {"a": "2"}}')


def _read_results(path):
    from isegm.report.stored_run import read_run

    read_run(path.parent)


def _results_seeds():
    row = {
        "model": "m", "preset": "hr18s", "dataset": "d", "metric": "iou", "samples": 1, "seconds": 1.0,
        "noc": [{"threshold": 0.9, "max_clicks": 5, "samples": 1, "mean": 1.0, "at_limit": 0, "failures": 0}],
        "mean_iou_by_click": [0.9] * 5, "auc_iou": 0.9, "auc_dice": 0.9, "dice_at": {"1": 0.9},
        "final": {"dice": 0.9, "hd95": 1.0, "nsd": 1.0, "undefined": {"hd95": 0}, "nsd_tolerance_px": 2.0},
        "seconds_a_click": 0.1, "problems": [], "clicks_sha256": "00",
    }  # fmt: skip
    document = {
        "started": "2026-01-01T00:00:00+00:00", "warnings": [], "results": [row],
        "settings": {"metric": "iou", "n_clicks": 5, "target_iou": 0.9, "click_model": "centre", "seeds": 1},
        "checkpoints": [{"name": "m", "path": "m.pth", "sha256": "00", "windows": None}],
        "datasets": [{"name": "d", "samples": 1, "sha256": "00", "window": [{"level": 40, "width": 350}]}],
        "device": {"type": "cpu"}, "versions": {"isegm": "1"},
    }  # fmt: skip
    return [json.dumps(document).encode()]


def _samples_seeds():
    line = {
        "model": "m", "dataset": "d", "index": 0, "name": "a", "clicks": [[1, 2, True]], "ious": [0.9],
        "seconds": [0.1], "dice": 0.9, "hd95": 1.0, "nsd": None,
    }  # fmt: skip
    return [(json.dumps(line) + "\n").encode()]


def _samples_beside(folder):
    (folder / "samples.jsonl").write_bytes(_samples_seeds()[0])


def _results_beside(folder):
    (folder / "results.json").write_bytes(_results_seeds()[0])


READERS: dict[str, Reader] = {
    "config": Reader("config.yml", _read_config, _config_seeds),
    "reading": Reader("reading.yml", _read_reading, lambda: [READING]),
    "manifest": Reader("manifest.csv", _read_manifest, _manifest_seeds),
    "spacings": Reader("manifest.csv", _read_spacings, _manifest_seeds),
    "windows": Reader("windows.json", _read_windows, _windows_seeds),
    "list": Reader("val.txt", _read_list, lambda: [b"2008_000009\n2008_000010\n"]),
    "coco": Reader("instances.json", _read_coco, _coco_seeds, beside=_coco_pictures),
    "picture": Reader("a.png", _read_picture, _picture_seeds, repair_png),
    "mask": Reader("a.png", _read_mask, _picture_seeds, repair_png),
    "palette": Reader("a.png", _read_palette, _palette_seeds, repair_png),
    "matlab": Reader("a.mat", _read_matlab, _matlab_seeds),
    "volume": Reader("volume.nii", _read_volume, _volume_seeds),
    "volume-gz": Reader(
        "volume.nii.gz", _read_volume, lambda: [gzip.compress(seed, mtime=0) for seed in _volume_seeds()]
    ),
    "volume-in-gz": Reader(
        "volume.nii.gz", _read_volume, _volume_seeds, functools.partial(gzip.compress, compresslevel=1)
    ),
    "extraction": Reader("volume.nii", _extract_volume, _volume_seeds),
    "mask-volume": Reader("volume.nii", _read_mask_volume, _volume_seeds),
    "dicom": Reader(
        "slice.dcm",
        _read_volume,
        lambda: _dicom_seeds(
            "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
        ),
    ),
    "dicom-jpeg-2000": Reader("slice.dcm", _read_volume, lambda: _dicom_seeds("1.2.840.10008.1.2.4.90")),
    "dicom-jpeg-ls": Reader("slice.dcm", _read_volume, lambda: _dicom_seeds("1.2.840.10008.1.2.4.80")),
    "dicom-jpeg-lossless": Reader("slice.dcm", _read_volume, lambda: _dicom_seeds("1.2.840.10008.1.2.4.70")),
    "dicom-rle": Reader("slice.dcm", _read_volume, lambda: _dicom_seeds("1.2.840.10008.1.2.5")),
    "dicom-seg": Reader("seg.dcm", _read_volume, _segmentation_seeds),
    "checkpoint": Reader("net.pth", _read_checkpoint, _checkpoint_seeds),
    "checkpoint-pickle": Reader("net.pth", _read_checkpoint, _pickle_seeds, zip_of_pickle),
    "state": Reader("state.pt", _read_state, _state_seeds),
    "journal": Reader(
        "journal/1/process_0.jsonl",
        _read_journal,
        _journal_seeds,
        beside=lambda folder: (folder / "journal" / "1").mkdir(parents=True, exist_ok=True),
    ),
    "journal-run": Reader(
        "journal/run.json",
        _read_identity,
        lambda: [json.dumps(_identity()).encode()],
        beside=_identity_beside,
    ),
    "results": Reader("results.json", _read_results, _results_seeds, beside=_samples_beside),
    "samples": Reader("samples.jsonl", _read_results, _samples_seeds, beside=_results_beside),
    "onnx": Reader(
        "a_first_stage.onnx", _read_onnx, lambda: [_onnx_model("first_stage")], beside=_second_stage
    ),
}
