"""The base optimizer: which one, at what rates, what decays; and what suits a network when nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from foundation.errors import InputError
from training.checkpoint import check_tensors
from training.config import Config
from training.models.registry import training_defaults

MOMENTS = ("momentum_buffer", "exp_avg", "exp_avg_sq", "step")
TABLES = ("class_token", "cls_token", "pos_embedding", "pos_embed", "relative_position_bias_table")


@dataclass(frozen=True)
class Optimization:
    """How weights are stepped, every number known. The fields are those of `Config`.

    Attributes:
        optimizer: `"sgd"` or `"adamw"`.
        lr: Base learning rate.
        weight_decay: On what `decay` says.
        decay: `"all"` parameters, or `"weights"`: matrices and kernels, no norms, biases and embeddings.
        clip: Largest norm of a step's gradient, 0 for any.
        warmup: Epochs of linear warm-up.
    """

    optimizer: str
    lr: float
    weight_decay: float
    decay: str
    clip: float
    warmup: float


def optimization(config: Config) -> Optimization:
    """What a configuration says, and the network's own where it says nothing."""
    defaults = training_defaults(config.model)
    given = {name: getattr(config, name) for name in Optimization.__dataclass_fields__}
    return Optimization(**{name: defaults[name] if value is None else value for name, value in given.items()})


def resolved(config: Config) -> Config:
    """The same run with every setting written out."""
    return replace(config, **asdict(optimization(config)))


def build_optimizer(config: Config, network: nn.Module, *, fused: bool) -> Optimizer:
    """The base optimizer of the parameters that require gradients.

    Args:
        config: What to train.
        network: Its `classifier` steps at `head_lr` times the learning rate.
        fused: One kernel for all parameters, on a GPU.

    Returns:
        The optimizer; each group's `lr_factor` is its share of the learning rate.
    """
    settings = optimization(config)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = settings.decay == "all" or (parameter.ndim > 1 and not name.endswith(TABLES))
            at_head = config.head_lr != 1 and name.startswith("classifier.")
            groups.setdefault((at_head, decays), []).append(parameter)
    described: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": settings.weight_decay if decays else 0.0,
            "lr_factor": config.head_lr if at_head else 1.0,
        }
        for (at_head, decays), parameters in sorted(groups.items(), key=lambda group: (group[0][0], not group[0][1]))
    ]
    if settings.optimizer == "adamw":
        return AdamW(described, settings.lr, fused=fused)
    return SGD(described, settings.lr, momentum=config.momentum, nesterov=config.nesterov, fused=fused)


def restore_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Gives an optimizer the moments in a file; its settings are those of the run, whatever the file says of them.

    Args:
        optimizer: Freshly built for the run.
        saved: Its former `state_dict`, not yet believed.

    Raises:
        InputError: The moments are not those of its parameters.
    """
    own, moments, groups = optimizer.state_dict(), saved.get("state"), saved.get("param_groups")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not isinstance(moments, dict) or not isinstance(groups, list):
        raise InputError("resume.pt holds no state of an optimizer: name another --out")
    numbers = [group.get("params") if isinstance(group, dict) else None for group in groups]
    if numbers != [group["params"] for group in own["param_groups"]]:
        raise InputError("resume.pt holds the optimizer of other parameters: name another --out")
    for index, parts in moments.items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(parts, dict):
            raise InputError("resume.pt holds moments of other parameters: name another --out")
        for name, part in parts.items():
            expected = torch.Size() if name == "step" else parameters[index].shape
            fits = isinstance(part, Tensor) and part.shape == expected and bool(torch.isfinite(part).all())
            if name not in MOMENTS or not (fits or (part is None and name == "momentum_buffer")):
                raise InputError(f"resume.pt holds no {name} that fits parameter {index}: name another --out")
            if isinstance(part, Tensor):
                check_tensors({name: part}, f"resume.pt, parameter {index}")
    optimizer.load_state_dict({"state": moments, "param_groups": own["param_groups"]})


class WarmingAverage(AveragedModel):
    """An exponential moving average whose decay grows to its value: min(decay, (1 + n) / (10 + n)) after n updates.

    Without it the first weights stay: at 0.999, after the 720 steps of 30 epochs, half of the average is the start.
    Averages take buffers too, counters are copied. No GPU waits in an update: what is counted is counted on the host.

    Args:
        network: What is averaged; its copy is `module`.
        decay: The largest decay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Counts the model's present weights and buffers."""
        done = int(self.n_averaged)  # on the CPU, whatever the network is on
        kept = min(self.decay, (1 + done) / (10 + done)) if done else 0.0
        averages, current = ([*m.parameters(), *m.buffers()] for m in (self.module, model))
        pairs = [(a, c) for a, c in zip(averages, current, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in pairs], [c for _, c in pairs], 1 - kept)
        for average, value in zip(averages, current, strict=True):
            if not average.is_floating_point():  # counters of BatchNorm
                average.copy_(value)
        self.n_averaged += 1
