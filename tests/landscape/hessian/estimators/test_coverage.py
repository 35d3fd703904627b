"""Intervals hold what they promise: spectra shaped like measured ones, under rotations, with fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from landscape.hessian.estimators.density import spectral_density
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.hessian.estimators.trace import estimate_trace, probe
from landscape.schema import Estimate


def spectrum(seed: int, bulk: int) -> np.ndarray:
    """Outliers, a few negative ones, and a bulk over eight orders of magnitude, a third of it zero."""
    random = np.random.RandomState(seed)
    values = random.choice([-1, 1], bulk, p=[0.4, 0.6]) * np.exp(random.normal(-3, 2, bulk))
    values[random.rand(bulk) < 0.3] = 0
    return np.r_[values, np.exp(random.normal(2, 1, 8)), -np.exp(random.normal(-0.5, 0.5, 3))]


def held(seed: int, bulk: int) -> dict[str, bool]:
    """Which intervals hold the truth: the trace's own, and two errors to each side of the others."""
    values = spectrum(seed, bulk)
    size, eigenvalues = len(values), torch.as_tensor(values)
    generator = torch.Generator().manual_seed(seed)
    mirrors = torch.linalg.qr(torch.randn(size, 3, generator=generator, dtype=torch.float64))[0].T

    def product(v: Tensor) -> Tensor:  # three Householder reflections on either side
        for mirror in mirrors:
            v = v - 2 * (mirror @ v) * mirror
        v = eigenvalues * v
        for mirror in reversed(mirrors):
            v = v - 2 * (mirror @ v) * mirror
        return v

    pairs = extremal_eigenpairs(product, random_normal(size, generator).double(), LanczosOptions(5, 1), generator)
    probes = [probe(size, seed, index).double() for index in range(8)]
    known = [product(z) for z in probes]
    chains = zip(probes[:2], known[:2], strict=True)
    density, absolute = spectral_density(product, pairs.space, chains, steps=5, include_own_chain=True)
    trace = estimate_trace(product, pairs.space, seed=seed, probes=8, known=known).trace
    norm = estimate_trace(product, pairs.space, seed=seed, probes=3, known=known).frobenius
    total, square = np.abs(values).sum(), (values**2).sum()
    rank = (absolute.value / norm.value) ** 2
    error = 2 * rank * np.hypot(absolute.error / absolute.value, norm.error / norm.value)

    def near(estimate: Estimate, truth: float) -> bool:
        return bool(abs(estimate.value - truth) <= 2 * estimate.error)

    return {
        "trace": trace.low <= values.sum() <= trace.high,
        "frobenius": near(norm, square**0.5),
        "negative share": near(density.negative_share, -values[values < 0].sum() / total),
        "effective rank": near(Estimate(rank, error), total**2 / square),
    }


@pytest.mark.parametrize(
    ("cases", "trace", "others"),
    [(20, 0.85, 0.85), pytest.param(200, 0.93, 0.90, marks=pytest.mark.exhaustive)],
)
@pytest.mark.parametrize("bulk", [200, 1000])
def test_intervals_hold_the_truth_as_often_as_they_say(bulk, cases, trace, others):
    found = [held(seed, bulk) for seed in range(cases)]
    share = {name: float(np.mean([case[name] for case in found])) for name in found[0]}
    assert share.pop("trace") >= trace
    assert min(share.values()) >= others, share
