"""The contestants of `benchmarks.hessian`: ours, PyHessian, curvlinops and hessian-eigenthings on the same classes."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import curvlinops
import hessian_eigenthings
import numpy as np
import pyhessian
import torch
from scipy.sparse.linalg import eigsh
from scipy.stats import wasserstein_distance
from torch import Tensor, nn
from torch.nn import functional

from landscape.hessian.estimators.density import Density, spectral_density
from landscape.hessian.estimators.exact_trace import SampleTraces
from landscape.hessian.estimators.krylov_space import Matvec
from landscape.hessian.estimators.lanczos import LanczosOptions, LanczosRun, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.estimators.trace import estimate_trace, probe
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.result import CHAIN
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

WIDTH = 0.05  # asked 95 % half-width of the trace


@dataclass(frozen=True)
class Class:
    """One class as every contestant gets it.

    Attributes:
        subset: Its place in the subject.
        inputs: (n, …).
        labels: (n,).
        top: (5,) float64 reference of the largest eigenvalues.
        bottom: Float64 reference of the smallest.
        nodes: Float64 reference quadrature.
        weights: Of the nodes.
    """

    subset: Subset
    inputs: Tensor
    labels: Tensor
    top: np.ndarray
    bottom: float
    nodes: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Bundle:
    """What one contestant found of one class, and how long it took.

    Attributes:
        seconds: For all of it.
        top: (5,) largest eigenvalues.
        half_width: 95 % half-width of the trace, as a share of it; 0 when it is exact.
        nodes: Quadrature nodes of the density.
        weights: Their weights.
    """

    seconds: float
    top: np.ndarray
    half_width: float
    nodes: np.ndarray
    weights: np.ndarray

    def error(self, of: Class) -> float:
        """Largest error of the five eigenvalues, as a share of the largest."""
        return float(np.abs(self.top - of.top).max() / of.top[0])

    def distance(self, of: Class) -> float:
        """Wasserstein distance of the density to the reference, as a share of the largest eigenvalue."""
        weights = np.maximum(self.weights, 0)
        return float(wasserstein_distance(self.nodes, of.nodes, weights, of.weights) / of.top[0])


class Contest:
    """One network, its classes and their references.

    Args:
        subject: The network and data.
        names: The classes that take part.
        kept: Folder of the references.
    """

    def __init__(self, subject: Subject, names: Sequence[str], kept: Path) -> None:
        self.subject = subject
        self.plan: Plan = choose_plan(subject)
        self.hessians = HessianFactory(subject, self.plan)
        self.network: nn.Module = subject.network
        double = Subject(
            subject.network,
            TensorSamples(subject.inputs(slice(0, len(subject.labels))).double(), subject.labels),
            train_counts=[s.train_count for s in sorted(classes_of(subject), key=lambda s: s.classes)],
            dtype=torch.float64,
        )
        exact = HessianFactory(double, self.plan)
        self.classes = []
        for subset, twin in zip(classes_of(subject), classes_of(double), strict=True):
            if subset.name not in names:
                continue
            rows = subject.rows(subset)
            top, bottom, nodes, weights = _reference(exact.of(twin), subject, kept / f"reference-{subset.name[6:]}.npz")
            inputs, labels = subject.inputs(rows), subject.labels[rows]
            self.classes.append(Class(subset, inputs, labels, top, float(bottom[0]), nodes, weights))

    def ours(self, of: Class) -> Bundle:
        """Top 5, bottom 1, trace to the asked half-width, density.

        The error of an eigenvalue goes with the square of its residual: 3 % of residual puts all five within 5e-5 of
        the reference, where PyHessian's are up to 2e-3 away at its defaults.
        """
        started = time.perf_counter()
        with self.hessians.workers.alone(self.subject.size):
            return self._ours(of, started)

    def _ours(self, of: Class, started: float) -> Bundle:
        hessian = self.hessians.of(of.subset)
        generator = torch.Generator().manual_seed(1)
        ends = extremal_eigenpairs(
            hessian, random_signs(self.subject.size, generator), LanczosOptions(5, 1, tol=3e-2), generator
        )
        exact = SampleTraces(self.hessians, seed=1, half_width=WIDTH).of(of.subset)
        probes = torch.stack([probe(self.subject.size, 1, i) for i in range(2)])
        products = hessian.block(probes)
        if exact is not None:
            trace = exact.plain
        else:
            known = list(products)
            trace = estimate_trace(hessian, ends.space, seed=1, probes=2, half_width=WIDTH, known=known).trace
        density = _density(hessian, ends, probes, products, CHAIN)
        seconds = time.perf_counter() - started
        return Bundle(seconds, ends.top.values, trace.half_width / abs(trace.value), density.nodes, density.weights)

    def pyhessian(self, of: Class, *, iterations: int = 100, tol: float = 1e-3) -> Bundle:
        """PyHessian's three calls; at its defaults unless told otherwise.

        Driven to our accuracy its trace is not run to the end: its probes are independent, so the number that meets
        our half-width follows from their variance, and their time is charged.
        """
        started = time.perf_counter()
        peer = self.peer(of)
        top, _ = peer.eigenvalues(maxIter=iterations, tol=tol, top_n=5)
        probing = time.perf_counter()
        samples = np.array(peer.trace(tol=tol))
        probed = time.perf_counter() - probing
        with _eig():
            nodes, weights = peer.density()
        seconds = time.perf_counter() - started
        half = 1.96 * samples.std(ddof=1) / abs(samples.mean())  # of one probe
        if iterations > 100:
            seconds += probed * max(0.0, (half / WIDTH) ** 2 / len(samples) - 1)
        share = half / np.sqrt(len(samples)) if iterations == 100 else WIDTH
        return Bundle(seconds, np.sort(top)[::-1], float(share), np.array(nodes[0]), np.array(weights[0]))

    def peer(self, of: Class) -> Any:
        """PyHessian's object; a `.grad` left by an earlier one would double its results."""
        for parameter in self.network.parameters():
            parameter.grad = None
        return pyhessian.hessian(self.network, nn.CrossEntropyLoss(), data=(of.inputs, of.labels), cuda=False)

    def our_ends(self, of: Class, top: int, bottom: int, tol: float) -> tuple[float, float]:
        """Seconds and largest relative error of one eigenvalue at each asked end."""
        started = time.perf_counter()
        generator = torch.Generator().manual_seed(2)
        start = random_signs(self.subject.size, generator)
        with self.hessians.workers.alone(self.subject.size):
            ends = extremal_eigenpairs(
                self.hessians.of(of.subset), start, LanczosOptions(top, bottom, tol=tol), generator
            )
        seconds = time.perf_counter() - started
        errors = [abs(ends.top.outermost / of.top[0] - 1)] + [abs(v / of.bottom - 1) for v in ends.bottom.values]
        return seconds, float(max(errors))

    def peer_top(self, of: Class) -> tuple[float, float]:
        """PyHessian's largest eigenvalue at its defaults."""
        started = time.perf_counter()
        top, _ = self.peer(of).eigenvalues()
        return time.perf_counter() - started, abs(top[0] / of.top[0] - 1)

    def curvlinops_ends(self, of: Class) -> tuple[float, float]:
        """SciPy's eigsh for both ends at once over curvlinops, its basis and tolerance tuned for it."""
        started = time.perf_counter()
        parameters = list(self.subject.parameters.values())
        operator = curvlinops.HessianLinearOperator(
            self.network, nn.CrossEntropyLoss(), parameters, [(of.inputs, of.labels)], check_deterministic=False
        )
        values = eigsh(operator.to_scipy(), k=2, which="BE", tol=1e-3, ncv=12, return_eigenvectors=False)
        seconds = time.perf_counter() - started
        return seconds, float(max(abs(values.max() / of.top[0] - 1), abs(values.min() / of.bottom - 1)))

    def eigenthings_ends(self, of: Class) -> tuple[float, float]:
        """hessian-eigenthings' Lanczos for either end; only the fewest steps that converge are charged."""
        operator = hessian_eigenthings.HessianOperator(
            self.network, [(of.inputs, of.labels)], hessian_eigenthings.supervised_loss(functional.cross_entropy)
        )
        found, seconds = [], 0.0
        for which in ("LA", "SA"):
            for steps in (6, 10, 15, 20, 30, 40):
                started = time.perf_counter()
                result = hessian_eigenthings.lanczos(operator, k=1, max_iter=steps, tol=1e-3, which=which, seed=0)
                spent = time.perf_counter() - started
                if bool(torch.as_tensor(result.converged).all()):
                    break
            seconds += spent
            found.append(float(result.eigenvalues[0]))
        return seconds, float(max(abs(found[0] / of.top[0] - 1), abs(found[1] / of.bottom - 1)))


def _density(matvec: Matvec, ends: LanczosRun, probes: Tensor, products: Tensor, steps: int) -> Density:
    chains = zip(probes, products, strict=False)
    return spectral_density(matvec, ends.space, chains, steps=steps, include_own_chain=True)[0]


def _reference(hessian: HessianOperator, subject: Subject, file: Path) -> tuple[np.ndarray, ...]:
    """Float64 top 5, bottom 1, nodes and weights of a class, from the file if it holds these weights'."""
    weights = hashlib.sha256(subject.vector().numpy().tobytes()).hexdigest()
    if file.is_file() and str((kept := np.load(file))["of"]) == weights:
        return kept["top"], kept["bottom"], kept["nodes"], kept["weights"]
    generator = torch.Generator().manual_seed(99)
    goal = LanczosOptions(5, 1, tol=1e-5, max_products=150)
    ends = extremal_eigenpairs(hessian, random_signs(subject.size, generator).double(), goal, generator)
    probes = torch.stack([probe(subject.size, 99, i).double() for i in range(4)])
    found = _density(hessian, ends, probes, hessian.block(probes), 12)
    np.savez(file, of=weights, top=ends.top.values, bottom=ends.bottom.values, nodes=found.nodes, weights=found.weights)
    return ends.top.values, ends.bottom.values, found.nodes, found.weights


@contextlib.contextmanager
def _eig() -> Iterator[None]:
    """`torch.eig`, which PyHessian's density calls and PyTorch no longer answers, while a block runs."""

    def eig(matrix: Tensor, eigenvectors: bool = False) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrix)
        return values[:, None], vectors

    with mock.patch("torch.eig", eig):
        yield


def classes_of(subject: Subject) -> list[Subset]:
    """Its classes, head first."""
    return [s for s in subject.subsets if s.kind == "class"]
