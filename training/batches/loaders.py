"""Batches for the device: of images that live there, or of files read by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from training.batches.augment import batched_augmentation, placed_augmentation, reading_augmentation
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

    def close(self) -> None:
        """Ends the processes that read, if any; the next batches begin new ones."""


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

    def close(self) -> None:
        """See `Loader.close`."""


class FileLoader:
    """A split whose images are read from files by worker processes, ahead of their use.

    Args:
        reader: Reads this split and others.
        split: The split's name.
        normalize: Makes inputs of pixels.
        device: Where batches are wanted.
        augment: Changes a batch of pixels on the device, beside what the reader does, or None.
    """

    def __init__(
        self, reader: Reader, split: str, normalize: Normalizer, device: torch.device, augment: Augmentation | None
    ) -> None:
        self._reader, self._split, self._normalize, self._device = reader, split, normalize, device
        self._augment = augment

    def batches(self, orders: Sequence[Tensor], *, seed: int) -> Iterator[Batch]:
        """See `Loader.batches`."""
        generator = torch.Generator().manual_seed(seed)
        augment = self._augment
        changes = None if augment is None else lambda pixels: augment(pixels, generator)
        return self._placed(self._reader.read(self._split, orders, seed=seed), changes)

    def evaluation(self, positions: Tensor) -> Iterator[Batch]:
        """See `Loader.evaluation`."""
        orders = list(evaluation_parts(positions, self._device))
        return self._placed(self._reader.read(self._split, orders, seed=None))

    def close(self) -> None:
        """See `Loader.close`."""
        self._reader.close()

    def _placed(self, batches: Iterator[Batch], changes: Callable[[Tensor], Tensor] | None = None) -> Iterator[Batch]:
        for pixels, labels in batches:
            placed = pixels.to(self._device, non_blocking=True)
            placed = placed if changes is None else changes(placed)
            yield self._normalize(placed), labels.to(self._device, non_blocking=True)


def open_loaders(
    splits: Mapping[str, Split],
    device: torch.device,
    *,
    augment: str,
    workers: int,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> dict[str, Loader]:
    """The loaders that fit a data set's splits: on the device for small images, else read from files.

    Args:
        splits: By name; the training split is `"train"`, and it alone is augmented.
        device: Where batches are wanted.
        augment: A key of `training.batches.augment.AUGMENTATIONS`.
        workers: Processes that read files, for all splits together.
        dtype: Of the inputs.
        channels_last: Whether inputs are in NHWC order.

    Returns:
        A loader for each split.
    """
    files = {name: split for name, split in splits.items() if isinstance(split.store, FileStore)}
    stores = [split.store for split in files.values() if isinstance(split.store, FileStore)]
    reader = None
    if stores:
        changes = reading_augmentation(augment, stores[0].size)
        reader = Reader(files, changes, workers=workers, pinned=device.type == "cuda")
    loaders: dict[str, Loader] = {}
    for name, split in splits.items():
        normalize = Normalizer(split, device, dtype=dtype, channels_last=channels_last)
        if reader is not None and name in files:
            changes_batch = placed_augmentation(augment) if name == "train" else None
            loaders[name] = FileLoader(reader, name, normalize, device, changes_batch)
        else:
            changes_batch = batched_augmentation(augment) if name == "train" else None
            loaders[name] = DeviceLoader(split, normalize, device, changes_batch)
    return loaders
