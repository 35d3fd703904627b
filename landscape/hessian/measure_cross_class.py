"""Curvature across classes, once every subset's eigenvectors are known: `measure_cross_class`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foundation.errors import InputError
from landscape.conversion import to_xarray
from landscape.hessian.estimators.cross_class import class_share, curvature_along, overlaps
from landscape.hessian.products.operators import HessianFactory
from landscape.hessian.result import HessianResult, SubsetCurvature
from landscape.schema import SHARE, quantity
from landscape.subject.subject import Subject

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CrossClass:
    """What the sharp directions of one class are to the others.

    Attributes:
        subset: Names of the S subsets.
        cross: (S, S) vᵀH_c v of each class c (columns) along each class's top eigenvector v (rows); NaN of groups.
        overlap: (S, S) how far the top eigenspaces of subsets coincide: ‖V_i V_jᵀ‖² / k.
        share: (k, S) each class's part of the top eigenvalues of `all`; NaN where that was not measured.
    """

    subset: tuple[str, ...]
    cross: Array = field(
        metadata=quantity("vᵀHv of each class along each class's top eigenvector", "direction", "subset")
    )
    overlap: Array = field(metadata=quantity("‖V_i V_jᵀ‖² / k of top eigenspaces", "direction", "subset", unit=SHARE))
    share: Array = field(
        metadata=quantity(
            "each class's part of the top eigenvalues of all samples, sum 1", "rank", "subset", unit=SHARE
        )
    )

    def to_xarray(self) -> xr.Dataset:
        """Every number with its dimensions, unit and meaning, named as in a `landscape.h5`."""
        return to_xarray(self, {"subset": list(self.subset), "direction": list(self.subset)})


def measure_cross_class(
    subject: Subject,
    result: HessianResult,
    *,
    done: CrossClass | None = None,
    on_class: Callable[[int, CrossClass], None] | None = None,
) -> CrossClass:
    """Measures every class's curvature along every class's top eigenvector: a product for each pair.

    Args:
        subject: What was measured.
        result: Its curvature, with eigenvectors (`HessianSettings.vectors`).
        done: What is known from an interrupted run; classes whose column is all NaN are measured.
        on_class: Called after each class with its column and what is known by then.

    Returns:
        Curvatures, overlaps and shares.

    Raises:
        InputError: The result has no eigenvectors.
    """
    if not result.settings.vectors:
        raise InputError("the result has no eigenvectors: measure it with HessianSettings(vectors=True)")
    names, top = tuple(s.name for s in subject.subsets), result.settings.top
    classes = [row for row, subset in enumerate(subject.subsets) if subset.kind == "class"]
    whole = [row for row, subset in enumerate(subject.subsets) if subset.kind == "all"]
    vectors = torch.stack([_vectors(curvature, subject, top) for curvature in result.curvatures])
    cross = np.full((len(names), len(names)), np.nan) if done is None else done.cross.copy()
    share = np.full((top, len(names)), np.nan) if done is None else done.share.copy()
    hessians, known = HessianFactory(subject, result.plan), CrossClass(names, cross, overlaps(vectors), share)
    for column in classes:
        subset = subject.subsets[column]
        if np.isnan(cross[classes, column]).all():
            directions = torch.cat([vectors[classes, 0], *(vectors[row] for row in whole)])
            along = curvature_along(hessians, subset, directions)
            cross[classes, column] = along[: len(classes)]
            for row in whole:
                values, part = np.full(top, np.nan), subset.measured_count / len(subject.labels)
                values[: len(result.curvatures[row].top.values)] = result.curvatures[row].top.values
                share[:, column] = class_share(along[len(classes) :], values, part)
        if on_class is not None:
            on_class(column, known)
    return known


def _vectors(curvature: SubsetCurvature, subject: Subject, top: int) -> Tensor:
    """(k, P) a subset's top eigenvectors, NaN where there are none; as exact as a file keeps them, whoever asks."""
    rows = subject.vector().new_full((top, subject.size), torch.nan)
    found = curvature.top.vectors
    if len(found):
        rows[: len(found)] = found.float().to(rows)
    return rows
