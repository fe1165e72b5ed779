"""The data sets of the evaluation: the published benchmarks and folders of one's own."""

from isegm.data.dataset import Dataset, DatasetProblems
from isegm.data.registry import available_datasets, open_dataset
from isegm.data.sample import Sample

__all__ = ["Dataset", "DatasetProblems", "Sample", "available_datasets", "open_dataset"]
