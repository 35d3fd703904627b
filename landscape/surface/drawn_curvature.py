"""What a picture is at its center: the curvature that autodiff finds there beside the curvature that is drawn.

The two agree on a smooth network. On one with ReLUs the loss is a patchwork of smooth pieces: autodiff sees the bend of
the piece at the center, the picture the bends between all pieces within a cell, and its second difference does not
converge to vᵀHv as the step shrinks. Which of the two a reader means must be said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from landscape.execution.evaluate import Evaluator
from landscape.execution.second_order import PlainOperations, math_attention
from landscape.schema import quantity
from landscape.subject.subject import Subject
from landscape.surface.plane import Plane

GRAPH = 64  # samples in one graph
SAMPLES_PER_CLASS = 64
"""At most so many samples of each class give both curvatures: exact second derivatives cost 30 passes over them."""


@dataclass(frozen=True)
class DrawnCurvature:
    """Second derivatives of every subset's loss along the K directions of a plane, at its origin; empty by default.

    Attributes:
        autodiff: dᵀHd, exact, (S, K).
        finite_difference: [L(s d) - 2 L(0) + L(-s d)] / s² over one cell, (S, K).
        step: s, (K,).
    """

    autodiff: np.ndarray = field(
        default_factory=lambda: np.empty((0, 0)),
        metadata=quantity(
            "second derivative at the origin along a and b, by autodiff", "subset", "axis", name="curvature_autodiff"
        ),
    )
    finite_difference: np.ndarray = field(
        default_factory=lambda: np.empty((0, 0)),
        metadata=quantity(
            "second difference at the origin over one cell, from the same samples", "subset", "axis",
            name="curvature_drawn",
        ),
    )  # fmt: skip
    step: np.ndarray = field(default_factory=lambda: np.empty(0))


def drawn_curvature_at_center(
    subject: Subject, plane: Plane, step: Sequence[float], *, seed: int = 0
) -> DrawnCurvature:
    """Both curvatures at a plane's origin, from the same samples.

    Args:
        subject: What is measured.
        plane: What is cut through.
        step: The distance between two cells along each direction, (K,).
        seed: Of the samples drawn.

    Returns:
        The curvatures.
    """
    evaluator = Evaluator(subject, samples_per_class=SAMPLES_PER_CLASS, seed=seed)
    middle = evaluator.at(plane.origin).loss
    differences = []
    for k, s in enumerate(step):
        up, down = ([0.0, 0.0], [0.0, 0.0])
        up[k], down[k] = s, -s
        differences.append((evaluator.at(plane.at(*up)).loss - 2 * middle + evaluator.at(plane.at(*down)).loss) / s**2)
    with subject.placed(plane.origin):
        try:
            exact = [evaluator.over_subsets(sums).numpy() for sums in _by_class(subject, evaluator, plane)]
        except (RuntimeError, NotImplementedError):  # no second derivative, or no memory for one: a surface needs none
            exact = [np.full(len(evaluator.subsets), np.nan) for _ in plane.directions]
    return DrawnCurvature(np.stack(exact, axis=1), np.stack(differences, axis=1), np.asarray(step, dtype=np.float64))


def _by_class(subject: Subject, evaluator: Evaluator, plane: Plane) -> Tensor:
    """dᵀ(Σ ∇²ℓ_i)d over each class's samples, (K, C)."""
    parameters = list(subject.parameters.values())
    directions = [list(subject.split(direction).values()) for direction in plane.directions]
    sums = torch.zeros(len(directions), evaluator.classes, dtype=torch.float64)
    for label, inputs, targets in evaluator.by_class(GRAPH):
        with math_attention(), PlainOperations():
            losses = subject.loss(subject.network(inputs), targets)
        slopes = torch.autograd.grad(losses.sum(), parameters, create_graph=True, materialize_grads=True)
        for k, direction in enumerate(directions):
            curved = [(slope, part) for slope, part in zip(slopes, direction, strict=True) if slope.requires_grad]
            if curved:  # else linear in the parameters
                ends, parts = zip(*curved, strict=True)
                bends = torch.autograd.grad(ends, parameters, parts, retain_graph=True, materialize_grads=True)
                pairs = zip(bends, direction, strict=True)
                sums[k, label] += sum(float((bend * part).sum(dtype=torch.float64)) for bend, part in pairs)
    return sums
