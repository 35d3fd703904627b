"""The spectral density of a Hessian: converged eigenpairs exactly, and Lanczos quadrature of the rest.

Stochastic Lanczos quadrature (Golub and Welsch 1969; Lin, Saad and Yang, SIAM Review 2016; Ghorbani et al., ICML 2019)
reads a whole spectrum off a random start, with weights as noisy as a raw trace probe where outliers rule. So eigenpairs
that have converged are taken as they are, each with weight 1/P, and chains from independent random starts in their
complement give the bulk: the one they were found by, and short further ones. The error of the density is the spread of
the chains and what one node less in each would have changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import hessenberg
from torch import Tensor

from landscape.conversion import unknown
from landscape.hessian.estimators.krylov_space import KrylovSpace, Matvec
from landscape.hessian.estimators.trace import widening
from landscape.schema import SHARE, Estimate, part, quantity

Array = NDArray[np.float64]
Rule = tuple[Array, Array]
"""Nodes and weights."""

POINTS = 512
WIDTH = 0.01
"""Standard deviation of the Gaussian that smooths a node, as a share of the spectrum's width."""
MOST_PAIRS = 48
"""Converged eigenpairs taken out, at most."""
MANY = 16
"""Random signs hold an eigenvector with 1/P of their square; this many times that would be four deviations out."""
LONGEST = 48
"""Nodes of one chain, at most."""


@dataclass(frozen=True)
class Density:
    """A spectrum as a measure, and what follows from it.

    Attributes:
        nodes: (m,) eigenvalues, ascending: converged ones, and the quadrature nodes of every chain.
        weights: (m,) their shares of all P eigenvalues, sum 1.
        grid: (G,) eigenvalues at which the smoothed density is given.
        values: (G,) the density, which integrates to 1.
        errors: (G,) its error: the standard error over the chains, and what one node less in each would have
            changed; NaN for a single chain.
        negative_share: Σ|λ| over the negative eigenvalues, as a share of Σ|λ|; its error is made up in the same way.
    """

    nodes: Array = field(
        default_factory=unknown, metadata=quantity("nodes of the spectral measure, NaN beyond the last", "node")
    )
    weights: Array = field(default_factory=unknown, metadata=quantity("their weights, sum 1", "node", unit=SHARE))
    grid: Array = field(
        default_factory=unknown,
        metadata=quantity("eigenvalues at which the density is given", "point", name="{name}_grid"),
    )
    values: Array = field(
        default_factory=unknown, metadata=quantity("smoothed spectral density", "point", name="{name}")
    )
    errors: Array = field(
        default_factory=unknown,
        metadata=quantity("its error: over chains, and of one node less in each", "point", name="{name}_se"),
    )
    negative_share: Estimate = field(
        default=Estimate(),
        metadata=part(meaning="Σ|λ| of the negative eigenvalues as a share of Σ|λ|", unit=SHARE),
    )


def spectral_density(
    matvec: Matvec,
    space: KrylovSpace,
    starts: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    include_own_chain: bool = False,
) -> tuple[Density, Estimate]:
    """The density from the converged pairs of a Krylov space and chains in their complement.

    Args:
        matvec: v ↦ Hv.
        space: A space of H whose start did not depend on the chains'.
        starts: Independent random vectors z, (P,), each with Hz.
        steps: Products a chain, that of its start included.
        include_own_chain: The space itself is one more chain: it began with random signs and was never compressed.

    Returns:
        The density, and Σ|λ| with an error made up in the same way.
    """
    values, vectors, products, others = _converged(space)
    exact, rest = np.full(len(values), 1 / space.size), 1 - len(values) / space.size
    fine = list[Rule]()
    if rest > 0:
        fine += [_gauss(others, LONGEST)] * (include_own_chain and len(others[0]) > 0)
        for z, product in starts:
            fine.append(_quadrature(_chain(matvec, vectors, products, z, product, steps).projected))
    coarse = [_gauss(rule, max(1, len(rule[0]) - 1)) for rule in fine]

    def wholes(chains: list[Rule]) -> list[Rule]:
        return [(np.r_[values, nodes], np.r_[exact, rest * weights]) for nodes, weights in chains] or [(values, exact)]

    nodes = np.concatenate([values, *(nodes for nodes, _ in fine)])
    weights = np.concatenate([exact, *(rest / len(fine) * weights for _, weights in fine)])
    grid, width = smoothing_grid(nodes)
    curves, less = (np.stack([smooth(*w, grid, width) for w in wholes(chains)]) for chains in (fine, coarse))
    negative, absolute = _sums(space.size, wholes(fine))
    less_negative, less_absolute = _sums(space.size, wholes(coarse))
    total = float(absolute.mean())
    share = float(negative.mean()) / total if total else 0.0
    other = float(less_negative.mean() / less_absolute.mean()) if less_absolute.any() else 0.0
    spread = float(_error(negative - share * absolute, exact=rest == 0)) / (total or 1.0)
    order = np.argsort(nodes, kind="stable")
    absolutes = Estimate(total, float(np.hypot(_error(absolute, exact=rest == 0), total - less_absolute.mean())))
    density = Density(
        nodes=nodes[order],
        weights=weights[order],
        grid=grid,
        values=curves.mean(0),
        errors=np.hypot(_error(curves, exact=rest == 0), curves.mean(0) - less.mean(0)),
        negative_share=Estimate(share, float(np.hypot(spread, share - other))),
    )
    return density, absolutes


def smoothing_grid(nodes: Array) -> tuple[Array, float]:
    """An even grid that reaches four smoothing widths beyond the nodes, (G,), and that width."""
    low, high = float(nodes.min()), float(nodes.max())
    width = WIDTH * (high - low) or WIDTH * abs(high) or 1.0
    return np.linspace(low - 4 * width, high + 4 * width, POINTS), width


def smooth(nodes: Array, weights: Array, grid: Array, width: float) -> Array:
    """A density in which each node is a Gaussian.

    Args:
        nodes: (m,) eigenvalues.
        weights: (m,) their weights.
        grid: (G,) eigenvalues to give it at.
        width: Standard deviation of the Gaussians.

    Returns:
        (G,) density; it integrates to the sum of the weights.
    """
    bells = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2)
    return np.asarray(bells @ weights / (width * np.sqrt(2 * np.pi)))


def _converged(space: KrylovSpace) -> tuple[Array, Tensor, Tensor, Rule]:
    """Eigenvalues, (k, P) vectors and (k, P) products of the pairs that smoothing cannot tell from exact ones.

    Last, the rest as the space's first vector sees it: its chain without these pairs, weights of sum 1. A pair that
    holds more of that vector than one eigenvector would stands for many, such as a bulk at zero: what is more stays.
    """
    whole = space.compressed or space.applied == space.size
    ritz = space.ritz(last=None if whole else space.first_chain)  # a second start has no share in what the first sees
    sharp = ritz.residuals <= WIDTH / 4 * (ritz.values[-1] - ritz.values[0])
    outermost = np.argsort(-np.abs(ritz.values), kind="stable")
    chosen = outermost[sharp[outermost]]
    if space.applied < space.size:
        chosen = chosen[: min(MOST_PAIRS, max(1, space.capacity // 4))]  # each is held beside its product
    coefficients = ritz.coefficients[:, chosen]
    seen = ritz.coefficients[0] ** 2
    many = seen[chosen] > MANY / space.size
    seen[chosen] = np.where(many, seen[chosen] - 1 / space.size, 0.0)
    others = (ritz.values[seen > 0], seen[seen > 0] / (seen.sum() or 1.0))
    return ritz.values[chosen], space.vectors(coefficients), space.products_of(coefficients), others


def _chain(matvec: Matvec, vectors: Tensor, products: Tensor, z: Tensor, product: Tensor, steps: int) -> KrylovSpace:
    """The chain of PHP from Pz, P projecting onto the complement of the vectors V.

    HPz = Hz − HV(Vᵀz) is known without a product.
    """

    def project(x: Tensor) -> Tensor:
        return x - (vectors @ x) @ vectors

    start = project(z)
    first = [(product.to(z) - (vectors @ z) @ products) / torch.linalg.vector_norm(start)]
    chain = KrylovSpace(lambda v: project(first.pop() if first else matvec(v)), z, torch.Generator(), steps + 1)
    chain.add(start)
    while chain.applied < steps and chain.step():
        pass
    return chain


def _quadrature(projected: Array) -> Rule:
    """Gauss quadrature of the measure that a chain's start sees: nodes, and weights with sum 1."""
    nodes, vectors = np.linalg.eigh(projected)
    return nodes, vectors[0] ** 2


def _gauss(rule: Rule, count: int) -> Rule:
    """The Gauss quadrature of a discrete measure with `count` nodes at most: from the corner of its Jacobi matrix."""
    nodes, weights = rule
    if len(nodes) <= count:
        return rule
    bordered = np.block([[np.zeros((1, 1)), np.sqrt(weights)[None]], [np.sqrt(weights)[:, None], np.diag(nodes)]])
    return _quadrature(hessenberg(bordered)[1 : count + 1, 1 : count + 1])


def _sums(size: int, rules: list[Rule]) -> Array:
    """(2, chains) Σ|λ| over the negative eigenvalues and over all."""
    return np.asarray(size * np.array([(w @ np.maximum(-n, 0), w @ np.abs(n)) for n, w in rules]).T)


def _error(samples: Array, *, exact: bool) -> Array:
    """Standard error of the mean over the first axis, widened as Student's t says: twice it is a 95 % interval."""
    if exact:
        return np.zeros(samples.shape[1:])
    if len(samples) == 1:
        return np.full(samples.shape[1:], np.nan)
    return np.asarray(widening(len(samples)) * samples.std(0, ddof=1) / np.sqrt(len(samples)))
