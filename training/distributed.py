"""Several processes that train one network together, started by `torchrun`; one process needs nothing of this."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from foundation.errors import InputError, LostProcessError
from training.collectives import world_size

T = TypeVar("T")


def rank() -> int:
    """This process's number, 0 for the one that writes and speaks."""
    return distributed.get_rank() if world_size() > 1 else 0


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
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


def first_here(work: Callable[[], T]) -> T:
    """Runs `work` on rank 0 before the others, so that what it fetches is there for them."""
    if rank() == 0:
        result = together(work)
    else:
        together(lambda: None)
        result = work()
    return result


def together(work: Callable[[], T]) -> T:
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


def from_rank_0(value: T) -> T:
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


def own_part(indices: Tensor) -> Tensor:
    """This rank's part of a batch: as equal as can be, in order."""
    return indices.tensor_split(world_size())[rank()]
