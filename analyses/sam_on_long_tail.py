"""`python -m analyses.sam_on_long_tail`: does SAM help the few-shot classes, and whose sharpness falls?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from analyses.engine.command import main as run_study
from analyses.engine.study import ABOVE, BELOW, FLATTER, Difference, Flatness, Question, Study, Variant

OPTIMIZERS = ("sam", "imbsam", "sse-sam")


def _asked(name: str) -> tuple[Question, ...]:
    called = name.upper() if name != "imbsam" else "ImbSAM"
    return (
        Question("b", f"{called} raises few-shot accuracy", Difference("ce", name, "accuracy", "few"), ABOVE),
        Question("b", f"{called}'s few-shot classes are flatter than SGD's", Flatness("ce", name, "few"), FLATTER),
        Question("b", f"{called}'s many-shot classes are flatter than SGD's", Flatness("ce", name, "many"), FLATTER),
    )


STUDY = Study(
    name="sam_on_long_tail",
    asks="Do sharpness-aware optimizers help the few-shot classes, and whose sharpness falls?",
    variants=tuple(Variant(name, {"method": name}) for name in ("ce", *OPTIMIZERS)),
    seeds=6,
    shared={"epochs": 150},
    questions=(
        *(question for name in OPTIMIZERS for question in _asked(name)),
        Question("b", "SAM lowers the few-shot test loss", Difference("ce", "sam", "loss", "few"), BELOW),
    ),
    limits=(
        "Fashion-MNIST of 600 to 6 images a class and a small convolutional network: one data set, one architecture. A "
        "seed draws weights and training images together.",
        "Radii are the defaults of each method: they were not chosen on this data.",
    ),
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run_study(STUDY, argv)


if __name__ == "__main__":
    main()
