"""Every subset's curvature against its exact dense float64 Hessian, and what the verdicts rest on."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from landscape.execution.thread_pool import ThreadPool
from landscape.hessian.estimators.layerwise import layers
from landscape.hessian.measure import HessianResult, measure_hessian
from landscape.hessian.products.operators import Plan
from landscape.hessian.result import HessianSettings
from landscape.schema import NEGATIVE, NONE_FOUND, UNDECIDED
from landscape.subject.subject import Subject
from tests.landscape.hessian.oracle import COUNTS, dense, network, samples, standard, subject

PLAN = Plan(16, keep=1000, fused=True)
SETTINGS = HessianSettings(top=3, bottom=2)
SUBSETS = ("all", "balanced", "many", "medium", "few", *(f"class:{c}" for c in range(len(COUNTS))))


@functools.cache
def measured(dtype: torch.dtype, activation: type[nn.Module] = nn.GELU) -> HessianResult:
    return measure_hessian(subject(dtype, activation=activation), settings=SETTINGS, plan=PLAN)


def truth(name: str, activation: type[nn.Module] = nn.GELU) -> tuple[float, torch.Tensor, np.ndarray, np.ndarray]:
    of = standard(activation)
    loss, gradient, hessian = dense(of, next(s for s in of.subsets if s.name == name))
    return loss, gradient, hessian, np.linalg.eigvalsh(hessian)


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize("activation", [nn.GELU, nn.ReLU])
@pytest.mark.parametrize("name", SUBSETS)
def test_every_number_agrees_with_the_dense_hessian(name, activation, dtype, accuracy):
    found = measured(dtype, activation).of(name)
    loss, gradient, hessian, values = truth(name, activation)
    scale = np.abs(values).max()
    np.testing.assert_allclose(found.top, values[::-1][:3], rtol=0, atol=accuracy * scale)
    np.testing.assert_allclose(found.bottom, values[:2], rtol=0, atol=accuracy * scale)
    assert found.loss == pytest.approx(loss, rel=accuracy)
    assert found.gradient_norm == pytest.approx(float(gradient.norm()), rel=accuracy)
    weights = standard(activation).vector().abs().numpy()
    scaled = np.linalg.eigvalsh(weights[:, None] * hessian * weights)[-1]
    assert found.top_scaled == pytest.approx(scaled, rel=1e-3)
    assert (found.trace_se == 0) == (activation is nn.ReLU)
    rounding = accuracy * np.abs(values).sum()
    assert abs(found.trace - np.trace(hessian)) <= 3 * (found.trace_high - found.trace_low) / 2 + rounding
    assert found.converged and found.finite
    assert found.verdict == NEGATIVE and values[0] < -found.threshold
    assert found.threshold >= 1e-4 * (1 - accuracy) * scale


@pytest.mark.parametrize("name", ["all", "class:4"])
def test_sums_over_the_whole_spectrum_lie_within_their_errors(name):
    values = truth(name)[3]
    found = measured(torch.float64).of(name)
    assert found.weights.sum() == pytest.approx(1)
    assert abs(found.frobenius - np.sqrt(np.sum(values**2))) <= 4 * found.frobenius_se + 1e-9
    share = -values[values < 0].sum() / np.abs(values).sum()
    assert abs(found.negative_share - share) <= 10 * found.negative_share_se + 1e-3
    rank = np.abs(values).sum() ** 2 / np.sum(values**2)
    assert found.effective_rank_se > 0 and abs(found.effective_rank - rank) <= 4.3 * found.effective_rank_se
    step = found.density_grid[1] - found.density_grid[0]
    assert found.density.sum() * step == pytest.approx(1, abs=1e-3)
    assert (found.density_se >= 0).all() and found.density_se.max() > 0


def test_eigenvalues_held_out_and_sample_by_sample():
    result, of = measured(torch.float64), standard()
    everything = result.of("all").held_out  # 54 samples: halves
    assert (everything.top_se > 0).all() and np.isnan(everything.top_samples).all()
    assert everything.top[0] <= result.of("all").top[0] * 1.2
    few = result.of("class:2").held_out  # 3 samples: every one
    assert np.isnan(few.top).all() and np.isfinite(few.top_samples).sum() == 3
    assert np.nanmean(few.top_samples) == pytest.approx(result.of("class:2").top[0], rel=1e-6)
    assert np.nanmean(few.bottom_samples) == pytest.approx(result.of("class:2").bottom[0], rel=1e-3)
    without = measure_hessian(of, settings=HessianSettings(intervals=False, top=3, bottom=2), plan=PLAN)
    assert np.isnan(without.of("all").held_out.top).all()
    np.testing.assert_array_equal(without.of("class:2").held_out.top_samples, few.top_samples)
    assert without.of("all").products < result.of("all").products


@pytest.mark.parametrize("name", ["all", "class:4"])
def test_the_largest_eigenvalue_of_each_layers_own_block(name):
    of = subject()
    found = measure_hessian(of.with_subsets([name]), settings=HessianSettings(top=1, layers=True), plan=PLAN).of(name)
    hessian, places = truth(name)[2], torch.split(torch.arange(of.size), [p.numel() for p in of.parameters.values()])
    assert list(layers(of)) == ["0", "1", "3", "4", "8"]
    for top, members in zip(found.layer_top, layers(of).values(), strict=True):
        rows = torch.cat([places[i] for i in members]).numpy()
        assert top == pytest.approx(np.linalg.eigvalsh(hessian[np.ix_(rows, rows)])[-1], rel=1e-3)


def test_noise_of_float32_products_is_seen_and_small():
    for name in SUBSETS:
        single, double = measured(torch.float32).of(name), measured(torch.float64).of(name)
        scale = np.abs(truth(name)[3]).max()
        assert 1e-12 * scale < single.noise_floor < 1e-4 * scale
        assert double.noise_floor < 1e-10 * scale


def convex(dtype=torch.float64) -> Subject:
    """A linear classifier: its cross-entropy is convex, so there is no negative curvature to find."""
    return subject(dtype, net=nn.Sequential(nn.Flatten(), nn.Linear(36, 5)))


def test_none_found_needs_two_starts():
    of = convex()
    found = measure_hessian(of, settings=HessianSettings(top=2), plan=PLAN).of("all")
    assert found.verdict == NONE_FOUND and found.bottom[0] >= -found.threshold
    once = measure_hessian(of, settings=HessianSettings(top=2, tol=0.5), plan=PLAN).of("all")
    assert once.verdict != NEGATIVE and found.products > once.products


def test_without_convergence_nothing_is_decided():
    found = measure_hessian(convex(), settings=HessianSettings(top=2, max_products=4), plan=PLAN).of("all")
    assert found.verdict == UNDECIDED and not found.converged
    assert (found.top_residual > 0).all()


def test_more_eigenvalues_than_parameters():
    of = subject(params=["8.bias"])
    found = measure_hessian(of, settings=HessianSettings(top=8, bottom=2), plan=PLAN).of("all")
    values = np.linalg.eigvalsh(dense(of, of.subsets[0])[2])
    np.testing.assert_allclose(found.top[:5], values[::-1], atol=1e-12)
    assert np.isnan(found.top[5:]).all() and np.isfinite(found.bottom).all()
    assert found.trace_low == found.trace == found.trace_high == pytest.approx(values.sum())


def test_a_diverged_network_is_reported_not_repaired():
    net = network()
    net[-1].weight.data[0, 0] = float("nan")
    found = measure_hessian(subject(net=net), settings=SETTINGS, plan=PLAN).of("all")
    assert not found.finite and np.isnan(found.top).all() and np.isnan(found.loss) and found.verdict == UNDECIDED


def test_products_added_up_from_classes_give_the_same_traces():
    alone = measure_hessian(subject(subsets=["balanced"]), settings=SETTINGS, plan=PLAN).of("balanced")
    shared = measured(torch.float64).of("balanced")
    assert shared.trace == pytest.approx(alone.trace, rel=1e-10)
    assert shared.products == alone.products - SETTINGS.probes
    np.testing.assert_array_equal(shared.top, alone.top)


def test_subsets_of_the_same_samples_and_weights_are_measured_once():
    even = subject(samples=samples((9, 9, 9)), train_counts=(60, 30, 15))
    seen = []
    result = measure_hessian(even, settings=SETTINGS, plan=PLAN, on_done=seen.append)
    assert {c.subset for c in seen} == {s.name for s in even.subsets}
    for twins in (("all", "balanced"), ("few", "class:2"), ("medium", "class:1")):
        first, second = (result.of(name) for name in twins)
        np.testing.assert_array_equal(first.top, second.top)
        assert first.trace == second.trace


@pytest.mark.parametrize("known", [0, 1, 4, 7])
def test_what_is_known_already_is_not_measured_again_and_the_rest_is_the_same(known):
    whole, seen, again = measured(torch.float64), [], []
    measure_hessian(subject(), settings=SETTINGS, plan=PLAN, on_done=seen.append)
    done = {c.subset: c for c in seen[:known]}
    result = measure_hessian(subject(), settings=SETTINGS, plan=PLAN, done=done, on_done=again.append)
    assert [c.subset for c in again] == [c.subset for c in seen[known:]]
    for one, other in zip(whole.curvatures, result.curvatures, strict=True):
        np.testing.assert_array_equal(one.top, other.top)
        np.testing.assert_array_equal(one.density, other.density)
        assert (one.trace, one.trace_se, one.top_scaled) == (other.trace, other.trace_se, other.top_scaled)


def test_a_batch_with_nobody_beside_it_has_all_threads():
    before, workers = torch.get_num_threads(), ThreadPool(3)
    with workers.alone(1000):
        assert list(workers.map(lambda _: torch.get_num_threads(), [0])) == [3]
        assert list(workers.map(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
        with pytest.raises(ZeroDivisionError):
            list(workers.map(lambda x: 1 / x, [0]))
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_the_threads_of_the_caller_are_put_back():
    before = torch.get_num_threads()
    plan, seen = Plan(16, keep=1000, workers=2), []

    def broken(logits, labels):
        seen.append(torch.get_num_threads())
        raise RuntimeError("loss failed")

    of = subject(loss=broken)
    with pytest.raises(RuntimeError, match="loss failed"):
        measure_hessian(of, settings=SETTINGS, plan=plan)
    assert seen and set(seen) == {1} and torch.get_num_threads() == before
