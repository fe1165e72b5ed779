"""The data sets of the evaluation: the published benchmarks and folders of one's own."""

from isegm.datasets.dataset import Dataset, DatasetProblems
from isegm.datasets.registry import available_datasets, open_dataset
from isegm.datasets.sample import Sample

__all__ = ["Dataset", "DatasetProblems", "Sample", "available_datasets", "open_dataset"]
