"""Published subset sizes, and what holds for every imbalance."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InputError
from foundation.groups import group_classes
from training.data.longtail import class_counts, shuffled


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


@given(st.integers(0, 50), st.integers(0, 5), st.integers(0, 99))
def test_shuffling_keeps_the_members_and_repeats(size, seed, label):
    members = torch.arange(100, 100 + size)
    once = shuffled(members, seed, label)
    assert torch.equal(once, shuffled(members, seed, label))
    assert torch.equal(once.sort().values, members)


def test_classes_and_seeds_are_shuffled_apart():
    members = torch.arange(50)
    orders = {tuple(shuffled(members, seed, label).tolist()) for seed in range(3) for label in range(3)}
    assert len(orders) == 9
