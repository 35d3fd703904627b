"""How sharpness gets into a `landscape.h5` and lies there: `/sharpness/<name>`, a subset or a draw at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from foundation.progress import Progress
from landscape.evaluation.record import record_evaluation
from landscape.execution.checks import check_finite
from landscape.files.target import Target
from landscape.files.units import Recording, recording
from landscape.schema import MEASURED, NON_FINITE, TODO, WEIGHT_NORM, quantities
from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.result import ASCENTS, VALUES, Ascent, Draw, Sharpness, SharpnessSettings
from landscape.subject.subject import Subject
from landscape.subject.subsets import describe


def record_sharpness(
    subject: Subject,
    target: Target,
    settings: SharpnessSettings | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> Sharpness | None:
    """Measures sharpness into a result file, unit by unit, continuing what is there.

    Args:
        subject: What is measured.
        target: Where it goes.
        settings: How much to measure.
        say: Told what it will cost; without it there is no progress either.

    Returns:
        The sharpness; None where the file holds it already.

    Raises:
        InputError: The name is taken, or the file is another checkpoint's.
    """
    settings = settings or SharpnessSettings()
    check_finite(subject)
    record_evaluation(subject, target)
    with recording(target, "sharpness", subsets=subject.subsets, **identity(settings)) as record:
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

            def keep_ascent(ascent: Ascent) -> None:
                _write_ascent(record, subject, settings, ascent)
                progress.advance(climbs[ascent.subset], ascent.subset)

            def keep_draw(draw: Draw) -> None:
                _write_draw(record, settings, draw)
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


def write(record: Recording, result: Sharpness) -> None:
    """Writes a whole result."""
    for q in quantities(Sharpness):
        if q.asked(result.settings):
            record.write(q.name, slice(None), q.of(result))
    record.write("status", slice(None), status_of(result))
    record.note("finished_draws", result.settings.draws)


def status_of(result: Sharpness) -> np.ndarray:
    """Whether every number of a subset is finite, (S,) status codes."""
    finite = np.isfinite(np.concatenate([getattr(result, key) for key in (*ASCENTS, "average")], axis=1)).all(1)
    return np.where(finite, MEASURED, NON_FINITE)


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
    record.note("finished_draws", draw.number + 1)
    record.flush()


def _finished(record: Recording, subject: Subject, settings: SharpnessSettings) -> tuple[list[Ascent], list[Draw]]:
    """What an interrupted measurement, or one of fewer draws, already holds."""
    names, previous = tuple(subset.name for subset in subject.subsets), record.previous
    before: Mapping[str, np.ndarray]
    if record.resumed:
        before = {q.name: record.read(q.name) for q in quantities(Sharpness) if q.asked(settings)}
        before |= {"status": record.read("status")}
        finished = int(record.noted("finished_draws") or 0)
    elif previous and previous.subset == names and {**previous.extent, "draws": settings.draws} == record.extent:
        before = previous.data
        finished = min(settings.draws, int(previous.attributes.get("finished_draws", 0)))
    else:
        return [], []
    nothing = np.zeros((len(names), len(settings.radii)))
    ascents = [
        Ascent(name, float(before["gradient_norm"][s]), **{key: before.get(key, nothing)[s] for key in VALUES})
        for s, name in enumerate(names)
        if before["status"][s] != TODO
    ]
    errors = before.get("draws_se", np.zeros_like(before["draws"]))
    return ascents, [Draw(k, before["draws"][..., k], errors[..., k]) for k in range(finished)]


def _cost(subject: Subject, settings: SharpnessSettings) -> str:
    radii, samples = len(settings.radii), _samples(subject, settings)
    return (
        f"{describe(subject.subsets)}, {samples:,} samples measured: {1 + settings.steps * radii} gradients of each "
        f"subset, {2 * settings.draws * radii} forward passes shared by all"
    )


def _samples(subject: Subject, settings: SharpnessSettings) -> int:
    most = settings.samples_per_class
    return sum(min(n, most or n) for n in torch.bincount(subject.labels).tolist())
