"""`python -m landscape.surface --ckpt …`: loss surfaces of every class and group at once."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch

from foundation.command import Parser, run
from foundation.errors import InputError
from foundation.files import sha256_of
from foundation.progress import Progress
from landscape.execution.evaluate import Evaluator
from landscape.files.arguments import add_arguments, open_arguments
from landscape.files.checkpoint import training_samples, weights
from landscape.files.evaluation_record import record_evaluation
from landscape.files.units import Recording, recording
from landscape.hessian.record import extremes
from landscape.schema import MEASURED, NON_FINITE
from landscape.subject.subject import Subject
from landscape.surface.axes import automatic_span, axes
from landscape.surface.drawn_curvature import drawn_curvature_at_center
from landscape.surface.measure import VALUES, Cell, Surface, barriers, check, describe, measure_surface
from landscape.surface.plane import Plane, random_plane
from landscape.surface.planes import checkpoints_plane, eigen_plane, gradient_plane, pca_plane

Number = TypeVar("Number", int, float)

PLANES = ("random", "gradient", "eigen", "checkpoints", "pca")
SEVERAL = ("checkpoints", "pca")  # planes through several networks
FLUSH_EVERY = 8  # cells: at most a second of work on a CPU is lost to a kill


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape.surface",
        "Measures loss and accuracy of every class and group over a plane through the trained weights.",
        "--ckpt runs/bgp/checkpoint.pt --plane eigen --of few",
    )
    add_arguments(parser)
    plane = parser.add_argument_group("the plane")
    plane.add_argument("--plane", default="random", choices=PLANES, help="what is cut through the weights")
    plane.add_argument(
        "--of", metavar="A[,B]", help="subset of an eigen plane (default: all) or two of a gradient plane (all,few)"
    )
    plane.add_argument("--through", type=_paths, default=(), metavar="FILE[,FILE]", help="checkpoints of that plane")
    plane.add_argument(
        "--span", type=_spans, metavar="S[,S]", help="axes run from -S to S, both or each (default: found by the loss)"
    )
    plane.add_argument("--seed", type=int, default=0, help="of random directions and of the samples drawn")
    cells = parser.add_argument_group("its cells")
    cells.add_argument("--points", type=_counts, default=(51, 51), metavar="A[xB]", help="cells along a and b: 51x31")
    cells.add_argument("--tolerance", type=float, default=0.01, help="error of an interpolated loss, as share of range")
    cells.add_argument("--exact", action="store_true", help="measure every cell, interpolate none")
    cells.add_argument(
        "--samples-per-class", type=int, metavar="N", help="evaluate at most N samples of each class, with errors"
    )
    cells.add_argument(
        "--precision",
        default="full",
        choices=("full", "bfloat16"),
        help="bfloat16: multiply in bfloat16, with its error stated",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    kind, of = arguments.plane, arguments.of
    if kind in SEVERAL:
        arguments.batch_norm = "recalibrated"  # one network's statistics would fabricate barriers between several
    opened, target = open_arguments(arguments)
    out, name = target.file, target.name
    if arguments.name is None and kind != "random":
        name = "-".join([name, kind, *re.findall("[a-z0-9]+", of or "")])
    target = replace(target, name=name)
    subject, counts = opened.subject, arguments.points
    check(arguments.tolerance, arguments.samples_per_class)
    plane = _chosen_plane(arguments, subject, out, opened.config)
    axes(plane, points=counts, span=arguments.span or 1.0)  # refuses bad numbers before anything is written
    config = {
        "plane": kind, "of": of, "span": arguments.span,
        "through": [sha256_of(path) for path in arguments.through],
        "samples_per_class": arguments.samples_per_class, "seed": arguments.seed, "precision": arguments.precision,
    }  # fmt: skip
    options: dict[str, Any] = {
        "points": counts,
        "span": arguments.span,
        "tolerance": None if arguments.exact else arguments.tolerance,
        "seed": arguments.seed,
        "samples_per_class": arguments.samples_per_class,
        "bf16": arguments.precision == "bfloat16",
        "calibration": training_samples(opened, arguments.data_dir) if arguments.batch_norm == "recalibrated" else None,
    }
    record_evaluation(subject, target)
    extent = {"points": list(counts), "tolerance": options["tolerance"]}
    with recording(target, "surface", subsets=subject.subsets, config=config, extent=extent) as record:
        if record is None:
            print(f"{out}: surface/{name} is there already")
            return
        most = math.prod(counts[: len(plane.directions)])
        per_class = torch.bincount(subject.labels).tolist()
        samples = sum(min(count, arguments.samples_per_class or count) for count in per_class)
        print(
            f"surface/{name}: {len(subject.subsets)} subsets of {samples:,} samples at "
            f"{'up to ' if options['tolerance'] else ''}{most} points, one forward pass each",
            flush=True,
        )
        surface = _record(record, subject, plane, options)
    print(f"{out}: surface/{name}: {describe(surface)}")


def _chosen_plane(arguments: argparse.Namespace, subject: Subject, out: Path, config: Mapping[str, Any]) -> Plane:
    kind, names = arguments.plane, arguments.of.split(",") if arguments.of else []
    if bool(arguments.through) != (kind == "checkpoints"):
        raise InputError("--through names the other checkpoints of --plane checkpoints: give both or neither")
    if names and kind not in ("eigen", "gradient"):
        raise InputError(f"--of {arguments.of} says nothing of a {kind} plane: leave it out")
    if kind == "checkpoints":
        return checkpoints_plane(subject.vector(), {str(path): weights(path, subject) for path in arguments.through})
    if kind == "pca":
        paths = sorted(arguments.ckpt.parent.glob("snapshots/*.pt"))
        return pca_plane(subject.vector(), {path.stem: weights(path, subject) for path in paths})
    if kind == "gradient":
        first, second = (*names, *("all", "few")[len(names) :])[:2]
        return gradient_plane(subject, of=(first, second))
    if kind == "eigen":
        subset = names[0] if names else "all"
        known = extremes(out, subset, subject, config)
        return eigen_plane(subject, of=subset, known=known, seed=arguments.seed)
    return random_plane(subject, seed=arguments.seed)


def _record(record: Recording, subject: Subject, plane: Plane, options: dict[str, Any]) -> Surface:
    """Measures into an open recording, cell by cell, and finishes it."""
    plane = _keep_directions(record, plane)
    how = {key: options[key] for key in ("calibration", "samples_per_class", "seed")}
    spans = record.noted("spans") or options["span"]
    if spans is None and not plane.ranges:
        spans = list(automatic_span(Evaluator(subject, **how), plane))
        record.note("spans", spans)
    a, b = axes(plane, points=options["points"], span=spans)
    shape = (len(b), len(a))
    every = (len(subject.subsets), *shape)
    unit = "filter lengths" if plane.kind == "random" else "distance in weight space"
    record.scale("a", a, unit=unit)
    record.scale("b", b, unit=unit)
    dims = ("subset", "b", "a")
    for key, unit, meaning in (
        ("loss", "nats", "mean loss"),
        ("accuracy", "1", "share classified rightly"),
        ("loss_se", "nats", "standard error of the loss, 0 where every sample was evaluated"),
        ("error", "nats", "estimated error of an interpolated loss"),
    ):
        record.create(key, dims=dims, shape=every, unit=unit, meaning=meaning)
    said = "0 to do, 1 measured, 2 not finite, 3 failed, 4 interpolated"
    record.create("status", dims=dims[1:], shape=shape, dtype="i1", meaning=said)
    cells = _cells(a, b, record.previous.data) if record.previous else {}
    if record.resumed:
        cells |= _cells(a, b, {key: record.read(key) for key in ("a", "b", *VALUES, "status")})
    pending = 0

    def keep(cell: Cell) -> None:
        nonlocal pending
        at = (slice(None), cell.row, cell.column)
        for key in VALUES:
            record.write(key, at, getattr(cell, key))
        record.write("status", at[1:], cell.status)
        pending += 1
        if pending == FLUSH_EVERY:
            record.flush()
            pending = 0
        progress.advance()

    total = None if options["tolerance"] else math.prod(shape) - len(cells)
    with Progress("surface", total, "point") as progress:
        surface = measure_surface(
            subject, plane=plane, **{**options, "span": spans}, done=cells.values(), on_done=keep
        )  # fmt: skip
    for key in (*VALUES, "error", "status"):
        record.write(key, slice(None), getattr(surface, key))
    record.note("evaluations", surface.evaluations)
    record.note("forward", surface.forward)
    _keep_trajectory(record, surface)
    if options["bf16"]:
        rough, fine = (Evaluator(subject, **how, bf16=bf16).at(plane.origin).loss for bf16 in (True, False))
        record.create("precision_error", dims=dims[:1], shape=every[:1], unit="nats", meaning="loss at the origin in "
                      "bfloat16 less that in full precision")  # fmt: skip
        record.write("precision_error", slice(None), rough - fine)
    if options["calibration"] is None:
        _keep_center(record, subject, surface, options["seed"])
    record.finish()
    return surface


def _keep_directions(record: Recording, plane: Plane) -> Plane:
    """Writes the directions; a resumed surface takes those it began with, whatever a solver finds today."""
    dtype = "f8" if plane.origin.dtype == torch.float64 else "f4"
    keys = [f"directions/{number}" for number in range(1, len(plane.directions) + 1)]
    if record.resumed and record.noted("axes"):
        kept = tuple(torch.as_tensor(record.read(key)).to(plane.origin) for key in keys)
        return replace(plane, directions=kept, axes=tuple(record.noted("axes")))
    for key, direction, meaning in zip(keys, plane.directions, plane.axes, strict=True):
        record.create(key, dims=["parameter"], shape=direction.shape, dtype=dtype, meaning=meaning)
        record.write(key, slice(None), direction.cpu().numpy())
    record.note("axes", list(plane.axes))
    record.flush()
    return plane


def _keep_trajectory(record: Recording, surface: Surface) -> None:
    plane = surface.plane
    if not plane.points:
        return
    record.scale("trajectory/point", np.array(list(plane.points), dtype=object))
    coordinates, hidden = np.array(list(plane.points.values())), np.array(list(plane.left_out.values()))
    for key, values, dims, meaning in (
        ("coordinates", coordinates, ["point", "axis"], "a and b of the nearest point in the plane"),
        ("hidden_share", hidden, ["point"], "share of the distance from the origin that the plane does not show"),
    ):
        record.create(f"trajectory/{key}", dims=dims, shape=values.shape, meaning=meaning)
        record.write(f"trajectory/{key}", slice(None), values)
    if len(surface.b) == 1:
        heights = barriers(surface)
        record.create("barrier", dims=["subset"], shape=heights.shape, unit="nats", meaning="rise of the loss along "
                      "the line above what joins its ends straight")  # fmt: skip
        record.write("barrier", slice(None), heights)


def _keep_center(record: Recording, subject: Subject, surface: Surface, seed: int) -> None:
    axes_ = [surface.a, surface.b][: len(surface.plane.directions)]
    center = drawn_curvature_at_center(subject, surface.plane, [float(axis[1] - axis[0]) for axis in axes_], seed=seed)
    for key, values, meaning in (
        ("curvature_autodiff", center.autodiff, "second derivative at the origin along a and b, by autodiff"),
        ("curvature_drawn", center.drawn, "second difference at the origin over one cell, from the same samples"),
    ):
        record.create(key, dims=["subset", "axis"], shape=values.shape, unit="nats", meaning=meaning)
        record.write(key, slice(None), values)


def _cells(a: np.ndarray, b: np.ndarray, data: Mapping[str, np.ndarray]) -> dict[tuple[int, int], Cell]:
    """The evaluated cells of an earlier surface that lie on these coordinates, by row and column."""
    rows, columns = (
        {
            old: int(new)
            for old, value in enumerate(data[key])
            for new in np.flatnonzero(abs(axis - value) < 1e-9 * axis[-1])
        }
        for key, axis in (("b", b), ("a", a))
    )
    found = {}
    for i, j in zip(*np.nonzero(np.isin(data["status"], (MEASURED, NON_FINITE))), strict=True):
        if i in rows and j in columns:
            at = (rows[i], columns[j])
            loss, accuracy, loss_se = (data[name][:, i, j] for name in VALUES)
            found[at] = Cell(*at, loss, accuracy, loss_se, int(data["status"][i, j]))
    return found


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part.strip()) for part in text.split(","))


def _spans(text: str) -> float | list[float]:
    parts = _numbers(text, ",", float, "S or S,S")
    return parts[0] if len(parts) == 1 else parts


def _counts(text: str) -> tuple[int, int]:
    parts = _numbers(text.lower(), "x", int, "A or AxB")
    return parts[0], parts[-1]


def _numbers(text: str, separator: str, kind: Callable[[str], Number], form: str) -> list[Number]:
    try:
        parts = [kind(part) for part in text.split(separator)]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}")
    return parts


if __name__ == "__main__":
    main()
