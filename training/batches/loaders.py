"""Batches for the device: of images that live there, or of files read by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from training.batches.augment import batched_augmentation, reading_augmentation
from training.batches.file_reader import Reader
from training.data import Split
from training.data.files import FileStore

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
Batch = tuple[Tensor, Tensor]


class Loader(Protocol):
    """Where a split's batches come from."""

    def batches(self, orders: Sequence[Tensor], *, seed: int) -> Iterator[Batch]:
        """Augmented batches.

        Args:
            orders: Positions in the split, (b,) each, on the CPU.
            seed: Of the augmentation.

        Yields:
            Normalized images (b, C, H, W) and labels (b,), on the device.
        """

    def evaluation(self, positions: Tensor) -> Iterator[Batch]:
        """Batches as a network is evaluated on them, in order.

        Args:
            positions: Which samples, (n,) on the CPU.

        Yields:
            Normalized images and labels, on the device.
        """


def evaluation_parts(positions: Tensor, device: torch.device) -> Iterator[Tensor]:
    """Positions in parts that suit a device: 100 stay in a CPU's cache (twice as fast as 500), a GPU wants more."""
    size = 100 if device.type == "cpu" else 1000
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


class Normalizer:
    """Pixels (b, C, H, W) uint8 to network inputs: (pixel/255 - mean)/std as one multiplication and addition.

    Args:
        split: Whose mean and standard deviation.
        device: Where pixels are.
        dtype: Of the inputs.
        channels_last: Whether inputs are in NHWC order.
    """

    def __init__(self, split: Split, device: torch.device, *, dtype: torch.dtype, channels_last: bool) -> None:
        std = torch.tensor(split.std, dtype=torch.float64)
        shift = -torch.tensor(split.mean, dtype=torch.float64) / std
        self._scale, self._shift = (v.to(dtype).to(device).view(1, -1, 1, 1) for v in (1 / (255 * std), shift))
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, pixels: Tensor) -> Tensor:
        """Inputs (b, C, H, W) for the network."""
        return pixels.contiguous(memory_format=self._format) * self._scale + self._shift


class DeviceLoader:
    """A split whose images stay on the device as uint8, four times smaller than as floats.

    Args:
        split: The split; its images are small.
        normalize: Makes inputs of pixels.
        device: Where batches are wanted.
        augment: Changes a batch of pixels on the device, or None.
    """

    def __init__(self, split: Split, normalize: Normalizer, device: torch.device, augment: Augmentation | None) -> None:
        self._pixels = split.pixels(torch.arange(len(split))).to(device)
        self._labels = split.labels.to(device)
        self._normalize, self._augment = normalize, augment

    def batches(self, orders: Sequence[Tensor], *, seed: int) -> Iterator[Batch]:
        """See `Loader.batches`."""
        device = self._labels.device
        generator = torch.Generator().manual_seed(seed)
        # One copy to the device for the whole epoch: a copy a step would make the GPU wait.
        everything = torch.cat(list(orders)).to(device)
        end = 0
        for order in orders:
            start, end = end, end + len(order)
            indices = everything[start:end]
            pixels = self._pixels[indices]
            if self._augment is not None:
                pixels = self._augment(pixels, generator)
            yield self._normalize(pixels), self._labels[indices]

    def evaluation(self, positions: Tensor) -> Iterator[Batch]:
        """See `Loader.evaluation`."""
        device = self._labels.device
        for indices in evaluation_parts(positions.to(device), device):
            yield self._normalize(self._pixels[indices]), self._labels[indices]


class FileLoader:
    """A split whose images are read from files by worker processes, ahead of their use.

    Args:
        split: The split; its store holds files.
        normalize: Makes inputs of pixels.
        device: Where batches are wanted.
        augment: Changes an image after decoding, or None for the evaluation's resize and crop.
        workers: How many processes read.
    """

    def __init__(
        self, split: Split, normalize: Normalizer, device: torch.device, augment: nn.Module | None, workers: int
    ) -> None:
        self._normalize, self._device = normalize, device
        pinned = device.type == "cuda"
        self._training = Reader(split, augment, workers=workers, pinned=pinned)
        self._evaluating = Reader(split, None, workers=workers, pinned=pinned)

    def batches(self, orders: Sequence[Tensor], *, seed: int) -> Iterator[Batch]:
        """See `Loader.batches`."""
        return self._placed(self._training.read(orders, seed=seed))

    def evaluation(self, positions: Tensor) -> Iterator[Batch]:
        """See `Loader.evaluation`."""
        return self._placed(self._evaluating.read(list(evaluation_parts(positions, self._device)), seed=0))

    def _placed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for pixels, labels in batches:
            placed = pixels.to(self._device, non_blocking=True)
            yield self._normalize(placed), labels.to(self._device, non_blocking=True)


def open_loader(split: Split, normalize: Normalizer, device: torch.device, *, augment: str, workers: int) -> Loader:
    """The feed that fits a split: resident for small images, streamed for files.

    Args:
        split: The split.
        normalize: Makes inputs of pixels.
        device: Where batches are wanted.
        augment: A key of `training.batches.augment.AUGMENTATIONS`.
        workers: Processes that read files.

    Returns:
        The feed.
    """
    if isinstance(split.store, FileStore):
        return FileLoader(split, normalize, device, reading_augmentation(augment, split.store.size), workers)
    return DeviceLoader(split, normalize, device, batched_augmentation(augment))
