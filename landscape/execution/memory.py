"""How much memory the kept graphs of a measurement may take.

The budget decides what is kept, never in which order sums are made: the same command gives the same numbers on a
machine with more of it.
"""

from __future__ import annotations

import os
import re

import torch

from foundation.errors import InputError

SHARE = 0.5
"""Of the machine's memory, or of what is free on a GPU, where nobody says how much."""
LARGEST_BASIS = 200
"""Vectors of a Krylov basis that are enough for every spectrum met so far; more are compressed."""
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def for_graphs(total: int, size: int, dtype: torch.dtype) -> int:
    """What a Krylov basis leaves for graphs.

    Args:
        total: Bytes of memory for both.
        size: Parameters, P.
        dtype: Of a vector.

    Returns:
        Bytes; 0 where the basis alone may take more, which this does not bound.
    """
    return max(0, total - min(LARGEST_BASIS, size) * size * torch.finfo(dtype).bits // 8)


def available(device: torch.device) -> int:
    """Bytes for graphs and a basis where nobody says how many: a share of the device's."""
    return int(SHARE * (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else physical()))


def physical() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def parse_bytes(text: str) -> int:
    """Bytes from `8G`, `500M` or a plain number.

    Args:
        text: What was given.

    Returns:
        The bytes.

    Raises:
        InputError: It is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise InputError(f"--memory {text!r} is no amount of memory: give one such as 8G or 500M")
    return int(float(found[1]) * UNITS[found[2].upper()])
