"""Made-up runs that differ in what the witnesses of flatness show, and what a page says of them."""

from __future__ import annotations

import atexit
import functools
import hashlib
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from landscape.comparison.compare import compare
from landscape.report.headline import headline_of
from tests.landscape.altered import altered
from tests.landscape.report.synthetic import open_recording, put, subsets_of

COUNTS, NAMES = (300, 60, 12, 8), ("dog", "cat", "owl", "elk")
SHAS = {
    name: hashlib.sha256(name.encode()).hexdigest()
    for name in ("a", "b", *(f"{method}{seed}" for method in "ab" for seed in range(6)))
}


def write(
    folder: Path,
    name: str,
    *,
    top: float = 1.0,
    scaled: float = 1.0,
    loss: float = 0.1,
    lifted: Mapping[str, object] | None = None,
    trace: bool = True,
    error: float = 0.01,
    model: str = "cnn",
    norm: float | None = None,
    slope: float | None = 1.0,
) -> Path:
    """A run; `lifted` says what it shows at the other run's loss (`to`, `loss`, `scaled`, `temperature`, `slope`)."""
    file = folder / name / "landscape.h5"
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {"slope": 1.0, "temperature": 2.0, **(lifted or {})}
    shutil.copy(built(bool(lifted), trace, model, norm, slope is None, told["slope"] is None), file)
    with altered(file) as opened:
        opened.attrs["checkpoint_sha256"] = SHAS[name]
        places = {"train": {"scaled": scaled, "loss": loss, "slope": slope}} | (
            {"train-matched": told} if lifted else {}
        )
        for place, say in places.items():
            hessian, sharpness = opened[f"hessian/{place}"], opened[f"sharpness/{place}"]
            values = {
                hessian: {
                    "top": top, "top_scaled": say["scaled"], "top_scaled_residual": error * say["scaled"],
                    "trace_scaled": 3 * say["scaled"], "trace_scaled_se": error * say["scaled"], "loss": say["loss"],
                },
                sharpness: {"adaptive": say["scaled"], "loss": say["loss"]},
            }  # fmt: skip
            if place == "train":
                values[opened["evaluation/train"]] = {"loss": loss, "loss_slope": slope}
            else:
                for group in (hessian, sharpness):
                    values[group] |= {"temperature": told["temperature"], "loss_slope": told["slope"]}
                    group.attrs["config"] = json.dumps(json.loads(group.attrs["config"]) | {"match_loss": told["to"]})
            for group, numbers in values.items():
                for key, value in numbers.items():
                    if key in group:
                        group[key][...] = value
    return file


_place = Path(tempfile.mkdtemp(prefix="landscape-"))
"""Of the runs that were built; it goes with the process."""
atexit.register(shutil.rmtree, _place, ignore_errors=True)


@functools.cache
def built(lifted: bool, trace: bool, model: str, norm: float | None, flat: bool, flat_lifted: bool) -> Path:
    """A run with nothing but ones, once for all tests. `flat` leaves slopes out."""
    file = Path(tempfile.mkdtemp(dir=_place)) / "landscape.h5"
    subsets = subsets_of(COUNTS, NAMES)
    ones = np.ones(len(subsets))
    common = {"split": "train", "model": model}
    with open_recording(file, "evaluation", "train", subsets, **common) as record:
        for key in ("loss",) if flat else ("loss", "loss_slope"):
            put(record, key, ones, ("subset",))
        record.finish()
    hessian = ["top_scaled", "top_scaled_residual", *(("trace_scaled", "trace_scaled_se") if trace else ())]
    for analysis, name in itertools.product(("hessian", "sharpness"), ("train", "train-matched")[: 1 + lifted]):
        extra = {"match_loss": "c" * 64} if name == "train-matched" else {}
        with open_recording(file, analysis, name, subsets, **common, **extra) as record:
            keys = ["loss", *(hessian if analysis == "hessian" else ())]
            keys += [*(("temperature",) if extra else ()), *(("loss_slope",) if extra and not flat_lifted else ())]
            for key in keys:
                put(record, key, ones, ("subset",))
            if analysis == "hessian":
                put(record, "top", ones[:, None], ("subset", "rank"))
                put(record, "status", ones.astype("i1"), ("subset",))
            else:
                record.scale("radius", np.array([0.05, 0.1]))
                put(record, "adaptive", np.ones((len(subsets), 2)), ("subset", "radius"))
            if norm is not None:
                record.note("weight_norm", norm)
            record.finish()
    return file


def title(paths: Sequence[Path]) -> str:
    return re.sub("<[^>]+>", "", str(headline_of(compare(paths), ()).title)).replace("‑", "-")


def answered(paths: Sequence[Path]) -> str:
    return " ".join(headline_of(compare(paths), ()).answers[1].lines)
