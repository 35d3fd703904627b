"""From a subject to a file, unit by unit: `landscape.measure`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from landscape.evaluation.record import record_evaluation
from landscape.execution.checks import check_finite
from landscape.files.checkpoint import Opened
from landscape.files.identity import target_of
from landscape.files.landscape_file import Landscape, read_landscape
from landscape.hessian.record import record_hessian
from landscape.hessian.result import HessianSettings
from landscape.ranks.team import present_team
from landscape.sharpness.record import record_sharpness
from landscape.sharpness.result import SharpnessSettings
from landscape.subject.subject import Subject
from landscape.subject.subsets import left_out
from landscape.surface.plane import Plane
from landscape.surface.record import named, record_surface
from landscape.surface.result import SurfaceSettings

T = TypeVar("T")


def measure(
    measured: Subject | Opened,
    file: str | Path,
    *,
    hessian: bool | HessianSettings | None = None,
    sharpness: bool | SharpnessSettings | None = None,
    surface: bool | SurfaceSettings | None = None,
    plane: str | Plane = "random",
    of: Sequence[str] = (),
    others: Mapping[str, Tensor] | None = None,
    name: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> Landscape:
    """Measures a subject into a `landscape.h5`, as the commands do; interrupted, the same call continues.

    Loss and accuracy are always measured; what the file holds already is not measured again. Where a process group of
    `torch.distributed` exists its ranks share the work: all of them call this with the same arguments, and the file
    lies where all can write.

    Args:
        measured: A subject, or a checkpoint opened by `open_checkpoint`.
        file: The result file, for `write_report`, `write_figures` and `open`; its folder is made.
        hessian: Whether to measure curvature, or how much of it.
        sharpness: Likewise of sharpness.
        surface: Likewise of a loss surface.
        plane: Of the surface: `random`, `gradient`, `eigen`, `checkpoints` or `pca`, or one that was made before.
        of: The subset of an eigen plane, or the two of a gradient plane.
        others: Weights of other networks by name, for a checkpoints or pca plane.
        name: Of the measurements in the file; by default the checkpoint's split, `"train"` of a subject.
        overwrite: Replace measurements of the same name and another configuration.
        say: Told what each analysis will cost, and that subsets are left out; without it there is no progress either.

    Returns:
        What the file holds now.

    Raises:
        InputError: A name is taken by another configuration, the file holds another network, or it cannot be written.
        LandscapeError: The network's loss cannot be measured; the sentence names the likely cause.
    """
    subject = measured.subject if isinstance(measured, Opened) else measured
    target = target_of(measured, Path(file), name, overwrite=overwrite)
    check_finite(subject)
    if say is not None and (said := left_out(subject.absent)):
        say(said)
    team = present_team()
    record_evaluation(subject, target, team=team)
    if asked := _settings(hessian, HessianSettings):
        record_hessian(subject, target, asked, say=say, team=team)
    if asked_sharpness := _settings(sharpness, SharpnessSettings):
        record_sharpness(subject, target, asked_sharpness, say=say, team=team)
    if asked_surface := _settings(surface, SurfaceSettings):
        kind = plane if isinstance(plane, str) else plane.kind
        at = target if name else replace(target, name=named(target.name, kind, of))
        record_surface(subject, at, asked_surface, plane=plane, of=of, others=others, say=say, team=team)
    return read_landscape(target.file)


def _settings(asked: bool | T | None, kind: Callable[[], T]) -> T | None:
    if isinstance(asked, bool) or asked is None:
        return kind() if asked else None
    return asked
