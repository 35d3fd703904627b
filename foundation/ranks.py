"""The processes that `torchrun` started together, as their environment tells: how many, which one, and who speaks."""

from __future__ import annotations

import datetime
import os

_PATIENCE = datetime.timedelta(seconds=2)  # for a store that may be gone with its process


def rank() -> int:
    """This process's number among all; 0 where it is alone."""
    return int(os.environ.get("RANK", "0"))


def ranks() -> int:
    """How many processes were started together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_ranks() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def speaks_first() -> bool:
    """Whether this process is the first of all to say how it ended: what ends one ends all, and is said once.

    Where the others cannot be asked it is said in any case.
    """
    if ranks() == 1:
        return True
    try:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(host, port, is_master=False, timeout=_PATIENCE)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return bool(store.add(f"landscape/ended/{attempt}", 1) == 1)
    except (ImportError, LookupError, ValueError, RuntimeError):
        return True
