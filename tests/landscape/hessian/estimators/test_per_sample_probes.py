"""Values of random probes against dense Hessians, and what mixtures take from their classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from landscape.hessian.estimators import per_sample
from landscape.hessian.estimators.per_sample import BLOCK, ProbeForms
from landscape.hessian.estimators.trace import probe
from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.result import HessianSettings
from tests.landscape.hessian.oracle import COUNTS, dense, network, samples, standard, subject

SEED, COUNT = 5, BLOCK + 3


def forms_of(of, subset) -> list[float]:
    hessian = dense(of, subset)[2]
    drawn = [probe(of.size, SEED, index).double().numpy() for index in range(COUNT)]
    return [float(z @ hessian @ z) for z in drawn]


@pytest.mark.parametrize("taylor", [True, False])
def test_values_are_those_of_the_dense_hessian(taylor, monkeypatch):
    if not taylor:
        monkeypatch.setattr(per_sample, "_agrees", lambda *_: False)
    of = standard()
    forms = ProbeForms(HessianFactory(of, Plan(16, keep=1000)), SEED)
    for subset in of.subsets:
        np.testing.assert_allclose(forms.of(subset, COUNT), forms_of(of, subset), rtol=1e-9, atol=1e-12)


def test_masks_take_their_own_samples():
    data = samples()
    labels = data.labels
    masks = {"even": labels % 2 == 0, "rare": labels > 1}
    of = subject(samples=data, subsets=masks)
    forms = ProbeForms(HessianFactory(of, Plan(16, keep=1000)), SEED)
    alone = subject(net=network(), samples=data, train_counts=COUNTS)
    for subset in of.subsets:
        rows = torch.nonzero(masks.get(subset.name, torch.ones(len(labels)).bool()))[:, 0]
        true = 0.0
        for label in labels[rows].unique().tolist():
            whole = next(s for s in alone.subsets if s.name == f"class:{label}")
            share = float((labels[rows] == label).sum()) / len(rows)
            true = true + share * np.array(forms_of(alone, whole))
        np.testing.assert_allclose(forms.of(subset, COUNT), true, rtol=1e-9, atol=1e-12)


def test_a_mixture_passes_no_sample_that_its_classes_passed(monkeypatch):
    of = standard()
    forms = ProbeForms(HessianFactory(of, Plan(16, keep=1000)), SEED)
    for subset in of.subsets:
        if subset.kind == "class":
            forms.of(subset, COUNT)
    monkeypatch.setattr("landscape.hessian.estimators.per_sample.mean_curvature", None)
    for subset in of.subsets:
        assert np.isfinite(forms.of(subset, COUNT)).all()


@pytest.mark.exhaustive
def test_an_asked_width_is_met_and_holds_the_trace():
    of = standard()
    settings = HessianSettings(top=1, bottom=1, probes=4, trace_rtol=0.3, intervals=False, max_products=6, seed=2)
    met = reached = 0
    for curvature, subset in zip(measure_hessian(of, settings=settings).curvatures, of.subsets, strict=True):
        true = float(np.trace(dense(of, subset)[2]))
        trace = curvature.trace
        most = trace.half_width == pytest.approx(special.stdtrit(255, 0.975) * trace.error)  # 256 probes: it cancels
        assert most or trace.half_width <= 0.3 * abs(trace.value)
        reached += not most
        met += trace.low <= true <= trace.high
    assert met >= len(of.subsets) - 1 and reached >= len(of.subsets) // 2
