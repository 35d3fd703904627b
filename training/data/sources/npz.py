"""Any npz file of small images."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from foundation.errors import InputError
from training.data.image_store import MemoryStore, memory_store
from training.data.raw_dataset import RawDataset


def open_npz(data_dir: Path | None = None, *, file: str = "data.npz") -> RawDataset:
    """A file with `train_images`, `train_labels`, `test_images`, `test_labels`.

    Images are uint8, (N, H, W) or (N, H, W, C). `val_images`/`val_labels` are used as validation images where they are
    there, `class_names` too. The normalization is that of the training images.

    Args:
        data_dir: The folder that `file` lies in; the working folder when not named.
        file: The file's name.

    Returns:
        The raw.

    Raises:
        InputError: The file is missing, corrupt or not of that form.
    """
    path = (data_dir or Path()) / file
    if not path.is_file():
        raise InputError(f"{path} does not exist: name it with --data-dir and --data-kwargs file=NAME.npz")
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}): it must be an npz file of plain arrays") from None
    train, test = _store(path, arrays, "train"), _store(path, arrays, "test")
    validation = _store(path, arrays, "val") if "val_images" in arrays else None
    classes = 1 + max(int(store.labels.max()) for store in (train, test, validation) if store is not None)
    names = tuple(str(name) for name in arrays.get("class_names", range(classes)))
    if len(names) != classes:
        raise InputError(f"{path} names {len(names)} classes and has {classes}: mend class_names")
    pixels = train.images.double() / 255
    return RawDataset(
        train,
        test,
        names,
        tuple(round(v, 6) for v in pixels.mean((0, 2, 3)).tolist()),
        tuple(round(max(v, 1e-3), 6) for v in pixels.std((0, 2, 3)).tolist()),
        validation=validation,
        held_out=int(train.labels.bincount(minlength=classes).min()) // 10,
    )


def _store(path: Path, arrays: dict[str, np.ndarray], part: str) -> MemoryStore:
    for name in (f"{part}_images", f"{part}_labels"):
        if name not in arrays:
            raise InputError(f"{path} has no array {name!r}: it needs images and labels for train and test")
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"].reshape(-1)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != len(labels) or not len(labels):
        raise InputError(
            f"{part}_images in {path} is {images.dtype} of shape {images.shape} for {len(labels)} labels: "
            "give uint8 (N, H, W) or (N, H, W, C)"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise InputError(f"{part}_labels in {path} must be whole numbers from 0")
    return memory_store(images, labels)
