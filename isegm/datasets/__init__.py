"""Data sets: each is read in one place, as pictures with their objects.

The evaluation takes samples of one object each from them (:class:`Dataset`), training takes scenes.
"""

from isegm.datasets.dataset import Dataset, DatasetProblems, SampleSet
from isegm.datasets.registry import available_datasets, open_dataset, open_folder
from isegm.datasets.sample import Sample

__all__ = [
    "Dataset",
    "DatasetProblems",
    "Sample",
    "SampleSet",
    "available_datasets",
    "open_dataset",
    "open_folder",
]
