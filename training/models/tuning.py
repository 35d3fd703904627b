"""Parameter-efficient tuning: a given body stays as it is, but for small additions or its biases or norms.

| kind | what is trained beside the classifier | from |
|---|---|---|
| `lora` | B A added to weight matrices, of rank r | Hu et al., ICLR 2022 |
| `adaptformer` | a bottleneck beside each transformer block's MLP | Chen et al., NeurIPS 2022 |
| `bias` | all biases | Ben Zaken et al., ACL 2022 |
| `norm` | scales and shifts of normalization layers | |

With a cosine classifier of scale 25 and logit adjustment this is the recipe of LIFT (Shi et al., ICML 2024).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from foundation.errors import InputError, one_of
from training.models.network import Network

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
RANK, SCALE = 4, 1.0
ADAPTER_SCALE = 0.1  # s of the AdaptFormer paper


class LowRank(nn.Module):
    """W + s B A, the product shaped as W; B is 0 at first, so that the network begins as it was.

    Args:
        weight: W, of any shape whose first dimension is its outputs.
        rank: r.
        scale: s.
    """

    def __init__(self, weight: Tensor, *, rank: int, scale: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rank, inputs, dtype=weight.dtype, device=weight.device))
        self.b = nn.Parameter(torch.zeros(outputs, rank, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """W to W + s B A."""
        return weight + self.scale * (self.b @ self.a).view_as(weight)


class AdaptedMLP(nn.Module):
    """MLP(x) + s · up(ReLU(down(x))): AdaptFormer's parallel branch; up is 0 at first.

    Args:
        mlp: The block's own.
        width: Numbers of a token.
        bottleneck: Numbers between down and up.
    """

    def __init__(self, mlp: nn.Module, width: int, bottleneck: int) -> None:
        super().__init__()
        self.mlp, self.down, self.up = mlp, nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
        for tensor in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(tensor)

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, width) to (…, width)."""
        adapted: Tensor = self.mlp(tokens) + ADAPTER_SCALE * self.up(self.down(tokens).relu())
        return adapted


def tune(network: Network, kind: str, *, rank: int | None = None) -> None:
    """Freezes a network's body but for what a kind of tuning trains; the classifier stays free.

    Args:
        network: Changed in place; it still computes what it did.
        kind: A key of `KINDS`.
        rank: r of `lora` (4 by default) or the bottleneck of `adaptformer` (2^⌊log₂(C / 2L)⌋ by default, at least 1,
            for C classes and L blocks, as LIFT has it).

    Raises:
        InputError: The kind is unknown, or the body has nothing of the kind.
    """
    if kind not in KINDS:
        raise one_of("tuning", kind, KINDS)
    network.body.requires_grad_(False)
    KINDS[kind](network, rank)
    if not any(parameter.requires_grad for parameter in network.body.parameters()):
        others = ", ".join(sorted(KINDS.keys() - {kind}))
        raise InputError(f"this network has nothing that {kind} could tune: choose one of {others}")


def _lora(network: Network, rank: int | None) -> None:
    for module in list(network.body.modules()):
        names = {nn.Linear: "weight", nn.MultiheadAttention: "in_proj_weight"}
        name = next((name for kind, name in names.items() if isinstance(module, kind)), None)
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
            name = "weight"
        weight = getattr(module, name) if name else None
        if name and isinstance(weight, Tensor):
            parametrize.register_parametrization(module, name, LowRank(weight, rank=rank or RANK, scale=SCALE))


def _adaptformer(network: Network, rank: int | None) -> None:
    blocks = [module for module in network.body.modules() if isinstance(getattr(module, "mlp", None), nn.Module)]
    classes = network.classifier.weight.shape[0]
    bottleneck = rank or 2 ** max((classes // max(2 * len(blocks), 1)).bit_length() - 1, 0)
    for block in blocks:
        mlp: Any = block.mlp
        width = next(layer.in_features for layer in mlp.modules() if isinstance(layer, nn.Linear))
        like = next(mlp.parameters())
        block.mlp = AdaptedMLP(mlp, width, bottleneck).to(like.device, like.dtype)


def _bias(network: Network, rank: int | None) -> None:
    for name, parameter in network.body.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))


def _norm(network: Network, rank: int | None) -> None:
    for module in network.body.modules():
        if isinstance(module, NORMS):
            module.requires_grad_(True)


KINDS: dict[str, Callable[[Network, int | None], None]] = {
    "lora": _lora,
    "adaptformer": _adaptformer,
    "bias": _bias,
    "norm": _norm,
}
