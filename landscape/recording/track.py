"""What a tracker found along training, and how it lies in a file: `/track/<name>`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.conversion import to_xarray
from landscape.files.contents import Contents
from landscape.files.landscape_file import Measurement, read_landscape
from landscape.files.publish import publish
from landscape.files.target import Target
from landscape.files.unit_folder import Head
from landscape.files.units import table_of
from landscape.schema import NAT, NUMERICS, SCHEMA, SCHEMA_VERSION, SHARE, assemble, quantities, quantity
from landscape.subject.subsets import Subset

if TYPE_CHECKING:
    import xarray as xr

PARTS = ("loss", "cosine", "top", "sam")
"""What is measured at a point, in this order: what comes later waits where time is short."""

Array = NDArray[np.float64]


def _of_subsets(meaning: str, unit: str = "") -> dict[str, object]:
    return quantity(meaning, "point", "subset", unit=unit)


@dataclass(frozen=True, repr=False)
class Track:
    """Moments of training, T points, at each of which the same S subsets were measured; NaN where they were not.

    Attributes:
        subset: Names of the subsets.
        step: Steps done by then, (T,), ascending.
        epoch: Epochs done by then, (T,); NaN where nobody said.
        loss: Mean loss, (T, S).
        accuracy: Share classified rightly, (T, S).
        gradient_norm: ‖∇L‖, (T, S).
        cosine: Cosines between the subsets' gradients, (T, S, S).
        top: Largest Hessian eigenvalue that Lanczos found, (T, S): some eigenvalue lies within `top_residual` of it.
        top_residual: ‖Hv − λv‖ of it, (T, S).
        sam: L(w + ρ g/‖g‖) − L(w), (T, S).
        status: By part: 0 left out for want of time, 1 measured, 2 not finite, 3 failed, (T, S, parts).
        seconds: Spent on each point, (T,).
    """

    subset: tuple[str, ...]
    step: NDArray[np.int64] = field(metadata=quantity("steps done", "point", dtype="i8"))
    epoch: Array = field(metadata=quantity("epochs done", "point"))
    loss: Array = field(metadata=_of_subsets("mean loss", NAT))
    accuracy: Array = field(metadata=_of_subsets("share classified rightly", SHARE))
    gradient_norm: Array = field(metadata=_of_subsets("norm of the gradient of the subset's loss"))
    cosine: Array = field(
        metadata=quantity("cosine between two subsets' gradients", "point", "direction", "subset", unit=SHARE)
    )
    top: Array = field(metadata=_of_subsets("largest eigenvalue of the Hessian"))
    top_residual: Array = field(metadata=_of_subsets("‖Hv − λv‖ of top"))
    sam: Array = field(metadata=_of_subsets("increase of the loss after one step of the radius up the gradient", NAT))
    status: NDArray[np.int8] = field(
        metadata=quantity("0 left out, 1 measured, 2 not finite, 3 failed", "point", "subset", "part", dtype="i1")
    )
    seconds: Array = field(metadata=quantity("seconds spent on the point", "point"))

    def __repr__(self) -> str:
        return f"<Track of {len(self.subset)} subsets at {len(self.step)} points>"

    @classmethod
    def begun(cls, subset: tuple[str, ...], step: int, epoch: float) -> Track:
        """One point at which nothing was measured yet; its arrays are there to be filled."""
        sizes = {"point": 1, "subset": len(subset), "direction": len(subset), "part": len(PARTS)}
        arrays = {
            q.name: np.full([sizes[dim] for dim in q.dims], np.nan if q.dtype == "f8" else 0, dtype=q.dtype)
            for q in quantities(cls)
        }
        arrays["step"][0], arrays["epoch"][0] = step, epoch
        return cls(subset, **arrays)

    @classmethod
    def joined(cls, parts: Sequence[Track]) -> Track:
        """Points one after the other."""
        arrays = {q.name: np.concatenate([q.of(part) for part in parts]) for q in quantities(cls)}
        return cls(parts[0].subset, **arrays)

    def before(self, step: int) -> Track:
        """The points before a step."""
        kept = self.step < step
        return Track(self.subset, **{q.name: q.of(self)[kept] for q in quantities(Track)})

    def to_xarray(self) -> xr.Dataset:
        """Every number with its dimensions, unit and meaning, named as in a file."""
        return to_xarray(self, {"subset": self.subset, "direction": self.subset, "part": PARTS})


def write_track(
    track: Track, subsets: Sequence[Subset], target: Target, extent: Mapping[str, Any], notes: Mapping[str, Any]
) -> None:
    """Puts a track into a file, whole, in the place of what was there of it.

    A track is small: each point rewrites it beside the old file and renames it, so that a kill at any moment leaves
    the last whole one.

    Args:
        track: All of its points.
        subsets: What it is of.
        target: Where it goes.
        extent: How it was asked for; JSON types.
        notes: What else is said of it; JSON types.

    Raises:
        LandscapeError: The file cannot be written; it is as it was.
    """
    contents = Contents(table_of(subsets))
    contents.scale("part", np.array(PARTS, dtype=object), "")
    contents.scale("direction", np.array(track.subset, dtype=object), "")
    for q in quantities(Track):
        values = q.of(track)
        contents.create(q.name, q.dims, values.shape, q.dtype, np.nan, q.unit, q.meaning)
        contents.write(q.name, ..., values)
    for key, value in notes.items():
        contents.note(key, json.dumps(value))
    contents.seconds = float(track.seconds.sum())
    head = Head(
        "track", target.name, target.checkpoint_sha256, target.config, extent, NUMERICS, contents.table,
        target.provenance,
    )  # fmt: skip
    root = {
        "schema": SCHEMA, "schema_version": SCHEMA_VERSION, "checkpoint_sha256": target.checkpoint_sha256,
        "provenance": json.dumps(target.provenance),
    }  # fmt: skip
    publish(target.file, f"track/{target.name}", contents, head.attributes, root)


def read_track(file: Path, name: str = "train") -> tuple[Track, str] | None:
    """The track in a file.

    Args:
        file: A file of a tracker.
        name: Of the track.

    Returns:
        The track and the hash of what it is of; None where there is none.

    Raises:
        InputError: The file is damaged or no landscape file.
    """
    if not file.exists():
        return None
    landscape = read_landscape(file, unfinished=False)
    found = landscape.get("track", name)
    return None if found is None else (track_of(found), landscape.checkpoint_sha256)


def track_of(measurement: Measurement) -> Track:
    """A measurement of `/track` as the object that was written."""
    return assemble(Track, measurement.data, subset=measurement.subset)
