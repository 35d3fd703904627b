"""What every analysis measures: one network, its parameters, data and a loss."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from foundation.errors import InputError
from foundation.groups import EVEN, Groups, group_classes
from landscape.subject.batch_norm import recalibrate
from landscape.subject.called import Called, Forward, inner, spread
from landscape.subject.data import Collate, as_samples
from landscape.subject.losses import Accuracy, LossFunction, averaged, cross_entropy, top_class
from landscape.subject.nested import Inputs
from landscape.subject.network import private_copy
from landscape.subject.parameters import FlatParameters, select_parameters
from landscape.subject.samples import Batch, Samples, SortedSamples
from landscape.subject.subsets import Subset, choose_subsets, every_subset, find_twins, masked_subsets


class Subject:
    """One trained network ready to be measured.

    The network is a private copy in evaluation mode, so that no analysis can leave a trace in the caller's. Its
    measured parameters are views of one flat vector, so that moving to another point is one copy. Samples are
    sorted by class, head to tail, so that every subset is one contiguous range of rows.

    Args:
        network: Any module; by default of a classifier, whose `forward(inputs)` returns logits (n, C).
        data: The data to measure on: (inputs, labels), a `Dataset`, a `DataLoader` or a list of batches, as
            `landscape.subject.data.as_samples` takes them. A tuple or list of inputs goes to the network by position,
            a dictionary by keyword.
        train_counts: Training samples of each class, (C,): they order the classes and make the groups; by default
            those of the data.
        class_names: A name a class; their numbers by default.
        loss: Unreduced loss of outputs and targets.
        subsets: Names to measure, such as `["all", "few", "class:3"]`, all of them by default; or masks by name, such
            as `{"hard": mask}`, which are measured instead of classes and may overlap.
        params: Glob patterns of parameter names to measure, such as `["layer3.*"]`, or `"all"`; by default those that
            require gradients.
        batch_norm: `"eval"` (the network's own running statistics) or `"recalibrated"` (over `calibration`).
        calibration: The training samples, for `"recalibrated"`.
        forward: Calls the network, where its outputs are not one tensor: `lambda network, inputs:
            network(**inputs).logits`.
        collate: Items of a `Dataset` to one batch.
        accuracy: Outputs and targets to the share of each sample that is right, (n,); of class labels by default
            whether the largest logit is theirs, of other targets none.
        dtype: `torch.float32` or `torch.float64`.
        device: Where to measure.

    Raises:
        InputError: No samples, a label outside the classes, an unknown subset or parameter pattern, or data in no form
            that is known.

    Attributes:
        network: The private copy, called with one argument.
        loss: As given; (n,) a sample.
        accuracy: As given; None where there is none.
        batch_norm: As given.
        calibration: As given; the samples themselves by default.
        parameters: The measured parameters by name, in the network's order.
        size: How many numbers they hold, P.
        by_class: Whether classes make the subsets, not masks.
        classes: Number of classes, C; of strata where masks make the subsets.
        groups: Many, medium and few, and the rule that made them.
        labels: Classes of the class-sorted samples, (N,) int64 on the device; strata where masks make the subsets.
        subsets: What is measured, in the order all, balanced, groups, classes from head to tail.
        absent: Subset names that have no sample here and are left out.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Any,
        *,
        train_counts: Sequence[int] | None = None,
        class_names: Sequence[str] | None = None,
        loss: LossFunction = cross_entropy,
        subsets: Sequence[str] | Mapping[str, Any] | None = None,
        params: Sequence[str] | str | None = None,
        batch_norm: str = "eval",
        calibration: Any = None,
        forward: Forward | None = None,
        collate: Collate | None = None,
        accuracy: Accuracy | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device, self.dtype, samples = torch.device(device), dtype, as_samples(data, collate)
        if samples.labels.numel() == 0:
            raise InputError("there are no samples to measure: give a split that has some")
        copied = private_copy(network, dtype=dtype, device=self.device)
        if forward is not None or not isinstance(samples.inputs(torch.tensor([0])), Tensor):
            self.network: nn.Module = Called(copied, forward or spread)
        else:
            self.network = copied
        self._flat = FlatParameters(select_parameters(inner(self.network), params))
        self.parameters, self.size = self._flat.named, self._flat.size
        labeled = _are_classes(samples.labels)
        if not labeled and loss is cross_entropy:
            raise InputError(
                f"targets {tuple(samples.labels.shape)} of {_kind(samples.labels)} are no class of each sample: give "
                "the loss that goes with them (loss)"
            )
        self.by_class = labeled and not isinstance(subsets, Mapping)
        if self.by_class:
            counts = _counts(samples.labels, train_counts)
            self.groups: Groups = group_classes(counts)
            strata, order = samples.labels.cpu().long(), sorted(range(len(counts)), key=lambda c: (-counts[c], c))
        else:
            masks = subsets if isinstance(subsets, Mapping) else {}
            strata, self._known = masked_subsets(masks, len(samples.labels))
            self.groups, order = Groups((), (), (), EVEN), list(range(int(strata.max()) + 1))
        self._samples = SortedSamples(samples, strata, order, dtype=dtype, device=self.device)
        self.classes, self.labels = len(order), self._samples.labels
        if self.by_class:
            names = class_names or [str(c) for c in range(self.classes)]
            self._known = every_subset(self._samples, counts, names, self.groups)
        self.loss = loss if labeled else averaged(loss)
        self.accuracy = accuracy or (top_class if labeled else None)
        self.absent = tuple(s.name for s in self._known if s.measured_count == 0)
        self._choose(None if isinstance(subsets, Mapping) else subsets)
        self.batch_norm, self.calibration = (
            batch_norm,
            samples if calibration is None else as_samples(calibration, collate),
        )
        if batch_norm == "recalibrated":
            self.recalibrate(self.calibration)
        elif batch_norm != "eval":
            raise InputError(f"unknown batch-norm mode {batch_norm!r}: choose eval or recalibrated")

    @functools.cached_property
    def outputs(self) -> int:
        """How many numbers the network gives a sample; C of a classifier."""
        with torch.no_grad():
            found: Tensor = self.network(self.inputs(slice(0, 1)))
        return found.numel()

    def rows(self, subset: Subset) -> slice:
        """The subset's range of class-sorted rows."""
        return self._samples.rows(subset.classes)

    def weights(self, subset: Subset) -> Tensor:
        """Each of the subset's samples' share of its loss, (n,) float64 on the device; they sum to 1.

        `balanced` is the mean of the class losses, over the classes that have samples.
        """
        rows = self.rows(subset)
        if subset.kind != "balanced":
            count = rows.stop - rows.start
            return torch.full((count,), 1.0 / count, dtype=torch.float64, device=self.device)
        parts = [self._samples.ranges[c] for c in subset.classes]
        sizes = torch.tensor([r.stop - r.start for r in parts], dtype=torch.float64)
        each = 1.0 / (sizes * int((sizes > 0).sum()))
        return torch.repeat_interleave(each, sizes.long()).to(self.device)

    def inputs(self, rows: slice | Tensor) -> Inputs:
        """Inputs of some class-sorted rows, (n, …) on the device, floating point in the subject's dtype."""
        return self._samples.inputs(rows)

    def fetched(self, rows: Tensor) -> Inputs:
        """The same, fetched anew from the data."""
        return self._samples.fetched(rows)

    def targets(self, rows: slice | Tensor) -> Tensor:
        """What the loss of some rows compares with, (n, …) on the device: their labels."""
        return self._samples.targets(rows)

    def places(self, rows: slice) -> Tensor:
        """Which of the N sorted samples some rows are, (n,): overlapping subsets list a sample more than once."""
        return self._samples.places[rows]

    def few(self, most: int) -> Tensor:
        """Up to so many rows, (n,) ascending, from every class as far as they reach."""
        return self._samples.few(most)

    def batches(self, subset: Subset, size: int) -> Iterator[Batch]:
        """The subset in batches of at most `size` samples; the last may be smaller and weighs by its samples."""
        rows, weights = self.rows(subset), self.weights(subset).to(self.dtype)
        for start in range(rows.start, rows.stop, size):
            part = slice(start, min(start + size, rows.stop))
            yield Batch(
                self.inputs(part), self.targets(part), weights[part.start - rows.start : part.stop - rows.start]
            )

    def twin(self, subset: Subset) -> Subset | None:
        """An earlier subset with the very same samples and weights, which need not be measured twice.

        On an evenly sized split `balanced` is `all`; a group of one class is that class.
        """
        return self._twins.get(subset.name)

    def vector(self) -> Tensor:
        """A copy of the measured parameters as one flat vector, (P,)."""
        return self._flat.vector()

    def weight_norm(self) -> float:
        """‖w‖ of the measured parameters, Euclidean, summed in float64."""
        return float(torch.linalg.vector_norm(self.vector().double()))

    @contextlib.contextmanager
    def placed(self, vector: Tensor) -> Iterator[None]:
        """Puts the measured parameters at another point while the block runs, and back afterwards.

        Args:
            vector: The point, (P,).

        Yields:
            Nothing; the network is at `vector`.
        """
        with self._flat.placed(vector):
            yield

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of a flat vector (P,) in the shapes of the measured parameters, by name."""
        return self._flat.split(vector)

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
        other._choose(names)
        return other

    def with_loss(self, loss: LossFunction) -> Subject:
        """The same subject, sharing network and data, measured by another loss."""
        other = copy.copy(self)
        other.loss = loss
        return other

    def recalibrate(self, samples: Samples, size: int = 500) -> None:
        """Sets the BatchNorm statistics of the private copy to those of `samples` at the present weights."""
        order = torch.arange(len(samples.labels))
        recalibrate(self.network, (self._samples.on_device(samples.inputs(part)) for part in torch.split(order, size)))

    def _choose(self, names: Sequence[str] | None) -> None:
        self.subsets: tuple[Subset, ...] = choose_subsets(self._known, names)
        self._twins = find_twins(self._samples, self.subsets)


def _are_classes(targets: Tensor) -> bool:
    return targets.dim() == 1 and not targets.is_floating_point() and not targets.is_complex()


def _counts(labels: Tensor, train_counts: Sequence[int] | None) -> list[int]:
    """Training samples of each class, the data's own by default."""
    if int(labels.min()) < 0:
        raise InputError(f"label {int(labels.min())} is negative: number the classes from 0")
    if train_counts is None:
        return torch.bincount(labels.cpu().long()).tolist()
    if int(labels.max()) >= len(train_counts):
        raise InputError(f"label {int(labels.max())} is outside the {len(train_counts)} classes of train_counts")
    return [int(n) for n in train_counts]


def _kind(targets: Tensor) -> str:
    return str(targets.dtype).removeprefix("torch.")
