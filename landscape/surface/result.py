"""What is asked of a surface and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from foundation.declared import Seed, check_fields
from foundation.errors import InputError, one_of
from landscape.conversion import to_frame, to_xarray
from landscape.execution.evaluate import check_draw
from landscape.schema import FAILED, INTERPOLATED, MEASURED, NAT, NON_FINITE, SHARE, part, quantity
from landscape.surface.drawn_curvature import DrawnCurvature
from landscape.surface.plane import Plane

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

VALUES = ("loss", "accuracy", "loss_se")
"""What is known of a cell, (S,) each."""
Points = Annotated[int, Field(ge=1, le=2001)]
"""Cells along an axis; 2,001 squared are 32 MB a subset and quantity."""
Span = Annotated[float, Field(gt=0, le=1e6)]
PRECISIONS = ("full", "bfloat16")


@dataclass(frozen=True)
class SurfaceSettings:
    """How much of a surface to measure, and how exactly.

    Attributes:
        points: Cells along both axes, or (A, B).
        span: The axes run from -span to span, one number or one an axis; found automatically by default.
        tolerance: Largest estimated error of an interpolated loss, as a share of a subset's range; None measures
            every cell.
        samples_per_class: Evaluate at most so many samples of each class, the same at every point; all by default.
        precision: `"full"`, or `"bfloat16"` to multiply in it, with its error stated.
        seed: Of a random plane and of the samples drawn.

    Raises:
        InputError: A number is out of range.
    """

    points: Points | tuple[Points, Points] = (51, 51)
    span: Span | Sequence[Span] | None = None
    tolerance: float | None = 0.01
    samples_per_class: int | None = None
    precision: str = "full"
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 0.0 < self.tolerance < 1.0:
            raise InputError(f"--tolerance {self.tolerance:g} is no share of a range: give a number between 0 and 1")
        if self.precision not in PRECISIONS:
            raise one_of("precision", self.precision, PRECISIONS)
        check_draw(self.samples_per_class)
        check_fields(self)


@dataclass(frozen=True)
class Cell:
    """One evaluated point of a surface.

    Attributes:
        row: Index into `b`.
        column: Index into `a`.
        loss: Of every subset, (S,); NaN and infinities stay.
        accuracy: Of every subset, (S,).
        loss_se: Standard error of each loss, (S,).
        status: `MEASURED`, `NON_FINITE` or `FAILED`.
    """

    row: int
    column: int
    loss: np.ndarray
    accuracy: np.ndarray
    loss_se: np.ndarray
    status: int


def _over_cells(meaning: str, unit: str) -> dict[str, object]:
    return quantity(meaning, "subset", "b", "a", unit=unit)


@dataclass(frozen=True, repr=False)
class Surface:
    """Loss and accuracy of every subset over a plane, or along a line where B is 1.

    Attributes:
        plane: What was cut through; its directions and named points.
        settings: How much was asked.
        subset: Names of the S subsets.
        a: Coordinates along the first direction, (A,).
        b: Coordinates along the second, (B,).
        loss: Mean loss, (S, B, A).
        accuracy: Share classified rightly, (S, B, A).
        loss_se: Standard error of each loss where only some samples of a class were evaluated, (S, B, A); else 0.
        error: Stated error of an interpolated loss, (S, B, A); 0 where measured. About 95 % of a subset's err by less.
        status: What each cell is, (B, A): values of `landscape.schema`.
        evaluations: Points evaluated for this result, those of an interrupted run included.
        forward: How the network was evaluated, in words: see `Evaluator.form`.
        kept_tolerance: Share of its range below which about 99 % of a subset's interpolated losses err, (S,), to be
            read beside the tolerance asked for; empty where nothing is interpolated.
        curvature: At the origin, by autodiff and as drawn; empty where BatchNorm statistics are measured at every
            point, which autodiff at fixed ones would not describe.
        barrier: How high each subset's loss rises along a line between networks, (S,); empty elsewhere.
        precision_error: Loss at the origin in bfloat16 less that in full precision, (S,); empty in full precision.
    """

    plane: Plane
    settings: SurfaceSettings
    subset: tuple[str, ...]
    a: np.ndarray
    b: np.ndarray
    loss: np.ndarray = field(metadata=_over_cells("mean loss", NAT))
    accuracy: np.ndarray = field(metadata=_over_cells("share classified rightly", SHARE))
    loss_se: np.ndarray = field(
        metadata=_over_cells("standard error of the loss, 0 where every sample was evaluated", NAT)
    )
    error: np.ndarray = field(
        metadata=_over_cells("stated error of an interpolated loss: about 95 % of a subset's err by less", NAT)
    )
    status: np.ndarray = field(
        metadata=quantity("0 to do, 1 measured, 2 not finite, 3 failed, 4 interpolated", "b", "a", dtype="i1")
    )
    evaluations: int
    forward: str
    kept_tolerance: np.ndarray = field(
        default_factory=lambda: np.empty(0),
        metadata=quantity(
            "share of its range below which about 99 % of a subset's interpolated losses err", "subset", unit=SHARE
        ),
    )
    curvature: DrawnCurvature = field(default=DrawnCurvature(), metadata=part())
    barrier: np.ndarray = field(
        default_factory=lambda: np.empty(0),
        metadata=quantity("rise of the loss along the line above what joins its ends straight", "subset", unit=NAT),
    )
    precision_error: np.ndarray = field(
        default_factory=lambda: np.empty(0),
        metadata=quantity("loss at the origin in bfloat16 less that in full precision", "subset", unit=NAT),
    )

    def __repr__(self) -> str:
        shape = f"{len(self.a)} × {len(self.b)}"
        return f"<Surface of {len(self.subset)} subsets, {self.plane.kind}, {shape}: {self.describe()}>"

    def describe(self) -> str:
        """What became of the cells, in one line."""
        count = {status: int((self.status == status).sum()) for status in (MEASURED, INTERPOLATED, NON_FINITE, FAILED)}
        parts = [f"{count[MEASURED]} cells measured"]
        if count[INTERPOLATED]:
            parts.append(f"{count[INTERPOLATED]} interpolated")
        if count[NON_FINITE]:
            parts.append(f"{count[NON_FINITE]} not finite")
        if count[FAILED]:
            parts.append(f"{count[FAILED]} failed (the same command tries them again)")
        return ", ".join(parts)

    def to_xarray(self) -> xr.Dataset:
        """Every number over `subset`, `b` and `a`, with its unit and meaning."""
        said = {"plane": self.plane.kind, "axes": list(self.plane.axes), "forward": self.forward}
        return to_xarray(self, {"subset": self.subset, "a": self.a, "b": self.b}, said)

    def to_frame(self) -> pd.DataFrame:
        """One row a subset and cell."""
        return to_frame(self.to_xarray(), rows=("subset", "b", "a"))


def barriers(loss: np.ndarray) -> np.ndarray:
    """How high each subset's loss rises along a line between two networks, (S,).

    The largest L(t) - [(1 - t) L(0) + t L(1)] (Entezari et al., "The Role of Permutation Invariance in Linear Mode
    Connectivity of Neural Networks", ICLR 2022; Frankle et al., ICML 2020, take the mean of the two ends instead of
    the straight line between them); at least 0, which the ends attain. NaN where the loss is.

    Args:
        loss: Along the line, (S, A).
    """
    straight = loss[:, :1] + (loss[:, -1:] - loss[:, :1]) * np.linspace(0, 1, loss.shape[1])
    return np.asarray((loss - straight).max(axis=1))
