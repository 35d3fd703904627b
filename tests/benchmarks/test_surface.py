"""What the surface benchmark says is measured as it says."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks.surface import multiplications, refine


def test_multiplications_with_padding_do_not_count() -> None:
    layers = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, groups=2),  # 5 × 7 pixels: 13 · 19 taps of 3 × 3, each way
        nn.Conv2d(6, 4, 3, stride=2),  # 2 × 3 results of 9 taps
        nn.Flatten(),
        nn.Linear(4 * 6, 10),
    )
    expected = 13 * 19 * (2 // 2) * 6 + 2 * 3 * 9 * 6 * 4
    assert multiplications(layers, torch.zeros(1, 2, 5, 7)) == expected


def test_a_known_surface_is_refined_as_the_command_would() -> None:
    b, a = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41), indexing="ij")
    saved = refine(np.stack([3 * a**2 + b**2, 0.2 + np.cos(2 * a) * np.cos(3 * b) + 1]))
    assert saved.fraction < 0.25 and saved.within >= 0.99 and saved.covered >= 0.9
