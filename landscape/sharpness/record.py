"""How sharpness gets into a `landscape.h5` and lies there: `/sharpness/<name>`, a subset or a draw at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from foundation.progress import Progress
from landscape.evaluation.record import record_evaluation
from landscape.execution.checks import check_finite
from landscape.files.target import Target
from landscape.files.units import Recording, assisting, recording
from landscape.ranks.team import Team, shared
from landscape.schema import MEASURED, NON_FINITE, TODO, WEIGHT_NORM, quantities
from landscape.sharpness.measure import measure_sharpness, measure_some
from landscape.sharpness.result import ASCENTS, VALUES, Ascent, Draw, Sharpness, SharpnessSettings
from landscape.subject.subject import Subject
from landscape.subject.subsets import describe


@shared
def record_sharpness(
    subject: Subject,
    target: Target,
    settings: SharpnessSettings | None = None,
    *,
    say: Callable[[str], None] | None = None,
    team: Team | None = None,
) -> Sharpness | None:
    """Measures sharpness into a result file, unit by unit, continuing what is there.

    Args:
        subject: What is measured.
        target: Where it goes.
        settings: How much to measure.
        say: Told what it will cost; without it there is no progress either.
        team: The ranks that share the work; all of them call this.

    Returns:
        The sharpness; None where the file holds it already, and on all ranks but the first.

    Raises:
        InputError: The name is taken, or the file is another checkpoint's.
    """
    settings = settings or SharpnessSettings()
    check_finite(subject)
    record_evaluation(subject, target, team=team)
    what: dict[str, Any] = {"subsets": subject.subsets, **identity(settings)}
    if team is not None and not team.leads:
        if (units := team.offered()) is not None:
            with assisting(target, "sharpness", **what) as begun:
                on_ascent, on_draw = _keepers(begun, subject, settings)
                measure_some(subject, units, settings=settings, on_ascent=on_ascent, on_draw=on_draw)
        return None
    with recording(target, "sharpness", **what) as record:
        if record is None:
            return None
        create_datasets(record, subject, settings)
        ascents, draws = _finished(record, subject, settings)
        if say is not None:
            say(f"sharpness/{target.name}: {_cost(subject, settings)}")
        climbs = {name: climb_work(settings, size) for name, size in samples_of(subject, settings).items()}
        a_draw = draw_work(settings, _samples(subject, settings))
        total = sum(climbs.values()) - sum(climbs[a.subset] for a in ascents) + a_draw * (settings.draws - len(draws))
        with Progress("sharpness", total, "sample forward", quiet=say is None) as progress:
            on_ascent, on_draw = _keepers(record, subject, settings)
            if team is not None:
                for ascent in ascents:  # also of a measurement that is continued, where the others find them
                    on_ascent(ascent)
                for draw in draws:
                    on_draw(draw)
                record.flush()
                sizes = _left(subject, settings, ascents, draws)
                units = team.dealt(list(sizes), list(sizes.values()), progress.advance)
                measure_some(subject, units, settings=settings, on_ascent=on_ascent, on_draw=on_draw)
                record.refresh()
                ascents, draws = _finished(record, subject, settings)

            def keep_ascent(ascent: Ascent) -> None:
                on_ascent(ascent)
                progress.advance(climbs[ascent.subset], ascent.subset)

            def keep_draw(draw: Draw) -> None:
                on_draw(draw)
                progress.advance(a_draw, "average")

            result = measure_sharpness(
                subject, settings=settings, done_ascents=ascents, done_draws=draws,
                on_ascent=keep_ascent, on_draw=keep_draw,
            )  # fmt: skip
        write(record, result)
        record.finish()
    return result


def identity(settings: SharpnessSettings) -> dict[str, dict[str, object]]:
    """What of the settings makes another measurement (`config`), and what more of the same (`extent`)."""
    return {
        "config": {"seed": settings.seed, "samples_per_class": settings.samples_per_class},
        "extent": {"radii": list(settings.radii), "steps": settings.steps, "draws": settings.draws},
    }


GRADIENT = 3  # a gradient costs about as much as three forward passes


def climb_work(settings: SharpnessSettings, samples: int) -> int:
    """What the ascents of so many samples cost, in forward passes of one sample."""
    return GRADIENT * (1 + settings.steps * len(settings.radii)) * samples


def draw_work(settings: SharpnessSettings, samples: int) -> int:
    """What one draw of the noise costs, in forward passes of one sample."""
    return 2 * len(settings.radii) * samples


def samples_of(subject: Subject, settings: SharpnessSettings) -> dict[str, int]:
    """How many samples of each subset are measured."""
    most = settings.samples_per_class
    counts = [min(n, most or n) for n in torch.bincount(subject.labels).tolist()]
    return {s.name: sum(counts[c] for c in s.classes if c < len(counts)) for s in subject.subsets}


def _left(
    subject: Subject, settings: SharpnessSettings, ascents: Sequence[Ascent], draws: Sequence[Draw]
) -> dict[str | int, int]:
    """Subsets to climb from and numbers of draws that are left to do, with their work, the longest first."""
    samples, climbed = samples_of(subject, settings), {ascent.subset for ascent in ascents}
    left: dict[str | int, int] = {
        s.name: climb_work(settings, samples[s.name])
        for s in subject.subsets
        if subject.twin(s) is None and s.name not in climbed
    }
    drawn = {draw.number for draw in draws}
    a_draw = draw_work(settings, _samples(subject, settings))
    left |= {number: a_draw for number in range(settings.draws) if number not in drawn}
    return dict(sorted(left.items(), key=lambda unit: -unit[1]))


def create_datasets(record: Recording, subject: Subject, settings: SharpnessSettings) -> None:
    """Makes the datasets of a new measurement."""
    sizes = {"subset": len(subject.subsets), "radius": len(settings.radii), "draw": settings.draws}
    record.note(WEIGHT_NORM, subject.weight_norm())
    record.scale("radius", np.asarray(settings.radii))
    for q in quantities(Sharpness):
        if q.asked(settings):
            record.create(q.name, dims=q.dims, shape=[sizes[d] for d in q.dims], unit=q.unit, meaning=q.meaning)
    record.create(
        "status", dims=["subset"], shape=[sizes["subset"]], dtype="i1", meaning="0 to do, 1 measured, 2 not finite"
    )
    record.create(
        "draw_status", dims=["draw"], shape=[settings.draws], dtype="i1", meaning="0 to do, 1 measured: of the draws"
    )


def write(record: Recording, result: Sharpness) -> None:
    """Writes a whole result."""
    for q in quantities(Sharpness):
        if q.asked(result.settings):
            record.write(q.name, slice(None), q.of(result))
    record.write("status", slice(None), status_of(result))
    record.write("draw_status", slice(None), MEASURED)


def status_of(result: Sharpness) -> np.ndarray:
    """Whether every number of a subset is finite, (S,) status codes."""
    finite = np.isfinite(np.concatenate([getattr(result, key) for key in (*ASCENTS, "average")], axis=1)).all(1)
    return np.where(finite, MEASURED, NON_FINITE)


def _keepers(
    record: Recording, subject: Subject, settings: SharpnessSettings
) -> tuple[Callable[[Ascent], None], Callable[[Draw], None]]:
    """What makes an ascent and a draw durable."""
    return partial(_write_ascent, record, subject, settings), partial(_write_draw, record, settings)


def _write_ascent(record: Recording, subject: Subject, settings: SharpnessSettings, ascent: Ascent) -> None:
    row = [subset.name for subset in subject.subsets].index(ascent.subset)
    record.write("gradient_norm", row, ascent.gradient_norm)
    for key in VALUES if settings.samples_per_class else ASCENTS:
        record.write(key, row, getattr(ascent, key))
    finite = np.isfinite([getattr(ascent, key) for key in ASCENTS]).all()
    record.write("status", row, MEASURED if finite else NON_FINITE)
    record.flush()


def _write_draw(record: Recording, settings: SharpnessSettings, draw: Draw) -> None:
    at = (slice(None), slice(None), draw.number)
    record.write("draws", at, draw.loss_increase)
    if settings.samples_per_class:
        record.write("draws_se", at, draw.loss_increase_se)
    record.write("draw_status", draw.number, MEASURED)
    record.flush()


def _finished(record: Recording, subject: Subject, settings: SharpnessSettings) -> tuple[list[Ascent], list[Draw]]:
    """What an interrupted measurement, or one of fewer draws, already holds."""
    names, previous = tuple(subset.name for subset in subject.subsets), record.previous
    before: Mapping[str, np.ndarray]
    if record.resumed:
        before = {q.name: record.read(q.name) for q in quantities(Sharpness) if q.asked(settings)}
        before |= {name: record.read(name) for name in ("status", "draw_status")}
        drawn = before["draw_status"]
    elif previous and previous.subset == names and {**previous.extent, "draws": settings.draws} == record.extent:
        before = previous.data
        drawn = before.get("draw_status", np.full(int(previous.attributes.get("finished_draws", 0)), MEASURED))
    else:
        return [], []
    finished = [int(number) for number in np.flatnonzero(drawn != TODO) if number < settings.draws]
    nothing = np.zeros((len(names), len(settings.radii)))
    ascents = [
        Ascent(name, float(before["gradient_norm"][s]), **{key: before.get(key, nothing)[s] for key in VALUES})
        for s, name in enumerate(names)
        if before["status"][s] != TODO
    ]
    errors = before.get("draws_se", np.zeros_like(before["draws"]))
    return ascents, [Draw(k, before["draws"][..., k], errors[..., k]) for k in finished]


def _cost(subject: Subject, settings: SharpnessSettings) -> str:
    radii, samples = len(settings.radii), _samples(subject, settings)
    return (
        f"{describe(subject.subsets)}, {samples:,} samples measured: {1 + settings.steps * radii} gradients of each "
        f"subset, {2 * settings.draws * radii} forward passes shared by all"
    )


def _samples(subject: Subject, settings: SharpnessSettings) -> int:
    most = settings.samples_per_class
    return sum(min(n, most or n) for n in torch.bincount(subject.labels).tolist())
