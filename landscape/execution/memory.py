"""How much memory a measurement may take, and what for: kept graphs, and vectors as long as the parameters.

What graphs are kept decides no number. A basis that does not fit whole is compressed on its way, to the same tolerance
by other steps, so that last digits depend on the budget then.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import torch

from foundation.errors import InputError
from foundation.ranks import local_ranks

SHARE = 0.5
"""Of the machine's memory, or of what is free on a GPU, where nobody says how much."""
LARGEST_BASIS = 200
"""Vectors of a Krylov basis that are enough for every spectrum met so far; more are compressed."""
LEAST_BASIS = 8
"""What one pair of each end takes."""
BASIS_SHARE = 0.5
"""Most of the budget that one basis may take; graphs, products and their float64 sums have the rest."""
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True)
class Budget:
    """What fits into the memory that a measurement may take.

    Attributes:
        graphs: Bytes for graphs that are kept.
        basis: Vectors of P numbers that a Krylov basis may hold.
    """

    graphs: int
    basis: int

    @staticmethod
    def of(total: int, size: int, dtype: torch.dtype) -> Budget:
        """Divides memory: the basis first, and graphs have what it leaves.

        Args:
            total: Bytes.
            size: Parameters, P.
            dtype: Of a vector.

        Returns:
            The budget.

        Raises:
            InputError: It holds fewer vectors than any basis needs.
        """
        each = max(1, size * torch.finfo(dtype).bits // 8)
        count = min(LARGEST_BASIS, int(BASIS_SHARE * total) // each)
        if count < min(LEAST_BASIS, size):
            needed = LEAST_BASIS * each / BASIS_SHARE
            raise InputError(
                f"{total / 2**30:.3g} GiB of memory leave room for {count} vectors of {size:,} parameters, of "
                f"{LEAST_BASIS} needed: give --memory {needed / 2**30:.1f}G or more, or measure fewer parameters"
            )
        return Budget(total - min(count, size) * each, count)


def available(device: torch.device) -> int:
    """Bytes for graphs and a basis where nobody says how many: a share of the device's, or of this rank's part."""
    own = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else physical() // local_ranks()
    return int(SHARE * own)


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
