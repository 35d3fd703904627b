"""Answers to a study's questions: verdicts by the rules that its file stated, from its numbers alone.

A verdict needs the seeds that the study was written for, and five at least. Of a difference it is `supported` or
`refuted` where Student's t says so at 5 % after Holm's correction over all of the study's questions of that kind, and
from six seeds on the sign flips too, uncorrected. `equal` is supported by two one-sided tests (Holm), refuted where
the 95 % interval lies beyond the margin. On flatness the page's rule speaks, its intervals over seeds; it has margins
of its own and is not corrected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analyses.engine.numbers import Numbers
from analyses.engine.significance import LEVEL, Sample, equivalence_p, holm, sample_of
from analyses.engine.study import ABOVE, EQUAL, Difference, Flatness, Question, Study, Trend
from landscape.comparison.flatness import EQUAL as SAME
from landscape.comparison.flatness import FLATTER, SHARPER, Witness
from landscape.comparison.seeds import FEWEST_PAIRS, over_pairs

SUPPORTED, REFUTED, NOT_SHOWN, TOO_FEW, NOT_RUN, QUICK = (
    "supported", "refuted", "not shown", "too few seeds", "not run", "quick: no verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a study says of one question.

    Attributes:
        question: The question.
        verdict: `"supported"`, `"refuted"`, `"not shown"`, `"too few seeds"`, `"not run"` or `"quick: no verdict"`.
        seeds: How many seeds it rests on.
        estimate: The mean difference, or for ratios the geometric mean; NaN without.
        low: Lower end of its 95 % interval over seeds.
        high: Upper end.
        p: Adjusted by Holm over the study; NaN of flatness.
        p_flips: Of the sign flips, uncorrected; NaN with fewer than six seeds.
        figures: All of it in words.
    """

    question: Question
    verdict: str
    seeds: int
    estimate: float
    low: float
    high: float
    p: float
    p_flips: float
    figures: str


def answer(study: Study, numbers: Numbers, *, quick: bool = False) -> tuple[Answer, ...]:
    """Answers every question.

    Args:
        study: The study.
        numbers: Its numbers.
        quick: Whether they come from a quick run, which answers nothing.

    Returns:
        One answer a question, in the study's order.
    """
    needed = seeds_needed(study)
    per_seed = {i: _by_seed(q.about, numbers) for i, q in enumerate(study.questions) if not _on_flatness(q)}
    raw = {i: _p(study.questions[i], list(told.values()), needed) for i, told in per_seed.items()}
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    answers = []
    for i, question in enumerate(study.questions):
        if i in per_seed:
            found = _of_difference(question, list(per_seed[i].values()), adjusted[i], needed)
        else:
            found = _of_flatness(question, numbers, needed)
        answers.append(replace(found, verdict=QUICK) if quick and found.verdict != NOT_RUN else found)
    return tuple(answers)


def seeds_needed(study: Study) -> int:
    """Seeds without which there is no verdict: those of the rule, for each look at fewer would be another chance."""
    return max(study.seeds, FEWEST_PAIRS)


def _on_flatness(question: Question) -> bool:
    return isinstance(question.about, Flatness)


def _by_seed(about: Difference | Trend | Flatness, numbers: Numbers) -> Mapping[int, float]:
    """What is asked about, one number a seed that has all of it."""
    if isinstance(about, Difference):
        base, other = (
            numbers.by_seed(v, about.measure, about.subset, about.split) for v in (about.base, about.variant)
        )
        if about.relative:
            base, other = ({s: math.log(v) for s, v in told.items() if v > 0} for told in (base, other))
        return {seed: other[seed] - base[seed] for seed in sorted(base.keys() & other.keys())}
    assert isinstance(about, Trend)
    first, second = (numbers.classes(v, about.measure, about.split) for v in (about.control, about.variant))
    changes = {s: _change(second[s]) - _change(first[s]) for s in sorted(first.keys() & second.keys())}
    return {seed: change for seed, change in changes.items() if math.isfinite(change)}


def _change(values: Sequence[float]) -> float:
    """The fitted change of the logarithm from the first class to the last."""
    logs = np.log([value if value > 0 else float("nan") for value in values])
    if len(logs) < 2:
        return float("nan")
    ranks = np.arange(len(logs)) - (len(logs) - 1) / 2
    return float(ranks @ logs / (ranks @ ranks) * (len(logs) - 1))


def _p(question: Question, values: Sequence[float], needed: int) -> float:
    """The p that Holm corrects; 1 of what was not run, so that the family is the study's as written."""
    if len(values) < needed:
        return 1.0
    if question.says == EQUAL:
        return equivalence_p(values, question.margin)
    return sample_of(values, question.margin).p


def _of_difference(question: Question, values: Sequence[float], p: float, needed: int) -> Answer:
    nan = float("nan")
    if not values:
        return Answer(question, NOT_RUN, 0, nan, nan, nan, nan, nan, "")
    sample = sample_of(values, question.margin)
    mean, low, high = (math.exp(x) if is_ratio(question) else x for x in (sample.mean, sample.low, sample.high))
    if sample.seeds < needed:
        verdict, p = TOO_FEW, nan
    elif question.says == EQUAL:
        beyond = sample.low > question.margin or sample.high < -question.margin
        verdict = SUPPORTED if p <= LEVEL else REFUTED if beyond else NOT_SHOWN
    else:
        verdict = _by_sides(question, sample, p)
    return Answer(
        question,
        verdict,
        sample.seeds,
        mean,
        low,
        high,
        p,
        sample.p_flips,
        _words(question, sample.seeds, mean, low, high),
    )


def _by_sides(question: Question, sample: Sample, p: float) -> str:
    flips = math.isnan(sample.p_flips) or sample.p_flips <= LEVEL
    if p > LEVEL or not flips:
        return NOT_SHOWN
    return SUPPORTED if (sample.mean > question.margin) == (question.says == ABOVE) else REFUTED


def _of_flatness(question: Question, numbers: Numbers, needed: int) -> Answer:
    about, nan = question.about, float("nan")
    assert isinstance(about, Flatness)
    told = numbers.flatness(about.base, about.variant, about.subset, about.split)
    if not told:
        return Answer(question, NOT_RUN, 0, nan, nan, nan, nan, nan, "")
    pairs = [told[seed] for seed in sorted(told)]
    found = over_pairs(pairs)
    figures = "; ".join(f"{w.name} ×{w.ratio:.2f} [{w.low:.2f}, {w.high:.2f}]" for w in found.witnesses)
    said = {FLATTER: "flatter", SHARPER: "sharper", SAME: "equal"}.get(found.verdict)
    if len(pairs) < needed:
        verdict = TOO_FEW
    elif said is None:
        verdict, figures = NOT_SHOWN, f"{figures or found.reason}: {found.verdict or 'no verdict'}"
    else:
        verdict = SUPPORTED if said == question.says else REFUTED
    first = found.witnesses[0] if found.witnesses else Witness("", nan, nan, nan, nan)
    return Answer(question, verdict, len(pairs), first.ratio, first.low, first.high, nan, nan, figures)


def is_ratio(question: Question) -> bool:
    """Whether the estimate is a ratio, not a difference."""
    about = question.about
    return about.relative if isinstance(about, Difference) else True


def _words(question: Question, seeds: int, mean: float, low: float, high: float) -> str:
    told = f"×{mean:.2f} [{low:.2f}, {high:.2f}]" if is_ratio(question) else f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"{told.partition(' [')[0]} (one seed)" if seeds == 1 else told
