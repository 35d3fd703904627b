"""How much the loss of every subset can rise near the trained weights: `measure_sharpness`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from foundation.errors import InputError
from landscape.execution.evaluate import Evaluator
from landscape.execution.gradient import loss_and_gradient
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

RADII = (0.05, 0.1, 0.2)
ASCENTS = ("sam", "sam_steps", "adaptive")
VALUES = (*ASCENTS, *(f"{key}_se" for key in ASCENTS))
STRIDE = 0.5
"""Length of one ascent step, in radii: two reach the boundary from the center, later ones turn along it."""


@dataclass(frozen=True)
class Ascent:
    """The worst-case sharpness of one subset.

    Attributes:
        subset: Its name.
        gradient_norm: ‖∇L‖ at the trained weights, Euclidean.
        sam: L(w + ρ g/‖g‖) - L(w), (R,).
        sam_steps: The largest rise that projected ascent found within ‖ε‖ ≤ ρ, (R,); a lower bound of the worst case.
        adaptive: L(w + ρ w²g/‖|w|g‖) - L(w), (R,): one step within ‖ε/|w|‖ ≤ ρ.
        sam_se: Standard error of `sam` where only some samples of a class are measured, (R,); else 0. The step itself
            is taken as given, though the same samples chose it.
        sam_steps_se: Likewise of `sam_steps`, (R,).
        adaptive_se: Likewise of `adaptive`, (R,).
    """

    subset: str
    gradient_norm: float
    sam: np.ndarray
    sam_steps: np.ndarray
    adaptive: np.ndarray
    sam_se: np.ndarray
    sam_steps_se: np.ndarray
    adaptive_se: np.ndarray


@dataclass(frozen=True)
class Draw:
    """One random perturbation and its mirror image.

    Attributes:
        number: Which.
        rise: Mean of L(w ± ρ|w|z) less L(w), (S, R).
        rise_se: Standard error of `rise` where only some samples of a class are measured, (S, R); else 0.
    """

    number: int
    rise: np.ndarray
    rise_se: np.ndarray


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
        sam_se: See `Ascent`, (S, R).
        sam_steps_se: See `Ascent`, (S, R).
        adaptive_se: See `Ascent`, (S, R).
        draws: Rise at each of K random perturbations, (S, R, K): see `Draw`.
        draws_se: Their standard errors over samples, (S, R, K).
        average: Mean of `draws`, (S, R).
        average_se: Standard error of `average` over perturbations and samples, (S, R).
    """

    subset: tuple[str, ...]
    radius: np.ndarray
    loss: np.ndarray
    gradient_norm: np.ndarray
    sam: np.ndarray
    sam_steps: np.ndarray
    adaptive: np.ndarray
    sam_se: np.ndarray
    sam_steps_se: np.ndarray
    adaptive_se: np.ndarray
    draws: np.ndarray
    draws_se: np.ndarray
    average: np.ndarray
    average_se: np.ndarray


def measure_sharpness(
    subject: Subject,
    *,
    radii: Sequence[float] = RADII,
    steps: int = 5,
    draws: int = 8,
    seed: int = 0,
    samples_per_class: int | None = None,
    done_ascents: Iterable[Ascent] = (),
    done_draws: Iterable[Draw] = (),
    on_ascent: Callable[[Ascent], None] | None = None,
    on_draw: Callable[[Draw], None] | None = None,
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
        seed: Of the perturbations and of the samples drawn.
        samples_per_class: Measure at most so many samples of each class; all by default.
        done_ascents: Of an interrupted run.
        done_draws: Of an interrupted run.
        on_ascent: Called with each subset's ascent as soon as it is done.
        on_draw: Called with each perturbation's rises as soon as they are done.

    Returns:
        The sharpness.

    Raises:
        InputError: A radius is not above 0, or there are no steps or fewer than 2 draws or samples of a class.
    """
    radius = np.asarray(radii, dtype=np.float64)
    check(radii, steps, draws)
    evaluator = Evaluator(subject, samples_per_class=samples_per_class, seed=seed)
    origin = subject.vector()
    base = evaluator.losses_at(origin)
    ascents = {ascent.subset: ascent for ascent in done_ascents}
    for subset in subject.subsets:
        if subset.name in ascents:
            continue
        twin = subject.twin(subset)
        if twin is not None:
            ascent = replace(ascents[twin.name], subset=subset.name)
        else:
            ascent = _ascend(evaluator, subject, subset, origin, radius, steps)
        ascents[subset.name] = ascent
        if on_ascent is not None:
            on_ascent(ascent)
    rises = {draw.number: draw for draw in done_draws}
    for number in range(draws):
        if number not in rises:
            rises[number] = _perturb(evaluator, origin, base, radius, seed, number)
            if on_draw is not None:
                on_draw(rises[number])
    every = np.stack([rises[number].rise for number in range(draws)], axis=2)
    errors = np.stack([rises[number].rise_se for number in range(draws)], axis=2)
    ordered = [ascents[subset.name] for subset in subject.subsets]
    return Sharpness(
        subset=tuple(a.subset for a in ordered),
        radius=radius,
        loss=evaluator.mean_and_error(base)[0],
        gradient_norm=np.array([a.gradient_norm for a in ordered]),
        **{key: np.stack([getattr(a, key) for a in ordered]) for key in VALUES},
        draws=every,
        draws_se=errors,
        average=every.mean(axis=2),
        # The same samples serve all draws, so that their errors do not average out.
        average_se=np.sqrt(every.var(axis=2, ddof=1) / draws + np.square(errors).mean(axis=2)),
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
    evaluator: Evaluator, subject: Subject, subset: Subset, origin: Tensor, radius: np.ndarray, steps: int
) -> Ascent:
    base = evaluator.losses_at(origin, subset)
    loss = float(evaluator.mean_and_error(base, subset)[0])
    _, gradient = loss_and_gradient(subject, evaluator.batches(subset, evaluator.chunk), origin)
    norm = float(gradient.double().norm())
    scaled = origin.abs() * gradient
    uphill = gradient / norm if norm > 0 else gradient
    reach = float(scaled.double().norm())
    adjusted = origin.abs() * scaled / reach if reach > 0 else scaled
    found = np.empty((6, len(radius)))  # rises and their standard errors
    start, best = torch.zeros_like(origin), 0.0

    def rise(offset: Tensor) -> tuple[float, float]:
        mean, error = evaluator.mean_and_error(evaluator.losses_at(origin + offset, subset) - base, subset)
        return float(mean), float(error)

    for r, rho in enumerate(radius.tolist()):
        (sam, sam_se), (adaptive, adaptive_se) = rise(rho * uphill), rise(rho * adjusted)
        if not math.isnan(best):
            # The best point of the smaller ball, stretched to this one's boundary; at first the one-step point.
            length = float(start.norm())
            first = start * (rho / length) if length > 0 else rho * uphill
            climb = _climb(evaluator, subject, subset, origin, first, rho, steps)
            for offset, higher in chain([(rho * uphill, sam)], ((o, level - loss) for o, level in climb)):
                if not higher <= best:  # higher, or not finite: then so is the worst case, here and beyond
                    start, best = offset, higher
                if math.isnan(best):
                    break
        best_se = rise(start)[1] if evaluator.partial else 0.0
        found[:, r] = sam, best, adaptive, sam_se, best_se, adaptive_se
    return Ascent(subset.name, norm, *found)


def _climb(
    evaluator: Evaluator, subject: Subject, subset: Subset, origin: Tensor, offset: Tensor, rho: float, steps: int
) -> Iterator[tuple[Tensor, float]]:
    """Points of a projected ascent inside the ball of radius ρ, each with its loss."""
    for _ in range(steps):
        level, slope = loss_and_gradient(subject, evaluator.batches(subset, evaluator.chunk), origin + offset)
        yield offset, level
        size = float(slope.norm())
        if not 0.0 < size < math.inf:
            return
        offset = offset + slope * (STRIDE * rho / size)
        offset = offset * min(1.0, rho / float(offset.norm()))
    yield offset, float(evaluator.mean_and_error(evaluator.losses_at(origin + offset, subset), subset)[0])


def _perturb(evaluator: Evaluator, origin: Tensor, base: Tensor, radius: np.ndarray, seed: int, number: int) -> Draw:
    """Rises at ±ρ|w|z of every subset and radius; z depends on the seed and the number alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    step = torch.randn(len(origin), generator=generator, dtype=torch.float64).to(origin) * origin.abs()
    found = []
    for rho in radius.tolist():
        up, down = (evaluator.losses_at(torch.add(origin, step, alpha=sign * rho)) for sign in (1, -1))
        found.append(evaluator.mean_and_error((up + down) / 2 - base))
    rises, errors = (np.stack(values, axis=1) for values in zip(*found, strict=True))
    return Draw(number, rises, errors)
