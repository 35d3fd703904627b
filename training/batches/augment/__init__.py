"""Augmentation by name: on the device in batches, but for the crops of large images in the reading processes."""

from training.batches.augment.registry import (
    AUGMENTATIONS,
    batched_augmentation,
    placed_augmentation,
    reading_augmentation,
)

__all__ = ["AUGMENTATIONS", "batched_augmentation", "placed_augmentation", "reading_augmentation"]
