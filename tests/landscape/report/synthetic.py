"""Landscape files made up in the contract's form, with every property a test needs and no network behind them."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from foundation.groups import group_classes
from landscape.files.safe_read import seal
from landscape.files.unit_folder import Head, UnitFolder, partial_path
from landscape.files.units import Recording, table_of
from landscape.schema import INTERPOLATED, MEASURED, NUMERICS, SCHEMA, SCHEMA_VERSION
from landscape.subject.subsets import Subset
from tests.landscape.altered import altered

COUNTS = (600, 359, 215, 129, 77, 46, 27, 16, 10, 6)
NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
PROVENANCE = {"version": "0.1.0", "device": "cpu", "command": "made up", "seed": 0}


def subsets_of(counts: Sequence[int], names: Sequence[str], measured: Sequence[int] | None = None) -> list[Subset]:
    measured = list(measured or counts)
    everything = tuple(range(len(counts)))
    made = [
        Subset("all", "all", "all", everything, sum(counts), sum(measured)),
        Subset("balanced", "balanced", "balanced", everything, sum(counts), sum(measured)),
    ]
    for name, members in group_classes(list(counts)).named():
        if members:
            sizes = sum(counts[c] for c in members), sum(measured[c] for c in members)
            made.append(Subset(name, name, "group", members, *sizes))
    made += [Subset(f"class:{c}", names[c], "class", (c,), counts[c], measured[c]) for c in everything]
    return made


class Whole(Recording):
    """A recording that goes into its file in one piece: units and merges, a hundred times as dear, have own tests."""

    def finish(self) -> None:
        self.finished = True


@contextlib.contextmanager
def open_recording(
    file: Path,
    analysis: str,
    name: str,
    subsets: Sequence[Subset],
    extent: Mapping[str, object] | None = None,
    **config: object,
) -> Iterator[Recording]:
    config = {"split": name, "groups": _groups(subsets), **config}
    head = Head(analysis, name, _sha256(file), config, dict(extent or {}), NUMERICS, table_of(subsets), PROVENANCE)
    folder = UnitFolder(partial_path(file, analysis, name))
    record = Whole(folder, head, resumed=False, previous=None)
    yield record
    if not record.finished:
        folder.begin(head)
        record.flush()
        return
    with h5py.File(file, "a") as made:
        made.attrs.update({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "checkpoint_sha256": _sha256(file)})
        made.attrs["provenance"] = json.dumps(PROVENANCE)
        group = made.create_group(f"{analysis}/{name}")
        record.contents.build(group, head.attributes)
        seal(group, f"{analysis}/{name}", str(file))


def _groups(subsets: Sequence[Subset]) -> dict[str, object]:
    groups: dict[str, object] = {s.name: list(s.classes) for s in subsets if s.kind == "group"}
    return groups | {"rule": "counts"}


def put(record: Recording, name: str, values: object, dims: Sequence[str]) -> None:
    array = np.asarray(values)
    if array.dtype.kind in "OU":
        record.create(name, dims=dims, shape=array.shape, dtype="S16", fill=b"")
        array = array.astype("S16")
    else:
        record.create(name, dims=dims, shape=array.shape, dtype=array.dtype.str)
    record.write(name, ..., array)


_built: dict[str, Path] = {}
_place = Path(tempfile.mkdtemp(prefix="landscape-"))
"""Of the runs that were built; it goes with the process."""
atexit.register(shutil.rmtree, _place, ignore_errors=True)


def write_run(file: Path, **options: object) -> Path:
    """A copy of the run that `build_run` makes of these options; each is built once."""
    key = repr(sorted(options.items()))
    if key not in _built:
        _built[key] = build_run(_place / str(len(_built)) / "landscape.h5", **options)  # type: ignore[arg-type]
    file.parent.mkdir(parents=True, exist_ok=True)
    for made in _built[key].parent.iterdir():
        if made.suffix in (".h5", ".jsonl"):
            shutil.copy(made, file if made.suffix == ".h5" else file.parent)
    with altered(file) as copied:
        copied.attrs["checkpoint_sha256"] = _sha256(file)
    return file


def _sha256(file: Path) -> str:
    """A checkpoint's hash, made up of the file's place."""
    return hashlib.sha256(str(file).encode()).hexdigest()


def build_run(
    file: Path,
    *,
    counts: Sequence[int] = COUNTS,
    names: Sequence[str] = NAMES,
    sharpness: float = 1.0,
    splits: Sequence[str] = ("train", "test"),
    points: int = 21,
    surface: Sequence[str] = ("train",),
    seed: int = 0,
    spoil: bool = False,
    history: bool = True,
    cross: bool = True,
    trajectory: bool = False,
    matched: bool = False,
    deep: bool = False,
    grid: int = 256,
    parts: Sequence[str] = ("evaluation", "hessian", "sharpness", "surface", "line"),
) -> Path:
    """A run whose rarer classes are sharper, `sharpness` times a base.

    `spoil` puts NaN and interpolated cells in, `deep` all that a Hessian measurement may hold beside the eigenvalues.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    for split in splits:
        subsets = subsets_of(counts, names, None if split == "train" else [100] * len(counts))
        rng = np.random.default_rng(seed)
        size = np.array([s.train_count / max(1, len(s.classes)) for s in subsets], dtype=float)
        rare = (max(counts) / np.maximum(size, 1)) ** 0.5
        top = sharpness * 4 * rare * np.exp(0.25 * rng.standard_normal(len(subsets))) * (1 if split == "train" else 3)
        loss = 0.02 / sharpness * rare ** (1.0 if split == "test" else -0.3) * (1 if split == "train" else 20)
        if "evaluation" in parts:
            with open_recording(file, "evaluation", split, subsets) as record:
                put(record, "loss", loss, ("subset",))
                put(
                    record,
                    "accuracy",
                    np.clip(1 - 0.05 * rare / (2 - sharpness), 0, 1) if split == "test" else np.ones(len(subsets)),
                    ("subset",),
                )
                record.finish()
        if "hessian" in parts:
            with open_recording(file, "hessian", split, subsets) as record:
                _hessian(record, rng, top, loss, cross=cross, grid=grid)
                if deep:
                    _deep(record, rng, top, subsets)
                record.finish()
        if "sharpness" in parts:
            with open_recording(file, "sharpness", split, subsets) as record:
                radius = np.array([0.05, 0.1, 0.2])
                record.scale("radius", radius)
                for key, share in (("sam", 0.5), ("sam_steps", 0.6), ("adaptive", 0.3), ("average", 0.01)):
                    put(record, key, share * top[:, None] * radius**2, ("subset", "radius"))
                put(record, "average_se", 0.001 * top[:, None] * radius**2, ("subset", "radius"))
                record.finish()
        if "surface" in parts and split in surface:
            with open_recording(file, "surface", split, subsets, plane="random") as record:
                _surface(record, rng, top, loss, points, spoil)
                if trajectory:
                    steps = np.linspace(1, 0, 6)[:, None]
                    record.scale("trajectory/point", np.array([f"epoch {e}" for e in range(6)], dtype=object))
                    put(record, "trajectory/coordinates", steps * [-0.7, 0.5], ("point", "axis"))
                    put(record, "trajectory/hidden_share", 0.6 * steps[:, 0], ("point",))
                record.finish()
    if matched:
        subsets = subsets_of(counts, names)
        rng = np.random.default_rng(seed)
        with open_recording(file, "hessian", "train-matched", subsets, match_loss="f" * 64) as record:
            _hessian(record, rng, np.linspace(5, 50, len(subsets)), np.full(len(subsets), 0.1), cross=False, grid=grid)
            record.finish()
    if "line" in parts:
        subsets = subsets_of(counts, names)
        with open_recording(file, "surface", "between", subsets, plane="line") as record:
            along = np.linspace(-0.5, 1.5, 25)
            record.scale("a", along)
            barrier = 0.1 + np.exp(-8 * (along - 0.5) ** 2) * np.arange(1, len(subsets) + 1)[:, None] / 4
            put(record, "loss", barrier, ("subset", "a"))
            put(record, "accuracy", np.exp(-barrier), ("subset", "a"))
            record.finish()
    if history:
        _history(file.with_name("metrics.jsonl"), len(counts), sharpness)
    return file


def _hessian(
    record: Recording, rng: np.random.Generator, top: np.ndarray, loss: np.ndarray, *, cross: bool, grid: int
) -> None:
    ranks = np.array([1, 0.6, 0.45, 0.3, 0.2])
    bottom = -0.08 * top * rng.uniform(0.0, 1.5, len(top))
    verdict = np.where(bottom < -0.05 * top, "negative", np.where(bottom < -0.02 * top, "none-found", "undecided"))
    put(record, "top", top[:, None] * ranks, ("subset", "rank"))
    put(record, "top_residual", 5e-4 * top[:, None] * ranks, ("subset", "rank"))
    put(record, "bottom", bottom[:, None], ("subset", "rank_bottom"))
    put(record, "bottom_residual", 5e-4 * np.abs(bottom)[:, None], ("subset", "rank_bottom"))
    put(record, "trace", 6 * top, ("subset",))
    put(record, "trace_se", 0.3 * top, ("subset",))
    put(record, "top_scaled", 0.1 * top, ("subset",))
    put(record, "loss", loss, ("subset",))
    put(record, "gradient_norm", 0.3 * loss, ("subset",))
    put(record, "noise_floor", 1e-5 * top, ("subset",))
    put(record, "verdict", verdict, ("subset",))
    if cross:
        put(
            record,
            "cross",
            np.outer(top, top) ** 0.5 * rng.uniform(-0.2, 0.6, (len(top),) * 2),
            ("direction", "subset"),
        )
    put(record, "status", np.full(len(top), MEASURED, dtype="i1"), ("subset",))
    share = np.linspace(-0.2, 1.1, grid)
    bulk = np.exp(-0.5 * (share / 0.012) ** 2) * 30
    peaks = sum(0.02 / (1 + i) * np.exp(-0.5 * ((share - r) / 0.01) ** 2) for i, r in enumerate(ranks))
    tail = 0.05 * np.exp(-np.abs(share) / 0.08)
    put(record, "density_grid", top[:, None] * share, ("subset", "point"))
    put(record, "density", (bulk + peaks + tail) / top[:, None], ("subset", "point"))


LAYERS = ("conv1", "conv2", "head")


def _deep(record: Recording, rng: np.random.Generator, top: np.ndarray, subsets: Sequence[Subset]) -> None:
    """Held-out and single-sample curvature, further measures of the spectrum, shares, layers, PyHessian's check."""
    measured = np.array([s.measured_count for s in subsets])
    enough = measured >= 20
    bottom = record.read("bottom")
    held = np.where(enough, 0.7 * top, np.nan)
    absent = [np.full(len(held), np.nan)] * (record.read("top").shape[1] - 2)
    put(record, "top_held_out", np.stack([held, 0.5 * held, *absent], 1), ("subset", "rank"))
    put(record, "top_held_out_se", np.stack([0.1 * held, 0.1 * held, *absent], 1), ("subset", "rank"))
    put(record, "bottom_held_out", np.where(enough[:, None], 0.5 * bottom, np.nan), ("subset", "rank_bottom"))
    put(record, "bottom_held_out_se", np.where(enough[:, None], 0.2 * -bottom, np.nan), ("subset", "rank_bottom"))
    single = np.where(np.arange(20) < measured[:, None], rng.exponential(size=(len(top), 20)), np.nan)
    single[enough] = np.nan
    single /= np.where(enough, 1.0, np.nanmean(np.where(enough[:, None], 1.0, single), axis=1))[:, None]
    put(record, "top_samples", top[:, None] * single, ("subset", "sample"))
    put(record, "bottom_samples", bottom * single, ("subset", "sample"))
    put(record, "frobenius", 1.5 * top, ("subset",))
    put(record, "frobenius_se", 0.1 * top, ("subset",))
    put(record, "effective_rank", np.linspace(4, 9, len(top)), ("subset",))
    put(record, "effective_rank_se", np.full(len(top), 0.5), ("subset",))
    half = np.where(np.arange(len(top)) % 2, 0.0, 0.6 * top)  # every other trace is exact
    put(record, "trace_low", 6 * top - half, ("subset",))
    put(record, "trace_high", 6 * top + half, ("subset",))
    put(record, "negative_share", np.linspace(0.05, 0.3, len(top)), ("subset",))
    put(record, "negative_share_se", np.full(len(top), 0.04), ("subset",))
    small = np.where(measured < 100, 1.0, np.nan)
    put(record, "gauss_newton_top", (small * top)[:, None] * [0.95, 0.5], ("subset", "mode"))
    put(record, "gauss_newton_trace", 5 * small * top, ("subset",))
    put(record, "gauss_newton_rest", 0.3 * small * top, ("subset",))
    put(record, "density_se", 0.4 * record.read("density"), ("subset", "point"))
    overlap = rng.uniform(0, 1, (len(top),) * 2)
    put(record, "overlap", (overlap + overlap.T) / 2, ("direction", "subset"))
    share = rng.normal(0.1, 0.1, (2, len(top)))
    classes = np.array([s.kind == "class" for s in subsets])
    share = np.where(classes, share / share[:, classes].sum(1, keepdims=True), np.nan)
    further = np.full((record.read("top").shape[1] - 2, len(top)), np.nan)
    put(record, "share", np.vstack([share, further]), ("rank", "subset"))
    record.scale("layer", np.array(LAYERS, dtype=object))
    put(record, "layer_top", top[:, None] * [0.2, 0.5, 0.8], ("subset", "layer"))
    check = np.full(len(top), np.nan)
    check[-3:] = top[-3:] * [1.004, 1.0, 0.8]
    put(record, "check_top", check, ("subset",))
    record.note("engine", "krylov")


def _surface(
    record: Recording, rng: np.random.Generator, top: np.ndarray, loss: np.ndarray, points: int, spoil: bool
) -> None:
    ticks = np.linspace(-1, 1, points)
    a, b = np.meshgrid(ticks, ticks)
    height = 0.5 * a**2 + 0.3 * b**2 + 0.25 * a * b + 0.15 * (1 - np.cos(2 * a + b)) + 0.05 * a**3
    wobble = 1 + 0.15 * np.sin(2 * a[None] + rng.uniform(0, 6, len(top))[:, None, None])
    values = loss[:, None, None] + top[:, None, None] * (0.6 * np.abs(height) ** 1.2 * wobble)
    status = np.full(a.shape, MEASURED, dtype="i1")
    error = np.zeros(values.shape)
    if spoil:
        status[::2, 1::2] = INTERPOLATED
        error[:, ::2, 1::2] = 0.01
        values[:, 0, 0] = np.nan
        values[:, 0, 1] = np.inf
        status[0, :2] = 2
    record.scale("a", ticks)
    record.scale("b", ticks)
    put(record, "loss", values, ("subset", "b", "a"))
    put(record, "accuracy", np.exp(-0.2 * np.nan_to_num(values, posinf=50)), ("subset", "b", "a"))
    put(record, "status", status, ("b", "a"))
    put(record, "error", error, ("subset", "b", "a"))


def _history(file: Path, classes: int, sharpness: float) -> None:
    lines = []
    for epoch in range(1, 31):
        good = 1 - np.exp(-epoch / 8)
        by_class = [float(good * (0.95 - 0.5 * c / classes / (2 - sharpness))) for c in range(classes)]
        means = {
            "all": float(np.mean(by_class)),
            "balanced": float(np.mean(by_class)),
            "few": by_class[-1],
            "many": by_class[0],
            "medium": by_class[classes // 2],
        }
        table = {
            "accuracy": {**means, "classes": by_class},
            "loss": {k: 2 - 1.9 * v for k, v in means.items()} | {"classes": [2 - 1.9 * v for v in by_class]},
        }
        line = {"epoch": epoch, "objective": 1.0, "validation": table}
        lines.append(json.dumps(line | ({"test": table, "train": table} if epoch == 30 else {})))
    file.write_text("\n".join(lines) + "\n")
