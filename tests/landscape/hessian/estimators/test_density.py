"""Densities of known spectra: converged pairs exactly, the bulk by quadrature, the error over chains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from landscape.hessian.estimators.density import _chain, _gauss, _quadrature, smooth, smoothing_grid, spectral_density
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.estimators.trace import probe

BULK = np.r_[np.linspace(-2, 3, 300), np.zeros(100)]
SPECTRUM = np.r_[BULK, 100, 50, 20, -15]


def measured(spectrum: np.ndarray, *, chains: int = 3, steps: int = 8, seed: int = 0, own: bool = False):
    h = torch.as_tensor(spectrum)
    made = []

    def matvec(v):
        made.append(v)
        return h * v

    generator = torch.Generator().manual_seed(seed)
    ends = extremal_eigenpairs(
        matvec, random_signs(len(h), generator).double(), LanczosOptions(3, 1, tol=1e-6), generator
    )
    made.clear()
    starts = [probe(len(h), seed, i).double() for i in range(chains)]
    density, absolute = spectral_density(
        matvec, ends.space, [(z, h * z) for z in starts], steps=steps, include_own_chain=own
    )
    return density, absolute, len(made)


def test_outliers_are_exact_and_the_bulk_is_close():
    density, _, spent = measured(SPECTRUM)
    assert spent == 3 * 7  # the first product of each chain was known
    for value in (100, 50, 20, -15):
        place = np.abs(density.nodes - value).argmin()
        assert density.nodes[place] == pytest.approx(value, rel=1e-6)
        assert density.weights[place] == pytest.approx(1 / len(SPECTRUM))
    assert wasserstein_distance(density.nodes, SPECTRUM, density.weights) < 0.2  # of a bulk 5 wide


def test_the_space_itself_is_one_more_chain_without_a_product():
    apart = []
    for seed in range(10):
        density, _, spent = measured(SPECTRUM, chains=2, seed=seed, own=True)
        assert spent == 2 * 7 and density.weights.sum() == pytest.approx(1)
        apart.append(wasserstein_distance(density.nodes, SPECTRUM, density.weights))
        assert np.isfinite(measured(SPECTRUM, chains=1, seed=seed, own=True)[0].errors).all()
    others = [
        wasserstein_distance(d.nodes, SPECTRUM, d.weights)
        for d, *_ in (measured(SPECTRUM, chains=2, seed=s) for s in range(10))
    ]
    assert np.mean(apart) < np.mean(others)


def test_a_bulk_at_zero_is_not_one_converged_pair():
    """Beside the outliers its residual is nothing, and the space's own chain would lose all of it."""
    spectrum = np.r_[np.random.RandomState(0).normal(0, 1e-2, 4000), 100, 50, 20, -15]
    density, *_ = measured(spectrum, chains=0, own=True)
    assert wasserstein_distance(density.nodes, spectrum, density.weights) < 1e-2  # the bulk's deviation


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12, unique=True), st.data())
def test_a_shorter_rule_is_the_gauss_quadrature_of_the_longer(nodes, data):
    """m nodes integrate degree 2m − 1 exactly."""
    nodes = np.sort(nodes)
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=len(nodes), max_size=len(nodes))))
    weights /= weights.sum()
    count = data.draw(st.integers(1, len(nodes) - 1))
    fewer, shares = _gauss((nodes, weights), count)
    assert len(fewer) == count
    for power in range(2 * count):
        assert shares @ fewer**power == pytest.approx(weights @ nodes**power, rel=1e-6, abs=1e-8 * 10**power)


def raw(spectrum, start, steps):
    none = torch.zeros(0, len(spectrum), dtype=torch.float64)
    h, z = torch.as_tensor(spectrum), torch.as_tensor(start)
    return _quadrature(_chain(lambda v: h * v, none, none, z, h * z, steps).projected)


def test_a_chain_integrates_polynomials_of_its_start():
    """m nodes integrate degree 2m − 1 exactly (Golub and Welsch)."""
    start = np.random.RandomState(1).choice([-1.0, 1.0], len(BULK))
    nodes, weights = raw(BULK, start, 6)
    for power in range(12):
        moment = np.mean(BULK**power * start**2)
        assert weights @ nodes**power == pytest.approx(moment, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize(("chains", "own"), [(3, False), (2, True)])
def test_sums_and_their_errors(chains, own):
    shares = []
    for seed in range(30):
        density, absolute, _ = measured(SPECTRUM, chains=chains, seed=seed, own=own)
        assert density.weights.sum() == pytest.approx(1)
        assert absolute.value == pytest.approx(np.abs(SPECTRUM).sum(), rel=0.1)
        share = -SPECTRUM[SPECTRUM < 0].sum() / np.abs(SPECTRUM).sum()
        shares.append(abs(density.negative_share.value - share) <= 4.3 * density.negative_share.error)  # t, 2 degrees
    assert np.mean(shares) >= 0.8


@pytest.mark.parametrize(("chains", "own"), [(3, False), (2, True)])
def test_the_band_holds_the_exact_density(chains, own):
    """Three nodes are coarse: the spread of the chains alone would hold it at a third of the places."""
    held = []
    for seed in range(30):
        density, *_ = measured(SPECTRUM, chains=chains, steps=3, seed=seed, own=own)
        _, width = smoothing_grid(density.nodes)
        exact = smooth(SPECTRUM, np.full(len(SPECTRUM), 1 / len(SPECTRUM)), density.grid, width)
        bulk = (density.grid > -3) & (density.grid < 4)
        held.append(np.abs(density.values - exact)[bulk] <= 4.3 * density.errors[bulk])  # t, 2 degrees
    assert np.mean(held) >= 0.8


def test_one_chain_has_no_error_and_a_basis_of_the_whole_space_none_at_all():
    single, absolute, _ = measured(SPECTRUM, chains=1)
    assert np.isnan(single.errors).all() and np.isnan(single.negative_share.error) and np.isnan(absolute.error)
    whole, whole_absolute, spent = measured(np.array([3.0, 2.0, 1.0, -1.0]))
    assert spent == 0 and not whole.errors.any() and whole.negative_share.value == pytest.approx(1 / 7)
    assert whole_absolute.value == pytest.approx(7) and whole_absolute.error == 0
    np.testing.assert_allclose(whole.nodes, [-1, 1, 2, 3], atol=1e-9)


def test_a_density_of_known_nodes():
    nodes, weights = np.array([-1.0, 0.0, 3.0]), np.array([0.2, 0.5, 0.3])
    grid, width = smoothing_grid(nodes)
    curve = smooth(nodes, weights, grid, width)
    assert np.sum(grid * curve) * (grid[1] - grid[0]) == pytest.approx(0.7, abs=1e-4)  # it ends at four deviations
    grid, width = smoothing_grid(np.array([0.0]))  # a zero Hessian
    assert np.isfinite(smooth(np.array([0.0]), np.array([1.0]), grid, width)).all()
