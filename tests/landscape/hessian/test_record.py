"""Curvature in a file: a row read back is the object that was written, and files of before go on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from foundation.errors import InputError
from landscape.files.landscape_file import read_landscape
from landscape.files.target import Target
from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.operators import Plan
from landscape.hessian.record import columns, create_datasets, load_eigenpairs, read, record_hessian, write
from landscape.hessian.result import HessianSettings, SubsetCurvature
from landscape.schema import quantities
from tests.landscape.altered import altered
from tests.landscape.hessian.oracle import network, subject

PLAN = Plan(16, keep=1000, fused=True)
EVERYTHING = HessianSettings(top=2, bottom=1, layers=True, gauss_newton=True, vectors=True)
LITTLE = HessianSettings(top=2, bottom=1, intervals=False)


class Memory:
    """A recording in memory."""

    def __init__(self):
        self.data, self.dims = {}, {}

    def create(self, name, *, dims, shape, dtype="f8", fill=np.nan, unit="", meaning=""):
        text = isinstance(fill, str)
        blank = fill if text else 0 if np.dtype(dtype).kind == "i" else fill
        self.data[name] = np.full(shape, blank, dtype=object if text else dtype)
        self.dims[name] = dims
        assert meaning and len(dims) == len(shape)

    def scale(self, dim, values, *, unit=""):
        pass

    def note(self, key, value):
        assert key == "weight_norm" and (value > 0 or np.isnan(value))

    def write(self, name, index, values):
        self.data[name][index] = values

    def flush(self):
        pass


def assert_equal(one, other):
    for q in quantities(SubsetCurvature):
        mine, theirs = q.of(one), q.of(other)
        assert type(mine) is type(theirs), q.name
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs), err_msg=q.name)
    assert one.subset == other.subset


@pytest.mark.parametrize("settings", [EVERYTHING, LITTLE], ids=["everything", "little"])
@pytest.mark.parametrize("broken", [False, True], ids=["finite", "not finite"])
def test_a_row_read_back_is_the_object_that_was_written(settings, broken):
    net = network()
    if broken:
        net[-1].weight.data[0, 0] = float("nan")
    of = subject(torch.float32, net=net, subsets=["all", "class:2", "class:4"])
    result, record = measure_hessian(of, settings=settings, plan=PLAN), Memory()
    create_datasets(record, of, settings)
    for row, curvature in enumerate(result.curvatures):
        assert curvature.finite is not broken
        write(record, row, curvature, settings)
    for row, curvature in enumerate(result.curvatures):
        again = read(record.data, row, curvature.subset, of, settings)
        assert_equal(again, curvature)
        assert repr(again) == repr(curvature)


def test_every_data_set_of_a_file_is_a_quantity_of_the_result_and_the_same_in_xarray():
    of = subject(subsets=["all", "class:2"])
    result = measure_hessian(of, settings=EVERYTHING, plan=PLAN)
    record = Memory()
    create_datasets(record, of, EVERYTHING)
    data = result.to_xarray()
    for q in columns(EVERYTHING):
        assert record.dims[q.name] == ("subset", *q.dims)
        assert data[q.name].dims == ("subset", *q.dims) and data[q.name].attrs["long_name"] == q.meaning
    assert data["label"].dims == ("subset",) and data["measured_count"].sel(subset="class:2") == 3
    assert list(data["layer"].values) == ["0", "1", "3", "4", "8"]
    assert float(data["top"].sel(subset="class:2", rank=0)) == result.of("class:2").top.outermost
    assert np.isnan(data["top_samples"].sel(subset="all")).all()
    table = result.to_frame()
    assert table.loc["class:2", "trace"] == result.of("class:2").trace.value
    assert table.loc["all", "bottom[0]"] == result.of("all").bottom.outermost
    assert set(table["verdict"]) == {"negative"} and "layer_top[8]" in table


def test_a_result_is_short_in_print_and_says_what_it_has():
    result = measure_hessian(subject(), settings=LITTLE, plan=PLAN)
    assert repr(result) == "<HessianResult of 10 subsets (all, balanced, many, …): top 2>"
    assert repr(result.of("few")).startswith("<SubsetCurvature of few: loss ") and len(repr(result.of("few"))) < 120
    with pytest.raises(InputError, match=r"unknown subset 'class:9'.*choose one of all, balanced, class:0"):
        result.of("class:9")


def target(file, of):
    return Target(file, "train", "0" * 64, {"split": "train"}, {})


def as_version_1(file):
    """The settings' names and values as they were written before."""
    with altered(file) as opened:
        attributes = opened["hessian/train"].attrs
        extent = json.loads(attributes["extent"])
        extent = {{"slq_vectors": "chains", "trace_rtol": "trace_width"}.get(k, k): v for k, v in extent.items()}
        attributes["extent"] = json.dumps({**extent, "engine": "krylov"})


def test_a_file_of_before_is_continued(tmp_path):
    file, of = tmp_path / "landscape.h5", subject(torch.float32, subsets=["class:2", "class:4"])
    record_hessian(of, target(file, of), LITTLE)
    first = read_landscape(file).get("hessian", "train")
    as_version_1(file)
    seen = []
    record_hessian(of, target(file, of), replace(LITTLE, top=1), say=seen.append)
    assert "Hessian of 0 of " in seen[0]  # nothing was measured again
    again = read_landscape(file).get("hessian", "train")
    np.testing.assert_array_equal(again.data["top"], first.data["top"][:, :1])
    for name in ("trace", "density", "verdict", "gauss_newton_top", "top_samples"):
        np.testing.assert_array_equal(again.data[name], first.data[name])


def test_eigenpairs_of_a_file(tmp_path):
    file, of = tmp_path / "landscape.h5", subject(torch.float32, subsets=["class:2", "class:4"])
    settings = replace(LITTLE, vectors=True)
    result = record_hessian(of, target(file, of), settings)
    pairs = load_eigenpairs(file, "class:4", of, {"split": "train"})
    assert pairs.top.outermost == result.of("class:4").top.outermost
    torch.testing.assert_close(pairs.bottom.vectors, result.of("class:4").bottom.vectors)
    assert load_eigenpairs(file, "all", of, {"split": "train"}) is None
    assert load_eigenpairs(file, "class:4", of, {"split": "test"}) is None
    assert load_eigenpairs(tmp_path / "none.h5", "class:4", of, {}) is None
