"""What makes a penalty balanced: weights that give every class the same share, and how well they do.

`batch` averages over the classes *present* of each class's mean. A rare class is missing from most batches, so that
over an epoch it weighs less: in expectation w_c = E[1{c ∈ B} / |C_B|], see `expected_class_weights`.

`running` weighs a sample by 1 / (C N π̂_y), N the samples of the batch and π̂ the shares of the classes in the last full
epoch. Over an epoch every class then weighs 1/C; single batches vary more. π̂ *is* the class prior, learned from the
stream: "needs no class priors" is true of `batch` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from foundation.errors import one_of
from training.distributed import global_sum
from training.methods.objective import Balance, PerClassTensor

BALANCES: tuple[Balance, ...] = ("batch", "running")
DRAWS, SEED = 2_000, 0  # batches that the expected weights are simulated with, and where they come from


def check_balance(balance: str) -> Balance:
    """The balance by its name.

    Raises:
        InputError: There is none of that name.
    """
    for known in BALANCES:
        if balance == known:
            return known
    raise one_of("balance", balance, BALANCES)


class RunningShares:
    """π̂: how often each class was drawn in the last full epoch, on all ranks together.

    Args:
        classes: C.
        device: Where labels are; counting makes no GPU wait.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.shares: PerClassTensor | None = None
        self._counts = torch.zeros(classes, device=device)

    @property
    def values(self) -> Tensor | None:
        """π̂ as numbers, (C,) float64: what an interrupted run continues with."""
        return None if self.shares is None else self.shares.values

    @values.setter
    def values(self, values: Tensor | None) -> None:
        self.shares = None if values is None else PerClassTensor(values)

    def count(self, labels: Tensor, mix: tuple[Tensor, float] | None = None) -> None:
        """Counts the labels of one step on this rank.

        Args:
            labels: (B,).
            mix: For mixed images the other labels and the share of the first ones.
        """
        share = 1.0 if mix is None else mix[1]
        self._counts.index_add_(0, labels, torch.full(labels.shape, share, device=labels.device))
        if mix is not None:
            self._counts.index_add_(0, mix[0], torch.full(labels.shape, 1 - share, device=labels.device))

    def end_epoch(self) -> None:
        """Makes what was counted the shares that hold from now on; a class never drawn counts as drawn once."""
        counts = global_sum(self._counts).double().cpu().clamp(min=1)
        self.shares = PerClassTensor(counts / counts.sum())
        self._counts.zero_()


def expected_class_weights(
    class_counts: Sequence[int], batch_size: int, *, draws: int = DRAWS, seed: int = SEED
) -> Tensor:
    """What each class weighs in a mean over the classes present, E[1{c ∈ B} / |C_B|], over the batches of an epoch.

    Args:
        class_counts: Training samples of each class, (C,).
        batch_size: Samples that a batch draws without replacement.
        draws: Simulated batches.
        seed: Of the simulation.

    Returns:
        (C,) float64, summing to 1; all equal when a batch holds everything.
    """
    counts = np.asarray(class_counts, dtype=np.int64)
    if batch_size >= counts.sum():
        return torch.full((len(counts),), 1 / len(counts), dtype=torch.float64)
    random = np.random.Generator(np.random.PCG64(seed))
    present = random.multivariate_hypergeometric(counts, batch_size, size=draws, method="marginals") > 0
    return torch.from_numpy((present / present.sum(1, keepdims=True)).mean(0))
