"""Both ends of spectra that are known exactly, the hard ones above all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from landscape.hessian.estimators.krylov_space import KrylovSpace
from landscape.hessian.estimators.lanczos import (
    LanczosOptions,
    LanczosRun,
    extremal_eigenpairs,
    warm_start,
)
from landscape.hessian.estimators.random_vectors import random_normal, random_signs


def matrix(eigenvalues, *, rotated=True, dtype=torch.float64, seed=0):
    values = torch.tensor(np.asarray(eigenvalues, dtype=float))
    if not rotated:
        return torch.diag(values).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))[0]
    return ((q * values) @ q.T).to(dtype)


def solve(h: torch.Tensor, *, seed=0, start=None, **goal) -> LanczosRun:
    generator = torch.Generator().manual_seed(seed)
    start = random_signs(len(h), generator).to(h.dtype) if start is None else start
    return extremal_eigenpairs(
        lambda v: h @ v, start, LanczosOptions(**{"top": 5, "bottom": 1, "tol": 1e-4, **goal}), generator
    )


def check(ends: LanczosRun, eigenvalues, accuracy):
    ordered = np.sort(np.asarray(eigenvalues, dtype=float))
    scale = np.abs(ordered).max()
    np.testing.assert_allclose(ends.top.values, ordered[::-1][: len(ends.top.values)], rtol=0, atol=accuracy * scale)
    np.testing.assert_allclose(ends.bottom.values, ordered[: len(ends.bottom.values)], rtol=0, atol=accuracy * scale)


BULK = list(np.linspace(-0.1, 0.5, 150))
SPECTRA = {
    "one and minus one": [1.0] * 40 + [-1.0] * 40,
    "outliers above a null space": [100, 50, 20, 10, 5] + [0.0] * 100 + [-2],
    "a lone minus two": [-2.0] + [3.0] * 60,
    "cluster": [5, 5 - 1e-4, 5 - 2e-4, 3, 2, 1, *BULK],
    "condition 1e8": np.logspace(0, -8, 120),
    "scale 1e-12": 1e-12 * np.array([9, 7, 5, 3, 2, *BULK, -1]),
    "scale 1e12": 1e12 * np.array([9, 7, 5, 3, 2, *BULK, -1]),
    "negative definite": [-9, -7, -5, *(np.array(BULK) - 1)],
    "zero": [0.0] * 30,
    "fewer rows than asked for": [3.0, 2.0, -1.0],
    "one row": [7.0],
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize("name", SPECTRA)
def test_both_ends_of_a_known_spectrum(name, rotated, dtype):
    ends = solve(matrix(SPECTRA[name], rotated=rotated, dtype=dtype))
    check(ends, SPECTRA[name], 1e-6 if dtype == torch.float64 else 1e-5)
    assert ends.converged


@pytest.mark.parametrize("copies", [2, 5, 7])
def test_every_copy_of_a_multiple_eigenvalue_is_found(copies):
    spectrum = [5.0] * copies + [3, 3, 2, 1, *BULK]
    check(solve(matrix(spectrum), top=copies + 2), spectrum, 1e-6)


def test_one_start_alone_sees_one_copy_of_a_multiple_eigenvalue():
    """Why there is a second start: exact arithmetic gives one chain one copy."""
    h = torch.diag(torch.tensor([5.0, 5, 5, 3, 2, 1, 0, -1], dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    space = KrylovSpace(lambda v: h @ v, h[0], generator)
    space.add(random_signs(8, generator))
    while space.step():
        pass
    assert space.applied == 6  # distinct eigenvalues


def test_opposite_eigenvalues_are_both_found_and_not_mixed():
    """Power iteration on the spectrum {1, −1} is known to settle on ±0.93 and call it converged."""
    ends = solve(matrix([1.0, -1.0] * 10), top=1)
    assert abs(ends.top.outermost - 1) < 1e-12 and abs(ends.bottom.outermost + 1) < 1e-12


def test_the_top_is_algebraic_so_negative_eigenvalues_of_larger_size_do_not_hide_it():
    spectrum = [4, 3, 2, 1, 0.5, *BULK, -50, -60]
    check(solve(matrix(spectrum), bottom=2), spectrum, 1e-6)


def test_many_steps_do_not_repeat_the_largest_eigenvalue():
    """Without full re-orthogonalization, 60 steps returned the value 100 eight times."""
    spectrum = [100, 50, 20, 10, 5, *np.linspace(0, 1, 300)]
    ends = solve(matrix(spectrum, dtype=torch.float32), top=8, tol=1e-9, max_products=60)
    check(ends, spectrum, 1e-5)
    gram = ends.space.basis.double() @ ends.space.basis.double().T
    assert float((gram - torch.eye(len(gram), dtype=torch.float64)).abs().max()) < 1e-5


def test_a_start_blind_to_an_eigenvector_misses_it_and_a_second_one_finds_it():
    h = matrix([3.0, 2, 1, *BULK, -2], rotated=False)
    blind = torch.ones(len(h), dtype=torch.float64)
    blind[-1] = 0
    assert solve(h, start=blind, top=1, second_start=False).bottom.values[0] > -0.2
    assert abs(solve(h, start=blind, top=1).bottom.values[0] + 2) < 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_eigenvectors_to_which_signs_are_blind(seed):
    """(e_i − e_j)/√2 is orthogonal to every second vector of signs, which then misses it for certain."""
    vector = torch.zeros(len(BULK) + 2, dtype=torch.float64)
    vector[0], vector[1] = 0.5**0.5, -(0.5**0.5)
    h = torch.diag(torch.tensor([1.0, 1.0, *BULK], dtype=torch.float64))
    h += 2 * torch.outer(vector, vector)
    ends = solve(h, start=random_normal(len(h), torch.Generator().manual_seed(seed)).double(), top=1, bottom=0)
    assert abs(ends.top.values[0] - 3) < 1e-6 and ends.converged


DEGENERATE = {
    "copies of the second": [9, 7, 7, 7, 5, 4, *BULK, -1],
    "copies of the third": [9, 7, 5, 5, 4, 3, *BULK, -1],
    "copies of all": [9, 9, 9, 9, 5, 5, 5, 4, *BULK, -1, -1, -1],
    "a null space below": [9, 7, 5, 3, 2, 1, *np.linspace(0.01, 0.5, 150), *[0.0] * 40],
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", DEGENERATE)
def test_converged_says_that_ranks_are_right(name, dtype):
    for seed in range(10):
        ends = solve(matrix(DEGENERATE[name], dtype=dtype, seed=seed), seed=seed, top=5, bottom=3)
        check(ends, DEGENERATE[name], 1e-5)
        assert ends.converged


def test_a_second_start_costs_a_few_products():
    for seed in range(5):
        h = matrix([90, 60, 40, 25, 15, 12, 9, 7, *np.linspace(-0.4, 4, 1500), -3], seed=seed)
        one, two = (solve(h, seed=seed, tol=1e-3, second_start=again).space.products for again in (False, True))
        assert 0 < two - one <= 12


def test_a_smallest_eigenvalue_is_known_to_what_its_verdict_needs():
    for seed in range(5):
        h = matrix([9, 7, 5, 3, 2, *np.linspace(-0.5, 0.5, 400), -1], seed=seed)
        ends = solve(h, seed=seed, tol=1e-3)
        assert ends.bottom.residuals[0] <= 1e-2 and abs(ends.bottom.values[0] + 1) < 1e-3
        assert (ends.top.residuals <= 1e-3 * ends.top.values).all()
        assert ends.space.products < solve(h, seed=seed, tol=1e-4).space.products


def test_the_reported_residual_is_the_true_one():
    h = matrix([9, 7, 5, 3, 2, *BULK, -1], dtype=torch.float32)
    ends = solve(h, tol=1e-2)
    exact = h.double()
    for pairs in (ends.top, ends.bottom):
        for value, vector, residual in zip(pairs.values, pairs.vectors.double(), pairs.residuals, strict=True):
            true = float(torch.linalg.vector_norm(exact @ vector - value * vector))
            assert true == pytest.approx(residual, rel=0.05, abs=5e-6)
            assert true <= 1e-2 * max(abs(value), 1e-4 * 9) + 5e-6


def test_the_length_of_the_start_does_not_matter():
    """Adding 1e-6 to a norm, as a guard against division by zero, biases short vectors."""
    h = matrix([9, 7, 5, 3, 2, *BULK, -1])
    start = random_signs(len(h), torch.Generator().manual_seed(0)).double()
    long, short = solve(h, start=start), solve(h, start=1e-12 * start)
    np.testing.assert_allclose(short.top.values, long.top.values, rtol=1e-12)


def test_a_small_budget_of_products_says_not_converged():
    ends = solve(matrix(np.linspace(0, 1, 200)), max_products=12)
    assert ends.space.products <= 12 and not ends.converged


@pytest.mark.parametrize("capacity", [16, 30])
def test_the_basis_is_compressed_to_its_capacity_and_still_finds_both_ends(capacity):
    spectrum = np.linspace(0, 1, 300)
    ends = solve(matrix(spectrum), top=3, capacity=capacity, max_products=2000)
    assert ends.space.total <= capacity == ends.space.capacity and ends.converged
    check(ends, spectrum, 1e-5)


@pytest.mark.parametrize("name", DEGENERATE)
def test_a_small_basis_finds_every_copy_too(name):
    for seed in range(5):
        ends = solve(matrix(DEGENERATE[name], seed=seed), seed=seed, top=5, bottom=3, capacity=24, max_products=2000)
        check(ends, DEGENERATE[name], 1e-5)
        assert ends.converged and ends.space.total <= 24


@pytest.mark.parametrize("name", [*SPECTRA, *DEGENERATE])
def test_the_smallest_basis_of_all_says_nothing_false(name):
    spectrum = {**SPECTRA, **DEGENERATE}[name]
    for seed in range(3):
        ends = solve(matrix(spectrum, seed=seed), seed=seed, top=1, tol=1e-3, capacity=8, max_products=600)
        if ends.converged:
            check(ends, spectrum, 1e-4)
    assert ends.converged == (name not in ("cluster", "condition 1e8"))  # too hard for eight vectors, which say so


def test_more_pairs_than_the_basis_should_hold_take_what_they_need():
    spectrum = [*np.linspace(2, 3, 20), *BULK]
    ends = solve(matrix(spectrum), top=20, capacity=12, max_products=2000)
    check(ends, spectrum, 1e-5)
    assert ends.converged and ends.space.total <= 50


def test_a_warm_start_saves_products_and_hides_nothing():
    spectrum = [9, 7, 5, *np.linspace(-4, 4.5, 400), -6]
    h, generator = matrix(spectrum), torch.Generator().manual_seed(4)
    vectors = torch.linalg.eigh(h)[1].T
    cold = solve(h, top=3, bottom=1)
    close = vectors[[-1, -2, -3, 0]] + 0.1 * torch.randn(4, len(h), generator=generator, dtype=h.dtype) / len(h) ** 0.5
    warm = solve(h, start=warm_start(close, generator), top=3, bottom=1)
    check(warm, spectrum, 1e-6)
    assert warm.converged and warm.space.products < cold.space.products
    misled = solve(h, start=warm_start(vectors[[-2, -3, 1]], generator), top=2, bottom=1)  # not the outermost
    check(misled, spectrum, 1e-6)
    unknown = torch.full((2, len(h)), float("nan"))
    assert torch.isfinite(warm_start(unknown, generator)).all()


def test_a_product_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError):
        extremal_eigenpairs(lambda v: v * float("nan"), torch.ones(4), LanczosOptions(1, 1), torch.Generator())


@settings(max_examples=40, deadline=None)
@example([0.0, 0.0, 0.0, 0.6875, -1.0, -1.0, 0.5, 0.5, 1.0, -1.0], 3, 3, 1e9)  # what was pending converged at once
@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=40),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from([1e-9, 1.0, 1e9]),
)
def test_any_spectrum_with_repetitions(eigenvalues, top, bottom, scale):
    spectrum = scale * np.round(np.asarray(eigenvalues), 1)  # rounding makes multiplicities
    ends = solve(matrix(spectrum), top=top, bottom=bottom)
    ordered = np.sort(spectrum)
    largest = np.abs(ordered).max()
    np.testing.assert_allclose(ends.top.values, ordered[::-1][: len(ends.top.values)], rtol=0, atol=1e-5 * largest)
    np.testing.assert_allclose(ends.bottom.values, ordered[: len(ends.bottom.values)], rtol=0, atol=1e-5 * largest)
