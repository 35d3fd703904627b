"""Images with the channels innermost in memory, as convolutions on a CPU take them fastest, where a network runs so."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from landscape.execution.agreement import AGREEMENT
from landscape.subject.nested import Inputs
from landscape.subject.subject import Subject

_runs: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def packed(subject: Subject, inputs: Inputs) -> Inputs:
    """Inputs in the layout that a subject's network takes fastest.

    Args:
        subject: Whose network they go through; it is tried once (`x.view(n, -1)` behind a convolution refuses).
        inputs: (n, …).

    Returns:
        The same numbers.
    """
    if not isinstance(inputs, Tensor) or inputs.dim() != 4 or inputs.device.type != "cpu":
        return inputs
    network = subject.network
    if network not in _runs:
        example = subject.inputs(subject.few(2))
        with torch.no_grad():
            theirs = network(example)
            try:
                ours = network(channels_last(example))
                _runs[network] = not bool((ours - theirs).abs().max() > AGREEMENT * theirs.abs().max())
            except RuntimeError:
                _runs[network] = False
    return channels_last(inputs) if _runs[network] else inputs


def channels_last(images: Tensor) -> Tensor:
    """Images (n, C, H, W) with the channels innermost in memory, also where C is 1.

    `Tensor.contiguous` leaves the strides of a single channel ambiguous; convolutions then answer in NCHW, and a
    max-pooling after them takes 13 times as long on a CPU (3.79 against 0.26 ms for 64 images of 24 × 28 × 28).
    """
    n, c, h, w = images.shape
    packed = images.contiguous(memory_format=torch.channels_last)
    return packed.as_strided((n, c, h, w), (c * h * w, 1, w * c, c))
