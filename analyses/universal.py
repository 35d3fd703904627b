"""`python -m analyses.universal`: does BGP improve losses that are made for long tails?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from analyses.engine.command import main as run_study
from analyses.engine.study import ABOVE, Difference, Question, Study, Variant

BASES = {"balanced-softmax": "balanced softmax", "la": "logit adjustment", "ldam-drw": "LDAM-DRW"}
GROUPS = {"few": "few-shot accuracy", "all": "accuracy"}

STUDY = Study(
    name="universal",
    asks="Does BGP improve losses that are made for long tails?",
    variants=tuple(Variant(name, {"method": name}) for base in BASES for name in (base, f"{base}+bgp")),
    seeds=8,
    shared={"epochs": 150},
    questions=tuple(
        Question("f", f"BGP raises the {what} of {called}", Difference(base, f"{base}+bgp", "accuracy", group), ABOVE)
        for base, called in BASES.items()
        for group, what in GROUPS.items()
    ),
    limits=(
        "Fashion-MNIST of 600 to 6 images a class and a small convolutional network: one data set, one architecture. A "
        "seed draws weights and training images together.",
        "λ is the default on every base.",
        "BGP is a reconstruction from the abstract; its default is the class-balanced Brier score.",
    ),
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run_study(STUDY, argv)


if __name__ == "__main__":
    main()
