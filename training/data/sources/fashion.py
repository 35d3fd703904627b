"""Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747), whole or as the small part packed with this package."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from foundation.errors import InputError
from training.data.image_store import memory_store
from training.data.raw_dataset import ENVIRONMENT, RawDataset, download_folder, folders_to_try, may_download

CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
MEAN, STD = (0.2860,), (0.3530,)  # of the 60,000 training images
PACKED = Path(__file__).with_name("fashion_mini.npz")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TRAIN = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
TEST = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def open_mini(data_dir: Path | None = None) -> RawDataset:
    """The packed part: 700 training images a class (100 of them held out by default) and 100 test images.

    Args:
        data_dir: Not used; every data set takes it.

    Returns:
        The raw.
    """
    with np.load(PACKED) as packed:
        train = memory_store(packed["train_images"], packed["train_labels"])
        test = memory_store(packed["test_images"], packed["test_labels"])
    return RawDataset(train, test, CLASS_NAMES, MEAN, STD, held_out=100)


def open_full(data_dir: Path | None = None) -> RawDataset:
    """The full set: 6,000 training and 1,000 test images a class.

    Looked for in `data_dir`, else in the environment variable's folder, Debian's package and the download cache;
    downloaded by torchvision when none of them has it.

    Args:
        data_dir: The folder that holds the four IDX files, or torchvision's root folder.

    Returns:
        The raw.

    Raises:
        InputError: It is nowhere and cannot be downloaded.
    """
    cache = download_folder()
    folders = folders_to_try(data_dir, DEBIAN, cache)
    folder = find_folder(folders)
    if folder is None and data_dir is None:
        download(cache)
        folder = find_folder([cache])
    if folder is None:
        raise InputError(
            f"fashion-mnist is not in {', '.join(str(path) for path in folders)}: name its folder with --data-dir or "
            f"{ENVIRONMENT}, install Debian's dataset-fashion-mnist, or use --data fashion-mini"
        )
    train, test = (
        memory_store(read_idx(folder / images), read_idx(folder / labels)) for images, labels in (TRAIN, TEST)
    )
    return RawDataset(train, test, CLASS_NAMES, MEAN, STD, held_out=600)


def find_folder(folders: list[Path]) -> Path | None:
    """The first folder, or torchvision's place inside it, that holds the four files; None when none does."""
    for folder in folders:
        for inside in (folder, folder / "FashionMNIST" / "raw", folder / "fashion-mnist"):
            if all((inside / name).is_file() for name in (*TRAIN, *TEST)):
                return inside
    return None


def download(folder: Path) -> None:
    """Downloads the set into `folder` by torchvision, on rank 0 only.

    Args:
        folder: torchvision's root folder.

    Raises:
        InputError: The download failed.
    """
    if not may_download():
        return
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"fashion-mnist is not on this machine and could not be downloaded ({error}): name its folder with "
            f"--data-dir or {ENVIRONMENT}, or use --data fashion-mini"
        ) from None


def read_idx(path: Path) -> np.ndarray:
    """Reads one file of LeCun's IDX format, compressed by gzip.

    Args:
        path: The file.

    Returns:
        Its array of unsigned bytes.

    Raises:
        InputError: It is not such a file, or it is cut short.
    """
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}): fetch the file again") from None
    dimensions = data[3] if data[:3] == b"\x00\x00\x08" and len(data) > 3 else 0
    shape = np.frombuffer(data[4 : 4 + 4 * dimensions], dtype=">u4").astype(int)
    values = data[4 + 4 * dimensions :]
    if not dimensions or len(values) != shape.prod():
        raise InputError(f"{path} is not a whole IDX file of bytes: fetch the file again")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)
