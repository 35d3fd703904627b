"""An image store: labeled images that splits choose from, in memory or in files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class ImageStore(Protocol):
    """Labeled images in a fixed order."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64 on the CPU."""

    def pixels(self, indices: Tensor) -> Tensor:
        """Images as a network is evaluated on them (resized and cropped, not yet normalized).

        Args:
            indices: (n,) int64 positions in the store.

        Returns:
            (n, C, H, W) uint8.
        """

    def fingerprint(self, indices: Tensor) -> str:
        """The SHA-256, in hexadecimal, of which samples these are: positions, labels and what else names them."""


@dataclass(frozen=True)
class MemoryStore:
    """Small images, all in memory.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
    """

    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)

    def pixels(self, indices: Tensor) -> Tensor:
        """The images themselves: they need no resizing.

        Args:
            indices: (n,) int64 positions in the store.

        Returns:
            (n, C, H, W) uint8.
        """
        return self.images[indices]

    def fingerprint(self, indices: Tensor) -> str:
        """The SHA-256 of positions and labels."""
        return fingerprint(indices, self.labels[indices])


def memory_store(images: np.ndarray, labels: np.ndarray) -> MemoryStore:
    """A store of arrays.

    Args:
        images: (N, H, W) or (N, H, W, C) uint8, as image files hold them.
        labels: (N,) of any integer type.

    Returns:
        The store, its images as (N, C, H, W).
    """
    channels_last = images[..., None] if images.ndim == 3 else images
    tensor = torch.from_numpy(channels_last.transpose(0, 3, 1, 2).copy())
    return MemoryStore(tensor, torch.from_numpy(np.asarray(labels, dtype=np.int64)))


def fingerprint(indices: Tensor, labels: Tensor, names: list[str] | None = None) -> str:
    """The SHA-256, in hexadecimal, that says which samples a split holds.

    Args:
        indices: (n,) int64 positions in the store.
        labels: (n,) int64 their labels.
        names: Their file names, where they have any.

    Returns:
        The digest of the little-endian bytes of the two tensors and of the names.
    """
    digest = hashlib.sha256()
    for tensor in (indices, labels):
        digest.update(tensor.numpy().astype("<i8").tobytes())
    for name in names or ():
        digest.update(name.encode() + b"\n")
    return digest.hexdigest()
