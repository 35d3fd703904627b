"""Sharpness at another run's losses in a `landscape.h5`, written subset by subset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import InputError
from foundation.progress import Progress
from landscape.evaluation.record_matched import match_losses
from landscape.execution.checks import check_finite
from landscape.files.target import Target
from landscape.files.units import Recording, assisting, recording
from landscape.ranks.team import Team, shared
from landscape.schema import TODO, assemble, quantities
from landscape.sharpness.matched_loss import measure_matched, measure_some_matched
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


@shared
def record_matched_sharpness(
    subject: Subject,
    target: Target,
    settings: SharpnessSettings,
    match_loss: Path,
    *,
    say: Callable[[str], None] | None = None,
    team: Team | None = None,
) -> Sharpness | None:
    """Measures sharpness at another run's losses into a result file, continuing what is there.

    Args:
        subject: What is measured.
        target: Where it goes.
        settings: How much to measure, of all samples.
        match_loss: The `landscape.h5` of the other run.
        say: Told what it will cost; without it there is no progress either.
        team: The ranks that share the work; all of them call this.

    Returns:
        The sharpness; None where the file holds it already, and on all ranks but the first.

    Raises:
        InputError: The name is taken, a file is another checkpoint's or has no losses to match, or only some samples
            of a class are asked for.
    """
    if settings.samples_per_class:
        raise InputError("--samples-per-class has losses of its own and meets no other's: leave --match-loss out")
    check_finite(subject)
    match = match_losses(subject, match_loss, target)
    subject = match.subject
    what: dict[str, Any] = {"subsets": subject.subsets, **identity(settings)}
    what["config"] |= match.config
    rows = {subset.name: row for row, subset in enumerate(subject.subsets)}
    if team is not None and not team.leads:
        if (names := team.offered()) is not None:
            with assisting(target, "sharpness", **what) as begun:
                keep = partial(_write_subset, begun, rows)
                measure_some_matched(subject, names, match.temperatures, settings=settings, on_done=keep)
        return None
    with recording(target, "sharpness", **what) as record:
        if record is None:
            return None
        create_datasets(record, subject, settings)
        match.write(record)
        done = _finished(record, subject, settings)
        if say is not None:
            if match.unmatched:
                say(match.describe())
            say(f"sharpness/{target.name}: {_cost(subject, settings)}")
        for before in done.values():
            _write_row(record, rows[before.subset[0]], before)
        costs = {
            name: climb_work(settings, size) + settings.draws * draw_work(settings, size)
            for name, size in samples_of(subject, settings).items()
        }
        left = sum(costs[name] for name in rows if name not in done)
        with Progress("sharpness", left, "sample forward", quiet=say is None) as progress:
            if team is not None:
                record.flush()
                units = sorted((name for name in rows if name not in done), key=lambda name: -costs[name])
                names = team.dealt(units, [costs[name] for name in units], progress.advance)
                keep = partial(_write_subset, record, rows)
                measure_some_matched(subject, names, match.temperatures, settings=settings, on_done=keep)
                record.refresh()
                done = _finished(record, subject, settings)

            def keep_one(measured: Sharpness) -> None:
                _write_subset(record, rows, measured)
                progress.advance(costs[measured.subset[0]], measured.subset[0])

            result = measure_matched(subject, match.temperatures, settings=settings, done=done, on_done=keep_one)
        write(record, result)
        record.finish()
    return result


def _write_subset(record: Recording, rows: Mapping[str, int], measured: Sharpness) -> None:
    _write_row(record, rows[measured.subset[0]], measured)


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
