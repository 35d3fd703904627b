"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from foundation.errors import InputError
from training.data.raw_dataset import RawDataset
from training.data.sources import cifar, digits, fashion, image_folder, image_lists, npz
from training.registry import Entry, find

KRIZHEVSKY = "Krizhevsky 2009"
FASHION = "Xiao et al. 2017, arXiv:1708.07747"

DATASETS: dict[str, Entry[Callable[..., RawDataset]]] = {
    "fashion-mini": Entry(fashion.open_mini, "packed part of Fashion-MNIST, 600+100 and 100 test a class", FASHION),
    "fashion-mnist": Entry(fashion.open_full, "28×28 gray clothes, 6,000 and 1,000 test a class", FASHION),
    "digits": Entry(digits.open_digits, "8×8 gray digits of scikit-learn", "Alpaydin & Kaynak, UCI 1998"),
    "cifar10": Entry(cifar.open_cifar10, "32×32 photographs, 5,000 and 1,000 test a class", KRIZHEVSKY),
    "cifar100": Entry(cifar.open_cifar100, "32×32 photographs, 500 and 100 test a class", KRIZHEVSKY),
    "imagenet-lt": Entry(
        image_lists.open_imagenet_lt, "1,000 classes of 1,280 to 5 photographs", "Liu et al., CVPR 2019"
    ),
    "inaturalist-2018": Entry(image_lists.open_inaturalist, "8,142 species, long-tailed", "Van Horn et al., CVPR 2018"),
    "lists": Entry(image_lists.open_lists, "any images by lists of 'path label'", "-"),
    "folder": Entry(image_folder.open_folder, "any images in train/CLASS/ and test/CLASS/", "-"),
    "npz": Entry(npz.open_npz, "any npz file of small images", "-"),
}


def open_raw_dataset(name: str, data_dir: Path | None, kwargs: dict[str, Any]) -> RawDataset:
    """Opens a data set by name.

    Args:
        name: A key of `DATASETS`.
        data_dir: Where the user says that it lies.
        kwargs: The set's own options.

    Returns:
        The raw.

    Raises:
        InputError: The name or the folder is unknown.
    """
    opener = find("data set", name, DATASETS)
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"--data-dir {str(data_dir)!r} is no folder: name the one that holds {name}")
    try:
        return opener(data_dir, **kwargs)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise InputError(f"data set {name!r} cannot be opened ({error}): check --data-kwargs") from None
