"""`python -m landscape.hessian` as a user runs it: the file it leaves, what it continues, what it refuses."""

from __future__ import annotations

import re
import signal

import h5py
import numpy as np
import pytest
import xarray

from landscape.files.landscape_file import read_array, read_landscape
from landscape.hessian.__main__ import build_parser
from tests.conftest import run_command, run_process

FEW = ("--subsets", "all,few,class:7,class:8,class:9", "--top", "3")


def measured(out, name="train"):
    found = read_landscape(out).get("hessian", name)
    assert found is not None
    return found


def test_the_file_a_measurement_leaves(small_run, tmp_path):
    out = tmp_path / "landscape.h5"
    command = ("landscape.hessian", "--ckpt", small_run / "checkpoint.pt", *FEW, "--gauss-newton", "--out", out)
    said = run_command(*command).stdout
    found = measured(out)
    assert found.complete and found.subset == ("all", "few", "class:7", "class:8", "class:9")
    assert found.data["top"].shape == (5, 3) and found.data["bottom"].shape == (5, 1)
    assert (found.data["status"] == 1).all() and set(found.data["verdict"]) <= {"negative", "none-found", "undecided"}
    assert (np.diff(found.data["top"]) <= 0).all()
    assert (found.data["trace_low"] <= found.data["trace"]).all()
    evaluation = read_landscape(out).get("evaluation", "train")
    forward = dict(zip(evaluation.subset, evaluation.data["loss"], strict=True))
    np.testing.assert_allclose(found.data["loss"], [forward[name] for name in found.subset], rtol=1e-5)
    with xarray.open_dataset(out, group="hessian/train", engine="h5netcdf") as data:
        assert float(data["top"].sel(subset="class:9")[0]) == found.data["top"][4, 0]
    assert "verdict" in said and "about" in said and str(out) in said
    parts = np.isfinite(found.data["gauss_newton_top"]).sum(1)
    assert parts[0] == 3 and (parts[2:] > 3).all()  # of all the largest, of a small class the whole spectrum
    assert "already" in run_command(*command).stdout


def test_fewer_eigenvalues_are_taken_from_what_is_there_and_more_are_measured(small_run, tmp_path):
    out = tmp_path / "landscape.h5"
    command = ("landscape.hessian", "--ckpt", small_run / "checkpoint.pt", "--subsets", "class:8,class:9", "--out", out)
    run_command(*command, "--top", "4")
    four = measured(out)
    run_command(*command, "--top", "2")
    two = measured(out)
    np.testing.assert_array_equal(two.data["top"], four.data["top"][:, :2])
    assert two.data["top"].shape == (2, 2)
    run_command(*command, "--top", "6")
    np.testing.assert_allclose(measured(out).data["top"][:, :4], four.data["top"], rtol=1e-5)


@pytest.mark.exhaustive
def test_across_classes_and_a_kill_in_the_middle(small_run, tmp_path):
    whole, broken = tmp_path / "whole.h5", tmp_path / "broken.h5"
    chosen = ("--subsets", "few,class:7,class:8,class:9", "--top", "2", "--cross-class")
    command = ("--ckpt", small_run / "checkpoint.pt", *chosen)
    run_command("landscape.hessian", *command, "--out", whole)
    found = measured(whole)
    cross = found.data["cross"]
    assert cross.shape == (4, 4) and np.isnan(cross[0]).all() and np.isnan(cross[:, 0]).all()
    np.testing.assert_allclose(np.diag(cross)[1:], found.data["top"][1:, 0], rtol=1e-4)
    assert (cross[1:, 1:] <= found.data["top"][1:, 0] * (1 + 1e-4)).all()
    assert read_array(whole, "hessian/train/vectors/top").shape[:2] == (4, 2)
    arguments = ("landscape.hessian", *command, "--out", broken)
    killed = run_process("tests.kill_at", "landscape.files.units:Recording.flush", 7, *arguments, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run_command(*arguments)
    with h5py.File(whole) as one, h5py.File(broken) as other:
        for key in ("cross", "overlap", "top", "trace", "density", "vectors/top"):
            np.testing.assert_array_equal(one[f"hessian/train/{key}"][()], other[f"hessian/train/{key}"][()])


@pytest.mark.exhaustive
def test_shares_layers_and_a_neighbors_vectors(small_run, tmp_path):
    out, again = tmp_path / "landscape.h5", tmp_path / "again.h5"
    subsets = ",".join(["all", *(f"class:{c}" for c in range(10))])
    command = ("landscape.hessian", "--ckpt", small_run / "checkpoint.pt", "--subsets", subsets, "--top", "2")
    command += ("--cross-class", "--no-intervals")
    run_command(*command, "--layers", "--out", out)
    found = measured(out)
    np.testing.assert_allclose(found.data["share"][:, 1:].sum(1), 1, rtol=1e-3)
    with xarray.open_dataset(out, group="hessian/train", engine="h5netcdf") as data:
        layers = data["layer_top"]
        assert layers.dims == ("subset", "layer") and str(layers["layer"][0].item()).split(".")[0] != ""
        assert (layers.max("layer") <= data["top"][:, 0] * (1 + 1e-3)).all()
    run_command(*command, "--warm-start", out, "--out", again)
    warm = measured(again)
    np.testing.assert_allclose(warm.data["top"], found.data["top"], rtol=1e-3)
    assert warm.data["products"].sum() < found.data["products"].sum()
    run_command("landscape.hessian", "--ckpt", small_run / "checkpoint.pt", *FEW, "--out", tmp_path / "bare.h5")
    refused = run_command(*command, "--warm-start", tmp_path / "bare.h5", "--out", tmp_path / "no.h5", check=False)
    assert refused.returncode == 2 and "measure it with --cross-class first" in refused.stderr
    assert not (tmp_path / "no.h5").exists()


def test_pyhessian_as_a_check(small_run, tmp_path):
    out = tmp_path / "ours.h5"
    command = ("landscape.hessian", "--ckpt", small_run / "checkpoint.pt", "--subsets", "class:8,class:9", "--top", "1")
    said = run_command(*command, "--check", "pyhessian", "--out", out).stdout
    assert "PyHessian agrees within 2 % on 2 of 2 subsets" in said
    found = measured(out)
    np.testing.assert_allclose(found.data["check_top"], found.data["top"][:, 0], rtol=0.02)


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(small_run, tmp_path):
    out = tmp_path / "landscape.h5"
    said = run_command("landscape.hessian", "--ckpt", small_run / "checkpoint.pt", "--dry-run", "--out", out).stdout
    assert "products each" in said and "MiB" in said and "min" in said and not out.exists()


@pytest.mark.parametrize(
    ("before", "now", "value"),
    [
        ("--chains", "--slq-vectors", "5"),
        ("--trace-width", "--trace-rtol", "0.05"),
        ("--cross", "--cross-class", None),
        ("--warm", "--warm-start", "near.h5"),
    ],
)
def test_spellings_of_before_are_understood_and_not_shown(before, now, value):
    parser = build_parser()
    said = [] if value is None else [value]
    old, new = (parser.parse_args(["--ckpt", "x.pt", option, *said]) for option in (before, now))
    assert vars(old) == vars(new) != vars(parser.parse_args(["--ckpt", "x.pt"]))
    assert now in parser.format_help() and not re.search(rf"{before}(?![-\w])", parser.format_help())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--top", "0"), "--top 0"),
        (("--bottom", "0"), "--bottom 0"),
        (("--probes", "1"), "--probes 1"),
        (("--tol", "2"), "--tol 2"),
        (("--trace-rtol", "1.5"), "--trace-rtol 1.5"),
        (("--slq-vectors", "1"), "--slq-vectors 1"),
        (("--seed", str(1 << 40)), "is too large"),
        (("--warm-start", "nowhere.h5"), "does not exist"),
    ],
)
def test_bad_settings_are_one_sentence(small_run, tmp_path, options, said):
    out = tmp_path / "landscape.h5"
    done = run_command("landscape.hessian", "--ckpt", small_run / "checkpoint.pt", *options, "--out", out, check=False)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not out.exists()
