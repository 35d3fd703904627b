"""The augmentations by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foundation.errors import InputError
from training.batches.augment.geometry import cutout, random_crop, random_flip
from training.batches.augment.policies import auto_augment, color_jitter, rand_augment
from training.registry import Entry, find

Step = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Augmentation:
    """One augmentation, in the forms that it has.

    Attributes:
        steps: For small images, on the device: each `(images, generator) -> images`; None where there is no such form.
        reading: For large images, in the reading process: the names of torchvision's transforms after a random resized
            crop and a flip; None where there is no such form.
        placed: For large images, on the device after they were read.
    """

    steps: tuple[Step, ...] | None
    reading: tuple[str, ...] | None
    placed: tuple[Step, ...] = ()


AUGMENTATIONS: dict[str, Entry[Augmentation]] = {
    "none": Entry(Augmentation((), None), "images as they are", "-"),
    "crop-flip": Entry(Augmentation((random_crop, random_flip), ()), "random crop and flip", "He et al., CVPR 2016"),
    "jitter": Entry(
        Augmentation(None, (), (color_jitter,)), "crop, flip and color jitter 0.4", "Kang et al., ICLR 2020"
    ),
    "autoaugment": Entry(
        Augmentation((random_crop, random_flip, auto_augment, cutout), ("autoaugment",)),
        "crop, flip, AutoAugment (and Cutout on small images)",
        "Cubuk et al., CVPR 2019",
    ),
    "randaugment": Entry(
        Augmentation((random_crop, random_flip, rand_augment, cutout), ("randaugment",)),
        "crop, flip, RandAugment (and Cutout on small images)",
        "Cubuk et al., NeurIPS 2020",
    ),
}


def batched_augmentation(name: str) -> Step | None:
    """An augmentation of batches on the device.

    Args:
        name: A key of `AUGMENTATIONS`.

    Returns:
        `(images, generator) -> images` on (n, C, H, W) uint8, or None where nothing is to be done.

    Raises:
        InputError: The name is unknown or only for large images.
    """
    steps = find("augmentation", name, AUGMENTATIONS).steps
    if steps is None:
        raise InputError(f"augmentation {name!r} is for large images read from files: use crop-flip or autoaugment")
    return _in_turn(steps)


def placed_augmentation(name: str) -> Step | None:
    """What is done on the device to batches of large images, after the processes that read them cropped them.

    Args:
        name: A key of `AUGMENTATIONS`.

    Returns:
        See `batched_augmentation`.
    """
    return _in_turn(find("augmentation", name, AUGMENTATIONS).placed)


def _in_turn(steps: tuple[Step, ...]) -> Step | None:
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
        A transform of Pillow images, which is cheaper than one of tensors as large as the files are; None where the
        evaluation's resize and crop is to be done.

    Raises:
        InputError: The name is unknown.
    """
    after = find("augmentation", name, AUGMENTATIONS).reading
    if after is None:
        return None
    from torchvision.transforms import v2

    known = {
        "autoaugment": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
        "randaugment": lambda: v2.RandAugment(),
    }
    crop = v2.RandomResizedCrop(size, antialias=True)
    transform: nn.Module = v2.Compose([crop, v2.RandomHorizontalFlip(), *(known[step]() for step in after)])
    return transform
