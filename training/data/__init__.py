"""Data sets, their long-tailed subsets and their splits.

`open_data("fashion-mini", imbalance=100)` gives the three splits to train with; `open_split(record, "test")` gives
one of them again from what a checkpoint recorded, and refuses when the images are not the same ones.
"""

from training.data.dataset import DataSet, Split, open_data, open_split
from training.data.registry import DATASETS

__all__ = ["DATASETS", "DataSet", "Split", "open_data", "open_split"]
