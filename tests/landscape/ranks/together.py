"""Real gloo processes that share one measurement, and the subjects that they measure."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn

from foundation.errors import LandscapeError
from landscape import HessianSettings, SharpnessSettings, Subject, SurfaceSettings, measure
from landscape.files.landscape_file import Landscape, read_landscape

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.landscape.ranks.together", "sympy"])  # imported once, not by every rank

RAGGED = (40, 1, 9, 2, 5, 5)
"""Samples of the classes: one has more than all others together, one a single sample."""
SETTINGS = {
    "hessian": {"hessian": HessianSettings(top=2, max_products=60)},
    "hessian with vectors": {"hessian": HessianSettings(top=2, max_products=60, vectors=True, gauss_newton=True)},
    "sharpness": {"sharpness": SharpnessSettings(radii=(0.05, 0.2), steps=2, draws=3)},
    "surface": {"surface": SurfaceSettings(points=11, tolerance=0.02)},
    "brief sharpness": {"sharpness": SharpnessSettings(radii=(0.1,), steps=1, draws=3)},
    "plane": {"surface": SurfaceSettings(points=(5, 3), tolerance=None), "plane": "eigen", "of": ("class:0",)},
}


class Attention(nn.Module):
    """One head over the columns of an input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, len(RAGGED))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(inputs[:, :, None])
        return self.head((tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]).mean(1))


def network(kind: str) -> nn.Module:
    torch.manual_seed(1)
    if kind == "attention":
        return Attention()
    norm = nn.BatchNorm1d(7) if kind == "normalized" else nn.Identity()
    return nn.Sequential(nn.Linear(5, 7), norm, nn.Tanh(), nn.Linear(7, len(RAGGED)))


def subject(kind: str = "plain", subsets: tuple[str, ...] | None = None) -> Subject:
    labels = torch.repeat_interleave(torch.tensor(RAGGED))
    inputs = torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(0))
    given = {"batch_norm": "recalibrated"} if kind == "normalized" else {}
    return Subject(network(kind), (inputs, labels), subsets=subsets, **given)


def measured(file: Path, kind: str, analysis: str, subsets: tuple[str, ...] | None = None) -> Landscape:
    return measure(subject(kind, subsets), file, **SETTINGS[analysis])


def run_ranks(work: Callable[..., object], folder: Path, *arguments: object, ranks: int = 2) -> list[int | None]:
    """Runs `work(*arguments)` in so many processes of one group; returns their exit codes."""
    folder.mkdir(exist_ok=True)
    started = [FORKS.Process(target=_rank, args=(work, rank, ranks, str(folder), *arguments)) for rank in range(ranks)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=240)
    return [process.exitcode for process in started]


def _rank(work: Callable[..., object], rank: int, ranks: int, folder: str, *arguments: object) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    os.environ["RANK"] = str(rank)  # whose lines are seen
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks,
        timeout=datetime.timedelta(seconds=60),
    )  # fmt: skip
    try:
        work(*arguments)
    except LandscapeError as error:
        Path(folder, f"{rank}.txt").write_text(f"{type(error).__name__}: {error}")
        os._exit(error.exit_code)
    distributed.destroy_process_group()


def differing(one: Path, other: Path) -> list[str]:
    """Data sets that are not the same to the last bit."""
    mine, theirs = read_landscape(one), read_landscape(other)
    assert [(m.analysis, m.name) for m in mine.measurements] == [(m.analysis, m.name) for m in theirs.measurements]
    found = []
    for here, there in zip(mine.measurements, theirs.measurements, strict=True):
        assert here.complete and there.complete
        assert here.data.keys() == there.data.keys()
        for name, values in here.data.items():
            left, right = np.asarray(values), np.asarray(there.data[name])
            same = left.tolist() == right.tolist() if left.dtype.kind in "OSU" else left.tobytes() == right.tobytes()
            found += [] if same else [f"{here.analysis}/{name}"]
    return found
