"""scikit-learn's digits: 1,797 images of 8×8 (Alpaydin & Kaynak, UCI 1998), in seconds on any machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.pool import memory_pool
from training.data.source import Source

TEST_EVERY = 5  # every fifth image of a class is a test image


def open_digits(data_dir: Path | None = None) -> Source:
    """The digits, about 140 training and 36 test images a class.

    Args:
        data_dir: Not used; the images come with scikit-learn.

    Returns:
        The source.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # scikit-learn stores 0..16
    labels = digits.target
    rank_in_class = np.zeros_like(labels)
    for label in range(10):
        rank_in_class[labels == label] = np.arange((labels == label).sum())
    test = rank_in_class % TEST_EVERY == TEST_EVERY - 1
    return Source(
        memory_pool(images[~test], labels[~test]),
        memory_pool(images[test], labels[test]),
        class_names=tuple(str(digit) for digit in range(10)),
        mean=(0.3053,),  # of the training images
        std=(0.3762,),
        held_out=20,
    )
