"""Methods over seeds: runs of one configuration are one method, pairs of runs its sample.

One pair of networks says something of two networks. A sentence about two methods rests on several pairs of seeds: the
logarithm of each witness's ratio is averaged over pairs, with Student's t-interval, and the same rule judges it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from landscape.comparison.flatness import UNKNOWN, WITNESSES, Flatness, Witness, compare_flatness, judge
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run

FEWEST_PAIRS = 5
"""Pairs of seeds without which no method is called flatter than another."""


@dataclass(frozen=True)
class SeedComparison:
    """Two methods, seed by seed.

    Attributes:
        first: Positions of the first method's runs, in the order given.
        second: Positions of the second's; the i-th is compared with the i-th of the first.
        flatness: By row, witnesses averaged over the pairs, their ends those of the 95 % t-interval; no verdict with
            fewer than `FEWEST_PAIRS` pairs.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    flatness: tuple[Flatness, ...]

    @property
    def pairs(self) -> int:
        """How many pairs of seeds there are."""
        return len(self.first)


def compare_seeds(runs: Sequence[Run], rows: Sequence[Row], split: str = "train") -> tuple[SeedComparison, ...]:
    """Compares every later method with the first, where both have at least two seeds.

    Args:
        runs: All runs.
        rows: The subsets.
        split: The split on which they were measured.

    Returns:
        One entry a later method; empty where no two methods have two seeds.
    """
    methods: dict[int, list[int]] = {}
    for position, run in enumerate(runs):
        methods.setdefault(run.configuration, []).append(position)
    first, *others = methods.values()
    return tuple(
        _compare(runs, rows, split, first[:pairs], other[:pairs])
        for other in others
        if (pairs := min(len(first), len(other))) > 1
    )


def _compare(
    runs: Sequence[Run], rows: Sequence[Row], split: str, first: Sequence[int], second: Sequence[int]
) -> SeedComparison:
    told = [compare_flatness(runs[a], runs[b], rows, split) for a, b in zip(first, second, strict=True)]
    return SeedComparison(tuple(first), tuple(second), tuple(_over(pairs) for pairs in zip(*told, strict=True)))


def _over(pairs: Sequence[Flatness]) -> Flatness:
    witnesses = []
    for name in WITNESSES:
        found = [witness for flatness in pairs for witness in flatness.witnesses if witness.name == name]
        if len(found) == len(pairs):
            witnesses.append(_mean(name, np.array([[w.before, w.after] for w in found])))
    return Flatness(judge(witnesses) if len(pairs) >= FEWEST_PAIRS else UNKNOWN, tuple(witnesses))


def _mean(name: str, values: np.ndarray) -> Witness:
    """Geometric means over the pairs, (n, 2), and the t-interval of their ratio."""
    logs = np.log(values)
    ratios = logs[:, 1] - logs[:, 0]
    half = stats.t.ppf(0.975, len(ratios) - 1) * ratios.std(ddof=1) / np.sqrt(len(ratios))
    before, after = np.exp(logs.mean(0))
    return Witness(name, float(before), float(after), *(float(np.exp(ratios.mean() + end)) for end in (-half, half)))
