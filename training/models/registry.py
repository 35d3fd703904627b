"""The networks by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from foundation.errors import InputError, one_of
from training.models.cnn import cnn
from training.models.network import Network
from training.models.resnet import cifar_resnet


@dataclass(frozen=True)
class Entry:
    """One network.

    Attributes:
        build: Builds it: `build(in_channels=…, classes=…, **kwargs)`.
        about: What it is, in a few words.
        paper: Where it comes from.
    """

    build: Callable[..., Network]
    about: str
    paper: str


HE = "He et al., CVPR 2016"

MODELS = {
    "cnn": Entry(cnn, "three conv–BN–ReLU blocks, 53 k parameters", "this project"),
    "resnet32": Entry(partial(cifar_resnet, depth=32), "CIFAR ResNet, option-A shortcuts, 0.46 M parameters", HE),
}


def build_model(name: str, **kwargs: Any) -> Network:
    """Builds a network.

    Args:
        name: A key of `MODELS`.
        **kwargs: `in_channels`, `classes`, `head` and the network's own options.

    Returns:
        The network, freshly initialised from the global generator.

    Raises:
        InputError: The name or an option is unknown.
    """
    if name not in MODELS:
        raise one_of("network", name, MODELS)
    try:
        return MODELS[name].build(**kwargs)
    except TypeError as error:
        raise InputError(f"network {name!r} cannot be built ({error}): check its options") from None
