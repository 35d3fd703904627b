"""CIFAR ResNets (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2).

6n+2 layers, widths 16/32/64, and the parameter-free shortcut "option A": where the width doubles, the input is
subsampled by two and padded with zero channels. ResNet-32 has 0.46 M parameters on CIFAR-10.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundation.errors import InputError, one_of
from training.models.heads import Classifier, Cosine
from training.models.network import Network
from training.models.pooling import GlobalAverage

INITS = ("torch", "cao")


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut.

    Args:
        before: Channels of the input.
        width: Channels of the output.
        stride: 2 halves the image.
    """

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.added = stride, width - before

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) to (B, width, H/stride, W/stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.added:
            half = self.added // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.added - half))
        return F.relu(out + x)


def cifar_resnet(
    *, depth: int, in_channels: int = 3, classes: int = 10, width: int = 16, init: str = "torch", **head: Any
) -> Network:
    """A ResNet for small images.

    Args:
        depth: Layers: 6n+2.
        in_channels: Channels of the images.
        classes: C.
        width: Channels of the first stage; the last has four times as many, d.
        init: How the classifier begins: `"torch"`, as nn.Linear does, or `"cao"` as in LDAM-DRW's code
            (models/resnet_cifar.py): normal with variance 2/d, or of a cosine classifier uniform in direction cosines.
        **head: `head` and `scale` of the classifier.

    Returns:
        The network.

    Raises:
        InputError: The depth is none of 6n+2, or the beginning is unknown.
    """
    if init not in INITS:
        raise one_of("init", init, INITS)
    if depth < 8 or (depth - 2) % 6:
        raise InputError(f"depth {depth} of a CIFAR ResNet is none of 6n+2: choose 20, 32, 44, 56 or 110")
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    before = width
    for stage in range(3):
        after = width * 2**stage
        for block in range((depth - 2) // 6):
            layers.append(Block(before, after, stride=2 if stage and not block else 1))
            before = after
    body = nn.Sequential(*layers, GlobalAverage())
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # He et al., ICCV 2015, as the paper's section 4.2 says
    network = Network(body, before, classes, **head)
    if init == "cao":
        _begin_as_cao(network.classifier)
    return network


@torch.no_grad()
def _begin_as_cao(classifier: Classifier) -> None:
    if isinstance(classifier, nn.Linear):
        nn.init.kaiming_normal_(classifier.weight)
    elif isinstance(classifier, Cosine):
        nn.init.uniform_(classifier.weight, -1, 1)
        classifier.weight.copy_(F.normalize(classifier.weight))
