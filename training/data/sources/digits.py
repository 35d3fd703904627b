"""scikit-learn's digits: 1,797 images of 8×8 (Alpaydin & Kaynak, UCI 1998), in seconds on any machine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from foundation.errors import InputError
from training.data.image_store import memory_store
from training.data.raw_dataset import RawDataset

TEST_EVERY = 5  # every fifth image of a class is a test image


def open_digits(data_dir: Path | None = None) -> RawDataset:
    """The digits, about 140 training and 36 test images a class.

    Args:
        data_dir: Not used; the images come with scikit-learn.

    Returns:
        The raw.

    Raises:
        InputError: scikit-learn is not installed, or keeps the digits elsewhere.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise InputError("digits come with scikit-learn, which is not installed: use --data fashion-mini")
    # The file itself: importing scikit-learn for it takes 1.5 s of every command.
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise InputError(f"scikit-learn has no {path} any more: use --data fashion-mini")
    table = np.loadtxt(path, delimiter=",", dtype=np.int64)
    images = np.round(table[:, :64].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # stored as 0..16
    labels = table[:, 64]
    rank_in_class = np.zeros_like(labels)
    for label in range(10):
        rank_in_class[labels == label] = np.arange((labels == label).sum())
    test = rank_in_class % TEST_EVERY == TEST_EVERY - 1
    return RawDataset(
        memory_store(images[~test], labels[~test]),
        memory_store(images[test], labels[test]),
        class_names=tuple(str(digit) for digit in range(10)),
        mean=(0.3053,),  # of the training images
        std=(0.3762,),
        held_out=20,
    )
