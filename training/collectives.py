"""Sums over all ranks that gradients flow through.

Every rank goes on to compute the same objective from a sum over ranks, so the gradients that arrive at that sum are
equal on all of them and their sum is `world size × own`: the backward pass needs no communication. Averaged over ranks
by `DistributedDataParallel`, gradients are then exactly those of the objective over the global batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """How many ranks train together, 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _GlobalSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        total = local.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * world_size()


def global_sum(local: Tensor) -> Tensor:
    """The sum of a tensor over all ranks; itself without a process group.

    Args:
        local: This rank's part, the same shape on every rank.

    Returns:
        The sum, the same on every rank, differentiable once.
    """
    if world_size() == 1:
        return local
    total: Tensor = _GlobalSum.apply(local)
    return total


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, rows: int) -> Tensor:
        ctx.local = local.shape[0]
        ctx.start = distributed.get_rank() * rows
        padded = local.new_zeros(rows, *local.shape[1:])
        padded[: local.shape[0]] = local
        everyone = local.new_empty(rows * world_size(), *local.shape[1:])
        distributed.all_gather_into_tensor(everyone, padded)
        return everyone

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.start : ctx.start + ctx.local] * world_size(), None


def gather_rows(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of all ranks; themselves without a process group.

    Shards may be unequal: the shorter ones are filled up with rows of zeros whose label is -1.

    Args:
        values: (b, k), this rank's rows.
        labels: (b,), their labels.

    Returns:
        The values (B, k), differentiable once, and the labels (B,) of all ranks.
    """
    if world_size() == 1:
        return values, labels
    longest = torch.tensor(labels.shape[0], device=labels.device)
    distributed.all_reduce(longest, distributed.ReduceOp.MAX)
    rows = int(longest)
    everyone: Tensor = _GatherRows.apply(values, rows)
    shifted: Tensor = _GatherRows.apply(labels + 1, rows)
    return everyone, shifted - 1
