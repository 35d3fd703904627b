"""Wide ResNets (Zagoruyko & Komodakis, BMVC 2016): pre-activation blocks, few layers, many channels."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from foundation.errors import InputError
from training.models.network import Network
from training.models.pooling import GlobalAverage


class PreActivation(nn.Module):
    """BN–ReLU–conv twice beside a shortcut, which is a 1×1 convolution where the shape changes.

    Args:
        before: Channels of the input.
        width: Channels of the output.
        stride: 2 halves the image.
    """

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, width, 1, stride=stride, bias=False) if before != width else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) to (B, width, H/stride, W/stride)."""
        active = F.relu(self.bn1(x))
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.shortcut is None else self.shortcut(active))


def wide_resnet(*, depth: int = 28, widen: int = 10, in_channels: int = 3, classes: int = 10, **head: Any) -> Network:
    """WRN-depth-widen; 28-10 has 36.5 M parameters on CIFAR-10.

    Args:
        depth: Layers: 6n+4.
        widen: k: the stages have 16k, 32k and 64k channels.
        in_channels: Channels of the images.
        classes: C.
        **head: `head` and `scale` of the classifier.

    Returns:
        The network.

    Raises:
        InputError: The depth is none of 6n+4.
    """
    if depth < 10 or (depth - 4) % 6:
        raise InputError(f"depth {depth} of a wide ResNet is none of 6n+4: choose 16, 22, 28 or 40")
    layers: list[nn.Module] = [nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)]
    before = 16
    for stage in range(3):
        width = 16 * widen * 2**stage
        for block in range((depth - 4) // 6):
            layers.append(PreActivation(before, width, stride=2 if stage and not block else 1))
            before = width
    body = nn.Sequential(*layers, nn.BatchNorm2d(before), nn.ReLU(), GlobalAverage())
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return Network(body, before, classes, **head)
