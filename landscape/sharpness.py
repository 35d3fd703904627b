"""How much the loss of every subset can rise near the trained weights: `measure_sharpness` and its command."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from foundation.command import Parser, run
from foundation.errors import InputError
from foundation.progress import Progress
from foundation.provenance import provenance
from landscape.checkpoints import add_arguments, open_arguments
from landscape.evaluation import Evaluator, record_evaluation
from landscape.gradient import loss_and_gradient
from landscape.store import MEASURED, NON_FINITE, TODO, Recording, recording
from landscape.subject import Subject, Subset

RADII = (0.05, 0.1, 0.2)
ASCENTS = ("sam", "sam_steps", "adaptive")
STRIDE = 0.5
"""Length of one ascent step, in radii: two reach the boundary from the centre, later ones turn along it."""


@dataclass(frozen=True)
class Ascent:
    """The worst-case sharpness of one subset.

    Attributes:
        subset: Its name.
        gradient_norm: ‖∇L‖ at the trained weights, Euclidean.
        sam: L(w + ρ g/‖g‖) - L(w), (R,).
        sam_steps: The largest rise that projected ascent found within ‖ε‖ ≤ ρ, (R,); a lower bound of the worst case.
        adaptive: L(w + ρ w²g/‖|w|g‖) - L(w), (R,): one step within ‖ε/|w|‖ ≤ ρ.
    """

    subset: str
    gradient_norm: float
    sam: np.ndarray
    sam_steps: np.ndarray
    adaptive: np.ndarray


@dataclass(frozen=True)
class Sharpness:
    """Sharpness of every subset at R radii, in nats of loss.

    Attributes:
        subset: Names of the S subsets.
        radius: ρ, (R,).
        loss: At the trained weights, (S,).
        gradient_norm: See `Ascent`, (S,).
        sam: See `Ascent`, (S, R).
        sam_steps: See `Ascent`, (S, R).
        adaptive: See `Ascent`, (S, R).
        draws: Rise at each random perturbation, (S, R, K): mean of L(w ± ρ|w|z) less L(w).
        average: Mean of `draws`, (S, R).
        average_se: Standard error of `average`, (S, R).
    """

    subset: tuple[str, ...]
    radius: np.ndarray
    loss: np.ndarray
    gradient_norm: np.ndarray
    sam: np.ndarray
    sam_steps: np.ndarray
    adaptive: np.ndarray
    draws: np.ndarray
    average: np.ndarray
    average_se: np.ndarray


def measure_sharpness(
    subject: Subject,
    *,
    radii: Sequence[float] = RADII,
    steps: int = 5,
    draws: int = 8,
    seed: int = 0,
    done_ascents: Iterable[Ascent] = (),
    done_draws: Mapping[int, np.ndarray] | None = None,
    on_ascent: Callable[[Ascent], None] | None = None,
    on_draw: Callable[[int, np.ndarray], None] | None = None,
) -> Sharpness:
    """Measures worst-case and average-case sharpness of every subset.

    Worst case: one step of sharpness-aware minimisation (Foret et al., ICLR 2021, eq. 2), several projected steps,
    and one step of its scale-adjusted form (Kwon et al., "ASAM", ICML 2021, eq. 6, with |w| on every parameter).
    Average case: Gaussian perturbations of standard deviation ρ|w| a coordinate, each together with its mirror
    image; every perturbation is shared by all subsets, so that one forward pass serves them all. `adaptive` and
    `average` do not change when layers of a ReLU network are rescaled without changing its function; `sam` does.

    Args:
        subject: What is measured; its weights are as before afterwards.
        radii: ρ, above 0, ascending.
        steps: Projected steps at each radius; the ascent goes on from the radius below.
        draws: Pairs of random perturbations, K.
        seed: Of the perturbations.
        done_ascents: Of an interrupted run.
        done_draws: Rises (S, R) by number of the draw, of an interrupted run.
        on_ascent: Called with each subset's ascent as soon as it is done.
        on_draw: Called with each draw's number and rises (S, R).

    Returns:
        The sharpness.

    Raises:
        InputError: A radius is not above 0, or there are no steps or fewer than 2 draws.
    """
    radius = np.asarray(radii, dtype=np.float64)
    check(radii, steps, draws)
    evaluator = Evaluator(subject)
    origin, loss = subject.vector(), evaluator.here().loss
    ascents = {ascent.subset: ascent for ascent in done_ascents}
    for subset, level in zip(subject.subsets, loss, strict=True):
        if subset.name in ascents:
            continue
        twin = subject.twin(subset)
        if twin is not None:
            same = ascents[twin.name]
            ascent = Ascent(subset.name, same.gradient_norm, same.sam, same.sam_steps, same.adaptive)
        else:
            ascent = _ascend(evaluator, subject, subset, origin, float(level), radius, steps)
        ascents[subset.name] = ascent
        if on_ascent is not None:
            on_ascent(ascent)
    rises = dict(done_draws or {})
    for number in range(draws):
        if number not in rises:
            rises[number] = _perturb(evaluator, origin, loss, radius, seed, number)
            if on_draw is not None:
                on_draw(number, rises[number])
    every = np.stack([rises[number] for number in range(draws)], axis=2)
    ordered = [ascents[subset.name] for subset in subject.subsets]
    return Sharpness(
        subset=tuple(a.subset for a in ordered),
        radius=radius,
        loss=loss,
        gradient_norm=np.array([a.gradient_norm for a in ordered]),
        sam=np.stack([a.sam for a in ordered]),
        sam_steps=np.stack([a.sam_steps for a in ordered]),
        adaptive=np.stack([a.adaptive for a in ordered]),
        draws=every,
        average=every.mean(axis=2),
        average_se=every.std(axis=2, ddof=1) / np.sqrt(draws),
    )


def check(radii: Sequence[float], steps: int, draws: int) -> None:
    """Refuses settings that measure nothing.

    Args:
        radii: Above 0, ascending.
        steps: At least 1.
        draws: At least 2.

    Raises:
        InputError: One of them is out of range.
    """
    if not radii or list(radii) != sorted(set(radii)) or not all(0.0 < r < math.inf for r in radii):
        given = ",".join(f"{r:g}" for r in radii)
        raise InputError(f"--radii {given!r} must be above 0 and ascend: give some like 0.05,0.1,0.2")
    if steps < 1:
        raise InputError(f"--steps {steps} is too few: give 1 or more")
    if draws < 2:
        raise InputError(f"--draws {draws} gives no standard error: give 2 or more")


def _ascend(
    evaluator: Evaluator, subject: Subject, subset: Subset, origin: Tensor, loss: float, radius: np.ndarray, steps: int
) -> Ascent:
    _, gradient = loss_and_gradient(subject, subset, origin, chunk=evaluator.chunk)
    norm = float(gradient.double().norm())
    scaled = origin.abs() * gradient
    uphill = gradient / norm if norm > 0 else gradient
    reach = float(scaled.double().norm())
    adjusted = origin.abs() * scaled / reach if reach > 0 else scaled
    sam, several, adaptive = np.empty((3, len(radius)))
    start, best = torch.zeros_like(origin), 0.0
    for r, rho in enumerate(radius.tolist()):
        sam[r] = evaluator.subset_at(origin + rho * uphill, subset) - loss
        adaptive[r] = evaluator.subset_at(origin + rho * adjusted, subset) - loss
        if not math.isnan(best):
            # The best point of the smaller ball, stretched to this one's boundary; at first the one-step point.
            length = float(start.norm())
            first = start * (rho / length) if length > 0 else rho * uphill
            points = [(rho * uphill, float(sam[r]) + loss)]
            for offset, level in chain(points, _climb(evaluator, subject, subset, origin, first, rho, steps)):
                if not level - loss <= best:  # higher, or not finite: then so is the worst case, here and beyond
                    start, best = offset, level - loss
                if math.isnan(best):
                    break
        several[r] = best
    return Ascent(subset.name, norm, sam, several, adaptive)


def _climb(
    evaluator: Evaluator, subject: Subject, subset: Subset, origin: Tensor, offset: Tensor, rho: float, steps: int
) -> Iterator[tuple[Tensor, float]]:
    """Points of a projected ascent inside the ball of radius ρ, each with its loss."""
    for _ in range(steps):
        level, slope = loss_and_gradient(subject, subset, origin + offset, chunk=evaluator.chunk)
        yield offset, level
        size = float(slope.norm())
        if not 0.0 < size < math.inf:
            return
        offset = offset + slope * (STRIDE * rho / size)
        offset = offset * min(1.0, rho / float(offset.norm()))
    yield offset, evaluator.subset_at(origin + offset, subset)


def _perturb(
    evaluator: Evaluator, origin: Tensor, loss: np.ndarray, radius: np.ndarray, seed: int, number: int
) -> np.ndarray:
    """Mean rise at ±ρ|w|z of every subset and radius, (S, R); z depends on the seed and the number alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    step = torch.randn(len(origin), generator=generator, dtype=torch.float64).to(origin) * origin.abs()
    sides = [[evaluator.at(torch.add(origin, step, alpha=sign * rho)).loss for sign in (1, -1)] for rho in radius]
    return np.stack([(up + down) / 2 - loss for up, down in sides], axis=1)


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
    add("--seed", type=int, default=0, help="of the random perturbations")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    opened, out, name = open_arguments(arguments)
    subject = opened.subject
    radii = tuple(sorted(set(arguments.radii)))
    saved: dict[str, Any] = {
        "checkpoint_sha256": opened.sha256,
        "provenance": provenance(subject.device, seed=arguments.seed),
        "overwrite": arguments.overwrite,
    }
    config = {**opened.config, "seed": arguments.seed}
    extent = {"radii": list(radii), "steps": arguments.steps, "draws": arguments.draws}
    check(radii, arguments.steps, arguments.draws)
    record_evaluation(out, name, subject, config=opened.config, **saved)
    with recording(out, "sharpness", name, subsets=subject.subsets, config=config, extent=extent, **saved) as record:
        if record is None:
            print(f"{out}: sharpness/{name} is there already")
            return
        count, samples = len(subject.subsets), len(subject.labels)
        print(
            f"sharpness/{name}: {count} subsets of {samples} samples: {1 + arguments.steps * len(radii)} gradients of "
            f"each subset, {2 * arguments.draws * len(radii)} forward passes shared by all",
            flush=True,
        )
        result = _record(record, subject, radii, arguments.steps, arguments.draws, arguments.seed)
    print(f"{out}: sharpness/{name}: {_describe(result)}")


def _record(
    record: Recording, subject: Subject, radii: Sequence[float], steps: int, draws: int, seed: int
) -> Sharpness:
    """Measures into an open recording, unit by unit, and finishes it."""
    names = [subset.name for subset in subject.subsets]
    shape = (len(names), len(radii))
    record.scale("radius", np.asarray(radii))
    dims = ("subset", "radius")
    record.create("loss", dims=dims[:1], shape=shape[:1], unit="nats", meaning="mean loss")
    record.create("gradient_norm", dims=dims[:1], shape=shape[:1], unit="nats", meaning="length of the gradient")
    for key, meaning in (
        ("sam", "rise after one step up the gradient"),
        ("sam_steps", "largest rise that projected ascent found"),
        ("adaptive", "rise after one step, each weight in proportion to its size"),
        ("average", "mean rise under Gaussian noise of radius times each weight"),
        ("average_se", "standard error of average"),
    ):
        record.create(key, dims=dims, shape=shape, unit="nats", meaning=meaning)
    record.create("draws", dims=(*dims, "draw"), shape=(*shape, draws), unit="nats", meaning="rise at each noise pair")
    record.create("status", dims=dims[:1], shape=shape[:1], dtype="i1", meaning="0 to do, 1 measured, 2 not finite")
    before: Mapping[str, np.ndarray] = {}
    finished = 0
    if record.resumed:
        before = {key: record.read(key) for key in ("gradient_norm", *ASCENTS, "draws", "status")}
        finished = int(record.noted("finished_draws") or 0)
    elif record.previous and record.previous.subset == tuple(names):
        asked = {"radii": list(radii), "steps": steps, "draws": draws}
        if {**record.previous.extent, "draws": draws} == asked:  # more draws of the same
            before = record.previous.data
            finished = min(draws, int(record.previous.attributes.get("finished_draws", 0)))
    ascents = [
        Ascent(name, float(before["gradient_norm"][s]), *(before[key][s] for key in ASCENTS))
        for s, name in enumerate(names)
        if before and before["status"][s] != TODO
    ]

    def keep_ascent(ascent: Ascent) -> None:
        s = names.index(ascent.subset)
        record.write("gradient_norm", s, ascent.gradient_norm)
        for key in ASCENTS:
            record.write(key, s, getattr(ascent, key))
        finite = np.isfinite([getattr(ascent, key) for key in ASCENTS]).all()
        record.write("status", s, MEASURED if finite else NON_FINITE)
        record.flush()
        progress.advance(note=ascent.subset)

    def keep_draw(number: int, rises: np.ndarray) -> None:
        record.write("draws", (slice(None), slice(None), number), rises)
        record.note("finished_draws", number + 1)
        record.flush()
        progress.advance(note="average")

    with Progress("sharpness", len(names) - len(ascents) + draws - finished, "unit") as progress:
        result = measure_sharpness(
            subject, radii=radii, steps=steps, draws=draws, seed=seed, done_ascents=ascents,
            done_draws={k: before["draws"][..., k] for k in range(finished)}, on_ascent=keep_ascent, on_draw=keep_draw,
        )  # fmt: skip
    for key in ("loss", "gradient_norm", *ASCENTS, "draws", "average", "average_se"):
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
    return tuple(float(part) for part in text.split(","))


if __name__ == "__main__":
    main()
