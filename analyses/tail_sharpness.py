"""`python -m analyses.tail_sharpness`: are the minima of rare classes sharper, and is it their rarity?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from analyses.engine.command import main as run_study
from analyses.engine.study import ABOVE, Measured, Question, Study, Trend, Variant

CLASSES = tuple(f"class:{number}" for number in range(10))
MEASURES = (("top", "the top eigenvalue"), ("scaled", "the scale-free top eigenvalue"), ("trace", "the trace"))


def _asked(measure: str, called: str, split: str, most: int) -> Question:
    where = "" if split == "train" else " on test images"
    text = f"From the largest class to the smallest {called} grows more at imbalance {most} than at 1{where}"
    return Question("a", text, Trend(f"imbalance {most}", "imbalance 1", measure, split), ABOVE)


STUDY = Study(
    name="tail_sharpness",
    asks="Do classes get sharper as they get rarer, beyond what makes one class harder than another?",
    variants=tuple(Variant(f"imbalance {ratio}", {"imbalance": float(ratio)}) for ratio in (1, 10, 50, 100)),
    seeds=5,
    shared={"epochs": 150},
    measured=tuple(Measured("hessian", split, CLASSES) for split in ("train", "test")),
    questions=(
        *(_asked(measure, called, "train", 100) for measure, called in MEASURES),
        *(_asked("top", "the top eigenvalue", "train", ratio) for ratio in (10, 50)),
        _asked("top", "the top eigenvalue", "test", 100),
        _asked("loss", "the loss", "train", 100),
    ),
    limits=(
        "Fashion-MNIST and a small convolutional network: one data set, one architecture. A seed draws weights and "
        "training images together.",
        "The control keeps classes and their order, and has more images and so more steps in the same epochs.",
        "Curvature of cross-entropy falls with the loss, and classes of one network are not at equal loss: a trend of "
        "the loss, which is asked about too, may explain one of the curvature.",
    ),
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run_study(STUDY, argv)


if __name__ == "__main__":
    main()
