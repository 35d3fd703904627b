"""`python -m analyses.no_priors`: does BGP need to know how frequent classes are?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from analyses.engine.command import main as run_study
from analyses.engine.study import ABOVE, EQUAL, Difference, Question, Study, Variant

SIZES = (16, 64, 256)


def _variants(size: int) -> tuple[Variant, ...]:
    return (
        Variant(f"ce batch {size}", {"method": "ce", "batch_size": size}),
        Variant(f"bgp batch {size}", {"method": "bgp", "batch_size": size}),
        Variant(f"bgp running {size}", {"method": "bgp", "method_kwargs": {"balance": "running"}, "batch_size": size}),
    )


def _asked(size: int) -> tuple[Question, ...]:
    ce, batch, running = (variant.name for variant in _variants(size))
    few = "few-shot accuracy"
    return (
        Question(
            "e", f"Without priors BGP raises {few} in batches of {size}",
            Difference(ce, batch, "accuracy", "few"), ABOVE,
        ),
        Question(
            "e", f"BGP balanced by running class shares has the same {few}, ± 2 points, in batches of {size}",
            Difference(batch, running, "accuracy", "few"), EQUAL, 2.0,
        ),
    )  # fmt: skip


STUDY = Study(
    name="no_priors",
    asks="Does BGP work without class priors at every batch size?",
    variants=tuple(variant for size in SIZES for variant in _variants(size)),
    seeds=5,
    questions=tuple(question for size in SIZES for question in _asked(size)),
    limits=(
        "Fashion-MNIST of 600 to 6 images a class and a small convolutional network: one data set, one architecture. A "
        "seed draws weights and training images together.",
        "Learning rate and weight decay are those chosen for batches of 64.",
        "Cross-entropy and BGP in batches of 64 are the runs of training_length: what they do was known. One question "
        "was reworded before the other runs were made.",
        "The cost of a step is measured by benchmarks.training, not here.",
    ),
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run_study(STUDY, argv)


if __name__ == "__main__":
    main()
