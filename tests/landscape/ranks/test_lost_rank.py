"""A rank that is killed costs the units in flight: one sentence of ours, and any rerun completes the rest."""

import os
import subprocess
import sys

import pytest
import torch

from landscape.files.unit_folder import UnitFolder
from landscape.schema import TODO
from tests.conftest import ROOT, run_command
from tests.landscape.ranks.together import differing

pytestmark = pytest.mark.exhaustive

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2"}  # 1 would be taken for torchrun's own


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def kill(rank, where, calls, analysis, *arguments):
    """A measurement by three ranks of which one is killed; what was finished by then, and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=3", "-m", "tests.landscape.ranks.kill_rank",
         str(rank), where, str(calls), f"landscape.{analysis}", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if line.startswith(("error:", "interrupted by"))]
    assert len(ours) == 1, done.stderr
    assert "the work so far is kept, the same command continues it" in ours[0]
    assert "another process" in ours[0] or "SIGTERM" in ours[0]
    assert "Signal 9 (SIGKILL)" in done.stderr  # torchrun's own report


def contents(folder):
    (head,) = UnitFolder(folder).heads()
    return UnitFolder(folder).contents(head)


FLUSH, PRODUCT = "landscape.files.units:Recording.flush", "landscape.hessian.products.hvp:HessianOperator.block"


@pytest.mark.parametrize(
    ("rank", "where", "calls"),
    [(0, FLUSH, 6), (1, FLUSH, 2), (0, PRODUCT, 300), (1, PRODUCT, 150)],  # rank 0 flushes and multiplies before, too
    ids=["rank 0, between units", "rank 1, between units", "rank 0, in a unit", "rank 1, in a unit"],
)
def test_a_killed_rank_of_a_hessian(tmp_path, small_run, monkeypatch, rank, where, calls):
    arguments = ["--ckpt", small_run, "--device", "cpu", "--top", "1"]
    kill(rank, where, calls, "hessian", *arguments, "--out", tmp_path / "two.h5")
    kept = contents(tmp_path / "two.hessian.train.partial")
    finished = {n for n, s in zip(kept.table["subset"], kept.datasets["status"].values, strict=True) if s != TODO}
    assert finished and len(finished) < len(kept.table["subset"])
    measured = []
    measure = sys.modules["landscape.hessian.measure"].measure_subset

    def noted(hessians, subset, *others, **options):
        measured.append(subset.name)
        return measure(hessians, subset, *others, **options)

    monkeypatch.setattr("landscape.hessian.measure.measure_subset", noted)
    run_command("landscape.hessian", *arguments, "--out", tmp_path / "two.h5")
    assert measured and not finished & set(measured)
    monkeypatch.undo()
    run_command("landscape.hessian", *arguments, "--out", tmp_path / "one.h5")
    assert differing(tmp_path / "one.h5", tmp_path / "two.h5") == []


def test_a_killed_rank_of_sharpness(tmp_path, small_run, monkeypatch):
    arguments = ["--ckpt", small_run, "--device", "cpu", "--steps", "2", "--draws", "4"]
    kill(1, FLUSH, 4, "sharpness", *arguments, "--out", tmp_path / "two.h5")
    kept = contents(tmp_path / "two.sharpness.train.partial")
    climbed = {n for n, s in zip(kept.table["subset"], kept.datasets["status"].values, strict=True) if s != TODO}
    again = []
    climb = sys.modules["landscape.sharpness.measure"]._ascend

    def noted(evaluator, subject, subset, *others):
        again.append(subset.name)
        return climb(evaluator, subject, subset, *others)

    monkeypatch.setattr("landscape.sharpness.measure._ascend", noted)
    run_command("landscape.sharpness", *arguments, "--out", tmp_path / "two.h5")
    assert climbed and not climbed & set(again)
    run_command("landscape.sharpness", *arguments, "--out", tmp_path / "one.h5")
    assert differing(tmp_path / "one.h5", tmp_path / "two.h5") == []


def test_a_killed_rank_of_a_surface(tmp_path, small_run, monkeypatch):
    arguments = ["--ckpt", small_run, "--device", "cpu", "--points", "15"]
    kill(1, FLUSH, 3, "surface", *arguments, "--out", tmp_path / "two.h5")
    kept = contents(tmp_path / "two.surface.train.partial").datasets["status"].values != TODO
    again = []
    evaluate = sys.modules["landscape.surface.measure"]._evaluate

    def noted(evaluator, plane, row, column, *others):
        again.append((row, column))
        return evaluate(evaluator, plane, row, column, *others)

    monkeypatch.setattr("landscape.surface.measure._evaluate", noted)
    run_command("landscape.surface", *arguments, "--out", tmp_path / "two.h5")
    assert kept.any() and again and not any(kept[place] for place in again)
    run_command("landscape.surface", *arguments, "--out", tmp_path / "one.h5")
    assert differing(tmp_path / "one.h5", tmp_path / "two.h5") == []
