"""Classifiers: the last layer, linear or cosine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundation.errors import one_of

HEADS = ("linear", "cosine")


class Cosine(nn.Module):
    """Logits s · cos(w_c, h): features and class weights normalized (Cao et al., NeurIPS 2019, section 3.1).

    Args:
        features: d.
        classes: C.
        scale: s; 30 in the paper's code.
    """

    def __init__(self, features: int, classes: int, *, scale: float = 30.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(classes, features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights as nn.Linear does; only their directions matter."""
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """(B, d) features to (B, C) logits, the scale included."""
        return self.scale * F.linear(F.normalize(features), F.normalize(self.weight))


class Scaled(nn.Module):
    """A linear classifier and one factor a class, s_c (w_c·h + b_c): what LWS learns (Kang et al., ICLR 2020).

    Args:
        linear: The classifier.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.scales = nn.Parameter(torch.ones_like(linear.weight[:, 0]))

    @property
    def weight(self) -> Tensor:
        """(C, d), the factors included."""
        return self.scales[:, None] * self.linear.weight

    def forward(self, features: Tensor) -> Tensor:
        """(B, d) features to (B, C) logits."""
        logits: Tensor = self.scales * self.linear(features)
        return logits


Classifier = nn.Linear | Cosine | Scaled


def classifier(head: str, features: int, classes: int, *, scale: float = 30.0) -> nn.Linear | Cosine:
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
