"""The declared model of a `landscape.h5`: what its attributes and data sets may be."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from foundation.declared import Count, Finite, Open, Sha256, Text, validated
from foundation.errors import InputError
from landscape.files.contents import TABLE
from landscape.schema import INTERPOLATED, SCHEMA, SCHEMA_VERSION, VERDICTS

WAY_OUT = "move the file away and measure again"
KINDS = ("all", "balanced", "group", "class", "subset")

FLOATS: dict[str, dict[tuple[str, ...], str]] = {
    "evaluation": {("subset",): "loss loss_slope accuracy"},
    "hessian": {
        ("subset",): "loss gradient_norm top_scaled top_scaled_residual trace_scaled trace_scaled_se trace_scaled_low "
        "trace_scaled_high trace trace_se trace_low trace_high frobenius frobenius_se effective_rank effective_rank_se "
        "negative_share negative_share_se gauss_newton_trace gauss_newton_rest noise_floor threshold temperature "
        "loss_slope check_top",
        ("subset", "rank"): "top top_residual top_held_out top_held_out_se",
        ("subset", "rank_bottom"): "bottom bottom_residual bottom_held_out bottom_held_out_se",
        ("subset", "node"): "nodes weights",
        ("subset", "point"): "density_grid density density_se",
        ("subset", "mode"): "gauss_newton_top",
        ("subset", "sample"): "top_samples bottom_samples",
        ("subset", "layer"): "layer_top",
        ("direction", "subset"): "cross overlap",
        ("rank", "subset"): "share",
    },
    "sharpness": {
        ("subset",): "loss gradient_norm temperature loss_slope",
        ("subset", "radius"): "sam sam_steps adaptive average average_se sam_se sam_steps_se adaptive_se",
        ("subset", "radius", "draw"): "draws draws_se",
    },
    "surface": {
        ("subset", "b", "a"): "loss accuracy loss_se error",
        ("subset",): "kept_tolerance barrier precision_error",
        ("subset", "axis"): "curvature_autodiff curvature_drawn",
    },
    "track": {
        ("point",): "epoch seconds",
        ("point", "subset"): "loss accuracy gradient_norm top top_residual sam",
        ("point", "direction", "subset"): "cosine",
    },
}
"""Data sets of real numbers by analysis and dimensions."""
WHOLE: dict[str, dict[tuple[str, ...], str]] = {
    "hessian": {("subset",): "top_scaled_converged converged status products"},
    "sharpness": {("subset",): "status"},
    "surface": {("b", "a"): "status"},
    "track": {("point",): "step", ("point", "subset", "part"): "status"},
}
"""Data sets of whole numbers."""
TEXTS: dict[str, dict[tuple[str, ...], str]] = {"hessian": {("subset",): "verdict"}}
"""Data sets of texts."""
POSITIVE = ("radius",)
"""Dimensions whose coordinates are above 0; all real coordinates are finite and ascend."""


class Root(Open):
    """What the file says of itself."""

    schema_: Literal["landscape"] = Field(alias="schema")
    schema_version: Annotated[int, Field(ge=1)]
    checkpoint_sha256: Sha256
    provenance: dict[Text, Any]


class Configuration(Open):
    """What was measured, as far as a reader relies on it."""

    split: Text = ""
    loss: Text = "evaluation"
    params: list[Text] = Field(default_factory=list)
    batch_norm: Text = "eval"
    dtype: Text = "float32"
    data: Text = ""
    model: Text = ""
    method: Text = ""
    epoch: Count = 0
    seed: int = 0
    groups: dict[Text, list[Count] | Text] = Field(default_factory=dict)
    plane: Text = ""
    of: list[Text] | Text | None = None
    match_loss: Text | None = None


class Extent(Open):
    """How much of it was asked for, as far as a reader relies on it."""

    top: Count = 0
    bottom: Count = 0
    tol: Finite = 0.0
    points: list[Count] = Field(default_factory=list)
    steps: Count = 0
    draws: Count = 0
    radii: list[Finite] = Field(default_factory=list)
    vectors: bool = False


class Attributes(Open):
    """What is said of a measurement."""

    config: Configuration
    extent: Extent
    provenance: dict[Text, Any]
    numerics: Annotated[int, Field(ge=1)] = 1
    wall_seconds: Annotated[Finite, Field(ge=0)] = 0.0
    finished_draws: Count = 0
    evaluations: Count = 0
    axes: list[Text] = Field(default_factory=list)
    spans: list[Finite] | Finite | None = None
    plan: dict[Text, Any] | None = None
    weight_norm: Finite | None = None


def check_root(attributes: Mapping[str, Any], place: str) -> None:
    """Refuses a file that is no landscape file of this version or an earlier one.

    Args:
        attributes: Of the file.
        place: The file, for the sentence.

    Raises:
        InputError: It is none.
    """
    if attributes.get("schema") != SCHEMA:
        raise InputError(f"{place} is no landscape file: give a landscape.h5 made by this package")
    version = attributes.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(f"{place} has schema version {version}: update this package to read it")
    validated(Root, dict(attributes), place, WAY_OUT)


def check_attributes(attributes: Mapping[str, Any], place: str) -> None:
    """Refuses a measurement of which something else is said than its model allows."""
    validated(Attributes, dict(attributes), place, WAY_OUT)


def check_dataset(
    analysis: str, name: str, dims: tuple[str, ...], dtype: np.dtype[Any] | type[str], place: str
) -> None:
    """Refuses a declared data set of other dimensions or another kind; others are taken as they are.

    Args:
        analysis: The analysis.
        name: Of the data set inside the measurement's group.
        dims: Names of its dimensions.
        dtype: Its type, `str` for texts.
        place: The file, for the sentence.

    Raises:
        InputError: It is not as declared.
    """
    declared = _declared(analysis).get(name)
    if declared is None:
        return
    expected, kinds, word = declared
    kind = "U" if dtype is str else np.dtype(dtype).kind
    if kind not in kinds:
        raise InputError(f"{place} has {name} of kind {kind!r}, expected are {word}: {WAY_OUT}")
    if dims != expected and not (analysis == "surface" and dims == tuple(d for d in expected if d != "b")):
        raise InputError(f"{place} has {name} over {', '.join(dims)}, expected is {', '.join(expected)}: {WAY_OUT}")


@functools.cache
def _declared(analysis: str) -> dict[str, tuple[tuple[str, ...], str, str]]:
    found: dict[str, tuple[tuple[str, ...], str, str]] = {}
    for column in TABLE:
        found[column] = (("subset",), *(("iu", "counts") if column.endswith("_count") else ("U", "texts")))
    for table, kinds, word in ((FLOATS, "fiu", "numbers"), (WHOLE, "iu", "whole numbers"), (TEXTS, "U", "texts")):
        for dims, names in table.get(analysis, {}).items():
            found.update(dict.fromkeys(names.split(), (dims, kinds, word)))
    return found


def check_values(data: Mapping[str, np.ndarray], dims: Mapping[str, tuple[str, ...]], place: str) -> None:
    """Refuses coordinates, counts, codes and names that cannot be.

    Args:
        data: Data sets and scales by name.
        dims: Their dimensions.
        place: The file, for the sentence.

    Raises:
        InputError: One cannot be.
    """

    def refuse(name: str, expected: str) -> None:
        raise InputError(f"{place} has {name} {shown_array(data[name])}, expected is {expected}: {WAY_OUT}")

    for name in TABLE:
        if name not in data:
            raise InputError(f"{place} lacks {name!r}: {WAY_OUT}")
    if len(set(data["subset"].tolist())) < len(data["subset"]):
        refuse("subset", "each name once")
    if not set(data["kind"].tolist()) <= set(KINDS):
        refuse("kind", f"one of {', '.join(KINDS)}")
    for name, values in data.items():
        if values.dtype.kind == "O":
            if any(len(text) > 1000 for text in values.ravel()):
                refuse(name, "texts below 1,000 letters")
        elif name.endswith("_count") and bool((values < 0).any()):
            refuse(name, "0 or more")
        elif name == "status" and not bool(((values >= 0) & (values <= INTERPOLATED)).all()):
            refuse(name, f"codes from 0 to {INTERPOLATED}")
        elif name == "accuracy" and bool((np.abs(values - 0.5) > 0.5 + 1e-6).any()):
            refuse(name, "shares from 0 to 1")
        elif dims.get(name) == (name,) and values.dtype.kind == "f":
            least = 0.0 if name in POSITIVE else -np.inf
            if not (np.isfinite(values).all() and (np.diff(values) > 0).all() and (values > least).all()):
                refuse(name, f"finite, ascending{' numbers above 0' if least == 0 else ' numbers'}")
    if "verdict" in data and not set(data["verdict"].tolist()) <= {*VERDICTS, ""}:
        refuse("verdict", f"one of {', '.join(VERDICTS)}")


def shown_array(values: np.ndarray) -> str:
    """The beginning of an array, in one short line."""
    texts = [repr(value)[:40] for value in values.ravel()[:4].tolist()]
    return f"[{', '.join(texts)}{', …' if values.size > 4 else ''}]"
