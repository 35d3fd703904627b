"""A damaged file is named, and one number altered by hand is found out by the others or by computing it again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import landscape
from foundation.errors import InputError
from landscape.files.checkpoint import open_checkpoint
from landscape.files.identity import target_of
from landscape.hessian.result import HessianSettings
from landscape.sharpness.record import record_sharpness
from landscape.sharpness.result import SharpnessSettings
from landscape.surface.result import SurfaceSettings
from landscape.verification import verify_command
from landscape.verification.verify import verify
from tests.conftest import run_command
from tests.landscape.altered import altered

ROW = 1


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hessian, sharpness and a surface of a small network."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    labels = torch.arange(12) % 2
    subject = landscape.Subject(network, (torch.randn(12, 3), labels), subsets=["all", "class:0"])
    file = tmp_path_factory.mktemp("verify") / "landscape.h5"
    landscape.save(landscape.measure_hessian(subject, settings=HessianSettings(top=2)), file, subject)
    landscape.save(landscape.measure_sharpness(subject, settings=SharpnessSettings(steps=1, draws=2)), file, subject)
    surface = SurfaceSettings(points=(3, 3), span=0.5, tolerance=None)
    landscape.save(landscape.measure_surface(subject, settings=surface), file, subject)
    return file


def shifted(name: str, at: tuple[int, ...], by: float) -> Callable[[h5py.File], None]:
    def shift(file: h5py.File) -> None:
        values = file[name][()]
        values[at] += by * (np.abs(values[at]) + 1e-3)
        file[name][...] = values

    return shift


ALTERED = {
    "top above the others": shifted("hessian/train/top", (ROW, 1), 9.0),
    "top beyond the norm": shifted("hessian/train/top", (ROW, 0), 3.0),
    "bottom above top": shifted("hessian/train/bottom", (ROW, 0), 1e6),
    "a residual below zero": shifted("hessian/train/top_residual", (ROW, 0), -9.0),
    "a weight": shifted("hessian/train/weights", (ROW, 2), 0.1),
    "a node": shifted("hessian/train/nodes", (ROW, 3), 0.02),
    "the density": shifted("hessian/train/density", (ROW, 250), 0.02),
    "a trace": shifted("hessian/train/trace", (ROW,), 0.02),
    "an end of an interval": shifted("hessian/train/trace_scaled_low", (ROW,), 0.02),
    "a step above the worst case": shifted("sharpness/train/sam", (ROW, 0), 3.0),
    "a mean of draws": shifted("sharpness/train/average", (ROW, 0), 0.02),
    "a draw": shifted("sharpness/train/draws", (ROW, 0, 0), 0.02),
    "a measured point": shifted("surface/train/loss", (ROW, 1, 1), np.inf),
    "an error of what was measured": shifted("surface/train/error", (ROW, 1, 1), 0.1),
}


def test_a_file_as_it_was_written_is_believed(measured: Path) -> None:
    report = verify(measured)
    assert report.works and [f.what.split(": ")[1] for f in report.findings] == [
        "evaluation/train", "hessian/train", "sharpness/train", "surface/train",
    ]  # fmt: skip


@pytest.mark.parametrize("change", ALTERED)
def test_one_number_altered_by_hand_contradicts_the_others(measured: Path, tmp_path: Path, change: str) -> None:
    file = Path(shutil.copy(measured, tmp_path))
    with altered(file) as opened:
        ALTERED[change](opened)
    wrong = [finding for finding in verify(file).findings if not finding.works]
    assert len(wrong) == 1 and "class:0: " in wrong[0].said


def test_a_corrupt_file_is_named_beside_a_whole_one(measured: Path, tmp_path: Path, capsys) -> None:
    cut = tmp_path / "cut.h5"
    cut.write_bytes(measured.read_bytes()[:-500])
    with pytest.raises(SystemExit) as ended:
        verify_command.main([str(measured), str(cut), "--json"])
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert ended.value.code == 1 and said.err.count("\n") == 1 and not told["works"]
    assert [f["works"] for f in told["findings"]] == [True] * 4 + [False] and "cut.h5" in told["findings"][-1]["said"]


def test_a_checkpoint_computes_numbers_again(small_run: Path, tmp_path: Path) -> None:
    """What no other number contradicts: a loss, a gradient norm."""
    file, checkpoint = tmp_path / "landscape.h5", small_run / "checkpoint.pt"
    opened = open_checkpoint(checkpoint, subsets=["class:9"])
    record_sharpness(opened.subject, target_of(opened, file, None, seed=0), SharpnessSettings(steps=1, draws=2))
    report = verify(file, checkpoint=checkpoint)
    assert report.works and all("computed again agree" in finding.said for finding in report.findings)
    for name, at in (("evaluation/train/loss", (4,)), ("sharpness/train/gradient_norm", (0,))):
        changed = Path(shutil.copy(file, tmp_path / "changed.h5"))
        with altered(changed) as opened_file:
            shifted(name, at, 0.01)(opened_file)
        assert verify(changed).works
        wrong = [finding for finding in verify(changed, checkpoint=checkpoint).findings if not finding.works]
        assert len(wrong) == 1 and name.rpartition("/")[0] in wrong[0].what and "when computed again" in wrong[0].said


@pytest.mark.exhaustive
def test_a_checkpoint_computes_a_hessian_again(small_run: Path, tmp_path: Path) -> None:
    """An eigenvalue within its bounds of norm and rank, and everything else as it was."""
    file, checkpoint = tmp_path / "landscape.h5", small_run / "checkpoint.pt"
    few = ("--subsets", "class:8,class:9", "--top", 2, "--no-intervals")
    run_command("landscape.hessian", "--ckpt", checkpoint, *few, "--out", file)
    report = verify(file, checkpoint=checkpoint)
    assert report.works, report
    assert any("hessian" in f.what and "computed again agree" in f.said for f in report.findings)
    changed = Path(shutil.copy(file, tmp_path / "changed.h5"))
    with altered(changed) as opened_file:
        shifted("hessian/train/top", (slice(None), 0), -0.02)(opened_file)
    assert verify(changed).works
    wrong = [f for f in verify(changed, checkpoint=checkpoint).findings if not f.works]
    assert len(wrong) == 1 and "top[0]" in wrong[0].said


def test_another_checkpoint_is_refused(measured: Path, small_run: Path) -> None:
    with pytest.raises(InputError, match="is of another checkpoint than --ckpt"):
        verify(measured, checkpoint=small_run / "checkpoint.pt")
