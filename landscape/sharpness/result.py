"""What is asked of sharpness and what is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from foundation.declared import Seed, check_fields
from foundation.errors import InputError
from landscape.conversion import to_frame, to_xarray
from landscape.execution.evaluate import check_draw
from landscape.schema import NAT, quantities, quantity

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

ASCENTS = ("sam", "sam_steps", "adaptive")
VALUES = (*ASCENTS, *(f"{key}_se" for key in ASCENTS))


@dataclass(frozen=True)
class SharpnessSettings:
    """How much sharpness to measure.

    Attributes:
        radii: Lengths ρ of the perturbation, above 0, ascending.
        steps: Projected steps at each radius; the ascent goes on from the radius below.
        draws: Pairs of random perturbations, K.
        seed: Of the perturbations and of the samples drawn.
        samples_per_class: Measure at most so many samples of each class, with errors; all by default.

    Raises:
        InputError: A number is out of range.
    """

    radii: tuple[Annotated[float, Field(ge=1e-6, le=1e4)], ...] = (0.05, 0.1, 0.2)
    steps: Annotated[int, Field(ge=1, le=10_000)] = 5
    draws: Annotated[int, Field(ge=2, le=10_000)] = 8
    seed: Seed = 0
    samples_per_class: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "radii", tuple(float(radius) for radius in self.radii))
        radii = list(self.radii)
        if not radii or radii != sorted(set(radii)) or not all(0.0 < r < math.inf for r in radii):
            given = ",".join(f"{r:g}" for r in radii)
            raise InputError(f"--radii {given!r} must be above 0 and ascend: give some like 0.05,0.1,0.2")
        if self.steps < 1:
            raise InputError(f"--steps {self.steps} is too few: give 1 or more")
        if self.draws < 2:
            raise InputError(f"--draws {self.draws} gives no standard error: give 2 or more")
        check_draw(self.samples_per_class)
        check_fields(self)


@dataclass(frozen=True)
class Ascent:
    """The worst-case sharpness of one subset.

    Attributes:
        subset: Its name.
        gradient_norm: ‖∇L‖ at the trained weights, Euclidean.
        sam: L(w + ρ g/‖g‖) - L(w), (R,).
        sam_steps: The largest increase that projected ascent found within ‖ε‖ ≤ ρ, (R,); a lower bound of the worst
            case.
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
        loss_increase: Mean of L(w ± ρ|w|z) less L(w), (S, R).
        loss_increase_se: Its standard error where only some samples of a class are measured, (S, R); else 0.
    """

    number: int
    loss_increase: np.ndarray
    loss_increase_se: np.ndarray


def _increase(meaning: str, *more: str, when: str = "") -> dict[str, object]:
    return quantity(meaning, "subset", "radius", *more, unit=NAT, when=when)


_PARTIAL = "samples_per_class"  # only then do increases have errors besides those of the draws


@dataclass(frozen=True, repr=False)
class Sharpness:
    """Sharpness of every subset at R radii, in nats of loss.

    Attributes:
        subset: Names of the S subsets.
        settings: How much was asked.
        radius: ρ, (R,).
        loss: At the trained weights, (S,).
        gradient_norm: See `Ascent`, (S,).
        sam: See `Ascent`, (S, R).
        sam_steps: See `Ascent`, (S, R).
        adaptive: See `Ascent`, (S, R).
        average: Mean of `draws`, (S, R).
        average_se: Standard error of `average` over perturbations and samples, (S, R).
        draws: Increase at each of K random perturbations, (S, R, K): see `Draw`.
        sam_se: See `Ascent`, (S, R).
        sam_steps_se: See `Ascent`, (S, R).
        adaptive_se: See `Ascent`, (S, R).
        draws_se: Standard errors of `draws` over samples, (S, R, K).
    """

    subset: tuple[str, ...]
    settings: SharpnessSettings
    radius: np.ndarray
    loss: np.ndarray = field(metadata=quantity("mean loss", "subset", unit=NAT))
    gradient_norm: np.ndarray = field(metadata=quantity("norm of the gradient of the subset's loss", "subset"))
    sam: np.ndarray = field(metadata=_increase("increase after one step up the gradient"))
    sam_steps: np.ndarray = field(metadata=_increase("largest increase that projected ascent found"))
    adaptive: np.ndarray = field(metadata=_increase("increase after one step, each weight in proportion to its size"))
    average: np.ndarray = field(metadata=_increase("mean increase under Gaussian noise of radius times each weight"))
    average_se: np.ndarray = field(metadata=_increase("standard error of average"))
    draws: np.ndarray = field(metadata=_increase("increase at each noise pair", "draw"))
    sam_se: np.ndarray = field(metadata=_increase("standard error of sam", when=_PARTIAL))
    sam_steps_se: np.ndarray = field(metadata=_increase("standard error of sam_steps", when=_PARTIAL))
    adaptive_se: np.ndarray = field(metadata=_increase("standard error of adaptive", when=_PARTIAL))
    draws_se: np.ndarray = field(
        metadata=_increase("standard error of each increase over the samples", "draw", when=_PARTIAL)
    )

    def __repr__(self) -> str:
        return f"<Sharpness of {len(self.subset)} subsets: {self.describe()}>"

    @classmethod
    def stacked(cls, parts: Sequence[Sharpness]) -> Sharpness:
        """Subsets that were measured apart, with the same settings, as one result."""
        arrays = {q.name: np.concatenate([q.of(part) for part in parts]) for q in quantities(cls)}
        names = tuple(name for part in parts for name in part.subset)
        return cls(names, parts[0].settings, parts[0].radius, **arrays)

    def describe(self) -> str:
        """The largest increase within the largest radius, in words."""
        worst = int(np.argmax(np.nan_to_num(self.sam_steps[:, -1], nan=-np.inf)))
        return (
            f"the largest increase within radius {self.radius[-1]:g} is {self.sam_steps[worst, -1]:.3g} nat, "
            f"of {self.subset[worst]}"
        )

    def to_xarray(self) -> xr.Dataset:
        """Every number over `subset`, `radius` and `draw`, with its unit and meaning."""
        return to_xarray(self, {"subset": self.subset, "radius": self.radius})

    def to_frame(self) -> pd.DataFrame:
        """One row a subset and radius, without the single draws."""
        return to_frame(self.to_xarray(), rows=("subset", "radius"))
