"""The digits are scikit-learn's."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from training.data import open_data


def test_images_and_labels_are_those_of_scikit_learn():
    digits = load_digits()
    data = open_data("digits", validation=0)
    found = np.concatenate([split.store.images[:, 0].numpy() for split in (data.train, data.test)])
    labels = torch.cat([data.train.store.labels, data.test.store.labels]).numpy()
    expected = np.round(digits.images * 255 / 16).astype(np.uint8)
    for label in range(10):
        ours, theirs = found[labels == label], expected[digits.target == label]
        assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))
    assert data.class_counts == tuple(n - n // 5 for n in np.bincount(digits.target))
