"""Classifiers: the last layer, linear or cosine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundation.errors import one_of

HEADS = ("linear", "cosine")


class Cosine(nn.Module):
    """Logits s · cos(w_c, h): features and class weights normalised (Cao et al., NeurIPS 2019, section 3.1).

    Args:
        features: d.
        classes: C.
        scale: s; 30 in the paper's code.
    """

    def __init__(self, features: int, classes: int, *, scale: float = 30.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(classes, features))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Linear; only the directions matter

    def forward(self, features: Tensor) -> Tensor:
        """(B, d) features to (B, C) logits, the scale included."""
        return self.scale * F.linear(F.normalize(features), F.normalize(self.weight))


Classifier = nn.Linear | Cosine


def classifier(head: str, features: int, classes: int, *, scale: float = 30.0) -> Classifier:
    """A classifier by name.

    Args:
        head: `"linear"` or `"cosine"`.
        features: d.
        classes: C.
        scale: s of the cosine classifier.

    Returns:
        The module; its `weight` is (C, d).

    Raises:
        InputError: The name is unknown.
    """
    if head not in HEADS:
        raise one_of("head", head, HEADS)
    return nn.Linear(features, classes) if head == "linear" else Cosine(features, classes, scale=scale)
