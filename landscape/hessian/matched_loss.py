"""The curvature of one run where its class losses equal another run's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from landscape.hessian.checks import check_symmetry
from landscape.hessian.measure import collect, measure_hessian
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import Plan
from landscape.hessian.result import HessianResult, HessianSettings, SubsetCurvature
from landscape.subject.subject import Subject
from landscape.subject.temperature import tempered


def measure_matched(
    subject: Subject,
    at: Mapping[str, float],
    *,
    settings: HessianSettings | None = None,
    plan: Plan | None = None,
    done: Mapping[str, SubsetCurvature] | None = None,
    on_done: Callable[[SubsetCurvature], None] | None = None,
) -> HessianResult:
    """Measures every subset at its own temperature.

    Args:
        subject: The run.
        at: Temperature of each subset.
        settings: How much to measure.
        plan: How to compute products; by default chosen by timing a few.
        done: Curvatures known from an interrupted run, by subset name.
        on_done: Called with each curvature as soon as it is known.

    Returns:
        The curvatures of the tempered losses.
    """
    check_symmetry(subject)
    settings, plan = settings or HessianSettings(), plan or choose_plan(subject)
    measured = dict(done or {})
    for subset in subject.subsets:
        if subset.name not in measured:
            measured[subset.name] = _lifted(subject, subset.name, at, settings, plan)
            if on_done is not None:
                on_done(measured[subset.name])
    return collect(subject, measured, settings, plan)


def measure_some_matched(
    subject: Subject,
    names: Iterable[str],
    at: Mapping[str, float],
    *,
    settings: HessianSettings,
    plan: Plan,
    on_done: Callable[[SubsetCurvature], None],
) -> None:
    """Measures some subsets as `measure_matched` does.

    Args:
        subject: The run.
        names: Subsets, named one after the other while they are measured.
        at: Temperature of each subset.
        settings: How much to measure.
        plan: How to compute products.
        on_done: Called with each curvature as soon as it is known.
    """
    check_symmetry(subject)
    for name in names:
        on_done(_lifted(subject, name, at, settings, plan))


def _lifted(
    subject: Subject, name: str, at: Mapping[str, float], settings: HessianSettings, plan: Plan
) -> SubsetCurvature:
    lifted = subject.with_subsets([name]).with_loss(tempered(subject.loss, at[name]))
    return measure_hessian(lifted, settings=settings, plan=plan).curvatures[0]
