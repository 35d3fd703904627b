"""`python -m analyses.quickstart`: what does BGP do to the sharpness of rare classes? On embedded data, in minutes.

Trains plain cross-entropy and BGP on a long-tailed Fashion-MNIST (600 … 6 images a class), measures both on training
and test images, compares their tail at equal loss too, and writes one page.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from analyses.steps import step
from foundation.command import Parser, run
from landscape.files.landscape_file import Measurement, read_landscape

METHODS = ("ce", "bgp")
CLASSES = ",".join(f"class:{c}" for c in range(10))
EVERYTHING = f"all,medium,few,{CLASSES}"  # `all` beside the tail; `balanced` and `many` would take as long again, each
HEAD_AND_TAIL = "class:0,class:7,class:8,class:9"
QUICK = ("--top", 1, "--tol", 3e-2, "--slq-vectors", 2, "--no-intervals")  # 3 % puts eigenvalues within about 0.01 %
# A quarter of the training images and all of the tail; what that costs stands in `loss_se`.
SOME = ("--samples-per-class", 50)
TAIL = "few,class:7,class:8,class:9"


@dataclass(frozen=True)
class Quickstart:
    """What the study found.

    Attributes:
        report: The page.
        table: The comparison in words, one line a subset.
    """

    report: Path
    table: str


def quickstart(out: Path, *, epochs: int = 30, seed: int = 0, points: int = 25) -> Quickstart:
    """Trains, measures and compares cross-entropy and BGP; what is there already is not made again.

    Args:
        out: The folder of the study.
        epochs: Passes over the 1,485 training images.
        seed: Of both trainings.
        points: Cells along each axis of the surfaces.

    Returns:
        The page and the table.
    """
    files = {method: out / method / "landscape.h5" for method in METHODS}
    for method in METHODS:
        step(
            "training.run", "--data", "fashion-mini", "--imbalance", 100, "--method", method, "--model", "cnn",
            "--epochs", epochs, "--seed", seed, "--out", out / method,
        )  # fmt: skip
    for method in METHODS:
        checkpoint = ("--ckpt", out / method / "checkpoint.pt")
        step("landscape.hessian", *checkpoint, "--split", "train", "--subsets", EVERYTHING, *QUICK)
        step("landscape.hessian", *checkpoint, "--split", "test", "--subsets", HEAD_AND_TAIL, *QUICK)
        for split in ("train", "test"):
            step("landscape.sharpness", *checkpoint, "--split", split, "--steps", 2, "--draws", 4, *SOME)
        step("landscape.surface", *checkpoint, "--points", points, "--tolerance", 0.02, *SOME)
        tail = ("--plane", "eigen", "--of", "few", "--points", min(points, 15))
        step("landscape.surface", *checkpoint, *tail, "--tolerance", 0.02, *SOME)
    for method, other in zip(METHODS, reversed(METHODS), strict=True):
        matched = (
            "--ckpt", out / method / "checkpoint.pt", "--match-loss", files[other], "--subsets", TAIL,
            "--name", "train-matched",
        )  # fmt: skip
        step("landscape.hessian", *matched, *QUICK)
        step("landscape.sharpness", *matched, "--steps", 2, "--draws", 4)
    report = out / "report.html"
    step("landscape.report", *files.values(), "--out", report)
    return Quickstart(report, compare(files))


def compare(files: dict[str, Path]) -> str:
    """The runs side by side, one line a subset.

    Args:
        files: Their `landscape.h5` by name.

    Returns:
        Test accuracy, training loss and top eigenvalue of every subset, then the tail at equal loss.
    """
    runs = {name: read_landscape(path) for name, path in files.items()}

    def measurement(run: str, analysis: str, name: str) -> Measurement:
        measured = runs[run].get(analysis, name)
        assert measured is not None
        return measured

    first = measurement(METHODS[0], "hessian", "train")
    heads = [f"{what} {name}" for what in ("test acc %", "train loss", "λ_top") for name in files]
    lines = [f"{'subset':<13}{'n train':>8}" + "".join(f"{head:>16}" for head in heads)]
    for row, subset in enumerate(first.subset):
        cells = []
        for analysis, split, dataset, scale, form in (
            ("evaluation", "test", "accuracy", 100, ".1f"),
            ("evaluation", "train", "loss", 1, ".4f"),
            ("hessian", "train", "top", 1, ".1f"),
        ):
            for name in files:
                measured = measurement(name, analysis, split)
                value = np.ravel(measured.data[dataset][measured.subset.index(subset)])[0]
                cells.append(f"{scale * value:>16{form}}")
        lines.append(f"{first.label[row]:<13}{first.train_count[row]:>8}{''.join(cells)}")
    lines.append("\nat equal training loss (the lower one lifted by a temperature):")
    for name in files:
        matched = measurement(name, "hessian", "train-matched")
        for row, label in enumerate(matched.label):
            lines.append(
                f"{label:<13}{name:>8}  loss {matched.data['loss'][row]:.4f}  λ_top {matched.data['top'][row, 0]:.1f}"
            )
    return "\n".join(lines)


def _command(arguments: argparse.Namespace) -> None:
    study = quickstart(arguments.out, epochs=arguments.epochs, seed=arguments.seed, points=arguments.points)
    print(f"\n{study.table}\n\nopen {study.report}")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    parser = Parser("analyses.quickstart", "Compares cross-entropy and BGP class by class on embedded data.", "")
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"), help="folder of the study")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of both trainings")
    parser.add_argument("--points", type=int, default=25, help="cells along each axis of the surfaces")
    run(_command, parser, argv)


if __name__ == "__main__":
    main()
