"""Class-labeled data in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


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
