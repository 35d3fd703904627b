"""Curvature of one class along another's directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.hessian.estimators.cross_class import curvature_along, overlaps
from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.result import HessianSettings
from tests.landscape.hessian.oracle import dense, standard

PLAN = Plan(16, keep=1000, fused=True)


def test_every_class_along_every_other_classes_top_direction():
    of = standard()
    found = measure_hessian(of, settings=HessianSettings(top=2, vectors=True), plan=PLAN)
    classes = [s for s in of.subsets if s.kind == "class"]
    vectors = torch.stack([found.of(s.name).top.vectors for s in classes])
    exact = [dense(of, s)[2] for s in classes]
    hessians = HessianFactory(of, PLAN)
    for column, subset in enumerate(classes):
        along = curvature_along(hessians, subset, vectors[:, 0])
        for row, vector in enumerate(vectors[:, 0].numpy()):
            assert along[row] == pytest.approx(vector @ exact[column] @ vector, rel=1e-9, abs=1e-12)
        assert along[column] == pytest.approx(found.of(subset.name).top.outermost, rel=1e-6)
        assert along.max() <= np.linalg.eigvalsh(exact[column])[-1] * (1 + 1e-9)
    spaces = overlaps(vectors)
    np.testing.assert_allclose(np.diag(spaces), 1, atol=1e-9)
    truth = [np.linalg.eigh(h)[1][:, -2:] for h in exact]
    expected = [[np.sum((a.T @ b) ** 2) / 2 for b in truth] for a in truth]
    np.testing.assert_allclose(spaces, expected, atol=1e-3)


def test_overlaps_of_known_spaces():
    e = torch.eye(4)
    spaces = torch.stack([e[:2], e[2:], torch.stack([e[0], e[2]]), torch.stack([(e[0] + e[1]) / 2**0.5, e[3]])])
    np.testing.assert_allclose(
        overlaps(spaces), [[1, 0, 0.5, 0.5], [0, 1, 0.5, 0.5], [0.5, 0.5, 1, 0.25], [0.5, 0.5, 0.25, 1]], atol=1e-6
    )


def test_a_direction_that_is_not_finite_stays_unknown():
    of = standard()
    vectors = torch.full((1, of.size), float("nan"), dtype=of.dtype)
    assert np.isnan(curvature_along(HessianFactory(of, PLAN), of.subsets[0], vectors)).all()
