"""Verdicts by the rules: what makes each of them, and what must not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from analyses.engine.answers import NOT_RUN, NOT_SHOWN, QUICK, REFUTED, SUPPORTED, TOO_FEW, answer
from analyses.engine.numbers import Numbers, Pair, Value
from analyses.engine.study import Difference, Flatness, Question, Study, Trend, Variant
from landscape.comparison.flatness import ADAPTIVE, TOP, TRACE

FEW = Difference("a", "b", "accuracy", "few")


def study(*questions: Question) -> Study:
    return Study("it", "What?", (Variant("a", {}), Variant("b", {})), 5, questions)


def question(about=FEW, says="above", margin=0.0) -> Question:
    return Question("c", "a statement", about, says, margin)


def accuracies(differences, measure="accuracy", base=50.0) -> Numbers:
    lines = [Value("a", seed, "test", "few", 0, measure, base) for seed in range(len(differences))]
    lines += [Value("b", seed, "test", "few", 0, measure, base + d) for seed, d in enumerate(differences)]
    return Numbers(tuple(lines), ())


CLEAR = [4.0, 5.0, 6.0, 5.5, 4.5, 5.2]


@pytest.mark.parametrize(
    ("differences", "says", "margin", "verdict"),
    [
        (CLEAR, "above", 0.0, SUPPORTED),
        (CLEAR, "below", 0.0, REFUTED),
        (CLEAR, "above", 10.0, REFUTED),
        (CLEAR, "below", 10.0, SUPPORTED),
        (CLEAR[:5], "above", 0.0, SUPPORTED),
        (CLEAR[:4], "above", 0.0, TOO_FEW),
        ([], "above", 0.0, NOT_RUN),
        ([-9.0, 10.0, 1.0, 12.0, -5.0, 3.0], "above", 0.0, NOT_SHOWN),
        ([0.1, -0.1, 0.2, -0.2, 0.1], "equal", 1.0, SUPPORTED),
        (CLEAR, "equal", 1.0, REFUTED),
        ([0.5, -1.5, 2.5, -2.0, 1.0], "equal", 1.0, NOT_SHOWN),
        ([1.0, 1.1, 0.9, 1.2, 1.0], "equal", 1.0, NOT_SHOWN),  # on the margin itself
    ],
)
def test_a_difference(differences, says, margin, verdict):
    (told,) = answer(study(question(FEW, says, margin)), accuracies(differences))
    assert (told.verdict, told.seeds) == (verdict, len(differences))
    assert math.isnan(told.estimate) if not differences else told.estimate == pytest.approx(np.mean(differences))


def test_fewer_seeds_than_the_rule_was_written_for_give_no_verdict():
    written_for_eight = replace(study(question(), question(Flatness("a", "b", "few"), "flatter")), seeds=8)
    told = answer(written_for_eight, Numbers(accuracies(CLEAR).values, pairs({TOP: HALF, TRACE: HALF}).pairs))
    assert [(one.verdict, one.seeds) for one in told] == [(TOO_FEW, 6), (TOO_FEW, 5)]


def test_only_seeds_that_both_have_are_paired():
    numbers = accuracies(CLEAR)
    lines = tuple(v for v in numbers.values if (v.variant, v.seed) not in {("a", 0), ("b", 5)})
    (told,) = answer(study(question()), Numbers(lines, ()))
    assert told.seeds == 4 and told.estimate == pytest.approx(np.mean(CLEAR[1:5]))


def test_holm_spans_the_study_as_written_run_or_not():
    differences = [2.0, 5.0, 9.0, 4.0, 0.5]  # p = .045
    (alone,) = answer(study(question()), accuracies(differences))
    not_run = question(replace(FEW, measure="accuracy of best.pt"))
    first, second = answer(study(question(), not_run), accuracies(differences))
    assert (alone.verdict, first.verdict, second.verdict) == (SUPPORTED, NOT_SHOWN, NOT_RUN)
    assert first.p == pytest.approx(2 * alone.p)


def test_from_six_seeds_on_the_sign_flips_have_a_say():
    told = answer(study(question()), accuracies([9.0, -0.1, 8.0, 10.0, 9.5, 8.5, -0.2]))[0]
    assert told.p < 0.05 and told.p_flips == pytest.approx(8 / 128)  # the small ones may flip as they like
    assert told.verdict == NOT_SHOWN


def test_ratios_are_told_as_ratios():
    about = replace(FEW, measure="top", relative=True)
    numbers = accuracies([50.0] * 5, measure="top")
    (told,) = answer(study(question(about)), numbers)
    assert (told.estimate, told.low, told.high) == pytest.approx((2.0, 2.0, 2.0)) and told.figures.startswith("×2.00")


def test_a_trend_is_the_change_from_the_first_class_to_the_last_beyond_the_control():
    def lines(variant: str, factor: float) -> list[Value]:
        return [
            Value(
                variant,
                seed,
                "train",
                f"class:{c}",
                0,
                "top",
                (1 + 0.1 * seed) * (2 if c == 3 else 1) * factor ** (c / 9),
            )
            for seed in range(5)
            for c in range(10)
        ]

    numbers = Numbers((*lines("a", 2.0), *lines("b", 20.0)), ())
    (told,) = answer(study(question(Trend("b", "a", "top"))), numbers)
    assert told.estimate == pytest.approx(10.0) and told.verdict == SUPPORTED and told.figures.startswith("×10.00")


def pairs(ratios: dict[str, list[float]], seeds: int = 5) -> Numbers:
    return Numbers((), tuple(
        Pair("a", "b", seed, "train", "few", 0.2, name, 1.0, told[seed], told[seed], told[seed])
        for seed in range(seeds)
        for name, told in ratios.items()
    ))  # fmt: skip


HALF, ONE, TWICE = [0.5, 0.52, 0.48, 0.5, 0.51], [1.0, 1.02, 0.98, 1.0, 1.01], [2.0, 2.1, 1.9, 2.0, 2.05]
WIDE = [0.2, 1.5, 0.4, 2.0, 0.3]


@pytest.mark.parametrize(
    ("witnesses", "seeds", "says", "verdict"),
    [
        ((HALF, HALF, ONE), 5, "flatter", SUPPORTED),
        ((HALF, HALF, ONE), 5, "sharper", REFUTED),
        ((HALF, HALF, TWICE), 5, "flatter", NOT_SHOWN),
        ((HALF, ONE, ONE), 5, "flatter", NOT_SHOWN),
        ((WIDE, WIDE, WIDE), 5, "flatter", NOT_SHOWN),
        ((ONE, ONE, ONE), 5, "equal", SUPPORTED),
        ((ONE, ONE, ONE), 5, "flatter", REFUTED),
        ((TWICE, TWICE, TWICE), 5, "flatter", REFUTED),
        ((HALF, HALF, HALF), 4, "flatter", TOO_FEW),
        ((HALF,), 5, "flatter", NOT_SHOWN),
    ],
)
def test_flatness_follows_the_rule_of_the_page(witnesses, seeds, says, verdict):
    numbers = pairs(dict(zip((TOP, TRACE, ADAPTIVE), witnesses, strict=False)), seeds)
    (told,) = answer(study(question(Flatness("a", "b", "few"), says)), numbers)
    assert (told.verdict, told.seeds) == (verdict, seeds)


def test_pairs_that_do_not_compare_are_no_evidence():
    lines = pairs({TOP: HALF, TRACE: HALF}).pairs
    nan = float("nan")
    apart = Pair("a", "b", 5, "train", "few", nan, "", nan, nan, nan, nan, "at equal loss, one rises")
    (told,) = answer(study(question(Flatness("a", "b", "few"), "flatter")), Numbers((), (*lines, apart)))
    assert told.verdict == NOT_SHOWN and told.seeds == 6


def test_a_quick_run_answers_nothing():
    about = Flatness("a", "b", "few")
    told = answer(
        study(question(), question(about, "flatter"), question(replace(FEW, measure="x"))),
        accuracies(CLEAR),
        quick=True,
    )
    assert [one.verdict for one in told] == [QUICK, NOT_RUN, NOT_RUN]
