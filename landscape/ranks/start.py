"""How a command joins the other processes that `torchrun` started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import distributed

from foundation import ranks
from foundation.errors import InputError
from landscape.ranks.team import Team, present_team


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Team | None]:
    """Joins the other ranks, if there are any, while the block runs.

    Args:
        device: Where this rank measures; it decides between NCCL and gloo.

    Yields:
        The team; None where this process is alone.

    Raises:
        InputError: The environment speaks of several processes and does not say where they meet.
    """
    if ranks.ranks() == 1 or distributed.is_initialized():
        yield present_team()
        return
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise InputError(
            f"WORLD_SIZE is {ranks.ranks()} and {missing[0]} is not set: start the ranks with torchrun, or "
            "unset WORLD_SIZE"
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(threads())
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield present_team()
    finally:
        distributed.destroy_process_group()


def threads() -> int:
    """Threads of each rank on this machine: what the user set, else an equal share of the processors.

    `torchrun` itself sets OMP_NUM_THREADS to 1 where nobody has, which is therefore taken for no wish.
    """
    asked = int(os.environ.get("OMP_NUM_THREADS", "1"))
    if asked > 1:
        return asked
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, here // ranks.local_ranks())
