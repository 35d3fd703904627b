"""What a study is: runs and seeds, measurements, questions and the rules that answer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ABOVE, BELOW, EQUAL, FLATTER, SHARPER = "above", "below", "equal", "flatter", "sharper"

CLAIMS = {
    "a": "The minima of rare classes are sharp",
    "b": "Sharpness-aware optimizers do not help the few-shot classes",
    "c": "BGP flattens the tail and lifts its accuracy",
    "d": "BGP costs no extra computation",
    "e": "BGP needs no detailed class priors",
    "f": "BGP improves any long-tailed loss",
}
"""What the abstract says, in our words, by the letter that questions name."""


@dataclass(frozen=True)
class Variant:
    """One configuration that is trained with every seed.

    Attributes:
        name: What tables call it.
        settings: Of `training.Config`, over those that the study's variants share.
    """

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """A command that every trained network is measured by.

    Attributes:
        analysis: `"hessian"` or `"sharpness"`.
        split: `"train"` or `"test"`.
        subsets: Names of the subsets.
    """

    analysis: str
    split: str
    subsets: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A number of one variant less that of another, paired by seed.

    Attributes:
        base: The variant it is compared with.
        variant: The variant.
        measure: `"accuracy"` in percent or `"loss"` in nat of the last epoch, the same with ` of best.pt` behind it, or
            a measure of the page, such as `"top"`.
        subset: Such as `"few"`.
        split: Of a measured number.
        relative: Compare logarithms: the difference is then that of ratios.
    """

    base: str
    variant: str
    measure: str
    subset: str
    split: str = "test"
    relative: bool = False


@dataclass(frozen=True)
class Trend:
    """How the logarithm of a number changes along the classes, from the most frequent to the rarest.

    The least-squares slope over the classes' ranks, times the number of steps: the change from the first class to the
    last. A control that has the same classes in the same order is subtracted, so that what makes one class harder than
    another cancels.

    Attributes:
        variant: The variant.
        control: A variant with as many images of every class.
        measure: A measure of the page, such as `"top"`.
        split: Where it was measured.
    """

    variant: str
    control: str
    measure: str
    split: str = "train"


@dataclass(frozen=True)
class Flatness:
    """Which of two variants is flatter at equal loss, by the three witnesses of the page.

    Attributes:
        base: The variant it is compared with.
        variant: The variant that is judged.
        subset: Such as `"few"`.
        split: Where both are measured.
    """

    base: str
    variant: str
    subset: str
    split: str = "train"


@dataclass(frozen=True)
class Question:
    """A statement, and the rule that supports or refutes it.

    Attributes:
        claim: The letter of `CLAIMS` that it bears on.
        text: The statement.
        about: What is compared.
        says: `"above"` or `"below"` (the margin), `"equal"` (within the margin), or `"flatter"`, `"sharper"` or
            `"equal"` of a `Flatness`.
        margin: In the unit of what is compared; of logarithms too.
    """

    claim: str
    text: str
    about: Difference | Trend | Flatness
    says: str
    margin: float = 0.0


@dataclass(frozen=True)
class Study:
    """A study, whole.

    Attributes:
        name: Of the module in `analyses`.
        asks: What it is for, one sentence.
        variants: What is trained.
        seeds: How many seeds the rule was written for, from 0; a seed draws weights and training images alike.
        questions: What is asked, with its rules.
        shared: Settings of `training.Config` that all variants have.
        measured: Beside what the questions on flatness need.
        limits: What a reader must know before believing an answer.
    """

    name: str
    asks: str
    variants: tuple[Variant, ...]
    seeds: int
    questions: tuple[Question, ...]
    shared: Mapping[str, Any] = field(default_factory=dict)
    measured: tuple[Measured, ...] = ()
    limits: tuple[str, ...] = ()

    def flatness_pairs(self) -> list[Flatness]:
        """What has to be measured at equal loss, each pair once."""
        return list(dict.fromkeys(q.about for q in self.questions if isinstance(q.about, Flatness)))


QUICK_SHARE = 15
"""A quick run trains for a fifteenth of the epochs …"""
QUICK_SEEDS = 1
"""… with one seed, and answers nothing."""


def quick(study: Study) -> Study:
    """The study in minutes: everything is exercised, nothing can be concluded.

    Args:
        study: A study.

    Returns:
        The same with short trainings and one seed.
    """
    variants = []
    for variant in study.variants:
        epochs = int({**study.shared, **variant.settings}.get("epochs", 30))
        variants.append(Variant(variant.name, {**variant.settings, "epochs": max(epochs // QUICK_SHARE, 1)}))
    return Study(
        study.name, study.asks, tuple(variants), QUICK_SEEDS, study.questions, study.shared, study.measured,
        study.limits,
    )  # fmt: skip
