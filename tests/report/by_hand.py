"""Runs written by hand: what an evaluation leaves in its folder, with figures that can be worked out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isegm.datasets import Dataset
from isegm.datasets.dataset import Record
from isegm.datasets.picture import PictureFiles
from isegm.datasets.picture_pairs import read_bright
from isegm.evaluation.record import Job, SampleRecord, SampleResult
from isegm.pictures import write_image
from isegm.storage import write_text
from tests.evaluation.by_hand import result_of

Results = Sequence[SampleResult]


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, and the text in each cell."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.attributes, self.cells = [], [], []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.attributes += [name for name, _ in attributes]
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


HOSTILE = '<script>alert("1")</script> & \\$_{}%|*~^`'
"""A name that tries everything."""


def write_run(
    folder: Path,
    groups: Mapping[tuple[str, str], Results | Sequence[Results]],
    about: Mapping[str, Any] | None = None,
    problems: Sequence[str] = (),
    **settings: Any,
) -> Path:
    """Write ``results.json`` and ``samples.jsonl``.

    Args:
        folder: Where to.
        groups: By model and data set the results of the samples; of several seeds a list for each.
        about: What else stands in ``results.json``.
        problems: Of each network on each data set, a line for each sample without a result.
        settings: Of the protocol; 4 clicks unless said otherwise.
    """
    protocol = {"n_clicks": 4, "target_iou": 0.9, "metric": "iou"} | settings
    rows, lines = [], []
    for (model, dataset), found in groups.items():
        seeded = [found] if not found or isinstance(found[0], SampleResult) else found
        for seed, results in enumerate(seeded):
            job = Job(model, dataset, seed if len(seeded) > 1 else None)
            rows.append(job.to_json() | {"samples": len(results), "seconds": 7.0, "problems": list(problems)})
            for index, result in enumerate(results):
                scored = replace(result, metric=protocol["metric"])
                lines.append(SampleRecord(job, index, scored).to_json())
    document = {"settings": protocol, **(about or {}), "results": rows}
    write_text(folder / "results.json", json.dumps(document))
    write_text(folder / "samples.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return folder


def small_run(folder: Path, **settings: Any) -> Path:
    """Two networks on two data sets, three samples each."""
    scores = [[0.5, 0.82, 0.9], [0.1, 0.2, 0.3, 0.9], [0.1, 0.84, 0.6, 0.7]]
    results = [result_of(row, name=f"s{number}") for number, row in enumerate(scores)]
    better = [result_of([0.9], name=f"s{number}") for number in range(3)]
    groups = {
        ("hr32", "liver"): results,
        ("hr32", "lung"): better,
        ("geodesic", "liver"): better,
        ("geodesic", "lung"): results,
    }
    return write_run(folder, groups, **settings)


def square(rows: slice, cols: slice, shape: tuple[int, int] = (60, 80)) -> npt.NDArray[np.bool_]:
    """A mask with a rectangle of object."""
    mask = np.zeros(shape, np.bool_)
    mask[rows, cols] = True
    return mask


def write_dataset(folder: Path, name: str, samples: Mapping[str, npt.NDArray[np.bool_]]) -> Dataset:
    """A data set of grey images with these truths by name; each is read from files, as others are."""
    records = []
    for stem, truth in samples.items():
        image, mask = folder / name / "images" / f"{stem}.png", folder / name / "masks" / f"{stem}.png"
        write_image(image, np.full((*truth.shape, 3), 90, np.uint8))
        write_image(mask, truth.astype(np.uint8) * 255)
        records.append(Record(stem, PictureFiles(stem, image, mask, read_bright)))
    return Dataset(name, records)
