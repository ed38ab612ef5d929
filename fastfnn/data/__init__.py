"""Data: datasets by name, from files and from arrays, with splits drawn from a seed of their own.

`load_dataset` and `Dataset.from_arrays` are the two ways in; `DATASETS` lists the names.
"""

from fastfnn.data.arrays import Features, as_features
from fastfnn.data.dataset import Dataset, Split
from fastfnn.data.files import read_features
from fastfnn.data.idx import read_idx, write_idx
from fastfnn.data.loading import DATASETS, DatasetInfo, load_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetInfo",
    "Features",
    "Split",
    "as_features",
    "load_dataset",
    "read_features",
    "read_idx",
    "write_idx",
]
