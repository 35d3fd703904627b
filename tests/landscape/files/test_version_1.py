"""Files of the first schema version, made before the names of the second: `tests/data/version-1`.

The run is a small network on scikit-learn's digits with an imbalance of 20, three epochs, and every analysis of its
training split; `interrupted` is a measurement of the test split that was killed after some units of work.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import landscape
from landscape.files.landscape_file import read_array
from landscape.schema import SCHEMA_VERSION
from tests.conftest import run_command
from tests.test_commands import datasets

OLD = Path(__file__).resolve().parents[2] / "data" / "version-1"
MEASURED = ("--subsets", "all,class:9", "--samples-per-class", "10")
SHARPNESS = (*MEASURED, "--steps", "2", "--draws", "3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "ce"))


def test_every_number_of_an_old_file_is_read(folder: Path) -> None:
    with h5py.File(folder / "landscape.h5") as file:
        assert file.attrs["schema_version"] == 1 < SCHEMA_VERSION
        assert file["sharpness/train/sam"].attrs["units"] == "nats"
        expected = {
            (analysis, name): {key: item[()] for key, item in file[analysis][name].items() if key == "loss"}
            for analysis in file for name in file[analysis]
        }  # fmt: skip
    found = landscape.read_landscape(folder / "landscape.h5")
    assert {(m.analysis, m.name) for m in found.measurements} == set(expected)
    for measurement in found.measurements:
        assert measurement.complete and measurement.subset[0] == "all"
        loss = expected[measurement.analysis, measurement.name]["loss"]
        np.testing.assert_array_equal(measurement.data["loss"], loss)
    hessian = found.get("hessian", "train")
    vectors = read_array(folder / "landscape.h5", "hessian/train/vectors/top")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, rtol=1e-5)
    assert hessian.data["top"].shape == vectors.shape[:2] and (hessian.data["top"][:, 0] > 0).all()


def test_page_figures_and_notebook_read_an_old_file(folder: Path) -> None:
    files = [folder / "landscape.h5"]
    assert landscape.write_report(files, folder / "report.html").runs == ("ce",)
    assert landscape.write_figures(files, folder / "figures", formats=("svg",)).paths
    summary = landscape.open(files[0]).summary().sel(subset=["all", "class:9"])
    for measure in ("loss", "top", "trace", "sam@0.2"):
        assert np.isfinite(summary[measure]).all(), measure


def test_the_command_that_made_an_old_file_finds_it_done(folder: Path) -> None:
    """All that is added is how the losses rise with the temperature, in moments; the next command finds that too."""
    file, before = folder / "landscape.h5", datasets(folder / "landscape.h5")
    contents = []
    for command in (("landscape.sharpness", *SHARPNESS), ("landscape.surface", *MEASURED, "--points", "9")):
        said = run_command(*command[:1], "--ckpt", folder / "checkpoint.pt", *command[1:]).stdout
        assert "is there already" in said
        contents.append(file.read_bytes())
    assert contents[0] == contents[1]
    after = datasets(file)
    assert after.keys() - before.keys() == {"evaluation/train/loss_slope"}
    evaluated = {"evaluation/train/loss", "evaluation/train/accuracy"}
    assert {name for name in before if after[name] != before[name]} <= evaluated
    with h5py.File(OLD / "landscape.h5") as old, h5py.File(file) as new:
        for name in evaluated:
            np.testing.assert_allclose(new[name], old[name], rtol=1e-5)


def test_what_is_added_leaves_the_old_numbers_as_they_are(folder: Path) -> None:
    file = folder / "landscape.h5"
    before = datasets(file)
    run_command(
        "landscape.sharpness", "--ckpt", folder / "checkpoint.pt", *SHARPNESS, "--name", "again", "--radii", "0.1"
    )
    after = datasets(file)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1] for name in after.keys() - before.keys()} == {"again"}
    with h5py.File(file) as opened:
        assert opened.attrs["schema_version"] == SCHEMA_VERSION


def test_an_unfinished_old_measurement_is_of_other_numerics_and_can_be_replaced(folder: Path) -> None:
    """Its finished units are not mixed with numbers of today's meaning; asked for, the whole is measured anew."""
    command = ("landscape.sharpness", "--ckpt", folder / "checkpoint.pt", "--split", "test", *SHARPNESS)
    whole, file = folder / "whole.h5", folder / "interrupted.h5"
    old = folder / "interrupted.sharpness.test.partial.h5"
    run_command(*command, "--out", whole)
    before = old.read_bytes()
    for spoiled in (before, b"\x89HDF\r\n\x1a\n" + b"\0" * 64):
        old.write_bytes(spoiled)
        done = run_command(*command, "--out", file, check=False)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "unfinished with a measurement of other numerics" in done.stderr and "--overwrite" in done.stderr
        assert old.read_bytes() == spoiled
    run_command(*command, "--out", file, "--overwrite")
    assert not list(folder.glob("*.partial*"))
    assert datasets(file) == datasets(whole)
