"""Class-labeled data in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from foundation.errors import InputError

RESIDENT_BYTES = 8 << 30
"""Inputs up to this size are kept on the device; larger ones are fetched batch by batch."""


class Samples(Protocol):
    """Class-labeled data in a fixed order, the same tensors at every call: no augmentation, no shuffling."""

    @property
    def labels(self) -> Tensor:
        """Class of each sample, (N,) int64."""

    def inputs(self, indices: Tensor) -> Tensor:
        """The network's inputs for some samples.

        Args:
            indices: Which, (n,) int64.
        """


@dataclass(frozen=True)
class TensorSamples:
    """Samples that are already tensors.

    Attributes:
        data: Inputs, (N, …).
        labels: Classes, (N,) int64.
    """

    data: Tensor
    labels: Tensor

    def inputs(self, indices: Tensor) -> Tensor:
        """The inputs of some samples, (n, …)."""
        return self.data[indices]


@dataclass(frozen=True)
class Batch:
    """Some samples of a subset.

    Attributes:
        inputs: (n, …) on the subject's device.
        labels: (n,) int64.
        weights: (n,) in the subject's dtype; over all batches of a subset they sum to 1.
    """

    inputs: Tensor
    labels: Tensor
    weights: Tensor


class SortedSamples:
    """Samples sorted by class, head to tail, so that every subset is one contiguous range of rows.

    Args:
        samples: In any order.
        train_counts: Training samples of each class, (C,): they order the classes.
        dtype: Of floating-point inputs.
        device: Where the inputs go.

    Raises:
        InputError: There are no samples, or a label is outside the classes.

    Attributes:
        labels: Classes of the sorted samples, (N,) int64 on the device.
        head_to_tail: The classes, (C,).
        ranges: The rows of each class.
    """

    def __init__(
        self, samples: Samples, train_counts: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> None:
        labels, classes = samples.labels.cpu().long(), len(train_counts)
        if labels.numel() == 0:
            raise InputError("there are no samples to measure: give a split that has some")
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise InputError(f"label {int(labels.max())} is outside the {classes} classes of train_counts")
        self._samples, self._dtype, self._device = samples, dtype, device
        self.head_to_tail = sorted(range(classes), key=lambda c: (-train_counts[c], c))
        rank = torch.empty(classes, dtype=torch.int64)
        rank[self.head_to_tail] = torch.arange(classes)
        self._order = torch.argsort(rank[labels], stable=True)
        self.labels = labels[self._order].to(device)
        counts = torch.bincount(rank[labels], minlength=classes)  # by rank, head first
        ends = torch.cumsum(counts, 0).tolist()
        self.ranges = {c: slice(e - int(n), e) for c, e, n in zip(self.head_to_tail, ends, counts, strict=True)}
        first = samples.inputs(self._order[:1])
        self._resident: Tensor | None = None
        if first.numel() * first.element_size() * len(labels) <= RESIDENT_BYTES:
            self._resident = self.on_device(samples.inputs(self._order))

    def rows(self, classes: Sequence[int]) -> slice:
        """The range of rows of some classes that follow each other, head first."""
        return slice(self.ranges[classes[0]].start, self.ranges[classes[-1]].stop)

    def inputs(self, rows: slice | Tensor) -> Tensor:
        """Inputs of some rows, (n, …) on the device, floating point in the dtype."""
        return self.fetched(rows) if self._resident is None else self._resident[rows]

    def fetched(self, rows: slice | Tensor) -> Tensor:
        """The same, fetched anew from the data."""
        return self.on_device(self._samples.inputs(self._order[rows]))

    def few(self, most: int) -> Tensor:
        """Up to so many rows, ascending: the first of every class as far as they reach, others evenly in between."""
        firsts = torch.tensor([r.start for r in self.ranges.values() if r.stop > r.start])
        firsts = firsts[torch.linspace(0, len(firsts) - 1, min(most, len(firsts))).long()]
        more = torch.linspace(0, len(self._order) - 1, min(most, len(self._order))).long()
        others = more[~torch.isin(more, firsts)]
        spare = min(most - len(firsts), len(others))
        others = others[torch.linspace(0, len(others) - 1, spare).long()] if spare else others[:0]
        return torch.cat([firsts, others]).sort().values

    def on_device(self, inputs: Tensor) -> Tensor:
        """Inputs on the device, floating point in the dtype."""
        return inputs.to(device=self._device, dtype=self._dtype if inputs.is_floating_point() else inputs.dtype)
