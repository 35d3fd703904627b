"""Images named by lists: `path label` lines as of ImageNet-LT, or the JSON files of iNaturalist.

ImageNet-LT and its list format are of Liu et al., "Large-Scale Long-Tailed Recognition in an Open World" (CVPR 2019).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from foundation.errors import InputError
from training.data.files import IMAGENET_MEAN, IMAGENET_STD, FileStore, leave_out
from training.data.raw_dataset import ENVIRONMENT, RawDataset, folders_to_try

Listing = tuple[list[str], list[int]]

IMAGENET_LISTS = {
    "train": "ImageNet_LT_train.txt",
    "test": "ImageNet_LT_test.txt",
    "validation": "ImageNet_LT_val.txt",
}
INATURALIST_LISTS = {"train": "iNaturalist18_train.txt", "test": "iNaturalist18_val.txt"}
INATURALIST_JSON = {"train": "train2018.json", "test": "val2018.json"}
INATURALIST_MEAN, INATURALIST_STD = (0.466, 0.471, 0.380), (0.195, 0.194, 0.192)


def open_lists(
    data_dir: Path | None = None,
    *,
    train: str = "train.txt",
    test: str = "test.txt",
    validation: str | None = None,
    size: int = 224,
    skip_broken: bool | list[str] = False,
) -> RawDataset:
    """Any set described by lists of `path label`, one a line.

    Args:
        data_dir: The folder that the paths start from; the lists lie in it too.
        train: The training images' list.
        test: The test images' list.
        validation: The validation images' list, if there is one.
        size: Pixels of the square that a network sees.
        skip_broken: True leaves images out that cannot be read; a list names them.

    Returns:
        The raw.

    Raises:
        InputError: The folder or a list is missing, or a line cannot be read.
    """
    lists = {"train": train, "test": test, **({"validation": validation} if validation else {})}
    folder = _folder(data_dir, lists.values(), "lists")
    listings = {split: read_list(folder / name) for split, name in lists.items()}
    return _raw_dataset(folder, listings, None, size, skip_broken)


def open_imagenet_lt(data_dir: Path | None = None, **kwargs: Any) -> RawDataset:
    """ImageNet-LT: 115,846 training, 20,000 validation and 50,000 test images of 1,000 classes.

    Args:
        data_dir: ImageNet's folder, with `train/`, `val/` and the three `ImageNet_LT_….txt` lists.
        **kwargs: `size` and `skip_broken`, see `open_lists`.

    Returns:
        The raw.
    """
    return open_lists(_folder(data_dir, IMAGENET_LISTS.values(), "imagenet-lt"), **{**IMAGENET_LISTS, **kwargs})


def open_inaturalist(
    data_dir: Path | None = None, *, size: int = 224, skip_broken: bool | list[str] = False
) -> RawDataset:
    """The iNaturalist 2018 set (Van Horn et al., CVPR 2018): 437,513 training and 24,426 test images of 8,142 classes.

    Args:
        data_dir: The folder with `train_val2018/` and either its JSON files or lists of `path label`.
        size: Pixels of the square that a network sees.
        skip_broken: True leaves images out that cannot be read; a list names them.

    Returns:
        The raw.

    Raises:
        InputError: The folder or a file is missing, or cannot be read.
    """
    folders = folders_to_try(data_dir)
    for folder in folders:
        if all((folder / name).is_file() for name in INATURALIST_JSON.values()):
            train, categories = read_inaturalist(folder / INATURALIST_JSON["train"])
            test, _ = read_inaturalist(folder / INATURALIST_JSON["test"], categories)
            listings, names = {"train": train, "test": test}, list(categories.values())
            break
    else:
        folder = _folder(data_dir, INATURALIST_LISTS.values(), "inaturalist-2018")
        listings = {split: read_list(folder / name) for split, name in INATURALIST_LISTS.items()}
        names = None
    normalization = (INATURALIST_MEAN, INATURALIST_STD)
    return _raw_dataset(folder, listings, names, size, skip_broken, normalization)


def read_list(path: Path) -> Listing:
    """Reads a list of `path label` lines.

    Args:
        path: The list.

    Returns:
        Paths and labels, in the list's order.

    Raises:
        InputError: It is missing, empty, or a line is not of that form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"list {path} cannot be read ({error}): name the folder of the lists with --data-dir"
        ) from None
    names, labels = [], []
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not name or not label.isdecimal():
            raise InputError(f"line {number} of {path} is not 'path label': {line.strip()[:60]!r}; mend the list")
        names.append(name)
        labels.append(int(label))
    if not names:
        raise InputError(f"list {path} is empty: fetch it again")
    return names, labels


def read_inaturalist(path: Path, categories: dict[int, str] | None = None) -> tuple[Listing, dict[int, str]]:
    """Reads a JSON file of the iNaturalist competitions.

    Args:
        path: The file: `images` (id, file_name), `annotations` (image_id, category_id), `categories` (id, name).
        categories: Those of the training images, names by id, which number the classes; None takes the file's own.

    Returns:
        Paths and labels by ascending image id, and the categories by ascending id.

    Raises:
        InputError: It is missing, not of that form, or has images of a category that training images have not.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if categories is None:
            listed = sorted(content["categories"], key=lambda category: category["id"])
            categories = {category["id"]: str(category.get("name", category["id"])) for category in listed}
        label_of = {category: label for label, category in enumerate(categories)}
        category_of = {a["image_id"]: a["category_id"] for a in content["annotations"]}
        images = sorted(content["images"], key=lambda image: image["id"])
        found = [category_of[image["id"]] for image in images]
        if strange := sorted(set(found) - set(label_of)):
            raise InputError(
                f"{path} has images of category {strange[0]}, which the training images do not have: "
                "fetch the JSON files of one year"
            )
        return ([image["file_name"] for image in images], [label_of[category] for category in found]), categories
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no JSON file of iNaturalist ({error!r}): fetch it again") from None


def _folder(data_dir: Path | None, names: Any, what: str) -> Path:
    names = list(names)
    folders = folders_to_try(data_dir)
    for folder in folders:
        if all((folder / name).is_file() for name in names):
            return folder
    where = ", ".join(str(folder) for folder in folders) or "no folder that was named"
    raise InputError(f"{what} needs {', '.join(names)} in {where}: name the folder with --data-dir or {ENVIRONMENT}")


def _raw_dataset(
    folder: Path,
    listings: dict[str, Listing],
    class_names: list[str] | None,
    size: int,
    skip_broken: bool | list[str],
    normalization: tuple[Sequence[float], Sequence[float]] = (IMAGENET_MEAN, IMAGENET_STD),
) -> RawDataset:
    classes = 1 + max(max(labels) for _, labels in listings.values())
    names = class_names or [str(label) for label in range(classes)]
    stores = [
        FileStore(folder, tuple(paths), torch.tensor(labels, dtype=torch.int64), size)
        for paths, labels in listings.values()
    ]
    stores, left_out = leave_out(stores, skip_broken)
    found = dict(zip(listings, stores, strict=True))
    return RawDataset(
        found["train"],
        found["test"],
        tuple(names),
        tuple(normalization[0]),
        tuple(normalization[1]),
        validation=found.get("validation"),
        augment="jitter",
        left_out=tuple(left_out),
    )
