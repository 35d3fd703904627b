"""Many, medium and few: the field's split of classes by their training counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NAMES = ("many", "medium", "few")
MANY_ABOVE = 100
FEW_BELOW = 20
EVEN = "even"
"""The rule by which classes of equal counts, which have no head and no tail, are in no group."""


@dataclass(frozen=True)
class Groups:
    """Which classes are many-, medium- and few-shot, and by which rule.

    Attributes:
        many: Class indices, ascending.
        medium: Class indices, ascending.
        few: Class indices, ascending.
        rule: `"counts"` (n > 100, 20..100, n < 20), `"rank thirds"` or `"even"`.
    """

    many: tuple[int, ...]
    medium: tuple[int, ...]
    few: tuple[int, ...]
    rule: str

    def named(self) -> list[tuple[str, tuple[int, ...]]]:
        """The three groups by name, head first; an empty group is listed too."""
        return [(name, getattr(self, name)) for name in NAMES]


def group_classes(counts: Sequence[int]) -> Groups:
    """Splits classes into many (n > 100), medium (20 to 100) and few (n < 20) by training count.

    The rule of Liu et al., "Large-Scale Long-Tailed Recognition in an Open World" (CVPR 2019). On sets of at most
    ten classes it can leave a group empty (CIFAR-10-LT at imbalance 100 has 8, 2 and 0); there the classes are
    split by rank into thirds, the larger thirds first (4, 3, 3 of ten). Classes of one count are in no group.

    Args:
        counts: Training samples of each class, (C,).

    Returns:
        The groups and the rule that made them.
    """
    if len(set(counts)) < 2:
        return Groups((), (), (), EVEN)
    order = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    many = tuple(c for c in range(len(counts)) if counts[c] > MANY_ABOVE)
    few = tuple(c for c in range(len(counts)) if counts[c] < FEW_BELOW)
    medium = tuple(c for c in range(len(counts)) if FEW_BELOW <= counts[c] <= MANY_ABOVE)
    if len(counts) > 10 or (many and medium and few):
        return Groups(many, medium, few, "counts")
    many, medium, few = (tuple(sorted(int(c) for c in part)) for part in np.array_split(order, 3))
    return Groups(many, medium, few, "rank thirds")
