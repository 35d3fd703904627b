"""What every analysis measures: one network, its parameters, class-sorted data and a loss."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from foundation.errors import InputError, LandscapeError
from foundation.groups import Groups, group_classes
from landscape.subject.batch_norm import recalibrate
from landscape.subject.losses import LossFunction, cross_entropy
from landscape.subject.samples import Batch, Samples
from landscape.subject.subsets import Subset

RESIDENT_BYTES = 8 << 30
"""Inputs up to this size are kept on the device; larger ones are fetched batch by batch."""


class Subject:
    """One trained network ready to be measured.

    The network is a private copy in evaluation mode, so that no analysis can leave a trace in the caller's. Its
    measured parameters are views of one flat vector, so that moving to another point is one copy. Samples are
    sorted by class, head to tail, so that every subset is one contiguous range of rows.

    Args:
        network: Any classifier: `forward(inputs)` returns logits (n, C).
        samples: The data to measure on.
        train_counts: Training samples of each class, (C,): they order the classes and make the groups.
        class_names: A name a class; their numbers by default.
        loss: Unreduced loss of logits and labels.
        subsets: Names to measure, such as `["all", "few", "class:3"]`; all of them by default.
        params: Glob patterns of parameter names to measure, such as `["layer3.*"]`; all by default.
        batch_norm: `"eval"` (the network's own running statistics) or `"recalibrated"` (over `calibration`).
        calibration: The training samples, for `"recalibrated"`.
        dtype: `torch.float32` or `torch.float64`.
        device: Where to measure.

    Raises:
        InputError: No samples, a label outside the classes, an unknown subset or parameter pattern.

    Attributes:
        network: The private copy.
        loss: As given.
        batch_norm: As given.
        calibration: As given; the samples themselves by default.
        parameters: The measured parameters by name, in the network's order.
        size: How many numbers they hold, P.
        classes: Number of classes, C.
        groups: Many, medium and few, and the rule that made them.
        labels: Classes of the class-sorted samples, (N,) int64 on the device.
        subsets: What is measured, in the order all, balanced, groups, classes from head to tail.
        absent: Subset names that have no sample here and are left out.
    """

    def __init__(
        self,
        network: nn.Module,
        samples: Samples,
        *,
        train_counts: Sequence[int],
        class_names: Sequence[str] | None = None,
        loss: LossFunction = cross_entropy,
        subsets: Sequence[str] | None = None,
        params: Sequence[str] | None = None,
        batch_norm: str = "eval",
        calibration: Samples | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device, self.dtype, self.loss = torch.device(device), dtype, loss
        self.classes = len(train_counts)
        self.network = copy.deepcopy(network).to(device=self.device, dtype=dtype).eval()
        self.parameters = self._select(params)
        self.size = sum(p.numel() for p in self.parameters.values())
        self._flat = self._flatten()

        labels = samples.labels.cpu()
        if labels.numel() == 0:
            raise InputError("there are no samples to measure: give a split that has some")
        if int(labels.min()) < 0 or int(labels.max()) >= self.classes:
            raise InputError(f"label {int(labels.max())} is outside the {self.classes} classes of train_counts")
        self._head_to_tail = sorted(range(self.classes), key=lambda c: (-train_counts[c], c))
        rank = torch.empty(self.classes, dtype=torch.int64)
        rank[self._head_to_tail] = torch.arange(self.classes)
        self._order = torch.argsort(rank[labels], stable=True)
        self.labels = labels[self._order].to(self.device)
        counts = torch.bincount(rank[labels], minlength=self.classes)  # by rank, head first
        ends = torch.cumsum(counts, 0).tolist()
        self._ranges = {c: slice(e - int(n), e) for c, e, n in zip(self._head_to_tail, ends, counts, strict=True)}

        self._samples = samples
        first = samples.inputs(self._order[:1])
        self._resident: Tensor | None = None
        if first.numel() * first.element_size() * len(labels) <= RESIDENT_BYTES:
            self._resident = self._on_device(samples.inputs(self._order))

        self.groups: Groups = group_classes(train_counts)
        self._known = self._table(train_counts, class_names or [str(c) for c in range(self.classes)])
        self.absent = tuple(s.name for s in self._known if s.measured_count == 0)
        self.subsets = self._chosen(subsets)
        self.batch_norm, self.calibration = batch_norm, calibration or samples
        if batch_norm == "recalibrated":
            self.recalibrate(self.calibration)
        elif batch_norm != "eval":
            raise InputError(f"unknown batch-norm mode {batch_norm!r}: choose eval or recalibrated")

    def rows(self, subset: Subset) -> slice:
        """The subset's range of class-sorted rows."""
        parts = [self._ranges[c] for c in subset.classes]
        return slice(parts[0].start, parts[-1].stop)

    def weights(self, subset: Subset) -> Tensor:
        """Each of the subset's samples' share of its loss, (n,) float64 on the device; they sum to 1.

        `balanced` is the mean of the class losses, over the classes that have samples.
        """
        rows = self.rows(subset)
        if subset.kind != "balanced":
            count = rows.stop - rows.start
            return torch.full((count,), 1.0 / count, dtype=torch.float64, device=self.device)
        parts = [self._ranges[c] for c in subset.classes]
        sizes = torch.tensor([r.stop - r.start for r in parts], dtype=torch.float64)
        each = 1.0 / (sizes * int((sizes > 0).sum()))
        return torch.repeat_interleave(each, sizes.long()).to(self.device)

    def inputs(self, rows: slice) -> Tensor:
        """Inputs of a range of class-sorted rows, (n, …) on the device, floating point in the subject's dtype."""
        if self._resident is not None:
            return self._resident[rows]
        return self._on_device(self._samples.inputs(self._order[rows]))

    def batches(self, subset: Subset, size: int) -> Iterator[Batch]:
        """The subset in batches of at most `size` samples; the last may be smaller and weighs by its samples."""
        rows, weights = self.rows(subset), self.weights(subset).to(self.dtype)
        for start in range(rows.start, rows.stop, size):
            part = slice(start, min(start + size, rows.stop))
            yield Batch(self.inputs(part), self.labels[part], weights[part.start - rows.start : part.stop - rows.start])

    def twin(self, subset: Subset) -> Subset | None:
        """An earlier subset with the very same samples and weights, which need not be measured twice.

        On an evenly sized split `balanced` is `all`; a group of one class is that class.
        """
        rows, weights = self.rows(subset), self.weights(subset)
        for other in self.subsets[: self.subsets.index(subset)]:
            if self.rows(other) == rows and torch.equal(self.weights(other), weights):
                return other
        return None

    def vector(self) -> Tensor:
        """A copy of the measured parameters as one flat vector, (P,)."""
        return self._flat.clone()

    @contextlib.contextmanager
    def placed(self, vector: Tensor) -> Iterator[None]:
        """Puts the measured parameters at another point while the block runs, and back afterwards.

        Args:
            vector: The point, (P,).

        Yields:
            Nothing; the network is at `vector`.
        """
        before = self.vector()
        try:
            self._flat.copy_(vector)
            yield
        finally:
            self._flat.copy_(before)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a flat vector (P,) in the shapes of the measured parameters, by name."""
        parts = torch.split(vector, [p.numel() for p in self.parameters.values()])
        return {n: v.view_as(p) for (n, p), v in zip(self.parameters.items(), parts, strict=True)}

    def with_subsets(self, names: Sequence[str] | None) -> Subject:
        """The same subject, sharing network and data, with other subsets; None for all of them.

        Args:
            names: Such as `["all", "few", "class:3"]`.

        Returns:
            The subject.

        Raises:
            InputError: A name is unknown, or none has a sample.
        """
        other = copy.copy(self)
        other.subsets = self._chosen(names)
        return other

    def with_loss(self, loss: LossFunction) -> Subject:
        """The same subject, sharing network and data, measured by another loss."""
        other = copy.copy(self)
        other.loss = loss
        return other

    def recalibrate(self, samples: Samples, size: int = 500) -> None:
        """Sets the BatchNorm statistics of the private copy to those of `samples` at the present weights."""
        order = torch.arange(len(samples.labels))
        recalibrate(self.network, (self._on_device(samples.inputs(part)) for part in torch.split(order, size)))

    def probe(self, size: int = 64) -> None:
        """Checks that the loss can be measured at all: it repeats, is finite, and its Hessian is symmetric.

        Args:
            size: Samples to try, from each end of the class-sorted data.

        Raises:
            LandscapeError: With the likely cause.
        """
        total = len(self.labels)
        rows = slice(0, min(size, total))
        generator = torch.Generator().manual_seed(0)
        u, v = torch.randn(2, self.size, generator=generator, dtype=torch.float64).to(self.device, self.dtype)
        inputs, labels = self.inputs(rows), self.labels[rows]
        with torch.no_grad():
            first, second = self.loss(self.network(inputs), labels), self.loss(self.network(inputs), labels)
        if first.shape != labels.shape:
            raise LandscapeError(
                f"the loss returned shape {tuple(first.shape)} for {len(labels)} samples: it must be unreduced, (n,)"
            )
        if not torch.allclose(first, second, rtol=1e-4, atol=1e-6, equal_nan=True):
            raise LandscapeError(
                "two passes over the same samples gave different losses: the network draws random numbers in eval "
                "mode (functional dropout without training=self.training, say) or the data are augmented"
            )
        if not bool(first.isfinite().all()):
            raise LandscapeError("the loss of the trained network is not finite: the checkpoint has diverged")
        parameters = list(self.parameters.values())
        try:
            loss = self.loss(self.network(inputs), labels).mean()
            gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
            sides = []
            for left, right in ((u, v), (v, u)):
                inner = sum((g * p).sum() for g, p in zip(gradients, self.split(right).values(), strict=True))
                if not isinstance(inner, Tensor) or not inner.requires_grad:
                    return  # a loss linear in its parameters: the Hessian is zero
                product = torch.autograd.grad(inner, parameters, retain_graph=True, materialize_grads=True)
                flat = torch.cat([h.reshape(-1) for h in product])
                sides.append((float(left.double() @ flat.double()), float(left.norm() * flat.norm())))
        except (RuntimeError, NotImplementedError) as error:
            raise LandscapeError(
                f"the network has no second derivative here ({str(error).splitlines()[0]}): replace the operation, "
                "such as fused attention, by one that autograd can differentiate twice"
            ) from error
        scale = max(size for _, size in sides)
        if abs(sides[0][0] - sides[1][0]) > 1e-3 * scale:
            raise LandscapeError(
                f"uᵀHv = {sides[0][0]:.6g} but vᵀHu = {sides[1][0]:.6g}: the Hessian is not symmetric, so the network "
                "or its loss has a hand-written gradient (a custom backward or a hook) that is not its derivative"
            )

    def _chosen(self, names: Sequence[str] | None) -> tuple[Subset, ...]:
        known = {s.name for s in self._known}
        for name in names or ():
            if name not in known:
                raise InputError(
                    f"unknown subset {name!r}: choose among all, balanced, many, medium, few and class:0 to "
                    f"class:{self.classes - 1}"
                )
        chosen = tuple(s for s in self._known if (names is None or s.name in names) and s.measured_count > 0)
        if not chosen:
            raise InputError(f"no sample belongs to {', '.join(names or ())}: choose other subsets or another split")
        return chosen

    def _select(self, params: Sequence[str] | None) -> dict[str, nn.Parameter]:
        named = dict(self.network.named_parameters())
        patterns = ["*"] if params is None else list(params)
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in named):
                raise InputError(f"no parameter matches {pattern!r}: the network has {_some(named)}")
        chosen = {n: p for n, p in named.items() if any(fnmatchcase(n, pattern) for pattern in patterns)}
        for name, parameter in named.items():
            parameter.requires_grad_(name in chosen)
            parameter.grad = None
        return chosen

    def _flatten(self) -> Tensor:
        flat = torch.cat([p.detach().reshape(-1) for p in self.parameters.values()])
        start = 0
        for parameter in self.parameters.values():
            parameter.data = flat[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
        return flat

    def _on_device(self, inputs: Tensor) -> Tensor:
        dtype = self.dtype if inputs.is_floating_point() else inputs.dtype
        return inputs.to(device=self.device, dtype=dtype)

    def _table(self, train_counts: Sequence[int], class_names: Sequence[str]) -> list[Subset]:
        def subset(name: str, label: str, kind: str, classes: Sequence[int]) -> Subset:
            ordered = tuple(c for c in self._head_to_tail if c in set(classes))
            measured = sum(self._ranges[c].stop - self._ranges[c].start for c in ordered)
            return Subset(name, label, kind, ordered, sum(train_counts[c] for c in ordered), measured)

        every = range(self.classes)
        table = [subset("all", "all", "all", every), subset("balanced", "balanced", "balanced", every)]
        table += [subset(name, name, "group", members) for name, members in self.groups.named()]
        return table + [subset(f"class:{c}", class_names[c], "class", [c]) for c in self._head_to_tail]


def _some(names: Iterable[Any], most: int = 6) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
