"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from their original Python files, read without running what they hold."""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import InputError
from training.data.image_store import MemoryStore, memory_store
from training.data.raw_dataset import ENVIRONMENT, RawDataset, download_folder, folders_to_try, may_download

Normalization = tuple[tuple[float, ...], tuple[float, ...]]

MEAN_10, STD_10 = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the 50,000 training images
MEAN_100, STD_100 = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
CAO = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))  # what LDAM-DRW's code, and the field's, takes for both sets


def open_cifar10(data_dir: Path | None = None, *, subset: str = "nested") -> RawDataset:
    """CIFAR-10: 5,000 training and 1,000 test images a class.

    Args:
        data_dir: The folder that holds `cifar-10-batches-py`, or that folder itself.
        subset: `"cao"` takes the field's own images and normalization, see `training.data.longtail.shuffled_classes`.

    Returns:
        The raw.
    """
    folder = _folder("cifar10", "cifar-10-batches-py", "data_batch_1", data_dir)
    parts = sorted(folder.glob("data_batch_*"))
    train, test = _store(parts, b"labels"), _store([folder / "test_batch"], b"labels")
    names = _names(folder / "batches.meta", b"label_names", 10)
    return _raw_dataset(train, test, names, (MEAN_10, STD_10), subset)


def open_cifar100(data_dir: Path | None = None, *, subset: str = "nested") -> RawDataset:
    """CIFAR-100: 500 training and 100 test images a class.

    Args:
        data_dir: The folder that holds `cifar-100-python`, or that folder itself.
        subset: As of `open_cifar10`.

    Returns:
        The raw.
    """
    folder = _folder("cifar100", "cifar-100-python", "train", data_dir)
    train, test = _store([folder / "train"], b"fine_labels"), _store([folder / "test"], b"fine_labels")
    names = _names(folder / "meta", b"fine_label_names", 100)
    return _raw_dataset(train, test, names, (MEAN_100, STD_100), subset)


def _raw_dataset(
    train: MemoryStore, test: MemoryStore, names: tuple[str, ...], own: Normalization, subset: str
) -> RawDataset:
    mean, std = CAO if subset == "cao" else own
    return RawDataset(train, test, names, mean, std, held_out=_tenth(train), augment="crop-flip", subset=subset)


def _tenth(store: MemoryStore) -> int:
    return int(store.labels.bincount().min()) // 10


def _folder(name: str, inside: str, needed: str, data_dir: Path | None) -> Path:
    cache = download_folder()
    folders = folders_to_try(data_dir, cache)
    found = _find(folders, inside, needed)
    if found is None and data_dir is None and may_download():
        _download(name, cache)
        found = _find([cache], inside, needed)
    if found is None:
        raise InputError(
            f"{name} ({inside}) is not in {', '.join(str(folder) for folder in folders)}: name its folder with "
            f"--data-dir or {ENVIRONMENT}"
        )
    return found


def _find(folders: list[Path], inside: str, needed: str) -> Path | None:
    places = [place for folder in folders for place in (folder / inside, folder)]
    return next((place for place in places if (place / needed).is_file()), None)


def _download(name: str, folder: Path) -> None:
    from torchvision import datasets

    try:
        {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name](str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name} is not on this machine and could not be downloaded ({error}): name its folder with --data-dir or "
            f"{ENVIRONMENT}, or use --data fashion-mini"
        ) from None


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # what a pickled array is rebuilt by
_HARMLESS = {"_reconstruct": _RECONSTRUCT, "ndarray": np.ndarray, "dtype": np.dtype, "encode": codecs.encode}


class _Arrays(pickle.Unpickler):
    """Unpickles lists, strings and NumPy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuses every name but the few that make up an array."""
        if module.split(".")[0] in {"numpy", "_codecs"} and name in _HARMLESS:
            return _HARMLESS[name]
        raise pickle.UnpicklingError(f"it would run {module}.{name}")


def _read(path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            content = _Arrays(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path} is no file of CIFAR ({error}): fetch it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is no file of CIFAR: fetch it again")
    return content


def _store(paths: list[Path], labels: bytes) -> MemoryStore:
    images, found = [], []
    for path in paths:
        content = _read(path)
        try:
            images.append(np.asarray(content[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
            found.append(np.asarray(content[labels], dtype=np.int64))
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} is no file of CIFAR ({error!r}): fetch it again") from None
    return memory_store(np.concatenate(images).transpose(0, 2, 3, 1), np.concatenate(found))


def _names(path: Path, key: bytes, classes: int) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(str(label) for label in range(classes))
    return tuple(name.decode() for name in _read(path)[key])
