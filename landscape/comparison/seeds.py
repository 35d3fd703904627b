"""Methods over seeds: runs of one configuration are one method, pairs of runs of one seed its sample.

One pair of networks says something of two networks. A sentence about two methods rests on several pairs of seeds: the
logarithm of each witness's ratio is averaged over pairs, with Student's t-interval, and the same rule judges it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats takes 2 s to load

from landscape.comparison.flatness import (
    NOT_MEASURED,
    UNKNOWN,
    WITNESSES,
    Flatness,
    Witness,
    compare_flatness,
    judge,
)
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run

FEWEST_PAIRS = 5
"""Pairs of seeds without which no method is called flatter than another."""
FEW_PAIRS = f"fewer than {FEWEST_PAIRS} pairs of seeds were measured"
"""Why there is no verdict on two methods."""


@dataclass(frozen=True)
class SeedComparison:
    """Two methods, seed by seed.

    Attributes:
        methods: Position of the first run of each method.
        first: Positions of the first method's runs that have a partner, in the order given.
        second: Positions of the second's; the i-th is compared with the i-th of the first, which has its seed.
        unpaired: Positions of both methods' other runs: they have no partner of their seed and are left out.
        flatness: By row, witnesses averaged over the pairs, their ends those of the 95 % t-interval, widened by the
            numerical errors; no verdict with fewer than `FEWEST_PAIRS` pairs.
    """

    methods: tuple[int, int]
    first: tuple[int, ...]
    second: tuple[int, ...]
    unpaired: tuple[int, ...]
    flatness: tuple[Flatness, ...]

    @property
    def pairs(self) -> int:
        """How many pairs of seeds there are."""
        return len(self.first)


def compare_seeds(runs: Sequence[Run], rows: Sequence[Row], split: str = "train") -> tuple[SeedComparison, ...]:
    """Compares every later method with the first, where any method has more than one run.

    Args:
        runs: All runs.
        rows: The subsets.
        split: The split on which they were measured.

    Returns:
        One entry a later method; empty where each run is a method of its own.
    """
    methods: dict[int, list[int]] = {}
    for position, run in enumerate(runs):
        methods.setdefault(run.configuration, []).append(position)
    first, *others = methods.values()
    if len(methods) == len(runs):
        return ()
    return tuple(_compare(runs, rows, split, first, other) for other in others)


def _compare(
    runs: Sequence[Run], rows: Sequence[Row], split: str, first: Sequence[int], second: Sequence[int]
) -> SeedComparison:
    pairs = _paired(runs, first, second)
    told = [compare_flatness(runs[a], runs[b], rows, split) for a, b in pairs]
    flatness = [over_pairs(column) for column in zip(*told, strict=True)] or [
        Flatness(UNKNOWN, reason=FEW_PAIRS)
    ] * len(rows)
    paired = {position for pair in pairs for position in pair}
    unpaired = tuple(position for position in (*first, *second) if position not in paired)
    return SeedComparison(
        (first[0], second[0]), tuple(a for a, _ in pairs), tuple(b for _, b in pairs), unpaired, tuple(flatness)
    )


def _paired(runs: Sequence[Run], first: Sequence[int], second: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of the same seed; those whose seed no file tells in the order given. A seed given twice counts once."""
    partners: dict[object, int] = {}
    for position in second:
        partners.setdefault(_seed(runs, second, position), position)
    found: dict[object, tuple[int, int]] = {}
    for position in first:
        seed = _seed(runs, first, position)
        if seed in partners:
            found.setdefault(seed, (position, partners[seed]))
    return list(found.values())


def _seed(runs: Sequence[Run], method: Sequence[int], position: int) -> object:
    seed = runs[position].seed
    return ("place", method.index(position)) if seed is None else seed


def over_pairs(pairs: Sequence[Flatness]) -> Flatness:
    """What pairs of seeds say of one row together.

    Args:
        pairs: One entry a seed.

    Returns:
        A witness counts where every pair has it; there is no verdict with fewer than `FEWEST_PAIRS`.
    """
    witnesses = []
    for name in WITNESSES:
        found = [witness for flatness in pairs for witness in flatness.witnesses if witness.name == name]
        if len(found) == len(pairs) > 1:
            witnesses.append(_mean(name, found))
    loss = float(np.exp(np.mean(np.log([flatness.loss for flatness in pairs])))) if witnesses else float("nan")
    verdict = judge(witnesses) if len(pairs) >= FEWEST_PAIRS else UNKNOWN
    reasons = [flatness.reason for flatness in pairs if flatness.reason]
    reason = FEW_PAIRS if len(pairs) < FEWEST_PAIRS else (reasons or [NOT_MEASURED])[0]
    return Flatness(verdict, tuple(witnesses), loss, reason if verdict == UNKNOWN else "")


def _mean(name: str, pairs: Sequence[Witness]) -> Witness:
    """Geometric means over the pairs, and the t-interval of their ratio beyond the numerical errors of the pairs.

    All runs are measured with the same random vectors, so that their errors may go together: they do not average out.
    """
    before, after, low, high = np.log([[w.before, w.after, w.low, w.high] for w in pairs]).T
    ratios = after - before
    half = special.stdtrit(len(ratios) - 1, 0.975) * ratios.std(ddof=1) / np.sqrt(len(ratios))
    ends = low.mean() - half, high.mean() + half
    return Witness(name, *(float(np.exp(value)) for value in (before.mean(), after.mean(), *ends)))
