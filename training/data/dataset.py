"""A data set ready to train on: three splits and the record that finds the same images again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foundation.errors import InputError, one_of
from training.data.image_store import ImageStore
from training.data.longtail import class_counts, shuffled_classes
from training.data.raw_dataset import RawDataset
from training.data.registry import open_raw_dataset

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """One split in a fixed order.

    Attributes:
        store: Where its images lie.
        indices: (N,) int64, its samples' positions in the store.
        labels: (N,) int64 on the CPU.
        mean: Per channel, of pixels in [0, 1].
        std: Per channel, of pixels in [0, 1].
    """

    store: ImageStore = field(repr=False)
    indices: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def pixels(self, indices: Tensor) -> Tensor:
        """Images before normalization.

        Args:
            indices: (n,) int64 positions in this split.

        Returns:
            (n, C, H, W) uint8 on the CPU.
        """
        return self.store.pixels(self.indices[indices])

    def inputs(self, indices: Tensor) -> Tensor:
        """What a network is evaluated on: no augmentation, the same tensor at every call.

        Args:
            indices: (n,) int64 positions in this split.

        Returns:
            (n, C, H, W) float32 on the CPU: pixels scaled to [0, 1], minus `mean`, over `std`.
        """
        return normalized(self.pixels(indices), self.mean, self.std)

    @property
    def sha256(self) -> str:
        """Which samples these are, and in which order."""
        return self.store.fingerprint(self.indices)


def normalized(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(n, C, H, W) uint8 pixels as float32: scaled to [0, 1], minus `mean`, over `std`, on the pixels' device."""
    center = torch.tensor(mean, device=pixels.device).view(1, -1, 1, 1)
    scale = torch.tensor(std, device=pixels.device).view(1, -1, 1, 1)
    return (pixels.to(torch.float32) / 255 - center) / scale


@dataclass(frozen=True)
class DataSet:
    """What a training run sees.

    Attributes:
        train: The (long-tailed) training split.
        validation: Held-out images for choices; it may be empty.
        test: The test split.
        class_names: In label order.
        class_counts: n_c, training images of each class.
        augment: The augmentation that is usual for the set.
        record: What a checkpoint stores: plain types that `open_split` finds the same images by.
    """

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    augment: str
    record: dict[str, Any] = field(repr=False)


def open_data(
    name: str,
    *,
    imbalance: float | None = None,
    imbalance_type: str = "exp",
    seed: int = 0,
    validation: int | None = None,
    data_dir: Path | None = None,
    **kwargs: Any,
) -> DataSet:
    """Opens a data set and cuts its splits.

    Each class is shuffled by the seed; its last `validation` images are held out, the first n_c of the others are
    kept. So subsets of one seed are nested, whatever their imbalance.

    Args:
        name: A key of `training.data.DATASETS`.
        imbalance: Largest class over smallest; 1 for equal classes. None keeps every image.
        imbalance_type: `"exp"` or `"step"`.
        seed: Which images are held out and kept.
        validation: Images a class to hold out (at most all but one of a class); None for the set's own habit. Not
            used where the set has validation images of its own.
        data_dir: The folder it lies in.
        **kwargs: The set's own options.

    Returns:
        The data set.

    Raises:
        InputError: A name, folder or number is not usable.
    """
    raw = open_raw_dataset(name, data_dir, kwargs)
    if validation is None:
        validation = raw.held_out
    indices, counts = _cut(raw, imbalance, imbalance_type, seed, validation)
    splits = {split: _split(raw, split, indices[split]) for split in SPLITS}
    record = {
        "name": name,
        # Opening it again must leave out the same files, and need not try them all.
        "kwargs": {**kwargs, "skip_broken": list(raw.left_out)} if "skip_broken" in kwargs else dict(kwargs),
        "data_dir": None if data_dir is None else str(data_dir.resolve()),
        "imbalance": imbalance,
        "imbalance_type": imbalance_type,
        "seed": seed,
        "validation": validation,
        "sizes": {split: len(splits[split]) for split in SPLITS},
        "class_names": list(raw.class_names),
        "class_counts": counts,
        "normalisation": {"mean": list(raw.mean), "std": list(raw.std)},
        "evaluation_transform": "pixels scaled to [0, 1], minus mean, over std",
        "sha256": {split: splits[split].sha256 for split in SPLITS},
    }
    return DataSet(
        **splits,
        class_names=raw.class_names,
        class_counts=tuple(counts),
        augment=raw.augment,
        record=record,
    )


def open_split(record: dict[str, Any], split: str, data_dir: Path | None = None) -> Split:
    """Opens one split of the data that a checkpoint was trained on.

    Args:
        record: The checkpoint's `data`.
        split: `"train"`, `"validation"` or `"test"`.
        data_dir: Where the data lies now, when not where the record says.

    Returns:
        The split, in the order of training's own record.

    Raises:
        InputError: The split is unknown or empty, the data is not found, or it is not the data of the record.
    """
    if split not in SPLITS:
        raise one_of("split", split, SPLITS)
    folder = data_dir
    if folder is None and record["data_dir"] and Path(record["data_dir"]).is_dir():
        folder = Path(record["data_dir"])
    raw = open_raw_dataset(record["name"], folder, record["kwargs"])
    indices, _ = _cut(raw, record["imbalance"], record["imbalance_type"], record["seed"], record["validation"])
    opened = _split(raw, split, indices[split])
    if opened.sha256 != record["sha256"][split]:
        raise InputError(
            f"the {split} images of {record['name']} here are not those of the checkpoint (SHA-256 of the samples "
            "differs): name the folder of the original data with --data-dir"
        )
    if not len(opened):
        raise InputError(f"the {split} split of this checkpoint's data is empty: it was trained with --validation 0")
    normalization = record["normalisation"]
    return Split(opened.store, opened.indices, opened.labels, tuple(normalization["mean"]), tuple(normalization["std"]))


def _split(raw: RawDataset, split: str, indices: Tensor) -> Split:
    store = raw.test if split == "test" else raw.train
    if split == "validation" and raw.validation is not None:
        store = raw.validation
    return Split(store, indices, store.labels[indices], raw.mean, raw.std)


def _cut(
    raw: RawDataset, imbalance: float | None, kind: str, seed: int, validation: int
) -> tuple[dict[str, Tensor], list[int]]:
    """The indices of each split and the training counts (C,)."""
    classes = len(raw.class_names)
    if validation < 0:
        raise InputError(f"validation {validation} is below 0: it is how many images a class are held out")
    own = raw.validation
    stores, held_out = [], []
    for members in shuffled_classes(raw.train.labels, classes, seed=seed, subset=raw.subset):
        held = min(validation, max(len(members) - 1, 0)) if own is None else 0
        stores.append(members[: len(members) - held])
        held_out.append(members[len(members) - held :])
    if imbalance is None:
        counts = [len(store) for store in stores]
    else:
        counts = class_counts(min(len(store) for store in stores), classes, imbalance, kind)
    train = torch.cat([store[:count] for store, count in zip(stores, counts, strict=True)])
    kept = torch.cat(held_out) if own is None else torch.arange(len(own.labels))
    # Sorted, so that a split's order says nothing about classes that the store's own order does not.
    return {
        "train": train.sort().values,
        "validation": kept.sort().values,
        "test": torch.arange(len(raw.test.labels)),
    }, counts
