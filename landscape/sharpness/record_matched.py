"""Sharpness at another run's losses in a `landscape.h5`, written subset by subset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from foundation.errors import InputError
from foundation.progress import Progress
from landscape.evaluation.record_matched import match_losses
from landscape.execution.checks import check_finite
from landscape.files.target import Target
from landscape.files.units import Recording, recording
from landscape.schema import TODO, assemble, quantities
from landscape.sharpness.matched_loss import measure_matched
from landscape.sharpness.record import (
    climb_work,
    create_datasets,
    draw_work,
    identity,
    samples_of,
    status_of,
    write,
)
from landscape.sharpness.result import Sharpness, SharpnessSettings
from landscape.subject.subject import Subject


def record_matched_sharpness(
    subject: Subject,
    target: Target,
    settings: SharpnessSettings,
    match_loss: Path,
    *,
    say: Callable[[str], None] | None = None,
) -> Sharpness | None:
    """Measures sharpness at another run's losses into a result file, continuing what is there.

    Args:
        subject: What is measured.
        target: Where it goes.
        settings: How much to measure, of all samples.
        match_loss: The `landscape.h5` of the other run.
        say: Told what it will cost; without it there is no progress either.

    Returns:
        The sharpness; None where the file holds it already.

    Raises:
        InputError: The name is taken, a file is another checkpoint's or has no losses to match, or only some samples
            of a class are asked for.
    """
    if settings.samples_per_class:
        raise InputError("--samples-per-class has losses of its own and meets no other's: leave --match-loss out")
    check_finite(subject)
    match = match_losses(subject, match_loss, target)
    subject, what = match.subject, identity(settings)
    what["config"] |= match.config
    with recording(target, "sharpness", subsets=subject.subsets, **what) as record:
        if record is None:
            return None
        create_datasets(record, subject, settings)
        match.write(record)
        done = _finished(record, subject, settings)
        if say is not None:
            if match.unmatched:
                say(match.describe())
            say(f"sharpness/{target.name}: {_cost(subject, settings)}")
        rows = {subset.name: row for row, subset in enumerate(subject.subsets)}
        for before in done.values():
            _write_row(record, rows[before.subset[0]], before)
        costs = {
            name: climb_work(settings, size) + settings.draws * draw_work(settings, size)
            for name, size in samples_of(subject, settings).items()
        }
        left = sum(costs[name] for name in rows if name not in done)
        with Progress("sharpness", left, "sample forward", quiet=say is None) as progress:

            def keep(measured: Sharpness) -> None:
                _write_row(record, rows[measured.subset[0]], measured)
                progress.advance(costs[measured.subset[0]], measured.subset[0])

            result = measure_matched(subject, match.temperatures, settings=settings, done=done, on_done=keep)
        write(record, result)
        record.finish()
    return result


def _write_row(record: Recording, row: int, measured: Sharpness) -> None:
    for q in quantities(Sharpness):
        if q.asked(measured.settings):
            record.write(q.name, row, q.of(measured)[0])
    record.write("status", row, status_of(measured)[0])
    record.flush()


def _finished(record: Recording, subject: Subject, settings: SharpnessSettings) -> dict[str, Sharpness]:
    """What an interrupted measurement, or one of other subsets, holds of each subset."""
    asked = [q for q in quantities(Sharpness) if q.asked(settings)]
    names = [subset.name for subset in subject.subsets]
    if record.resumed:
        before = {q.name: record.read(q.name) for q in asked} | {"status": record.read("status")}
    elif record.previous is not None and record.previous.extent == record.extent:
        before, names = dict(record.previous.data), list(record.previous.subset)
    else:
        return {}
    known = {}
    for row, name in enumerate(names):
        if before["status"][row] != TODO and name in {subset.name for subset in subject.subsets}:
            values = {q.name: before[q.name][row : row + 1] for q in asked}
            for q in quantities(Sharpness):
                if not q.asked(settings):  # an error over samples: all are measured
                    values[q.name] = np.zeros_like(values[q.name.removesuffix("_se")])
            radius = np.asarray(settings.radii)
            known[name] = assemble(Sharpness, values, subset=(name,), settings=settings, radius=radius)
    return known


def _cost(subject: Subject, settings: SharpnessSettings) -> str:
    radii = len(settings.radii)
    samples = sum(subset.measured_count for subset in subject.subsets)
    return (
        f"{len(subject.subsets)} subsets at another run's losses, {samples:,} samples: {1 + settings.steps * radii} "
        f"gradients and {(2 * settings.draws + 3) * radii + 2} forward passes of each"
    )
