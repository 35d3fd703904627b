"""`python -m benchmarks.gpu`: a whole run, curvature and a surface on a GPU, each figure into its own block.

The images are random, of CIFAR-10-LT's shape and counts (imbalance 100): what they show costs no time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

import landscape
from benchmarks.document import rewrite_block
from foundation.command import Parser, run
from foundation.devices import choose_device, describe_device
from landscape.files.checkpoint import open_checkpoint
from training import Config, train
from training.recipe import load_recipe

LARGEST, IMBALANCE, CLASSES, SIDE = 5_000, 100, 10, 32
EPOCHS = 200


def write_images(path: Path, *, largest: int) -> None:
    """Random images of CIFAR-10-LT's shape, as the `npz` data set reads them.

    Args:
        path: The file.
        largest: Images of the most frequent class; the rarest has 1/100 of it.
    """
    random = np.random.default_rng(0)
    counts = [int(largest * IMBALANCE ** (-c / (CLASSES - 1))) for c in range(CLASSES)]
    arrays: dict[str, Any] = {}
    for part, each in (("train", counts), ("test", [100] * CLASSES)):
        arrays[f"{part}_images"] = random.integers(0, 256, (sum(each), SIDE, SIDE, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.repeat(np.arange(CLASSES), each)
    np.savez(path, **arrays)


def timed_run(folder: Path, *, device: str, epochs: int, **changes: Any) -> tuple[Path, float]:
    """Trains by the recipe of cross-entropy on CIFAR-10-LT, compiled.

    Args:
        folder: Where `data.npz` lies and the run goes.
        device: Where.
        epochs: How many are timed, beside one to warm up; the median stands for each of 200.
        **changes: Of the recipe.

    Returns:
        The checkpoint, and the seconds of 200 epochs with everything that an epoch does.
    """
    ends: list[float] = []

    def say(line: str) -> None:
        if line[:5].strip().isdigit():
            ends.append(time.perf_counter())

    of_the_set = {"data": "npz", "data_kwargs": {}, "data_dir": folder, "imbalance": None, "snapshots": 0}
    ours = {"compile": True, "device": device, "epochs": epochs + 1, "evaluate_every": epochs + 1}
    settings = {**load_recipe("cifar10-lt/ce"), **of_the_set, **ours, **changes}
    began = time.perf_counter()
    finished = train(Config(out=folder / "run", **settings), say=say)
    each = [after - before for before, after in itertools.pairwise(ends)]
    return finished.checkpoint, ends[0] - began + (EPOCHS - 1) * statistics.median(each)


def timed_measurements(checkpoint: Path, *, device: torch.device, points: int) -> tuple[float, int, float]:
    """Curvature of the most frequent and the rarest class, then a surface, both as they are measured by default.

    Args:
        checkpoint: Of which network.
        device: Where.
        points: Cells along each axis of the surface.

    Returns:
        Seconds of the curvature, its products, and seconds of the surface.
    """
    subject = open_checkpoint(checkpoint, subsets=["class:0", f"class:{CLASSES - 1}"], device=device).subject
    began = time.perf_counter()
    curvature = landscape.measure_hessian(subject)
    middle = time.perf_counter()
    landscape.measure_surface(subject, settings=landscape.SurfaceSettings(points=points, span=1.0))
    products = sum(one.products for one in curvature.curvatures)
    return middle - began, products, time.perf_counter() - middle


def _main(arguments: argparse.Namespace) -> None:
    device = choose_device(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "data.npz", largest=LARGEST)
        checkpoint, whole = timed_run(Path(folder), device=arguments.device, epochs=arguments.epochs)
        curvature, products, surface = timed_measurements(checkpoint, device=device, points=arguments.points)
    texts = {
        "run": f"{EPOCHS} epochs of ResNet-32 by the recipe of cross-entropy on CIFAR-10-LT, compiled, everything that "
        f"an epoch does: {whole:.0f} s (the median of {arguments.epochs} epochs for each)",
        "hessian": f"All curvature of that network's most frequent and rarest class: {curvature:.1f} s, {products} "
        "products",
        "surface": f"A surface of {arguments.points} × {arguments.points} points of the same: {surface:.1f} s",
    }
    for name, text in texts.items():
        rewrite_block(f"{name}-{device.type}", f"{text}. {describe_device(device)}, PyTorch {torch.__version__}.")
        print(text)
    figures = {"run_seconds": whole, "hessian_seconds": curvature, "surface_seconds": surface}
    print(json.dumps({key: round(value, 2) for key, value in figures.items()}))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command.

    Args:
        argv: Arguments instead of the process's own.
    """
    parser = Parser("benchmarks.gpu", "Times a run, curvature and a surface on a GPU.", "--epochs 20")
    parser.add_argument("--device", default="cuda", help="cuda")
    parser.add_argument("--epochs", type=int, default=20, help="of the training that are timed")
    parser.add_argument("--points", type=int, default=21, help="cells along each axis of the surface")
    run(_main, parser, argv)


if __name__ == "__main__":
    main()
