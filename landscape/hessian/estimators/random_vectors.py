"""Random vectors, drawn on the CPU so that every device gets the same ones."""

from __future__ import annotations

import torch
from torch import Tensor


def random_signs(size: int, generator: torch.Generator) -> Tensor:
    """(P,) independent signs ±1 (Rademacher), float32: the probes of smallest variance for a trace."""
    return torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8).float().mul_(2).sub_(1)
