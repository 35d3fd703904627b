"""Batched AutoAugment and RandAugment for small images.

AutoAugment (Cubuk et al., CVPR 2019, table 7: the CIFAR-10 policy) draws one of 25 pairs of operations for an image,
RandAugment (Cubuk et al., NeurIPS 2020) any two. An operation runs on all images of the batch that drew it together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.batches.augment import color
from training.batches.augment.geometry import affine, rotate, shear_x, shear_y, translate_x, translate_y

LEVELS = 10

# Strength m in [0, 1] and a random sign: what an operation does to (n, C, H, W) uint8 images at m, (n,).
Operation = Callable[[Tensor, Tensor, Tensor], Tensor]
OPERATIONS: dict[str, Operation] = {
    "ShearX": lambda x, m, sign: affine(x, shear_x(0.3 * m * sign)),
    "ShearY": lambda x, m, sign: affine(x, shear_y(0.3 * m * sign)),
    "TranslateX": lambda x, m, sign: affine(x, translate_x((150 / 331) * x.shape[3] * m * sign)),
    "TranslateY": lambda x, m, sign: affine(x, translate_y((150 / 331) * x.shape[2] * m * sign)),
    "Rotate": lambda x, m, sign: affine(x, rotate(30 * m * sign, x.shape[2], x.shape[3])),
    "Brightness": lambda x, m, sign: color.brightness(x, 1 + 0.9 * m * sign),
    "Color": lambda x, m, sign: color.color(x, 1 + 0.9 * m * sign),
    "Contrast": lambda x, m, sign: color.contrast(x, 1 + 0.9 * m * sign),
    "Sharpness": lambda x, m, sign: color.sharpness(x, 1 + 0.9 * m * sign),
    "Posterize": lambda x, m, sign: color.posterize(x, (8 - 4 * m).round()),
    "Solarize": lambda x, m, sign: color.solarize(x, 255 * (1 - m)),
    "AutoContrast": lambda x, m, sign: color.autocontrast(x),
    "Equalize": lambda x, m, sign: color.equalize(x),
    "Invert": lambda x, m, sign: color.invert(x),
}

# (operation, probability, level) twice
CIFAR_POLICY = (
    (("Invert", 0.1, 7), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 8), ("Equalize", 0.9, 2)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 5), ("Equalize", 0.5, 1)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 7), ("AutoContrast", 0.4, 8)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 3)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 8), ("Equalize", 0.6, 4)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 6)),
    (("AutoContrast", 0.8, 4), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 3)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 2), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 8), ("Invert", 0.1, 3)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1)),
)
NAMES = tuple(OPERATIONS)
RANDOM_NAMES = tuple(name for name in NAMES if name != "Invert")  # RandAugment's 13, the identity beside them


def auto_augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """One pair of the CIFAR-10 policy for each image.

    Args:
        images: (n, C, H, W) uint8.
        generator: On the CPU.

    Returns:
        (n, C, H, W) uint8.
    """
    n = len(images)
    drawn = torch.randint(len(CIFAR_POLICY), (n,), generator=generator)
    for step in range(2):
        table = torch.tensor([[NAMES.index(pair[step][0]), *pair[step][1:]] for pair in CIFAR_POLICY])[drawn]
        skipped = torch.rand(n, generator=generator) >= table[:, 1]
        chosen = table[:, 0].long().masked_fill(skipped, -1)
        images = apply(images, NAMES, chosen, table[:, 2] / (LEVELS - 1), generator)
    return images


def rand_augment(images: Tensor, generator: torch.Generator, *, operations: int = 2, level: int = 9) -> Tensor:
    """Random operations of one strength for each image.

    Args:
        images: (n, C, H, W) uint8.
        generator: On the CPU.
        operations: How many in a row.
        level: Strength, 0 to 30.

    Returns:
        (n, C, H, W) uint8.
    """
    for _ in range(operations):
        chosen = torch.randint(-1, len(RANDOM_NAMES), (len(images),), generator=generator)
        images = apply(images, RANDOM_NAMES, chosen, torch.full((len(images),), level / 30), generator)
    return images


def color_jitter(images: Tensor, generator: torch.Generator, *, strength: float = 0.4) -> Tensor:
    """Brightness, contrast and color of each image times factors of its own, in an order drawn for the batch.

    torchvision's `ColorJitter` on a device: there the order is drawn for each image.

    Args:
        images: (n, 3, H, W) uint8.
        generator: On the CPU.
        strength: Factors are uniform within 1 ± strength.

    Returns:
        (n, 3, H, W) uint8.
    """
    factors = 1 + strength * (2 * torch.rand(3, len(images), generator=generator) - 1)
    factors = factors.to(images.device, non_blocking=True)
    for place in torch.randperm(3, generator=generator).tolist():
        images = (color.brightness, color.contrast, color.color)[place](images, factors[place])
    return images


def apply(
    images: Tensor, names: tuple[str, ...], chosen: Tensor, strength: Tensor, generator: torch.Generator
) -> Tensor:
    """Applies to each image the operation it drew.

    Args:
        images: (n, C, H, W) uint8.
        names: The operations that can be drawn.
        chosen: (n,) positions in `names` on the CPU, -1 for none.
        strength: (n,) m in [0, 1].
        generator: For the signs.

    Returns:
        (n, C, H, W) uint8.
    """
    sign = torch.randint(2, (len(images),), generator=generator).float() * 2 - 1
    images = images.clone()
    for position, name in enumerate(names):
        rows = (chosen == position).nonzero().squeeze(1)  # on the CPU: the GPU need not be waited for
        if len(rows):
            m, s, rows = (v.to(images.device, non_blocking=True) for v in (strength[rows], sign[rows], rows))
            images[rows] = OPERATIONS[name](images[rows], m, s)
    return images
