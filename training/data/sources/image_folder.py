"""Any folder of images with one folder a class, as torchvision's `ImageFolder` reads it."""

from __future__ import annotations

from pathlib import Path

import torch

from foundation.errors import InputError
from training.data.files import ENDINGS, IMAGENET_MEAN, IMAGENET_STD, FileStore, leave_out
from training.data.raw_dataset import ENVIRONMENT, RawDataset, folders_to_try


def open_folder(
    data_dir: Path | None = None,
    *,
    train: str = "train",
    test: str = "test",
    validation: str | None = None,
    size: int = 224,
    skip_broken: bool | list[str] = False,
) -> RawDataset:
    """A folder with `train/CLASS/…` and `test/CLASS/…`; classes are numbered by name.

    Args:
        data_dir: The folder.
        train: The training images' folder in it.
        test: The test images' folder in it.
        validation: The validation images' folder in it, if there is one.
        size: Pixels of the square that a network sees.
        skip_broken: True leaves images out that cannot be read; a list names them.

    Returns:
        The raw.

    Raises:
        InputError: A folder is missing or holds no images.
    """
    parts = {"train": train, "test": test, **({"validation": validation} if validation else {})}
    folders = folders_to_try(data_dir)
    root = next((f for f in folders if all((f / part).is_dir() for part in parts.values())), None)
    if root is None:
        where = ", ".join(str(folder) for folder in folders) or "no folder that was named"
        raise InputError(
            f"folder needs {' and '.join(parts.values())} in {where}: name it by --data-dir or {ENVIRONMENT}"
        )
    classes = sorted(entry.name for entry in (root / train).iterdir() if entry.is_dir())
    stores, left_out = leave_out([_store(root, part, classes, size) for part in parts.values()], skip_broken)
    return RawDataset(
        stores[0],
        stores[1],
        tuple(classes),
        IMAGENET_MEAN,
        IMAGENET_STD,
        validation=stores[2] if validation else None,
        augment="crop-flip",
        left_out=tuple(left_out),
    )


def _store(root: Path, part: str, classes: list[str], size: int) -> FileStore:
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(path for path in (root / part / name).rglob("*") if path.suffix.lower() in ENDINGS)
        names += [str(path.relative_to(root)) for path in files]
        labels += [label] * len(files)
    if not names:
        raise InputError(f"{root / part} holds no images ({', '.join(ENDINGS)}): name another folder with --data-dir")
    return FileStore(root, tuple(names), torch.tensor(labels, dtype=torch.int64), size)
