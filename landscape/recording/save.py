"""A result that a `measure_*` call returned, into a file: `landscape.save`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foundation.errors import InputError
from landscape.evaluation.record import record_evaluation
from landscape.files.checkpoint import Opened
from landscape.files.identity import target_of
from landscape.files.units import Recording, recording
from landscape.hessian import record as hessian_record
from landscape.hessian.result import HessianResult
from landscape.sharpness import record as sharpness_record
from landscape.sharpness.result import Sharpness
from landscape.subject.subject import Subject
from landscape.surface import record as surface_record
from landscape.surface.result import Surface


def save(
    result: HessianResult | Sharpness | Surface,
    file: str | Path,
    measured: Subject | Opened,
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a result into a `landscape.h5` beside what is there, with the subject's loss and accuracy.

    Args:
        result: Of `measure_hessian`, `measure_sharpness` or `measure_surface`.
        file: The result file, for `write_report`, `write_figures` and `open`; its folder is made.
        measured: What was measured: the subject, or the opened checkpoint that it is of.
        name: Of the measurement in the file; by default the checkpoint's split, `"train"` of a subject.
        overwrite: Replace a measurement of the same name and another configuration.

    Raises:
        InputError: The result is of other subsets than the subject's, the name is taken by another configuration, the
            file holds another network, or it cannot be written.
    """
    subject = measured.subject if isinstance(measured, Opened) else measured
    names = tuple(subset.name for subset in subject.subsets)
    analysis, subsets, what = _identity(result)
    if subsets != names:
        raise InputError(
            f"the result is of {', '.join(subsets)}, the subject of {', '.join(names)}: give the one that was measured"
        )
    target = target_of(measured, Path(file), name, seed=result.settings.seed, overwrite=overwrite)
    record_evaluation(subject, target)
    with recording(target, analysis, subsets=subject.subsets, **what) as record:
        if record is not None:
            _write(record, result, subject)
            record.finish()


def _identity(result: HessianResult | Sharpness | Surface) -> tuple[str, tuple[str, ...], dict[str, dict[str, Any]]]:
    """The analysis, the names of its subsets, and what makes it the thing it is."""
    if isinstance(result, Sharpness):
        return "sharpness", result.subset, sharpness_record.identity(result.settings)
    if isinstance(result, Surface):
        return "surface", result.subset, surface_record.identity(result.settings, result.plane)
    return (
        "hessian",
        tuple(c.subset for c in result.curvatures),
        {"config": {"seed": result.settings.seed}, "extent": hessian_record.extent(result.settings)},
    )


def _write(record: Recording, result: HessianResult | Sharpness | Surface, subject: Subject) -> None:
    if isinstance(result, Sharpness):
        sharpness_record.create_datasets(record, subject, result.settings)
        sharpness_record.write(record, result)
    elif isinstance(result, Surface):
        surface_record.keep_directions(record, result.plane)
        surface_record.create_datasets(record, subject, result.plane, result.a, result.b)
        surface_record.write(record, result)
    else:
        hessian_record.create_datasets(record, subject, result.settings)
        for row, curvature in enumerate(result.curvatures):
            hessian_record.write(record, row, curvature, result.settings)
