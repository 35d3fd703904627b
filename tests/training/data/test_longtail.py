"""Published subset sizes, and what holds for every imbalance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InputError
from foundation.groups import group_classes
from training.data.longtail import class_counts, shuffled_classes


@pytest.mark.parametrize(
    ("classes", "largest", "totals"),
    [
        (10, 5000, {10: 20431, 50: 13996, 100: 12406, 200: 11203}),  # CIFAR-10
        (100, 500, {10: 19573, 50: 12608, 100: 10847, 200: 9502}),  # CIFAR-100
    ],
)
def test_totals_are_the_published_ones(classes, largest, totals):
    assert {ir: sum(class_counts(largest, classes, ir)) for ir in totals} == totals


@pytest.mark.parametrize(
    ("imbalance", "sizes"), [(10, (69, 31, 0)), (50, (41, 41, 18)), (100, (35, 35, 30)), (200, (30, 31, 39))]
)
def test_groups_of_cifar_100_are_the_published_ones(imbalance, sizes):
    groups = group_classes(class_counts(500, 100, imbalance))
    assert tuple(len(members) for _, members in groups.named()) == sizes


def test_the_embedded_set_at_imbalance_100():
    assert class_counts(600, 10, 100) == [600, 359, 215, 129, 77, 46, 27, 16, 10, 6]


def test_a_step():
    assert class_counts(500, 5, 10, "step") == [500, 500, 500, 50, 50]


@given(st.integers(1, 5000), st.integers(2, 60), st.floats(1, 5000), st.sampled_from(["exp", "step"]))
def test_counts_fall_from_the_largest_to_the_smallest(largest, classes, imbalance, kind):
    if imbalance > largest:
        with pytest.raises(InputError, match="smallest class empty"):
            class_counts(largest, classes, imbalance, kind)
        return
    counts = class_counts(largest, classes, imbalance, kind)
    assert counts[0] == largest and counts == sorted(counts, reverse=True)
    assert largest / imbalance - 1 < counts[-1] <= largest / imbalance + 1e-6 and counts[-1] >= 1


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_whole_ratio_is_not_rounded_down(smallest, imbalance):
    assert class_counts(smallest * imbalance, 4, imbalance)[-1] == smallest


@pytest.mark.parametrize("imbalance", [0.5, 0, -3, float("nan")])
def test_an_imbalance_below_one_is_refused(imbalance):
    with pytest.raises(InputError, match="below 1"):
        class_counts(600, 10, imbalance)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match=r"'linear'.*exp, step"):
        class_counts(600, 10, 10, "linear")


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 5), st.sampled_from(["nested", "cao"]))
def test_shuffling_keeps_the_members_and_repeats(labels, seed, subset):
    labels = torch.tensor(labels, dtype=torch.int64)
    once, again = (shuffled_classes(labels, 5, seed=seed, subset=subset) for _ in range(2))
    for label in range(5):
        assert torch.equal(once[label], again[label])
        assert torch.equal(once[label].sort().values, (labels == label).nonzero().squeeze(1))


def test_classes_and_seeds_are_shuffled_apart():
    labels = torch.arange(3).repeat(50)
    orders = {tuple((o // 3).tolist()) for seed in range(3) for o in shuffled_classes(labels, 3, seed=seed)}
    assert len(orders) == 9


def test_orders_of_before_are_kept():
    """Checkpoints rely on them."""
    (_, second) = shuffled_classes(torch.tensor([0, 1, 1, 0, 1, 1, 1]), 2, seed=3)
    expected = np.array([1, 2, 4, 5, 6])[np.random.RandomState([3, 1]).permutation(5)]
    assert second.tolist() == expected.tolist()


@pytest.mark.parametrize(("classes", "a_class", "imbalance"), [(10, 500, 100), (100, 50, 50), (10, 40, 10)])
def test_the_fields_own_subset_is_theirs_written_out(classes, a_class, imbalance):
    """Cao et al.: one seed, one successive shuffle of each class's positions in label order, the first n_c kept."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(classes), a_class))
    theirs_random = np.random.RandomState(0)  # the generator behind np.random.seed(0) and np.random.shuffle
    theirs = []
    for label in range(classes):
        kept = int(a_class * (1 / imbalance) ** (label / (classes - 1.0)) + 1e-9)
        positions = np.where(labels == label)[0]
        theirs_random.shuffle(positions)
        theirs.append(positions[:kept].tolist())
    ours = shuffled_classes(torch.from_numpy(labels), classes, seed=0, subset="cao")
    counts = class_counts(a_class, classes, imbalance)
    assert [order[:n].tolist() for order, n in zip(ours, counts, strict=True)] == theirs


def test_an_unknown_subset_is_refused():
    with pytest.raises(InputError, match=r"'mine'.*cao, nested"):
        shuffled_classes(torch.zeros(3, dtype=torch.int64), 1, seed=0, subset="mine")
