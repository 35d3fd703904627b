"""Augmentation by name: on the device in batches for small images, in the reading processes for large ones."""

from training.batches.augment.registry import AUGMENTATIONS, batched_augmentation, reading_augmentation

__all__ = ["AUGMENTATIONS", "batched_augmentation", "reading_augmentation"]
