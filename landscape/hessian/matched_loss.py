"""The curvature of one run where its class losses equal another run's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from landscape.hessian.checks import check_symmetry
from landscape.hessian.measure import collect, measure_hessian
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import Plan
from landscape.hessian.result import HessianResult, HessianSettings, SubsetCurvature
from landscape.subject.subject import Subject
from landscape.subject.temperature import matching_temperature, tempered


def temperatures(subject: Subject, losses: Mapping[str, float], *, size: int = 500) -> dict[str, float]:
    """The temperature at which each subset's loss is the larger of its own and the other run's.

    The run with the smaller loss is lifted, the other one is left as it is (temperature 1), so that both runs,
    measured against each other, meet at the same loss.

    Args:
        subject: The run to lift.
        losses: The other run's loss of each subset.
        size: Samples a forward pass.

    Returns:
        One temperature a subset; NaN where no temperature reaches the loss, or it is not known.
    """
    temperatures = {}
    for subset in subject.subsets:
        with torch.no_grad():
            logits = torch.cat([subject.network(batch.inputs) for batch in subject.batches(subset, size)])
        labels, weights = subject.targets(subject.rows(subset)), subject.weights(subset)
        target = losses.get(subset.name, math.nan)
        known = not math.isnan(target)
        temperatures[subset.name] = (
            matching_temperature(subject.loss, logits, labels, weights, target) if known else math.nan
        )
    return temperatures


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
        at: Temperature of each subset; one without a finite temperature is measured as it is.
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
            temperature = at[subset.name] if math.isfinite(at[subset.name]) else 1.0
            lifted = subject.with_subsets([subset.name]).with_loss(tempered(subject.loss, temperature))
            measured[subset.name] = measure_hessian(lifted, settings=settings, plan=plan).curvatures[0]
            if on_done is not None:
                on_done(measured[subset.name])
    return collect(subject, measured, settings, plan)
