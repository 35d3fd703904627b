"""What every analysis measures: one network, its parameters, class-sorted data and a loss."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from foundation.errors import InputError
from foundation.groups import Groups, group_classes
from landscape.subject.batch_norm import recalibrate
from landscape.subject.losses import LossFunction, cross_entropy
from landscape.subject.network import private_copy
from landscape.subject.parameters import FlatParameters, select_parameters
from landscape.subject.samples import Batch, Samples, SortedSamples
from landscape.subject.subsets import Subset, choose_subsets, every_subset, find_twins


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
        params: Glob patterns of parameter names to measure, such as `["layer3.*"]`, or `"all"`; by default those that
            require gradients.
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
        params: Sequence[str] | str | None = None,
        batch_norm: str = "eval",
        calibration: Samples | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device, self.dtype, self.loss = torch.device(device), dtype, loss
        self.classes = len(train_counts)
        self.network = private_copy(network, dtype=dtype, device=self.device)
        self._flat = FlatParameters(select_parameters(self.network, params))
        self.parameters, self.size = self._flat.named, self._flat.size
        self._samples = SortedSamples(samples, train_counts, dtype=dtype, device=self.device)
        self.labels = self._samples.labels
        self.groups: Groups = group_classes(train_counts)
        names = class_names or [str(c) for c in range(self.classes)]
        self._known = every_subset(self._samples, train_counts, names, self.groups)
        self.absent = tuple(s.name for s in self._known if s.measured_count == 0)
        self._choose(subsets)
        self.batch_norm, self.calibration = batch_norm, calibration or samples
        if batch_norm == "recalibrated":
            self.recalibrate(self.calibration)
        elif batch_norm != "eval":
            raise InputError(f"unknown batch-norm mode {batch_norm!r}: choose eval or recalibrated")

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

    def inputs(self, rows: slice | Tensor) -> Tensor:
        """Inputs of some class-sorted rows, (n, …) on the device, floating point in the subject's dtype."""
        return self._samples.inputs(rows)

    def fetched(self, rows: Tensor) -> Tensor:
        """The same, fetched anew from the data."""
        return self._samples.fetched(rows)

    def few(self, most: int) -> Tensor:
        """Up to so many rows, (n,) ascending, from every class as far as they reach."""
        return self._samples.few(most)

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
        return self._twins.get(subset.name)

    def vector(self) -> Tensor:
        """A copy of the measured parameters as one flat vector, (P,)."""
        return self._flat.vector()

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
