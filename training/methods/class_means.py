"""Counts and means over the samples of a class, without loops over classes."""

from __future__ import annotations

import torch
from torch import Tensor

from training.distributed import global_sum


def count_classes(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """How often each class occurs in the batch of all ranks, (C,), in `dtype`."""
    ones = torch.ones(labels.shape, dtype=dtype, device=labels.device)
    counts = torch.zeros(classes, dtype=dtype, device=labels.device).index_add_(0, labels, ones)
    return global_sum(counts)


def squared_mean_norms(products: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """‖mean_{i∈c} v_i‖² of every class from the products of its samples, 0 for absent classes.

    When v_i is the matrix d_i h_iᵀ, its products (d_iᵀd_j)(h_iᵀh_j) cost B² (C + d), and the C matrices of C x d class
    means are never built: with 1000 classes and 2048 features they would take 8 GB.

    Args:
        products: v_iᵀ v_j, (B, B).
        labels: (B,); rows labeled -1 are zeros and count nowhere.
        counts: Samples of each class, (C,).

    Returns:
        (C,). Rounding can leave a zero slightly negative.
    """
    within = (products * (labels[:, None] == labels[None, :])).sum(1)
    sums = torch.zeros_like(counts).index_add(0, labels.clamp(min=0), within)
    return sums / counts.clamp(min=1).square()
