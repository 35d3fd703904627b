import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.groups import group_classes


def exponential(largest: int, ratio: float, classes: int) -> list[int]:
    return [int(largest * ratio ** (-c / (classes - 1))) for c in range(classes)]


@pytest.mark.parametrize(
    ("ratio", "sizes"), [(10, (69, 31, 0)), (50, (41, 41, 18)), (100, (35, 35, 30)), (200, (30, 31, 39))]
)
def test_cifar100_lt_has_the_published_group_sizes(ratio, sizes):
    groups = group_classes(exponential(500, ratio, 100))
    assert tuple(len(members) for _, members in groups.named()) == sizes
    assert groups.rule == "counts"


def test_fashion_mini_splits_by_counts_and_cifar10_by_rank():
    fashion = group_classes([600, 359, 215, 129, 77, 46, 27, 16, 10, 6])
    assert (fashion.many, fashion.medium, fashion.few) == ((0, 1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert fashion.rule == "counts"
    cifar = group_classes(exponential(5000, 100, 10))
    assert (cifar.many, cifar.medium, cifar.few) == ((0, 1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert cifar.rule == "rank thirds"


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40))
def test_groups_partition_the_classes_and_never_put_a_rarer_class_ahead(counts):
    groups = group_classes(counts)
    even = len(set(counts)) == 1
    assert sorted(groups.many + groups.medium + groups.few) == ([] if even else list(range(len(counts))))
    assert (groups.rule == "even") == even
    for head, tail in ((groups.many, groups.medium), (groups.medium, groups.few), (groups.many, groups.few)):
        if head and tail:
            assert min(counts[c] for c in head) >= max(counts[c] for c in tail)
