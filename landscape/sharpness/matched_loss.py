"""The sharpness of one run where its subsets' losses equal another run's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.result import Sharpness, SharpnessSettings
from landscape.subject.subject import Subject
from landscape.subject.temperature import tempered


def measure_matched(
    subject: Subject,
    at: Mapping[str, float],
    *,
    settings: SharpnessSettings | None = None,
    done: Mapping[str, Sharpness] | None = None,
    on_done: Callable[[Sharpness], None] | None = None,
) -> Sharpness:
    """Measures every subset at its own temperature.

    Args:
        subject: The run.
        at: Temperature of each subset.
        settings: How much to measure.
        done: What is known from an interrupted run, a result of one subset by its name.
        on_done: Called with the result of each subset as soon as it is known.

    Returns:
        The sharpness of the tempered losses, by the same random perturbations for every subset.
    """
    measured = dict(done or {})
    for subset in subject.subsets:
        if subset.name not in measured:
            measured[subset.name] = _lifted(subject, subset.name, at, settings)
            if on_done is not None:
                on_done(measured[subset.name])
    return Sharpness.stacked([measured[subset.name] for subset in subject.subsets])


def measure_some_matched(
    subject: Subject,
    names: Iterable[str],
    at: Mapping[str, float],
    *,
    settings: SharpnessSettings,
    on_done: Callable[[Sharpness], None],
) -> None:
    """Measures some subsets as `measure_matched` does.

    Args:
        subject: The run.
        names: Subsets, named one after the other while they are measured.
        at: Temperature of each subset.
        settings: How much to measure.
        on_done: Called with the result of each subset as soon as it is known.
    """
    for name in names:
        on_done(_lifted(subject, name, at, settings))


def _lifted(subject: Subject, name: str, at: Mapping[str, float], settings: SharpnessSettings | None) -> Sharpness:
    lifted = subject.with_subsets([name]).with_loss(tempered(subject.loss, at[name]))
    return measure_sharpness(lifted, settings=settings)
