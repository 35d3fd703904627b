"""What is measured of a network at one moment of its training, part by part."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from foundation.errors import InputError, LandscapeError
from landscape.execution.checks import check_loss
from landscape.execution.evaluate import Evaluator
from landscape.execution.gradient import loss_and_gradient
from landscape.execution.second_order import math_attention
from landscape.files.foreign_checkpoint import bare_name
from landscape.hessian.checks import check_symmetry
from landscape.hessian.estimators.lanczos import LanczosOptions, extremal_eigenpairs, warm_start
from landscape.hessian.estimators.random_vectors import random_normal
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import HessianFactory
from landscape.recording.track import Track
from landscape.subject.called import inner
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

TOLERANCE = 1e-2
"""Relative residual of a tracked eigenvalue: the error of λ is of its square over the gap, and it is drawn."""
MOST_PRODUCTS = 40
"""Products of one eigenvalue at most; a warm one takes 4 to 10."""
VECTORS_BYTES = 1 << 30
"""Gradients and eigenvectors that are kept, one each a subset; more subsets have neither cosines nor warm starts."""
BASIS = 32
"""Vectors of P numbers for which memory is always asked."""


class Probe:
    """A private copy of a network that follows it, and what is measured of the copy.

    Args:
        subject: The network as it is now, its data and subsets.
        radius: ρ of the sharpness.

    Attributes:
        subject: As given.
        failed: Why there is no curvature, in a sentence; empty while there is.
    """

    def __init__(self, subject: Subject, radius: float) -> None:
        self.subject, self._radius, self.failed = subject, radius, ""
        check_loss(subject)
        self._evaluator = Evaluator(subject)
        self._hessians: HessianFactory | None = None
        self._eigenvectors: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}  # at this point, by subset
        self._values: dict[str, tuple[float, float]] = {}  # eigenvalues and residuals likewise
        size = subject.size * subject.vector().element_size()
        self._fits = len(subject.subsets) * size <= VECTORS_BYTES

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Takes the network's present weights and buffers over.

        Args:
            network: The one that is trained, also inside wrappers that compile or spread it.

        Raises:
            InputError: It has other parameters than before.
        """
        theirs = dict(_tensors(network))
        for name, tensor in _tensors(inner(self.subject.network)):
            if name not in theirs or theirs[name].shape != tensor.shape:
                raise InputError(f"{name} of the tracked network is not what it was: track each network by its own")
            tensor.copy_(theirs[name])
        if self.subject.batch_norm == "recalibrated":
            self.subject.recalibrate(self.subject.calibration)
        self._gradients.clear()
        self._values.clear()

    def loss(self, point: Track) -> None:
        """Loss and accuracy of every subset."""
        found = self._evaluator.here()
        point.loss[0], point.accuracy[0] = found.loss, found.accuracy

    def cosine(self, point: Track) -> None:
        """Every subset's gradient, their norms and the cosines between them."""
        if not self._fits:
            return
        where = self.subject.vector()
        for subset in self.subject.subsets:
            twin = self.subject.twin(subset)
            if twin is not None and twin.name in self._gradients:
                self._gradients[subset.name] = self._gradients[twin.name]
                continue
            batches = self._evaluator.batches(subset, self._evaluator.chunk)
            self._gradients[subset.name] = loss_and_gradient(self.subject, batches, where)[1]
        rows = torch.stack([self._gradients[s.name] for s in self.subject.subsets]).double()
        norms = torch.linalg.vector_norm(rows, dim=1)
        cosines = (rows @ rows.T) / (norms[:, None] * norms)
        point.gradient_norm[0], point.cosine[0] = norms.cpu().numpy(), cosines.clamp(-1, 1).cpu().numpy()

    def curved(self) -> bool:
        """Whether the loss has second derivatives; where it has none that is said once."""
        if self._hessians is None and not self.failed:
            try:
                check_symmetry(self.subject)
            except LandscapeError as error:
                self.failed = str(error)
                warnings.warn(f"no curvature is tracked: {error}", stacklevel=6)
                return False
            least = 2 * BASIS * self.subject.size * self.subject.vector().element_size()
            plan = choose_plan(self.subject, memory=max(VECTORS_BYTES, least))
            self._hessians = HessianFactory(self.subject, plan)
        return not self.failed

    def top(self, point: Track, row: int, subset: Subset) -> None:
        """A subset's largest Hessian eigenvalue, from its eigenvector at the point before."""
        assert self._hessians is not None
        subject, hessians, generator = self.subject, self._hessians, torch.Generator().manual_seed(0)
        same = (subject.twin(subset) or subset).name
        if same in self._values:
            point.top[0, row], point.top_residual[0, row] = self._values[same]
            return
        known = self._eigenvectors.get(same)
        start = random_normal(subject.size, generator).to(subject.vector())
        if known is not None:
            start = warm_start(known, generator)
        options = LanczosOptions(
            1, 0, tol=TOLERANCE, max_products=MOST_PRODUCTS, capacity=hessians.plan.basis, second_start=False
        )
        with math_attention(), hessians.workers.alone(subject.size):
            try:
                found = extremal_eigenpairs(hessians.of(subset), start, options, generator).top
            except FloatingPointError:  # products that are not finite
                return
        point.top[0, row], point.top_residual[0, row] = self._values[same] = found.values[0], found.residuals[0]
        if self._fits:
            self._eigenvectors[same] = found.vectors

    def sam(self, point: Track, row: int, subset: Subset) -> None:
        """How far a subset's loss increases one radius up its gradient; of gradients of this point alone."""
        gradient, where = self._gradients[subset.name], self.subject.vector()
        norm = float(torch.linalg.vector_norm(gradient.double()))
        uphill = gradient * (self._radius / norm) if norm > 0 else gradient
        increase = self._evaluator.losses_at(where + uphill, subset) - self._evaluator.losses_at(where, subset)
        point.sam[0, row] = float(self._evaluator.mean_and_error(increase, subset)[0])

    def knows_gradients(self) -> bool:
        """Whether the gradients at this point are known."""
        return bool(self._gradients)


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name, without what wrappers put before names."""
    for name, tensor in itertools.chain(network.named_parameters(), network.named_buffers()):
        yield bare_name(name), tensor
