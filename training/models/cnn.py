"""The small network for minutes on a CPU: three conv–BN–ReLU blocks, 53 k parameters on 28×28 gray images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from foundation.errors import one_of
from training.models.network import Network
from training.models.pooling import GlobalAverage

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}
WIDTHS = (24, 48, 96)


def cnn(
    *,
    in_channels: int = 1,
    classes: int = 10,
    widths: Sequence[int] = WIDTHS,
    activation: str = "relu",
    batch_norm: bool = True,
    **head: Any,
) -> Network:
    """3×3 convolutions of growing width, 2×2 max-pooling between them, a global average at the end.

    Args:
        in_channels: Channels of the images.
        classes: C.
        widths: Channels of the blocks; the last is d.
        activation: `"relu"`, or `"gelu"` where the loss should have second derivatives everywhere.
        batch_norm: False leaves the normalization out.
        **head: `head` and `scale` of the classifier.

    Returns:
        The network.

    Raises:
        InputError: The activation or head is unknown.
    """
    if activation not in ACTIVATIONS:
        raise one_of("activation", activation, ACTIVATIONS)
    layers: list[nn.Module] = []
    before = in_channels
    for width in widths:
        if layers:
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.Conv2d(before, width, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(ACTIVATIONS[activation]())
        before = width
    return Network(nn.Sequential(*layers, GlobalAverage()), before, classes, **head)
