"""The trace of a Hessian from gradients of samples, without probes, where the network allows it.

H = G + Σ_i a_i Σ_c ∂ℓ_i/∂z_c ∇²z_c, a_i the samples' weights. Where every logit is affine in each parameter tensor by
itself the second part has no diagonal, and tr H = tr G = Σ_i a_i Σ_k s_ik ‖J_iᵀr_ik‖² with
∇²_z ℓ_i = Σ_k s_ik r_ik r_ikᵀ: squared norms of a few gradients a sample, C − 1 for cross-entropy, for which backward
passes to the layers' outputs are enough (Goodfellow, arXiv:1510.01799). The same gradients, each number times its
parameter's, give tr diag|w| H diag|w|, which rests on the diagonal of H alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from landscape.hessian.estimators.loss_curvature import NEGLIGIBLE, loss_roots
from landscape.hessian.estimators.multiaffine import Layer, multiaffine_layers
from landscape.hessian.estimators.random_vectors import random_signs, seed_of
from landscape.hessian.estimators.trace import Trace
from landscape.hessian.products.hvp import out_of_memory
from landscape.hessian.products.operators import Batches, HessianFactory
from landscape.subject.nested import chosen, count
from landscape.subject.samples import Batch
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

LARGEST_CLASSES = 128
"""Beyond it ∇²_z ℓ, (C, C) a sample, is not made, and the trace takes probes."""
MIXTURES = 32
"""Random mixtures of a sample's C − 1 gradients that stand for all of them where those are more."""
HELD_BYTES = 128 << 20
"""For all layers of a batch on a CPU …"""
ACCELERATOR_HELD_BYTES = 2 << 30
"""… and on a GPU, which small batches would leave idle."""
FEW = (2, 3)
"""Samples on which the network is looked at: a size that is not the batch's must not pass for it."""
UNMIXED = 1e-4
"""Largest difference of a sample's logits between those batches that rounding explains, as a share of the largest."""


@dataclass(frozen=True)
class ExactTraces:
    """What samples' gradients say; exact up to 33 classes, else with an interval.

    Attributes:
        plain: tr H.
        scaled: tr diag|w| H diag|w|.
    """

    plain: Trace
    scaled: Trace


class SampleTraces:
    """Exact traces of subsets from values of their samples; each class's samples are passed once for all subsets.

    Args:
        hessians: The subject and who computes its samples.
        seed: Of the mixtures where there are more than 33 classes.
        half_width: All gradients take part if mixtures leave a 95 % half-width beyond this share of tr H; not if 0.
    """

    def __init__(self, hessians: HessianFactory, *, seed: int, half_width: float) -> None:
        self._hessians, self._seed, self._half_width = hessians, seed, half_width
        self._known: dict[tuple[int, bool], Tensor] = {}
        subject = hessians.subject
        self._layers = _layers(subject)
        held = sum(layer.norms()[1] for layer in self._layers or ()) * torch.finfo(subject.dtype).bits // 8
        most = HELD_BYTES if subject.device.type == "cpu" else ACCELERATOR_HELD_BYTES
        self._chunk = max(1, min(most * FEW[-1] // max(held, 1), hessians.plan.chunk))

    def of(self, subset: Subset) -> ExactTraces | None:
        """The trace of a subset's Hessian and of its scale-free form, exact up to 33 classes.

        Args:
            subset: The subset.

        Returns:
            The traces; None where they take probes, for the network is not known to be affine in each of its
            parameter tensors, or has too many classes, or memory does not reach for one sample.
        """
        while self._layers is not None and self._chunk:
            try:
                return self._of(subset)
            except _NotAffineError:
                return None
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            self._chunk //= 2  # only here, where the error no longer holds the tensors of the frames it came through
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return None

    def _of(self, subset: Subset) -> ExactTraces:
        weights = self._hessians.subject.weights(subset).double()
        if self._hessians.subject.outputs > MIXTURES + 1:
            totals = (self._values(subset, mixed=True) @ weights).cpu().numpy()
            spread = totals.std(1, ddof=1) / np.sqrt(MIXTURES)
            found = ExactTraces(
                *(Trace.of(float(t.mean()), float(e), MIXTURES) for t, e in zip(totals, spread, strict=True))
            )
            if not self._half_width or found.plain.half_width <= self._half_width * abs(found.plain.value):
                return found
        plain, scaled = (self._values(subset, mixed=False) @ weights)[:, 0].tolist()
        return ExactTraces(Trace.of(plain), Trace.of(scaled))

    def _values(self, subset: Subset, *, mixed: bool) -> Tensor:
        """(2, k, n) what each sample adds to both traces, of which k are equally good."""
        subject, rows = self._hessians.subject, self._hessians.subject.rows(subset)
        if not subject.by_class:  # samples of several subsets: nothing is shared
            return self._passed(rows, mixed=mixed)
        labels, sizes = torch.unique_consecutive(subject.labels[rows], return_counts=True)
        begin, parts = rows.start, list[Tensor]()
        for label, size in zip(labels.tolist(), sizes.tolist(), strict=True):
            # Class by class, also where several are new: what a sample is passed with moves its last bits, and a
            # measurement that was broken off must end with those of one that was not.
            if (label, mixed) not in self._known:
                self._known[label, mixed] = self._passed(slice(begin, begin + size), mixed=mixed)
            parts.append(self._known[label, mixed])
            begin += size
        return torch.cat(parts, 2)

    def _passed(self, rows: slice, *, mixed: bool) -> Tensor:
        """(2, k, n) float64 values Σ_k s_ik ‖J_iᵀr_ik‖² of some rows, plain and scaled, or those of random mixtures."""
        hessians, subject = self._hessians, self._hessians.subject
        sizes = list(subject.split(hessians.weight_sizes).values())
        places, seed = subject.places(rows).tolist(), seed_of(self._seed, "trace", "") << 24

        def values(item: tuple[list[int], Batch]) -> Tensor:
            own, batch = item
            logits = subject.network(batch.inputs)
            roots, signs = loss_roots(subject, logits.detach(), batch.targets)
            roots, signs = roots.transpose(0, 1), signs.T
            if not mixed:
                pairs = zip(_squares(subject, logits, roots, sizes), signs, strict=True)
                return torch.stack([square * sign for square, sign in pairs]).sum(0)[:, None]
            roots, signs = _mixed(roots, signs, [seed + place for place in own])
            pairs = zip(_squares(subject, logits, roots, sizes), signs, strict=True)
            halves = torch.stack([square * sign for square, sign in pairs], 1)
            return halves.view(2, 2, MIXTURES, -1).sum(1)  # of the positive and the negative part of one mixture

        ones = torch.ones(len(places), dtype=subject.dtype, device=subject.device)
        batches = Batches(subject, rows, ones, replace(hessians.plan, chunk=self._chunk))
        return torch.cat(list(hessians.workers.map(values, _numbered(batches, places))), 2)


def backward_passes(subject: Subject) -> int:
    """Passes to the layers' outputs that such a trace takes, each about half a product; 0 where it takes probes."""
    return 0 if _layers(subject) is None else min(subject.outputs - 1, MIXTURES)


class _NotAffineError(Exception):
    """A batch's graph is not that of the first few samples."""


def _layers(subject: Subject) -> list[Layer] | None:
    """The layers on the first few samples, in batches of two sizes, which say whether the network allows it."""
    if subject.outputs > LARGEST_CLASSES:
        return None
    inputs, found, logits = subject.inputs(slice(0, FEW[-1])), list[list[Layer]](), list[Tensor]()
    for size in FEW:
        logits.append(subject.network(chosen(inputs, torch.arange(size) % count(inputs))))
        layers = multiaffine_layers(logits[-1], list(subject.parameters.values())) if logits[-1].dim() == 2 else None
        if layers is None:
            return None
        found.append(layers)
    few, more = (z.detach()[: FEW[0]] for z in logits)
    mixed = (few - more).abs().max() > UNMIXED * more.abs().max()
    return None if bool(mixed) or len(found[0]) != len(found[1]) else found[-1]


def _numbered(batches: Iterable[Batch], places: list[int]) -> Iterator[tuple[list[int], Batch]]:
    """Each batch with the places of its samples."""
    begin = 0
    for batch in batches:
        yield places[begin : begin + len(batch.weights)], batch
        begin += len(batch.weights)


def _mixed(roots: Tensor, signs: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Random mixtures of the rows of positive sign and, behind them, of those of negative sign.

    Args:
        roots: (C, n, C) rows.
        signs: (C, n) their signs.
        seeds: Of each sample's mixtures, so that they do not depend on what it is passed with.

    Returns:
        (2 · MIXTURES, n, C) and their signs (2 · MIXTURES, n).
    """
    generator, count = torch.Generator(), len(signs)
    columns = [random_signs(MIXTURES * count, generator.manual_seed(seed)).view(MIXTURES, count) for seed in seeds]
    drawn = torch.stack(columns, 2).to(roots)
    parts = [torch.einsum("kcn,cnz->knz", drawn * (signs == sign), roots) for sign in (1, -1)]
    one = torch.ones_like(drawn[:, 0])
    return torch.cat(parts), torch.cat([one, -one])


def _squares(subject: Subject, logits: Tensor, directions: Tensor, sizes: list[Tensor]) -> Iterator[Tensor]:
    """(2, n) float64 squared norms of the gradients of each sample's logits along each direction, (k, n, C)."""
    layers = multiaffine_layers(logits, list(subject.parameters.values()), sizes)
    if layers is None:
        raise _NotAffineError
    edges, norms = [layer.edge for layer in layers], [layer.norms()[0] for layer in layers]
    least = NEGLIGIBLE * directions.square().sum(2).max()
    for direction in directions:
        squares = torch.zeros(2, len(logits), dtype=torch.float64, device=logits.device)
        if bool((direction.square().sum(1) > least).any()):  # of C rows one is zero
            gradients = torch.autograd.grad(logits, edges, direction.to(logits), retain_graph=True)
            for norm, gradient in zip(norms, gradients, strict=True):
                squares += norm(gradient)
        yield squares
