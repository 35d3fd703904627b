"""Long-tailed subsets: how many images each class keeps, and which.

The counts follow Cui et al., "Class-Balanced Loss Based on Effective Number of Samples" (CVPR 2019), in the form
of Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss" (NeurIPS 2019), appendix.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from foundation.errors import InputError, one_of

IMBALANCE_TYPES = ("exp", "step")


def class_counts(largest: int, classes: int, imbalance: float, kind: str = "exp") -> list[int]:
    """How many images each class keeps, in label order.

    Args:
        largest: n_max, images of the first class.
        classes: C.
        imbalance: IR, the largest count over the smallest; 1 keeps the classes equal.
        kind: `"exp"`: n_c = int(n_max · IR^(-c/(C-1))). `"step"`: the first half of the classes keeps n_max, the
            second int(n_max / IR).

    Returns:
        The C counts, descending.

    Raises:
        InputError: The imbalance is below 1 or would leave a class empty, or the kind is unknown.
    """
    if kind not in IMBALANCE_TYPES:
        raise one_of("imbalance type", kind, IMBALANCE_TYPES)
    if not imbalance >= 1:  # also refuses NaN
        raise InputError(f"imbalance {imbalance:g} is below 1: it is the largest class over the smallest, such as 100")
    if imbalance > largest:
        raise InputError(
            f"imbalance {imbalance:g} would leave the smallest class empty: choose at most {largest}, "
            "the images of the largest class, or natural to keep every image"
        )
    if kind == "exp":
        fractions = [imbalance ** (-c / max(classes - 1, 1)) for c in range(classes)]
    else:
        fractions = [1.0 if c < classes / 2 else 1 / imbalance for c in range(classes)]
    # The tiny addend undoes rounding below a whole number (600 · 30^-1 must be 20, whatever the libm).
    return [int(largest * fraction + 1e-9) for fraction in fractions]


def shuffled(members: Tensor, seed: int, label: int) -> Tensor:
    """One class's samples in a seeded order of its own, so that subsets of one seed are nested.

    `RandomState` is the one generator whose stream NumPy guarantees for ever; checkpoints rely on it.

    Args:
        members: (n,) int64 positions of the class's samples in the store.
        seed: The data seed.
        label: The class.

    Returns:
        (n,) int64, a permutation of `members`.
    """
    order = np.random.RandomState([seed, label]).permutation(len(members))
    return members[torch.from_numpy(order)]
