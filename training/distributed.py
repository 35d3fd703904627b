"""Several processes that train one network together, started by `torchrun`; one process needs nothing of this.

Gradients flow through `global_sum` and `gather_rows`. Every rank goes on to compute the same objective from a sum over
ranks, so the gradients that arrive at that sum are equal on all of them and their sum is `world size × own`: the
backward pass needs no communication. Averaged over ranks by `DistributedDataParallel`, gradients are then exactly those
of the objective over the global batch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable

from foundation.errors import InputError, LostProcessError

T = TypeVar("T")


def world_size() -> int:
    """How many ranks train together, 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number, 0 for the one that writes and speaks."""
    return distributed.get_rank() if world_size() > 1 else 0


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the other processes that `torchrun` started, if any, while the block runs.

    Args:
        device: Where this process trains; it decides between NCCL and gloo.

    Yields:
        Nothing.

    Raises:
        LostProcessError: Another process of the run is gone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    except RuntimeError as error:  # what the backends raise when a peer is gone
        if not any(word in str(error).lower() for word in ("connection", "peer", "gloo", "nccl", "timed out")):
            raise
        raise LostProcessError(
            "another process of this run has ended: the work so far is kept, the same command continues it"
        ) from error
    finally:
        distributed.destroy_process_group()


def rank_zero_first(work: Callable[[], T]) -> T:
    """Runs `work` on rank 0 before the others, so that what it fetches is there for them."""
    if rank() == 0:
        result = raise_on_all_ranks(work)
    else:
        raise_on_all_ranks(lambda: None)
        result = work()
    return result


def raise_on_all_ranks(work: Callable[[], T]) -> T:
    """Runs `work` everywhere; an input error on rank 0 becomes every rank's.

    Args:
        work: What rank 0 does; the others' results are their own.

    Returns:
        What `work` returned here.

    Raises:
        InputError: Rank 0's.
    """
    if world_size() == 1:
        return work()
    problem: list[str | None] = [None]
    result: Any = None
    try:
        result = work()
    except InputError as error:
        problem = [str(error)]
    distributed.broadcast_object_list(problem, src=0)
    if problem[0] is not None:
        raise InputError(problem[0])
    return result  # type: ignore[no-any-return]


def from_rank_zero(value: T) -> T:
    """Rank 0's value, on every rank."""
    if world_size() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def share_buffers(network: nn.Module) -> None:
    """Gives every rank the running statistics of rank 0, before they are looked at."""
    if world_size() > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


def shard(indices: Tensor) -> Tensor:
    """This rank's part of a batch: as equal as can be, in order."""
    return indices.tensor_split(world_size())[rank()]


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
        distributed.all_gather(list(everyone.chunk(world_size())), padded)
        return everyone

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.start : ctx.start + ctx.local] * world_size(), None


def longest_shard(size: int) -> int:
    """The most samples that `shard` gives any rank of a batch of `size`."""
    return -(-size // world_size())


def gather_rows(values: Tensor, labels: Tensor, longest: int | None = None) -> tuple[Tensor, Tensor]:
    """The rows of all ranks; themselves without a process group.

    Shards may be unequal: the shorter ones are filled up with rows of zeros whose label is -1.

    Args:
        values: (b, k), this rank's rows.
        labels: (b,), their labels.
        longest: The most rows that any rank has, the same on every rank; None to ask the others, for which the host
            waits.

    Returns:
        The values (B, k), differentiable once, and the labels (B,) of all ranks.
    """
    if world_size() == 1:
        return values, labels
    if longest is None:
        rows = torch.tensor(labels.shape[0], device=labels.device)
        distributed.all_reduce(rows, distributed.ReduceOp.MAX)
        longest = int(rows)
    everyone: Tensor = _GatherRows.apply(values, longest)
    shifted: Tensor = _GatherRows.apply(labels + 1, longest)
    return everyone, shifted - 1
