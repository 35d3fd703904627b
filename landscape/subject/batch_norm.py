"""BatchNorm statistics measured afresh at the present weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape.subject.nested import Inputs


def recalibrate(network: nn.Module, batches: Iterable[Inputs]) -> None:
    """Sets every BatchNorm layer's running statistics to those of the data at the network's present weights.

    Between two trained networks neither one's running statistics describe the activations, and a barrier appears
    that is not there (Izmailov et al., "Averaging Weights Leads to Wider Optima", UAI 2018, section 3.2). Mean and
    variance are pooled over the batches by sample counts, biased, with the variance between batches included;
    inside a batch each layer normalizes by that batch, so one batch of everything is exact. Modes are restored.

    Args:
        network: Changed in place: its running statistics, nothing else.
        batches: Inputs, (n, …) each.
    """
    layers = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return
    sums: dict[_BatchNorm, tuple[int, Tensor, Tensor]] = {}

    def gather(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        values = arguments[0].detach().transpose(0, 1).flatten(1).double()
        count, first, second = sums.get(layer, (0, 0.0, 0.0))
        sums[layer] = (count + values.shape[1], first + values.sum(1), second + values.square().sum(1))

    hooks = [layer.register_forward_pre_hook(gather) for layer in layers]
    before = [(layer, layer.training, layer.momentum, layer.num_batches_tracked) for layer in layers]
    try:
        for layer in layers:
            layer.train()
            layer.momentum = 0.0  # normalize by the batch, leave the running statistics to us
            layer.num_batches_tracked = None
        with torch.no_grad():
            for inputs in batches:
                network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for layer, training, momentum, tracked in before:
            layer.train(training)
            layer.momentum, layer.num_batches_tracked = momentum, tracked
    for layer in sums:  # layers that no pass reaches keep what they have
        assert layer.running_mean is not None and layer.running_var is not None
        count, first, second = sums[layer]
        layer.running_mean.copy_(first / count)
        layer.running_var.copy_((second / count - (first / count).square()).clamp_min_(0))
