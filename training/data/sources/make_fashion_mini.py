"""Makes `fashion_mini.npz` from the full Fashion-MNIST: `python -m training.data.sources.make_fashion_mini`.

Of each class, 700 training and 100 test images by a seeded choice, in the set's own order, as uint8. The same
arrays come out wherever it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from foundation.command import Parser, run
from foundation.files import replacing
from training.data.sources import fashion

SEED = 2017  # the year of the data set
TRAIN, TEST = 700, 100


def choose(labels: np.ndarray, a_class: int, *, seed: int = SEED) -> np.ndarray:
    """Which images to pack.

    Args:
        labels: (N,) the store's labels.
        a_class: Images to choose of each class.
        seed: The choice's seed.

    Returns:
        Ascending positions, `a_class` of each class.
    """
    random = np.random.RandomState(seed)
    chosen = [random.permutation(np.flatnonzero(labels == label))[:a_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def pack(source: Path, out: Path) -> None:
    """Writes the packed file.

    Args:
        source: The folder with the four IDX files.
        out: The npz file to write.
    """
    arrays = {}
    for split, files, a_class in (("train", fashion.TRAIN, TRAIN), ("test", fashion.TEST, TEST)):
        images, labels = (fashion.read_idx(source / name) for name in files)
        chosen = choose(labels, a_class)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images[chosen], labels[chosen]
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _main(arguments: argparse.Namespace) -> None:
    pack(arguments.source, arguments.out)
    print(f"wrote {arguments.out} ({arguments.out.stat().st_size / 1e6:.2f} MB)")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command.

    Args:
        argv: Arguments instead of the process's own.
    """
    parser = Parser(
        "training.data.sources.make_fashion_mini", "Packs fashion-mini.", "--source /usr/share/datasets/fashion-mnist"
    )
    parser.add_argument("--source", type=Path, default=fashion.DEBIAN, help="folder with the four IDX files")
    parser.add_argument("--out", type=Path, default=fashion.PACKED, help="file to write")
    run(_main, parser, argv)


if __name__ == "__main__":
    main()
