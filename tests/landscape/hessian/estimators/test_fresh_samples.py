"""Eigenvalues on samples that did not choose their directions."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from landscape.hessian.estimators.fresh_samples import fresh_sample_curvature
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject

PLAN = Plan(32, keep=1000)
DIM = 40


def quadratic(count: int, seed: int) -> Subject:
    """ℓ_i = ½(x_i·w)² with x normal and independent: H is the samples' covariance, the population's is the identity."""
    inputs = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    net = nn.Linear(DIM, 1, bias=False)
    return Subject(
        net, TensorSamples(inputs, torch.zeros(count, dtype=torch.int64)), train_counts=[count], dtype=torch.float64,
        loss=lambda logits, labels: logits[:, 0] ** 2 / 2, subsets=["class:0"],
    )  # fmt: skip


def measured(subject: Subject):
    hessians, subset = HessianFactory(subject, PLAN), subject.subsets[0]
    start = random_signs(subject.size, torch.Generator().manual_seed(0)).double()
    ends = extremal_eigenpairs(hessians.of(subset), start, LanczosOptions(2, 1), torch.Generator())
    return ends, fresh_sample_curvature(hessians, subset, ends, seed=3)


@functools.cache
def of_a_hundred(seed):
    return measured(quadratic(100, seed))


def test_selection_inflates_the_plain_eigenvalue_and_not_the_held_out_one():
    """Every direction's true curvature is 1; the largest of 100 samples in 40 dimensions is near (1 + √0.4)² = 2.7."""
    covered = []
    for seed in range(30):
        ends, (found, products) = of_a_hundred(seed)
        assert ends.top.outermost > 2 and ends.bottom.outermost < 0.3
        covered.append(abs(found.top[0] - 1) <= 2 * found.top_error[0])
        covered.append(abs(found.bottom[0] - 1) <= 2 * found.bottom_error[0])
        assert products > 0
    assert np.mean(covered) > 0.85


@pytest.mark.parametrize("seeds", [20, pytest.param(100, marks=pytest.mark.exhaustive)])
def test_no_sample_judges_a_direction_it_helped_to_choose(seeds):
    """Halves that start from the whole subset's eigenvectors know the samples they are judged on: 1.058 for 1."""
    found = np.array([of_a_hundred(seed)[1][0].top[0] for seed in range(seeds)])
    assert found.mean() == pytest.approx(1, abs=3 * found.std() / len(found) ** 0.5)


def test_below_twenty_samples_every_one_is_shown():
    subject = quadratic(19, 0)
    ends, (found, products) = measured(subject)
    expected = (subject.inputs(slice(0, 19)) @ ends.top.vectors[0]) ** 2
    np.testing.assert_allclose(found.top_samples, expected, rtol=1e-9)
    assert products == 0 and len(found.top) == len(found.bottom_error) == 0
    halves = measured(quadratic(20, 0))[1][0]
    assert len(halves.top_samples) == 0 and np.isfinite(halves.top).all() and len(halves.top) == 2
