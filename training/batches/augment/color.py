"""Batched color operations on uint8 images, as in Pillow's `ImageEnhance` and `ImageOps`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, as torchvision rounds it


def blend(images: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    """Blends: others + factor · (images - others), cut to bytes.

    Args:
        images: (n, C, H, W) uint8.
        others: What factor 0 gives, float32, broadcastable to the images.
        factor: (n,).

    Returns:
        (n, C, H, W) uint8.
    """
    factor = factor.view(-1, 1, 1, 1)
    return (factor * images + (1 - factor) * others).clamp(0, 255).to(torch.uint8)


def gray(images: Tensor) -> Tensor:
    """(n, C, H, W) uint8 to the luma (n, 1, H, W), float32 whole numbers; of one channel that channel itself."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = (images[:, channel : channel + 1] * weight for channel, weight in enumerate(LUMA))
    return (red + green + blue).floor()


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Toward black at 0, unchanged at 1."""
    return blend(images, torch.zeros((), device=images.device), factor)


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Toward gray at 0, unchanged at 1."""
    return blend(images, gray(images), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Toward the image's mean luma at 0, unchanged at 1."""
    return blend(images, gray(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Toward a smoothed image at 0, unchanged at 1; the border pixels stay."""
    channels = images.shape[1]
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    smooth = F.conv2d(images.float(), (kernel / 13).expand(channels, 1, 3, 3), groups=channels).round()
    others = images.float()
    others[:, :, 1:-1, 1:-1] = smooth
    return blend(images, others, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the highest `bits` bits of each byte."""
    mask = (256 - 2 ** (8 - bits.long())).to(torch.uint8)
    return images & mask.view(-1, 1, 1, 1)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts bytes at or above the threshold."""
    return torch.where(images >= threshold.view(-1, 1, 1, 1), 255 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretches each channel to 0..255; a flat channel stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    span = (high - low).float()
    stretched = (images - low) * (255 / span.clamp(min=1))
    return torch.where(span > 0, stretched.clamp(0, 255).to(torch.uint8), images)


def equalize(images: Tensor) -> Tensor:
    """Equalises each channel's histogram as Pillow does; a flat channel stays."""
    n, channels, height, width = images.shape
    flat = images.reshape(n * channels, -1).long()
    counts = torch.zeros(n * channels, 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    # Pillow leaves the last occupied bin out of the step.
    last = flat.amax(1, keepdim=True)
    step = (height * width - counts.gather(1, last)) // 255
    table = ((counts.cumsum(1) - counts) + step // 2) // step.clamp(min=1)
    found = table.clamp(max=255).gather(1, flat)
    return torch.where(step > 0, found, flat).to(torch.uint8).view(images.shape)


def invert(images: Tensor) -> Tensor:
    """255 minus each byte."""
    return 255 - images
