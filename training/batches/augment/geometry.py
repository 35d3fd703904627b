"""Batched crops, flips, holes and affine maps of uint8 images; each image has its own parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

PADDING = 4  # of 32×32 images (He et al., CVPR 2016)
HOLE = 16  # of 32×32 images (DeVries & Taylor, arXiv:1708.04552)


def random_crop(images: Tensor, generator: torch.Generator, *, padding: int = PADDING) -> Tensor:
    """Each image padded with black and cut to its size again at a random place.

    Args:
        images: (n, C, H, W).
        generator: On the CPU.
        padding: Pixels on each side.

    Returns:
        (n, C, H, W).
    """
    n, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    top, left = torch.randint(2 * padding + 1, (2, n, 1), generator=generator).to(images.device, non_blocking=True)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    image = torch.arange(n, device=images.device)[:, None, None]
    # Indices around a slice put the channels last: (n, H, W, C).
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability one half.

    Args:
        images: (n, C, H, W).
        generator: On the CPU.

    Returns:
        (n, C, H, W).
    """
    flips = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device, non_blocking=True) < 0.5
    return torch.where(flips, images.flip(3), images)


def cutout(images: Tensor, generator: torch.Generator, *, side: int = HOLE) -> Tensor:
    """A black square at a random place of each image, cut at the border (DeVries & Taylor, 2017).

    Args:
        images: (n, C, H, W).
        generator: On the CPU.
        side: Of the square, in pixels.

    Returns:
        (n, C, H, W).
    """
    n, _, height, width = images.shape
    y = torch.randint(height, (n, 1), generator=generator).to(images.device, non_blocking=True)
    x = torch.randint(width, (n, 1), generator=generator).to(images.device, non_blocking=True)
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    in_rows = (rows >= y - side // 2) & (rows < y + side // 2)
    in_columns = (columns >= x - side // 2) & (columns < x + side // 2)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)


def affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Pixels fetched by affine maps, nearest neighbor, black from outside, as Pillow's `Image.transform` does.

    Args:
        images: (n, C, H, W).
        matrices: (n, 2, 3) float32: output pixel (x, y) comes from input pixel M (x, y, 1), pixel centers at halves.

    Returns:
        (n, C, H, W).
    """
    n, channels, height, width = images.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device) + 0.5, torch.arange(width, device=images.device) + 0.5, indexing="ij"
    )
    points = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)  # (3, H W)
    source = (matrices @ points).floor().long()  # (n, 2, H W)
    inside = (source >= 0).all(1) & (source[:, 0] < width) & (source[:, 1] < height)
    flat = (source[:, 1] * width + source[:, 0]).where(inside, 0)
    found = images.reshape(n, channels, -1).gather(2, flat[:, None].expand(-1, channels, -1))
    return found.where(inside[:, None], 0).view(images.shape)


def shear_x(amount: Tensor) -> Tensor:
    """Maps x ← x + amount · y, (n,) to (n, 2, 3)."""
    return _matrices(amount, {(0, 1): amount})


def shear_y(amount: Tensor) -> Tensor:
    """Maps y ← y + amount · x, (n,) to (n, 2, 3)."""
    return _matrices(amount, {(1, 0): amount})


def translate_x(pixels: Tensor) -> Tensor:
    """Maps x ← x + pixels, (n,) to (n, 2, 3)."""
    return _matrices(pixels, {(0, 2): pixels})


def translate_y(pixels: Tensor) -> Tensor:
    """Maps y ← y + pixels, (n,) to (n, 2, 3)."""
    return _matrices(pixels, {(1, 2): pixels})


def rotate(degrees: Tensor, height: int, width: int) -> Tensor:
    """Rotations about the image's center, counter-clockwise as seen, (n,) to (n, 2, 3)."""
    angle = -degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    entries = {
        (0, 0): cos,
        (0, 1): sin,
        (0, 2): x - x * cos - y * sin,
        (1, 0): -sin,
        (1, 1): cos,
        (1, 2): y + x * sin - y * cos,
    }
    return _matrices(degrees, entries)


def _matrices(like: Tensor, entries: dict[tuple[int, int], Tensor]) -> Tensor:
    matrices = torch.eye(2, 3, device=like.device, dtype=torch.float32).repeat(len(like), 1, 1)
    for (row, column), values in entries.items():
        matrices[:, row, column] = values
    return matrices
