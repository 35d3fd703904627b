"""How much the loss of every subset can increase near the trained weights: `measure_sharpness`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from landscape.execution.checks import guarded
from landscape.execution.evaluate import Evaluator
from landscape.execution.gradient import loss_and_gradient
from landscape.execution.weight_sizes import weight_sizes
from landscape.sharpness.result import VALUES, Ascent, Draw, Sharpness, SharpnessSettings
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

STRIDE = 0.5
"""Length of one ascent step, in radii: two reach the boundary from the center, later ones turn along it."""


@guarded
def measure_sharpness(
    subject: Subject,
    *,
    settings: SharpnessSettings | None = None,
    done_ascents: Iterable[Ascent] = (),
    done_draws: Iterable[Draw] = (),
    on_ascent: Callable[[Ascent], None] | None = None,
    on_draw: Callable[[Draw], None] | None = None,
) -> Sharpness:
    """Measures worst-case and average-case sharpness of every subset.

    Worst case: one step of sharpness-aware minimisation (Foret et al., ICLR 2021, eq. 2), several projected steps,
    and one step of its scale-adjusted form (Kwon et al., "ASAM", ICML 2021, eq. 6, with |w| on every parameter, see
    `weight_sizes`). Average case: Gaussian perturbations of standard deviation ρ|w| a coordinate, each together with
    its mirror image; every perturbation is shared by all subsets, so that one forward pass serves them all. `adaptive`
    and `average` do not change when layers of a ReLU network are rescaled without changing its function, or its head is
    shifted; `sam` does.

    Args:
        subject: What is measured; its weights are as before afterwards.
        settings: How much to measure.
        done_ascents: Of an interrupted run.
        done_draws: Of an interrupted run.
        on_ascent: Called with each subset's ascent as soon as it is done.
        on_draw: Called with each perturbation's increases as soon as they are known.

    Returns:
        The sharpness.

    Raises:
        InputError: There are fewer than 2 samples of a class.
    """
    settings = settings or SharpnessSettings()
    around = _Around(subject, settings)
    ascents = {ascent.subset: ascent for ascent in done_ascents}
    for subset in subject.subsets:
        if subset.name in ascents:
            continue
        twin = subject.twin(subset)
        ascents[subset.name] = (
            around.ascend(subset) if twin is None else replace(ascents[twin.name], subset=subset.name)
        )
        if on_ascent is not None:
            on_ascent(ascents[subset.name])
    draws = {draw.number: draw for draw in done_draws}
    for number in range(settings.draws):
        if number not in draws:
            draws[number] = around.perturb(number)
            if on_draw is not None:
                on_draw(draws[number])
    every = np.stack([draws[number].loss_increase for number in range(settings.draws)], axis=2)
    errors = np.stack([draws[number].loss_increase_se for number in range(settings.draws)], axis=2)
    ordered = [ascents[subset.name] for subset in subject.subsets]
    return Sharpness(
        subset=tuple(a.subset for a in ordered),
        settings=settings,
        radius=around.radius,
        loss=around.loss,
        gradient_norm=np.array([a.gradient_norm for a in ordered]),
        **{key: np.stack([getattr(a, key) for a in ordered]) for key in VALUES},
        draws=every,
        draws_se=errors,
        average=every.mean(axis=2),
        # The same samples serve all draws, so that their errors do not average out.
        average_se=np.sqrt(every.var(axis=2, ddof=1) / settings.draws + np.square(errors).mean(axis=2)),
    )


@guarded
def measure_some(
    subject: Subject,
    units: Iterable[str | int],
    *,
    settings: SharpnessSettings,
    on_ascent: Callable[[Ascent], None],
    on_draw: Callable[[Draw], None],
) -> None:
    """Measures some ascents and draws in any order, each to the last bit as `measure_sharpness` does.

    Args:
        subject: What is measured.
        units: Of `units_of`, named one after the other while they are measured.
        settings: How much to measure.
        on_ascent: Called with each subset's ascent as soon as it is done.
        on_draw: Called with each perturbation's increases as soon as they are known.
    """
    around, subsets = _Around(subject, settings), {subset.name: subset for subset in subject.subsets}
    for unit in units:
        if isinstance(unit, int):
            on_draw(around.perturb(unit))
        else:
            on_ascent(around.ascend(subsets[unit]))


class _Around:
    """What is measured around the trained weights, a unit at a time."""

    def __init__(self, subject: Subject, settings: SharpnessSettings) -> None:
        self._subject, self._settings = subject, settings
        self.radius = np.asarray(settings.radii, dtype=np.float64)
        self._evaluator = Evaluator(subject, samples_per_class=settings.samples_per_class, seed=settings.seed)
        self._origin, self._sizes = subject.vector(), weight_sizes(subject)

    @functools.cached_property
    def _base(self) -> Tensor:
        return self._evaluator.losses_at(self._origin)

    @property
    def loss(self) -> np.ndarray:
        """Of every subset at the trained weights, (S,)."""
        return self._evaluator.mean_and_error(self._base)[0]

    def ascend(self, subset: Subset) -> Ascent:
        """The worst case of one subset."""
        return _ascend(
            self._evaluator, self._subject, subset, self._origin, self._sizes, self.radius, self._settings.steps
        )

    def perturb(self, number: int) -> Draw:
        """One perturbation and its mirror image."""
        seed = self._settings.seed
        return _perturb(self._evaluator, self._origin, self._sizes, self._base, self.radius, seed, number)


def _ascend(
    evaluator: Evaluator,
    subject: Subject,
    subset: Subset,
    origin: Tensor,
    sizes: Tensor,
    radius: np.ndarray,
    steps: int,
) -> Ascent:
    base = evaluator.losses_at(origin, subset)
    loss = float(evaluator.mean_and_error(base, subset)[0])
    _, gradient = loss_and_gradient(subject, evaluator.batches(subset, evaluator.chunk), origin)
    norm = float(gradient.double().norm())
    scaled = sizes * gradient
    uphill = gradient / norm if norm > 0 else gradient
    reach = float(scaled.double().norm())
    adjusted = sizes * scaled / reach if reach > 0 else scaled
    found = np.empty((6, len(radius)))  # increases and their standard errors
    start, best = torch.zeros_like(origin), 0.0

    def increase(offset: Tensor) -> tuple[float, float]:
        mean, error = evaluator.mean_and_error(evaluator.losses_at(origin + offset, subset) - base, subset)
        return float(mean), float(error)

    for r, rho in enumerate(radius.tolist()):
        (sam, sam_se), (adaptive, adaptive_se) = increase(rho * uphill), increase(rho * adjusted)
        if not math.isnan(best):
            # The best point of the smaller ball, stretched to this one's boundary; at first the one-step point.
            length = float(start.norm())
            first = start * (rho / length) if length > 0 else rho * uphill
            points = _projected_ascent(evaluator, subject, subset, origin, first, rho, steps)
            for offset, higher in chain([(rho * uphill, sam)], ((o, level - loss) for o, level in points)):
                if not higher <= best:  # higher, or not finite: then so is the worst case, here and beyond
                    start, best = offset, higher
                if math.isnan(best):
                    break
        best_se = increase(start)[1] if evaluator.partial else 0.0
        found[:, r] = sam, best, adaptive, sam_se, best_se, adaptive_se
    return Ascent(subset.name, norm, *found)


def _projected_ascent(
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


def _perturb(
    evaluator: Evaluator, origin: Tensor, sizes: Tensor, base: Tensor, radius: np.ndarray, seed: int, number: int
) -> Draw:
    """Increases at ±ρ|w|z of every subset and radius; z depends on the seed and the number alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    step = torch.randn(len(origin), generator=generator, dtype=torch.float64).to(origin) * sizes
    found = []
    for rho in radius.tolist():
        up, down = (evaluator.losses_at(torch.add(origin, step, alpha=sign * rho)) for sign in (1, -1))
        found.append(evaluator.mean_and_error((up + down) / 2 - base))
    increases, errors = (np.stack(values, axis=1) for values in zip(*found, strict=True))
    return Draw(number, increases, errors)
