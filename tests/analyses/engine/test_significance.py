"""Statistics over seeds against scipy.stats, enumeration and published figures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from analyses.engine.significance import equivalence_p, holm, sample_of

SAMPLES = [np.random.RandomState(seed).normal(0.3 * seed, 1, size) for seed, size in enumerate((2, 3, 5, 6, 9, 12))]


@pytest.mark.parametrize("values", SAMPLES, ids=len)
@pytest.mark.parametrize("margin", [0.0, -0.7])
def test_the_t_test_and_interval_are_scipys(values, margin):
    told, oracle = sample_of(values, margin), stats.ttest_1samp(values, margin)
    assert told.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (told.low, told.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)), rel=1e-9)
    assert (told.seeds, told.mean) == (len(values), pytest.approx(values.mean()))


@pytest.mark.parametrize("values", SAMPLES[3:], ids=len)
def test_sign_flips_are_all_of_them(values):
    flipped = [abs(np.mean(values * np.array(signs))) for signs in itertools.product((1, -1), repeat=len(values))]
    assert sample_of(values).p_flips == pytest.approx(np.mean(np.array(flipped) >= abs(values.mean()) - 1e-12))


def test_five_seeds_have_no_sign_flips_for_they_cannot_reach_five_percent():
    assert np.isnan(sample_of([1.0, 1.1, 1.2, 1.3, 1.4]).p_flips)
    assert sample_of([1.0, 1.1, 1.2, 1.3, 1.4, 1.5]).p_flips == pytest.approx(2 / 64)


@pytest.mark.parametrize("values", SAMPLES[1:], ids=len)
def test_equivalence_is_two_one_sided_tests(values):
    margin = 1.5
    oracle = max(
        stats.ttest_1samp(values, margin, alternative="less").pvalue,
        stats.ttest_1samp(values, -margin, alternative="greater").pvalue,
    )
    assert equivalence_p(values, margin) == pytest.approx(oracle, rel=1e-9)


def test_one_seed_tells_nothing_and_no_spread_is_no_accident():
    one = sample_of([4.0])
    assert (one.p, one.low, one.high) == (1.0, -np.inf, np.inf) and equivalence_p([0.0], 1.0) == 1.0
    assert sample_of([2.0, 2.0, 2.0]).p == 0 and sample_of([0.0, 0.0]).p == 1
    assert equivalence_p([0.0, 0.0], 1.0) == 0 and equivalence_p([1.0, 1.0], 1.0) == 0.5
    assert equivalence_p([2.0, 2.0], 1.0) == 1


def test_holm_steps_down_keeps_order_and_never_exceeds_one():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm's own procedure, by hand
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]
    random = np.random.RandomState(0).uniform(size=20)
    assert (np.argsort(holm(random), kind="stable")[:1] == np.argmin(random)).all()
    assert all(adjusted >= raw for adjusted, raw in zip(holm(random), random, strict=True))
