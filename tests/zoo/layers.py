"""One network for each kind of layer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from tests.zoo.registry import conv, images, old, rows

for activation in (
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.LeakyReLU,
    nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink, nn.PReLU,
    nn.Identity,
):  # fmt: skip
    rows(activation.__name__, activation)
rows("GLU", nn.GLU, width=3)
rows("LayerNorm", lambda: nn.LayerNorm(6), nn.GELU)
rows("RMSNorm", lambda: nn.RMSNorm(6), nn.GELU)
rows("BatchNorm1d", lambda: nn.BatchNorm1d(6), nn.ReLU)
rows("Dropout", nn.ReLU, nn.Dropout)
rows("BatchNorm without statistics", lambda: nn.BatchNorm1d(6, track_running_stats=False))
rows("weight_norm", nn.Tanh, lambda: parametrizations.weight_norm(nn.Linear(6, 6)), nn.Tanh)
rows("spectral_norm", nn.Tanh, lambda: parametrizations.spectral_norm(nn.Linear(6, 6)), nn.Tanh)
rows("orthogonal", nn.Tanh, lambda: parametrizations.orthogonal(nn.Linear(6, 6)), nn.Tanh)
rows("old weight_norm", nn.Tanh, lambda: old(torch.nn.utils.weight_norm, nn.Linear(6, 6)), nn.Tanh)
rows("old spectral_norm", nn.Tanh, lambda: old(torch.nn.utils.spectral_norm, nn.Linear(6, 6)), nn.Tanh)
rows("pruned", nn.Tanh, lambda: prune.random_unstructured(nn.Linear(6, 6), "weight", 0.5), nn.Tanh)
images("linear", head=36)
images("conv", conv(), nn.GELU, head=144)
images("conv norm relu", conv(bias=False), lambda: nn.BatchNorm2d(4), nn.ReLU, lambda: nn.MaxPool2d(2), head=36)
images("norm conv", lambda: nn.BatchNorm2d(1), conv(), nn.SiLU, lambda: nn.AvgPool2d(2), head=36)
images("strided", conv(stride=2, dilation=2, padding=2), lambda: nn.BatchNorm2d(4), nn.ReLU, head=36)
images("grouped", conv(), conv(4, 4, groups=2), lambda: nn.BatchNorm2d(4), nn.ReLU, lambda: nn.MaxPool2d(3), head=16)
images("depthwise", conv(), conv(4, 4, groups=4), nn.Hardswish, lambda: nn.AdaptiveAvgPool2d(1), head=4)
images("reflected", conv(padding_mode="reflect"), lambda: nn.BatchNorm2d(4), nn.ReLU, lambda: nn.MaxPool2d(3), head=16)
images("same padding", conv(padding="same"), lambda: nn.BatchNorm2d(4), nn.ReLU, lambda: nn.MaxPool2d(3), head=16)
images("transposed", lambda: nn.ConvTranspose2d(1, 4, 3, stride=2), lambda: nn.BatchNorm2d(4), nn.ReLU,
       lambda: nn.AdaptiveMaxPool2d(2), head=16)  # fmt: skip
images("GroupNorm", conv(), lambda: nn.GroupNorm(2, 4), nn.ReLU, lambda: nn.AdaptiveAvgPool2d(2), head=16)
images("InstanceNorm", conv(), lambda: nn.InstanceNorm2d(4, affine=True), nn.ReLU, lambda: nn.AvgPool2d(3), head=16)
images("LocalResponseNorm", conv(), lambda: nn.LocalResponseNorm(2), nn.ReLU, lambda: nn.AvgPool2d(3), head=16)
images(
    "bilinear", conv(), lambda: nn.Upsample(scale_factor=2, mode="bilinear"), nn.GELU, lambda: nn.AvgPool2d(6), head=16
)
images("pixel shuffle", conv(), lambda: nn.PixelShuffle(2), nn.Tanh, lambda: nn.AvgPool2d(3), head=16)
images("LPPool", conv(), nn.Softplus, lambda: nn.LPPool2d(2, 3), head=16)
images("weight_norm conv", lambda: parametrizations.weight_norm(nn.Conv2d(1, 4, 3)), lambda: nn.BatchNorm2d(4), nn.ReLU,
       lambda: nn.MaxPool2d(2), head=16)  # fmt: skip
images("old weight_norm conv", lambda: old(torch.nn.utils.weight_norm, nn.Conv2d(1, 4, 3)), lambda: nn.BatchNorm2d(4),
       nn.ReLU, lambda: nn.MaxPool2d(2), head=16)  # fmt: skip
images("spectral_norm conv", lambda: parametrizations.spectral_norm(nn.Conv2d(1, 4, 3)), lambda: nn.BatchNorm2d(4),
       nn.ReLU, lambda: nn.MaxPool2d(2), head=16)  # fmt: skip
images("pruned conv", lambda: prune.random_unstructured(nn.Conv2d(1, 4, 3), "weight", 0.5), lambda: nn.BatchNorm2d(4),
       nn.ReLU, lambda: nn.MaxPool2d(2), head=16)  # fmt: skip
