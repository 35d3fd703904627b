"""Batches on the device are what the split hands to those who measure."""

import pytest
import torch

from training.batches.loaders import open_loaders
from training.data import open_data


def loader(split, augment="none", **options):
    return open_loaders({"train": split}, torch.device("cpu"), augment=augment, workers=0, **options)["train"]


@pytest.mark.parametrize("channels_last", [False, True])
def test_evaluation_batches_are_the_splits_inputs_in_order(channels_last):
    split = open_data("fashion-mini", imbalance=100).test
    positions = torch.arange(100, 700)
    batches = list(loader(split, channels_last=channels_last).evaluation(positions))
    images, labels = torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])
    torch.testing.assert_close(images, split.inputs(positions), rtol=0, atol=1e-6)
    assert torch.equal(labels, split.labels[positions]) and images.dtype == torch.float32


def test_training_batches_follow_their_orders():
    split = open_data("digits", imbalance=10).train
    orders = [torch.tensor([3, 1]), torch.tensor([0, 7, 7])]
    for (images, labels), order in zip(loader(split).batches(orders, seed=0), orders, strict=True):
        torch.testing.assert_close(images, split.inputs(order), rtol=0, atol=1e-6)
        assert torch.equal(labels, split.labels[order])


def test_augmented_batches_repeat_by_seed():
    split = open_data("fashion-mini", imbalance=100).train
    orders = [torch.arange(20), torch.arange(20, 40)]
    crops = loader(split, "crop-flip", dtype=torch.float64)
    first, again, other = (torch.cat([i for i, _ in crops.batches(orders, seed=seed)]) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.dtype == torch.float64
