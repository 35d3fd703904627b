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
SUBSETS = ("nested", "cao")


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


def shuffled_classes(labels: Tensor, classes: int, *, seed: int, subset: str = "nested") -> list[Tensor]:
    """Each class's samples in a seeded order, of which a long tail keeps the first.

    In both kinds subsets of one seed are nested, whatever their imbalance. `RandomState` is the one generator whose
    stream NumPy guarantees for ever; checkpoints rely on it.

    Args:
        labels: (N,) int64 of the store.
        classes: C.
        seed: The data seed.
        subset: `"nested"`: each class has a generator of its own. `"cao"`: one generator shuffles class after class, as
            in the code of Cao et al. (kaidic/LDAM-DRW, imbalance_cifar.py; their seed is 0): the images of the field's
            published numbers.

    Returns:
        C tensors of int64 positions.

    Raises:
        InputError: The subset is unknown.
    """
    if subset not in SUBSETS:
        raise one_of("subset", subset, SUBSETS)
    successive = np.random.RandomState(seed)
    found = []
    for label in range(classes):
        members = (labels == label).nonzero().squeeze(1).numpy()
        if subset == "cao":
            members = members.copy()
            successive.shuffle(members)
        else:
            members = members[np.random.RandomState([seed, label]).permutation(len(members))]
        found.append(torch.from_numpy(members))
    return found
