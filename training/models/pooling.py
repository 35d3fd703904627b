"""The global average that ends every convolutional body."""

from __future__ import annotations

from torch import Tensor, nn


class GlobalAverage(nn.Module):
    """(B, d, H, W) feature maps to (B, d) features."""

    def forward(self, maps: Tensor) -> Tensor:
        """The mean over the image."""
        return maps.mean(dim=(2, 3))
