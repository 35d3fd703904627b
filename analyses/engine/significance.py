"""What a few seeds can tell: Student's t, sign flips, equivalence by two one-sided tests, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats, which takes a second to load, is asked for where it is needed

LEVEL = 0.05
FEWEST_FLIPS = 6
"""Seeds below which sign flips cannot reach 5 %: of five, the two most extreme of 32 are 6 %."""
RESAMPLES = 1 << 16
"""Sign flips: all of them up to 16 seeds, so many drawn ones beyond."""


@dataclass(frozen=True)
class Sample:
    """One number a seed, against a margin.

    Attributes:
        seeds: How many.
        mean: Their mean.
        low: Lower end of Student's 95 % interval of the mean.
        high: Upper end.
        p: Two-sided p of the t-test that the mean is the margin.
        p_flips: Of the exact sign-flip test of the same; NaN with fewer than `FEWEST_FLIPS` seeds.
    """

    seeds: int
    mean: float
    low: float
    high: float
    p: float
    p_flips: float


def sample_of(values: Sequence[float], margin: float = 0.0) -> Sample:
    """What the seeds say of a mean.

    Args:
        values: One number a seed; at least one.
        margin: What the mean is held against.

    Returns:
        The sample; with one seed an interval without ends and p = 1.
    """
    numbers = np.asarray(values, dtype=float)
    n, mean = len(numbers), float(numbers.mean())
    if n < 2:
        return Sample(n, mean, -np.inf, np.inf, 1.0, np.nan)
    error = float(numbers.std(ddof=1)) / n**0.5
    half = float(special.stdtrit(n - 1, 1 - LEVEL / 2)) * error
    return Sample(n, mean, mean - half, mean + half, 2 * _tail(-abs(mean - margin), error, n), _flips(numbers - margin))


def equivalence_p(values: Sequence[float], margin: float) -> float:
    """The p of two one-sided t-tests that a mean lies within ± margin (Schuirmann, J. Pharmacokin. Biopharm. 15, 1987).

    Args:
        values: One number a seed; at least one.
        margin: Above 0.

    Returns:
        The larger of both p; 1 with one seed.
    """
    numbers = np.asarray(values, dtype=float)
    n, mean = len(numbers), float(numbers.mean())
    if n < 2:
        return 1.0
    error = float(numbers.std(ddof=1)) / n**0.5
    return max(_tail(-(margin - mean), error, n), _tail(-(margin + mean), error, n))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values that are tested together (Scand. J. Stat. 6, 1979).

    Args:
        p: The p-values.

    Returns:
        Adjusted ones in the same order: below a level where the family's error is below it.
    """
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def _tail(distance: float, error: float, n: int) -> float:
    """Probability of Student's t below distance / error."""
    if error == 0:
        return 0.0 if distance < 0 else (0.5 if distance == 0 else 1.0)
    return float(special.stdtr(n - 1, distance / error))


def _flips(numbers: np.ndarray) -> float:
    if len(numbers) < FEWEST_FLIPS:
        return float("nan")
    from scipy import stats

    return float(
        stats.permutation_test(
            (numbers,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, vectorized=True,
            random_state=np.random.RandomState(0),
        ).pvalue
    )  # fmt: skip
