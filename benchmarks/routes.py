"""Our fast routes beside the plain ones that stay as their oracles, in one process and on one network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from unittest import mock

import torch
from torch import Tensor
from torch.func import functional_call, jvp

from landscape.hessian.estimators import exact_trace, per_sample
from landscape.hessian.estimators.random_vectors import random_signs
from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.subject import Subject

T = TypeVar("T")
DIRECTIONS = 8
SAMPLES = 64


def default_command(subject: Subject) -> tuple[float, float, float]:
    """What the command computes at its defaults, by our routes and by the plain ones.

    Plain: every product on a fresh graph of the network as it is, traces from probes, every sample's curvature by
    products of its own.

    Args:
        subject: The network and data.

    Returns:
        Seconds of ours and of the plain routes, and the largest difference of a top eigenvalue as a share of it.
    """
    plan = choose_plan(subject)
    ours, mine = _timed(lambda: measure_hessian(subject, plan=plan))
    with mock.patch.object(exact_trace, "_layers", _none), mock.patch.object(per_sample, "_agrees", _never):
        plain, theirs = _timed(lambda: measure_hessian(subject, plan=replace(plan, keep=0, fused=False)))
    return ours, plain, max(map(_difference, mine.curvatures, theirs.curvatures))


def jet_vs_nested(subject: Subject, turns: int) -> tuple[float, float]:
    """The curvature of single samples by our Taylor passes and by PyTorch's nested forward mode.

    Args:
        subject: The network and data.
        turns: Medians are over them.

    Returns:
        Seconds of ours and of nested forward mode.

    Raises:
        RuntimeError: They disagree.
    """
    hessians = HessianFactory(subject, replace(choose_plan(subject), workers=1))
    rows = slice(0, min(SAMPLES, len(subject.labels)))
    generator = torch.Generator().manual_seed(0)
    like = subject.vector()
    vectors = torch.stack([random_signs(subject.size, generator).to(like) for _ in range(DIRECTIONS)])
    pairs = []
    for _ in range(turns):
        mine = _timed(lambda: per_sample.per_sample_curvature(hessians, rows, vectors))
        other = _timed(lambda: _nested(subject, rows, vectors))
        pairs.append((mine[0], other[0]))
        if float((mine[1] - other[1]).norm() / other[1].norm()) > 1e-3:
            raise RuntimeError("Taylor passes and nested forward mode disagree")
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def _nested(subject: Subject, rows: slice, vectors: Tensor) -> Tensor:
    inputs, labels = subject.inputs(rows), subject.targets(rows)
    weights = {name: parameter.detach() for name, parameter in subject.parameters.items()}

    def losses(parameters: dict[str, Tensor]) -> Tensor:
        return subject.loss(functional_call(subject.network, parameters, (inputs,)), labels)

    def along(direction: dict[str, Tensor]) -> Tensor:
        def slope(parameters: dict[str, Tensor]) -> Tensor:
            tangent: Tensor = jvp(losses, (parameters,), (direction,))[1]
            return tangent

        curved: Tensor = jvp(slope, (weights,), (direction,))[1]
        return curved

    found = [along(dict(subject.split(vector))) for vector in vectors]
    return torch.stack(found).detach().double()


def _difference(ours: Any, plain: Any) -> float:
    return float(abs(ours.top.values[0] - plain.top.values[0]) / abs(plain.top.values[0]))


def _none(subject: Subject) -> None:
    return None


def _never(*arguments: Any) -> bool:
    return False


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
