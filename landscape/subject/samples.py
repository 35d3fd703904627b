"""Data in a fixed order: every sample belongs to one stratum, and subsets are made of whole strata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from landscape.subject.nested import Inputs, cast, chosen, sample_bytes

RESIDENT_BYTES = 8 << 30
"""Inputs up to this size are kept on the device; larger ones are fetched batch by batch."""


class Samples(Protocol):
    """Data in a fixed order, the same tensors at every call: no augmentation, no shuffling."""

    @property
    def labels(self) -> Tensor:
        """Class of each sample, (N,) int64, or whatever the loss compares with, (N, …)."""

    def inputs(self, indices: Tensor) -> Inputs:
        """The network's inputs for some samples.

        Args:
            indices: Which, (n,) int64.
        """


@dataclass(frozen=True)
class TensorSamples:
    """Samples that are already tensors.

    Attributes:
        data: Inputs, (N, …); also tuples and dictionaries of them.
        labels: Classes, (N,) int64, or other targets, (N, …).
    """

    data: Inputs
    labels: Tensor

    def inputs(self, indices: Tensor) -> Inputs:
        """The inputs of some samples, (n, …)."""
        return chosen(self.data, indices)


@dataclass(frozen=True)
class Batch:
    """Some samples of a subset.

    Attributes:
        inputs: (n, …) on the subject's device.
        targets: Classes, (n,) int64, or other targets, (n, …).
        weights: (n,) in the subject's dtype; over all batches of a subset they sum to 1.
    """

    inputs: Inputs
    targets: Tensor
    weights: Tensor


class SortedSamples:
    """Samples sorted by stratum, so that a subset of strata that follow each other is one range of rows.

    Classes are strata, from head to tail. Subsets that overlap are unions of the parts into which they cut the data;
    where those do not follow each other, the subset's rows are listed once more, behind all others, and stand for the
    same samples.

    Args:
        samples: In any order.
        strata: The stratum of each, (N,) int64.
        order: All strata, as they are sorted.
        dtype: Of floating-point inputs and targets.
        device: Where they go.

    Attributes:
        labels: Strata of the sorted samples, (N,) int64 on the device.
        head_to_tail: As given.
        ranges: The rows of each stratum.
        places: The sorted sample behind each row, those listed once more too.
    """

    def __init__(
        self, samples: Samples, strata: Tensor, order: Sequence[int], *, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._samples, self._dtype, self._device = samples, dtype, device
        self.head_to_tail = list(order)
        rank = torch.empty(len(order), dtype=torch.int64)
        rank[self.head_to_tail] = torch.arange(len(order))
        self._rank = rank.tolist()
        self._order = torch.argsort(rank[strata], stable=True)
        self.labels = strata[self._order].to(device)
        targets = samples.labels.cpu()[self._order]
        whole = targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool
        self._targets = cast(targets if whole else targets.long(), dtype, device)
        counts = torch.bincount(rank[strata], minlength=len(order))  # by rank, head first
        ends = torch.cumsum(counts, 0).tolist()
        self.ranges = {c: slice(e - int(n), e) for c, e, n in zip(self.head_to_tail, ends, counts, strict=True)}
        self._again: dict[tuple[int, ...], slice] = {}
        self.places = torch.arange(len(strata))
        first = samples.inputs(self._order[:1])
        self._resident: Inputs | None = None
        if sample_bytes(first) * len(strata) <= RESIDENT_BYTES:
            self._resident = self.on_device(samples.inputs(self._order))

    def rows(self, strata: Sequence[int]) -> slice:
        """The range of rows of some strata, in their order."""
        ranks = [self._rank[c] for c in strata]
        if ranks == list(range(ranks[0], ranks[0] + len(ranks))):
            return slice(self.ranges[strata[0]].start, self.ranges[strata[-1]].stop)
        key = tuple(strata)
        if key not in self._again:
            more = torch.cat([torch.arange(self.ranges[c].start, self.ranges[c].stop) for c in strata])
            self._again[key] = slice(len(self.places), len(self.places) + len(more))
            self.places = torch.cat([self.places, more])
        return self._again[key]

    def inputs(self, rows: slice | Tensor) -> Inputs:
        """Inputs of some rows, (n, …) on the device, floating point in the dtype."""
        return self.fetched(rows) if self._resident is None else chosen(self._resident, self._sorted(rows))

    def targets(self, rows: slice | Tensor) -> Tensor:
        """Their targets, (n, …) on the device."""
        found: Tensor = self._targets[self._sorted(rows)]
        return found

    def fetched(self, rows: slice | Tensor) -> Inputs:
        """The inputs, fetched anew from the data."""
        return self.on_device(self._samples.inputs(self._order[self._sorted(rows)]))

    def few(self, most: int) -> Tensor:
        """Up to so many rows, ascending: the first of every stratum as far as they reach, others evenly in between."""
        firsts = torch.tensor([r.start for r in self.ranges.values() if r.stop > r.start])
        firsts = firsts[torch.linspace(0, len(firsts) - 1, min(most, len(firsts))).long()]
        more = torch.linspace(0, len(self._order) - 1, min(most, len(self._order))).long()
        others = more[~torch.isin(more, firsts)]
        spare = min(most - len(firsts), len(others))
        others = others[torch.linspace(0, len(others) - 1, spare).long()] if spare else others[:0]
        return torch.cat([firsts, others]).sort().values

    def on_device(self, inputs: Inputs) -> Inputs:
        """Inputs on the device, floating point in the dtype."""
        return cast(inputs, self._dtype, self._device)

    def _sorted(self, rows: slice | Tensor) -> slice | Tensor:
        """Rows among the sorted samples."""
        every = len(self._order)
        if isinstance(rows, slice):
            return rows if rows.stop is None or rows.stop <= every else self.places[rows]
        return self.places[rows.cpu()] if len(rows) and int(rows.max()) >= every else rows
