"""Curvature across classes against exact dense Hessians."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foundation.errors import InputError
from landscape.hessian.measure import measure_hessian
from landscape.hessian.measure_cross_class import measure_cross_class
from landscape.hessian.products.operators import Plan
from landscape.hessian.result import HessianSettings
from tests.landscape.hessian.oracle import dense, network, standard, subject

PLAN = Plan(16, keep=1000, fused=True)
SETTINGS = HessianSettings(top=2, vectors=True, intervals=False, tol=1e-6)
NAMES = ("all", "few", "class:0", "class:1", "class:2", "class:3", "class:4")


@pytest.fixture(scope="module")
def measured():
    of = subject(subsets=list(NAMES))
    result = measure_hessian(of, settings=SETTINGS, plan=PLAN)
    return of, result, measure_cross_class(of, result)


def test_every_number_agrees_with_the_dense_hessians(measured):
    of, result, found = measured
    exact = {s.name: dense(standard(), s)[2] for s in of.subsets}
    leading = {name: np.linalg.eigh(h)[1][:, ::-1][:, :2] for name, h in exact.items()}
    assert found.subset == tuple(c.subset for c in result.curvatures)
    for row, direction in enumerate(found.subset):
        for column, name in enumerate(found.subset):
            v = leading[direction][:, 0]
            if direction.startswith("class") and name.startswith("class"):
                assert found.cross[row, column] == pytest.approx(v @ exact[name] @ v, rel=1e-4, abs=1e-6)
            else:
                assert np.isnan(found.cross[row, column])
            shared = np.sum((leading[direction].T @ leading[name]) ** 2) / 2
            assert found.overlap[row, column] == pytest.approx(shared, abs=1e-4)
    classes = [i for i, name in enumerate(found.subset) if name.startswith("class")]
    np.testing.assert_allclose(found.share[:, classes].sum(1), 1, rtol=1e-5)
    assert np.isnan(np.delete(found.share, classes, axis=1)).all()


def test_classes_that_are_known_are_not_measured_again(measured):
    of, result, whole = measured
    cross, share = whole.cross.copy(), whole.share.copy()
    last = whole.subset.index("class:4")
    cross[:, last] = share[:, last] = np.nan
    marked = whole.subset.index("class:1")
    cross[marked, marked] = 17.0  # would be overwritten by a second measurement
    seen = []
    again = measure_cross_class(
        of, result, done=replace(whole, cross=cross, share=share), on_class=lambda column, _: seen.append(column)
    )
    assert again.cross[marked, marked] == 17.0 and len(seen) == 5
    np.testing.assert_array_equal(again.cross[:, last], whole.cross[:, last])
    np.testing.assert_array_equal(again.share[:, last], whole.share[:, last])
    assert np.isnan(cross[:, last]).all()  # what was given is left as it is


def test_it_is_one_xarray(measured):
    data = measured[2].to_xarray()
    assert data["cross"].dims == ("direction", "subset") and data["share"].dims == ("rank", "subset")
    assert float(data["overlap"].sel(direction="few", subset="few")) == pytest.approx(1)


def test_what_is_not_finite_or_smaller_than_asked_stays_unknown():
    net = network()
    net[-1].weight.data[0, 0] = float("nan")
    of = subject(net=net, subsets=["all", "class:2"])
    found = measure_cross_class(of, measure_hessian(of, settings=SETTINGS, plan=PLAN))
    assert np.isnan(found.cross).all() and np.isnan(found.overlap).all() and np.isnan(found.share).all()
    few = subject(params=["8.bias"], subsets=["class:0", "class:2"])  # 5 parameters, 7 eigenvalues asked for
    settings = replace(SETTINGS, top=7)
    found = measure_cross_class(few, measure_hessian(few, settings=settings, plan=PLAN))
    assert np.isfinite(found.cross).all() and found.share.shape == (7, 2)


def test_without_eigenvectors_it_is_one_sentence():
    of = subject(subsets=["class:2"])
    result = measure_hessian(of, settings=replace(SETTINGS, vectors=False), plan=PLAN)
    with pytest.raises(InputError, match=r"no eigenvectors: measure it with HessianSettings\(vectors=True\)"):
        measure_cross_class(of, result)
