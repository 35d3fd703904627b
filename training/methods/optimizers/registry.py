"""Optimizers that perturb the weights before they step, around any base optimizer; one family a file."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from training.methods.method import Method
from training.methods.optimizers.base import Losses, Perturbing, Plain, Stepper
from training.methods.optimizers.gaussian import GNM
from training.methods.optimizers.gradient_norm import GNP, BGPParameters
from training.methods.optimizers.imbsam import SSESAM, FocalSAM, ImbSAM
from training.methods.optimizers.sam import ASAM, GSAM, SAM

__all__ = ["Losses", "Plain", "Stepper", "build_stepper"]

PERTURBING: dict[str, type[Perturbing]] = {
    "sam": SAM,
    "asam": ASAM,
    "gsam": GSAM,
    "gnp": GNP,
    "imbsam": ImbSAM,
    "focal-sam": FocalSAM,
    "sse-sam": SSESAM,
    "gnm": GNM,
    "bgp-parameters": BGPParameters,
}


def build_stepper(method: Method, optimizer: Optimizer, network: nn.Module, *, clip: float = 0.0) -> Stepper:
    """What takes a method's training steps.

    Args:
        method: The method; its `optimizer` names the perturbing optimizer, if it has one.
        optimizer: The base optimizer.
        network: The network that is trained, wrapped in `DistributedDataParallel` or not.
        clip: Largest norm of the gradient that the base optimizer steps with; 0 for any.

    Returns:
        The plain optimizer or the method's perturbing one around it.
    """
    if method.optimizer is None:
        return Plain(optimizer, clip=clip)
    return PERTURBING[method.optimizer.name](method, optimizer, network, clip=clip, **method.optimizer.kwargs)
