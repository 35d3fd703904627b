"""The curvature of one run where its class losses equal another run's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from foundation.errors import InputError
from landscape.files.landscape_file import Landscape, read_landscape
from landscape.hessian.measure import HessianResult, measure_hessian
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import Plan
from landscape.hessian.result import HessianSettings, SubsetCurvature
from landscape.subject.subject import Subject
from landscape.subject.temperature import matching_temperature, tempered


def other_losses(path: Path, split: str) -> tuple[Landscape, dict[str, float]]:
    """The losses of the run to compare with.

    Args:
        path: Its `landscape.h5`.
        split: The split that is measured.

    Returns:
        The file, and the evaluation loss of each of its subsets.

    Raises:
        InputError: The file cannot be read or was not evaluated on that split.
    """
    other = read_landscape(path)
    evaluation = other.get("evaluation", split)
    if evaluation is None:
        raise InputError(f"--match-loss {str(path)!r} was not evaluated on {split!r}: measure its Hessian there first")
    losses = np.asarray(evaluation.data["loss"], dtype=float)
    return other, dict(zip(evaluation.subset, losses.tolist(), strict=True))


def temperatures(subject: Subject, losses: Mapping[str, float], *, size: int = 500) -> dict[str, float]:
    """The temperature at which each subset's loss is the larger of its own and the other run's.

    The run with the smaller loss is lifted, the other one is left as it is (temperature 1), so that both runs,
    measured against each other, meet at the same loss.

    Args:
        subject: The run to lift.
        losses: The other run's loss of each subset.
        size: Samples a forward pass.

    Returns:
        One temperature a subset; NaN where the loss cannot be reached (log C and above) or is not known.
    """
    found = {}
    for subset in subject.subsets:
        with torch.no_grad():
            logits = torch.cat([subject.network(batch.inputs) for batch in subject.batches(subset, size)])
        labels, weights = subject.labels[subject.rows(subset)], subject.weights(subset)
        target = losses.get(subset.name, math.nan)
        found[subset.name] = math.nan if math.isnan(target) else matching_temperature(logits, labels, weights, target)
    return found


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
    settings, plan = settings or HessianSettings(), plan or choose_plan(subject)
    found = dict(done or {})
    for subset in subject.subsets:
        if subset.name not in found:
            temperature = at[subset.name] if math.isfinite(at[subset.name]) else 1.0
            lifted = subject.with_subsets([subset.name]).with_loss(tempered(subject.loss, temperature))
            found[subset.name] = measure_hessian(lifted, settings=settings, plan=plan).curvatures[0]
            if on_done is not None:
                on_done(found[subset.name])
    return HessianResult(tuple(found[subset.name] for subset in subject.subsets), settings, plan)
