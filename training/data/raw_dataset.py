"""A raw data set: one as its authors publish it, before a long tail is cut from it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from training.data.image_store import ImageStore

ENVIRONMENT = "LANDSCAPE_DATA"


@dataclass(frozen=True)
class RawDataset:
    """The stores of a data set and what they mean.

    Attributes:
        train: The store that training and, where the set has none of its own, validation images come from.
        test: The test images, used whole.
        class_names: In label order.
        mean: Per channel, of pixels in [0, 1].
        std: Per channel, of pixels in [0, 1].
        validation: The set's own validation images, if it has any.
        held_out: Images a class to hold out of `train` by default when it has none.
        augment: The augmentation that is usual for the set, a key of `training.batches.augment.AUGMENTATIONS`.
        left_out: Files that were asked to be left out because they cannot be read.
        subset: How a class's images are ordered before the first n_c are kept, see `training.data.longtail`.
    """

    train: ImageStore = field(repr=False)
    test: ImageStore = field(repr=False)
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation: ImageStore | None = None
    held_out: int = 0
    augment: str = "none"
    left_out: tuple[str, ...] = ()
    subset: str = "nested"


def folders_to_try(data_dir: Path | None, *known: Path) -> list[Path]:
    """Where a data set may lie, first choice first: the named folder, the environment's, the usual places.

    Args:
        data_dir: What `--data-dir` said; then nothing else is tried.
        known: Places such as Debian's data packages.

    Returns:
        The folders in the order to look.
    """
    if data_dir is not None:
        return [data_dir]
    environment = os.environ.get(ENVIRONMENT)
    return [*([Path(environment)] if environment else []), *known]


def download_folder() -> Path:
    """Where downloads go: `$XDG_CACHE_HOME/longtail-landscape`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longtail-landscape"


def may_download() -> bool:
    """Whether this process is the one that downloads: rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"
