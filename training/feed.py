"""Batches on the device: from images that live there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from training.data import Split

EVALUATION_BATCH = 250


class Resident:
    """A split whose images stay on the device as uint8, four times smaller than as floats.

    Args:
        split: The split.
        device: Where batches are wanted.
        dtype: Of the batches.
        channels_last: Whether batches are in NHWC order.
    """

    def __init__(self, split: Split, device: torch.device, *, dtype: torch.dtype, channels_last: bool) -> None:
        self._pixels = split.pixels(torch.arange(len(split))).to(device)
        self.labels = split.labels.to(device)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        # (pixel/255 - mean)/std as one multiply-add
        scale = 1 / (255 * torch.tensor(split.std, dtype=torch.float64))
        shift = -torch.tensor(split.mean, dtype=torch.float64) / torch.tensor(split.std, dtype=torch.float64)
        self._scale, self._shift = (v.to(device, dtype).view(1, -1, 1, 1) for v in (scale, shift))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Some images and their labels.

        Args:
            indices: (b,) int64 positions in the split, on the device.

        Returns:
            Normalised images (b, C, H, W) and labels (b,).
        """
        pixels = self._pixels[indices].contiguous(memory_format=self._format)
        return pixels * self._scale + self._shift, self.labels[indices]

    def evaluation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole split in its own order.

        Yields:
            Normalised images and labels, some hundred at a time.
        """
        everything = torch.arange(len(self), device=self.labels.device)
        for start in range(0, len(self), EVALUATION_BATCH):
            yield self.batch(everything[start : start + EVALUATION_BATCH])
