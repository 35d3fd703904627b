"""`python -m landscape.sharpness --ckpt …`: how much the loss of every class and group can rise nearby."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from foundation.command import Parser, run
from foundation.progress import Progress
from landscape.execution.evaluate import check_draw
from landscape.files.arguments import add_arguments, open_arguments
from landscape.files.evaluation_record import record_evaluation
from landscape.files.units import Recording, recording
from landscape.schema import MEASURED, NON_FINITE, TODO
from landscape.sharpness.measure import ASCENTS, RADII, VALUES, Ascent, Draw, Sharpness, check, measure_sharpness
from landscape.subject.subject import Subject

DRAW_VALUES = ("draws", "draws_se")


def build_parser() -> Parser:
    """The command's arguments."""
    parser = Parser(
        "landscape.sharpness",
        "Measures how much the loss of every class and group can rise near the trained weights.",
        "--ckpt runs/bgp/checkpoint.pt --radii 0.05,0.1,0.2",
    )
    add_arguments(parser)
    sharpness = parser.add_argument_group("the sharpness")
    add = sharpness.add_argument
    add("--radii", type=_numbers, default=RADII, metavar="R,R", help="lengths of the perturbation")
    add("--steps", type=int, default=5, help="steps of projected ascent at each radius")
    add("--draws", type=int, default=8, help="pairs of random perturbations for the average case")
    add("--seed", type=int, default=0, help="of the random perturbations and of the samples drawn")
    add("--samples-per-class", type=int, metavar="N", help="measure at most N samples of each class, with errors")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    opened, target = open_arguments(arguments)
    out, name = target.file, target.name
    subject = opened.subject
    radii = tuple(sorted(set(arguments.radii)))
    config = {"seed": arguments.seed, "samples_per_class": arguments.samples_per_class}
    extent = {"radii": list(radii), "steps": arguments.steps, "draws": arguments.draws}
    check(radii, arguments.steps, arguments.draws)
    check_draw(arguments.samples_per_class)
    record_evaluation(subject, target)
    with recording(target, "sharpness", subsets=subject.subsets, config=config, extent=extent) as record:
        if record is None:
            print(f"{out}: sharpness/{name} is there already")
            return
        count, per_class = len(subject.subsets), torch.bincount(subject.labels).tolist()
        samples = sum(min(n, arguments.samples_per_class or n) for n in per_class)
        print(
            f"sharpness/{name}: {count} subsets of {samples:,} samples: {1 + arguments.steps * len(radii)} gradients "
            f"of each subset, {2 * arguments.draws * len(radii)} forward passes shared by all",
            flush=True,
        )
        result = _record(record, subject, extent, arguments.seed, arguments.samples_per_class)
    print(f"{out}: sharpness/{name}: {_describe(result)}")


def _record(
    record: Recording, subject: Subject, extent: Mapping[str, Any], seed: int, samples_per_class: int | None
) -> Sharpness:
    """Measures into an open recording, unit by unit, and finishes it."""
    names, radii, draws = [subset.name for subset in subject.subsets], extent["radii"], extent["draws"]
    shape = (len(names), len(radii))
    partial = samples_per_class is not None  # only then do rises have errors besides those of the draws
    of_ascent, of_draw = (VALUES, DRAW_VALUES) if partial else (ASCENTS, DRAW_VALUES[:1])
    record.scale("radius", np.asarray(radii))
    dims = ("subset", "radius")
    record.create("loss", dims=dims[:1], shape=shape[:1], unit="nats", meaning="mean loss")
    record.create("gradient_norm", dims=dims[:1], shape=shape[:1], unit="nats", meaning="length of the gradient")
    meanings = {
        "sam": "rise after one step up the gradient",
        "sam_steps": "largest rise that projected ascent found",
        "adaptive": "rise after one step, each weight in proportion to its size",
        "average": "mean rise under Gaussian noise of radius times each weight",
        "draws": "rise at each noise pair",
    }
    for key in (*of_ascent, "average", "average_se"):
        meaning = meanings.get(key) or f"standard error of {key.removesuffix('_se')}"
        record.create(key, dims=dims, shape=shape, unit="nats", meaning=meaning)
    for key in of_draw:
        meaning = meanings.get(key) or "standard error of each rise over the samples"
        record.create(key, dims=(*dims, "draw"), shape=(*shape, draws), unit="nats", meaning=meaning)
    record.create("status", dims=dims[:1], shape=shape[:1], dtype="i1", meaning="0 to do, 1 measured, 2 not finite")
    before: Mapping[str, np.ndarray] = {}
    finished = 0
    if record.resumed:
        before = {key: record.read(key) for key in ("gradient_norm", *of_ascent, *of_draw, "status")}
        finished = int(record.noted("finished_draws") or 0)
    elif (
        record.previous
        and record.previous.subset == tuple(names)
        and {**record.previous.extent, "draws": draws} == extent  # more draws of the same
    ):
        before = record.previous.data
        finished = min(draws, int(record.previous.attributes.get("finished_draws", 0)))
    ascents = [
        Ascent(name, float(before["gradient_norm"][s]), **{
            key: before[key][s] if key in before else np.zeros(len(radii)) for key in VALUES
        })
        for s, name in enumerate(names)
        if before and before["status"][s] != TODO
    ]  # fmt: skip
    perturbed = [
        Draw(k, before["draws"][..., k], before["draws_se"][..., k] if partial else np.zeros(shape))
        for k in range(finished)
    ]

    def keep_ascent(ascent: Ascent) -> None:
        s = names.index(ascent.subset)
        record.write("gradient_norm", s, ascent.gradient_norm)
        for key in of_ascent:
            record.write(key, s, getattr(ascent, key))
        finite = np.isfinite([getattr(ascent, key) for key in ASCENTS]).all()
        record.write("status", s, MEASURED if finite else NON_FINITE)
        record.flush()
        progress.advance(note=ascent.subset)

    def keep_draw(draw: Draw) -> None:
        for key, values in zip(of_draw, (draw.rise, draw.rise_se), strict=False):
            record.write(key, (slice(None), slice(None), draw.number), values)
        record.note("finished_draws", draw.number + 1)
        record.flush()
        progress.advance(note="average")

    with Progress("sharpness", len(names) - len(ascents) + draws - finished, "unit") as progress:
        result = measure_sharpness(
            subject, **extent, seed=seed, samples_per_class=samples_per_class,
            done_ascents=ascents, done_draws=perturbed, on_ascent=keep_ascent, on_draw=keep_draw,
        )  # fmt: skip
    for key in ("loss", "gradient_norm", *of_ascent, *of_draw, "average", "average_se"):
        record.write(key, slice(None), getattr(result, key))
    finite = np.isfinite(np.concatenate([getattr(result, key) for key in (*ASCENTS, "average")], axis=1)).all(1)
    record.write("status", slice(None), np.where(finite, MEASURED, NON_FINITE))
    record.note("finished_draws", draws)
    record.finish()
    return result


def _describe(result: Sharpness) -> str:
    worst = int(np.argmax(np.nan_to_num(result.sam_steps[:, -1], nan=-np.inf)))
    return (
        f"the largest rise within radius {result.radius[-1]:g} is {result.sam_steps[worst, -1]:.3g} nats, "
        f"of {result.subset[worst]}"
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not R,R") from None


if __name__ == "__main__":
    main()
