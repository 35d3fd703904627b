"""The largest eigenvalues of the Hessians of many mini-batches: `landscape.batch_eigenvalues`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foundation.errors import InputError
from landscape.execution.checks import guarded
from landscape.execution.second_order import math_attention
from landscape.hessian.checks import check_symmetry
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import HessianFactory
from landscape.subject.data import as_batch
from landscape.subject.nested import cast, pieces
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject


@dataclass(frozen=True)
class BatchEigenvalues:
    """The largest eigenvalues of B mini-batches, each of its own loss.

    Attributes:
        values: (B, k) descending; NaN behind the last of a smaller matrix, or where products are not finite.
        residuals: (B, k) ‖Hv − λv‖ of each; some eigenvalue of the batch lies within that of λ.
        converged: (B,) whether every residual met the tolerance.
        samples: (B,) in each batch.
    """

    values: NDArray[np.float64]
    residuals: NDArray[np.float64]
    converged: NDArray[np.bool_]
    samples: NDArray[np.int64]


@guarded
def batch_eigenvalues(
    subject: Subject,
    loader: Iterable[Any],
    k: int = 1,
    *,
    batches: int | None = None,
    weight_decay: float = 0.0,
    tol: float = 1e-3,
    max_products: int = 300,
    seed: int = 0,
) -> BatchEigenvalues:
    """The k largest eigenvalues of each mini-batch's own Hessian, with the loader's augmentation and weight decay.

    This is what training sees from step to step, and what Park and Kim ("How do vision transformers work?", ICLR 2022,
    figure 4) draw as a histogram. It is another object than the spectrum of the full data: the largest eigenvalue is
    convex in the Hessian, so that the mean over batches lies above that of their mean, the more so the smaller the
    batches are; and augmented samples are other samples.

    The network is in evaluation mode: dropout and batch statistics take no part.

    Args:
        subject: The network, its loss and parameters; its own data serve the checks alone.
        loader: Batches, each read once as it comes, augmented and shuffled as it likes: (inputs, targets), or a
            dictionary with `labels`.
        k: How many eigenvalues.
        batches: How many batches to take; all by default.
        weight_decay: Of a penalty weight_decay/2 ‖w‖² in the loss, as of SGD: it adds to every eigenvalue. Decoupled
            decay, as of AdamW, is no part of a loss: leave it 0.
        tol: Relative residual at which an eigenvalue counts as found.
        max_products: Most products a batch.
        seed: Of the starts.

    Returns:
        The eigenvalues, with residuals.

    Raises:
        InputError: A number is out of range, there are no batches, or one is in no form that is known.
        LandscapeError: The loss has no Hessian; the sentence names the likely cause.
    """
    for name, value in {"k": k, "max_products": max_products, "batches": 1 if batches is None else batches}.items():
        if value < 1:
            raise InputError(f"{name} {value} is too small: give 1 or more")
    if not 0 < tol < 1:
        raise InputError(f"tol {tol:g} is no relative residual: give a number such as 1e-3")
    if not weight_decay >= 0:
        raise InputError(f"weight_decay {weight_decay:g} is negative: give 0 or more")
    check_symmetry(subject)
    hessians = HessianFactory(subject, choose_plan(subject))
    options = LanczosOptions(k, 0, tol=tol, max_products=max_products, capacity=hessians.plan.basis, second_start=k > 1)
    rows: list[tuple[np.ndarray, np.ndarray, bool, int]] = []
    for given in itertools.islice(loader, batches):
        hessian, count = _of_batch(subject, given, hessians)
        values, residuals, converged = np.full(k, np.nan), np.full(k, np.nan), False
        generator = torch.Generator().manual_seed(seed)
        with math_attention(), hessians.workers.alone(subject.size):
            try:
                start = random_normal(subject.size, generator).to(subject.vector())
                found = extremal_eigenpairs(hessian, start, options, generator)
            except FloatingPointError:  # products that are not finite
                pass
            else:
                known = len(found.top.values)
                values[:known], residuals[:known] = found.top.values + weight_decay, found.top.residuals
                converged = found.converged
        rows.append((values, residuals, converged, count))
    if not rows:
        raise InputError("the loader gives no batch: give one that has some")
    values_, residuals_, converged_, counts = zip(*rows, strict=True)
    return BatchEigenvalues(np.stack(values_), np.stack(residuals_), np.array(converged_), np.array(counts))


def _of_batch(subject: Subject, given: Any, hessians: HessianFactory) -> tuple[HessianOperator, int]:
    """The Hessian of one batch's mean loss, and its samples."""
    inputs, targets = (cast(part, subject.dtype, subject.device) for part in as_batch(given))
    count = len(targets)
    weights = torch.full((count,), 1 / count, dtype=subject.dtype, device=subject.device)
    plan = hessians.plan
    parts = zip(*(pieces(part, plan.chunk) for part in (inputs, targets, weights)), strict=True)
    parameters = list(subject.parameters.values())
    every = [Batch(*part) for part in parts]
    return HessianOperator(
        subject.network, parameters, subject.loss, every, keep=plan.keep, workers=hessians.workers
    ), count
