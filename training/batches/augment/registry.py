"""The augmentations by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foundation.errors import InputError, one_of
from training.batches.augment.geometry import cutout, random_crop, random_flip
from training.batches.augment.policies import auto_augment, rand_augment

Step = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Entry:
    """One augmentation.

    Attributes:
        steps: For small images, on the device: each `(images, generator) -> images`; None where there is no such form.
        reading: For large images, in the reading process: the names of torchvision's transforms after a random resized
            crop and a flip; None where there is no such form.
        about: What it does.
        paper: Where it comes from.
    """

    steps: tuple[Step, ...] | None
    reading: tuple[str, ...] | None
    about: str
    paper: str


AUGMENTATIONS = {
    "none": Entry((), None, "images as they are", "-"),
    "crop-flip": Entry((random_crop, random_flip), (), "random crop and flip", "He et al., CVPR 2016"),
    "jitter": Entry(None, ("jitter",), "crop, flip and color jitter 0.4", "Kang et al., ICLR 2020"),
    "autoaugment": Entry(
        (random_crop, random_flip, auto_augment, cutout),
        ("autoaugment",),
        "crop, flip, AutoAugment (and Cutout on small images)",
        "Cubuk et al., CVPR 2019",
    ),
    "randaugment": Entry(
        (random_crop, random_flip, rand_augment, cutout),
        ("randaugment",),
        "crop, flip, RandAugment (and Cutout on small images)",
        "Cubuk et al., NeurIPS 2020",
    ),
}


def _entry(name: str) -> Entry:
    if name not in AUGMENTATIONS:
        raise one_of("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


def batched_augmentation(name: str) -> Step | None:
    """An augmentation of batches on the device.

    Args:
        name: A key of `AUGMENTATIONS`.

    Returns:
        `(images, generator) -> images` on (n, C, H, W) uint8, or None where nothing is to be done.

    Raises:
        InputError: The name is unknown or only for large images.
    """
    steps = _entry(name).steps
    if steps is None:
        raise InputError(f"augmentation {name!r} is for large images read from files: use crop-flip or autoaugment")
    if not steps:
        return None

    def augment(images: Tensor, generator: torch.Generator) -> Tensor:
        for step in steps:
            images = step(images, generator)
        return images

    return augment


def reading_augmentation(name: str, size: int) -> nn.Module | None:
    """An augmentation of single images in the process that reads them.

    Args:
        name: A key of `AUGMENTATIONS`.
        size: Pixels of the square that comes out.

    Returns:
        A transform of (3, H, W) uint8, or None where the evaluation's resize and crop is to be done.

    Raises:
        InputError: The name is unknown.
    """
    after = _entry(name).reading
    if after is None:
        return None
    from torchvision.transforms import v2

    known = {
        "jitter": lambda: v2.ColorJitter(0.4, 0.4, 0.4, 0.0),
        "autoaugment": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
        "randaugment": lambda: v2.RandAugment(),
    }
    crop = v2.RandomResizedCrop(size, antialias=True)
    transform: nn.Module = v2.Compose([crop, v2.RandomHorizontalFlip(), *(known[step]() for step in after)])
    return transform
