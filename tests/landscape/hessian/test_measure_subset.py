"""Every subset's curvature against its exact dense float64 Hessian, and what the verdicts rest on."""

from __future__ import annotations

import functools
import threading

import numpy as np
import pytest
import torch
from torch import nn

from foundation.errors import InputError
from landscape.execution.thread_pool import ThreadPool
from landscape.hessian.estimators.layerwise import layers
from landscape.hessian.measure import HessianResult, measure_hessian
from landscape.hessian.products.operators import Plan
from landscape.hessian.result import HessianSettings, SubsetCurvature
from landscape.schema import NEGATIVE, NONE_FOUND, UNDECIDED
from landscape.subject.losses import cross_entropy
from landscape.subject.subject import Subject
from tests.landscape.hessian.oracle import COUNTS, dense, network, samples, sizes, standard, subject

PLAN = Plan(16, keep=1000, fused=True)
SETTINGS = HessianSettings(top=3, bottom=2)
SUBSETS = ("all", "balanced", "many", "medium", "few", *(f"class:{c}" for c in range(len(COUNTS))))


@functools.cache
def in_order(dtype: torch.dtype, activation: type[nn.Module]) -> tuple[HessianResult, list[SubsetCurvature]]:
    """A measurement, and its curvatures as they became known."""
    seen: list[SubsetCurvature] = []
    of = subject(dtype, activation=activation)
    return measure_hessian(of, settings=SETTINGS, plan=PLAN, on_done=seen.append), seen


def measured(dtype: torch.dtype, activation: type[nn.Module] = nn.GELU) -> HessianResult:
    return in_order(dtype, activation)[0]


def truth(name: str, activation: type[nn.Module] = nn.GELU) -> tuple[float, torch.Tensor, np.ndarray, np.ndarray]:
    of = standard(activation)
    loss, gradient, hessian = dense(of, next(s for s in of.subsets if s.name == name))
    return loss, gradient, hessian, np.linalg.eigvalsh(hessian)


@pytest.mark.parametrize(
    ("activation", "dtype", "accuracy"),
    [
        (nn.GELU, torch.float64, 1e-6),
        (nn.GELU, torch.float32, 1e-4),
        (nn.ReLU, torch.float64, 1e-6),
        pytest.param(nn.ReLU, torch.float32, 1e-4, marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize("name", SUBSETS)
def test_every_number_agrees_with_the_dense_hessian(name, activation, dtype, accuracy):
    found = measured(dtype, activation).of(name)
    loss, gradient, hessian, values = truth(name, activation)
    scale = np.abs(values).max()
    np.testing.assert_allclose(found.top.values, values[::-1][:3], rtol=0, atol=accuracy * scale)
    np.testing.assert_allclose(found.bottom.values, values[:2], rtol=0, atol=accuracy * scale)
    assert found.loss == pytest.approx(loss, rel=accuracy)
    assert found.gradient_norm == pytest.approx(float(gradient.norm()), rel=accuracy)
    weights = sizes(standard(activation))
    scaled = np.linalg.eigvalsh(weights[:, None] * hessian * weights)[-1]
    assert found.top_scaled.value == pytest.approx(scaled, rel=1e-3)
    assert (found.trace.error == 0) == (activation is nn.ReLU)
    rounding = accuracy * np.abs(values).sum()
    assert abs(found.trace.value - np.trace(hessian)) <= 3 * found.trace.half_width + rounding
    assert found.converged and found.finite
    said = found.negative_curvature
    assert said.verdict == NEGATIVE and values[0] < -said.threshold
    assert said.threshold >= 1e-4 * (1 - accuracy) * scale


@pytest.mark.parametrize("name", ["all", "class:4"])
def test_sums_over_the_whole_spectrum_lie_within_their_errors(name):
    values = truth(name)[3]
    found = measured(torch.float64).of(name)
    assert found.density.weights.sum() == pytest.approx(1)
    assert abs(found.frobenius.value - np.sqrt(np.sum(values**2))) <= 4 * found.frobenius.error + 1e-9
    share = -values[values < 0].sum() / np.abs(values).sum()
    negative = found.density.negative_share
    assert abs(negative.value - share) <= 10 * negative.error + 1e-3
    rank = np.abs(values).sum() ** 2 / np.sum(values**2)
    assert found.effective_rank.error > 0
    assert abs(found.effective_rank.value - rank) <= 4.3 * found.effective_rank.error
    step = found.density.grid[1] - found.density.grid[0]
    assert found.density.values.sum() * step == pytest.approx(1, abs=1e-3)
    assert (found.density.errors >= 0).all() and found.density.errors.max() > 0


def test_eigenvalues_held_out_and_sample_by_sample():
    result, of = measured(torch.float64), subject(subsets=["all", "class:2"])
    everything = result.of("all").fresh_samples  # 54 samples: halves
    assert (everything.top_error > 0).all() and len(everything.top) == 3 and len(everything.top_samples) == 0
    assert everything.top[0] <= result.of("all").top.outermost * 1.2
    few = result.of("class:2").fresh_samples  # 3 samples: every one
    assert len(few.top) == len(few.bottom_error) == 0 and len(few.top_samples) == 3
    assert few.top_samples.mean() == pytest.approx(result.of("class:2").top.outermost, rel=1e-6)
    assert few.bottom_samples.mean() == pytest.approx(result.of("class:2").bottom.outermost, rel=1e-3)
    without = measure_hessian(of, settings=HessianSettings(intervals=False, top=3, bottom=2), plan=PLAN)
    assert len(without.of("all").fresh_samples.top) == 0
    np.testing.assert_array_equal(without.of("class:2").fresh_samples.top_samples, few.top_samples)
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["all", "balanced", "class:4"])
def test_eigenvectors_are_kept_where_they_are_asked_for_and_residuals_are_true(dtype, name):
    of = subject(dtype, subsets=[name])
    settings = HessianSettings(top=2, tol=1e-4, vectors=True, intervals=False)
    before = torch.random.get_rng_state()
    found = measure_hessian(of, settings=settings, plan=PLAN).of(name)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(p.grad is None for p in of.network.parameters())
    hessian, values = truth(name)[2:]
    np.testing.assert_allclose(found.top.values, values[::-1][:2], atol=1e-4 * np.abs(values).max())
    for pairs, count in ((found.top, 2), (found.bottom, 1)):
        assert pairs.vectors.shape == (count, of.size)
        for value, residual, vector in zip(pairs.values, pairs.residuals, pairs.vectors.double().numpy(), strict=True):
            true = np.linalg.norm(hessian @ vector - value * vector)
            assert residual == pytest.approx(true, rel=0.05, abs=1e-5 * np.abs(values).max())
    assert measured(torch.float64).of(name).top.vectors.numel() == 0


def test_noise_of_float32_products_is_seen_and_small():
    for name in SUBSETS:
        single, double = measured(torch.float32).of(name), measured(torch.float64).of(name)
        scale = np.abs(truth(name)[3]).max()
        assert 1e-12 * scale < single.negative_curvature.noise_floor < 1e-4 * scale
        assert double.negative_curvature.noise_floor < 1e-10 * scale


def convex(dtype=torch.float64) -> Subject:
    """A linear classifier: its cross-entropy is convex, so there is no negative curvature to find."""
    return subject(dtype, net=nn.Sequential(nn.Flatten(), nn.Linear(36, 5)), subsets=["all"])


def test_none_found_needs_two_starts():
    of = convex()
    found = measure_hessian(of, settings=HessianSettings(top=2), plan=PLAN).of("all")
    assert found.negative_curvature.verdict == NONE_FOUND
    assert found.bottom.outermost >= -found.negative_curvature.threshold
    once = measure_hessian(of, settings=HessianSettings(top=2, tol=0.5), plan=PLAN).of("all")
    assert once.negative_curvature.verdict != NEGATIVE and found.products > once.products


def test_without_convergence_nothing_is_decided():
    found = measure_hessian(convex(), settings=HessianSettings(top=2, max_products=4), plan=PLAN).of("all")
    assert found.negative_curvature.verdict == UNDECIDED and not found.converged
    assert (found.top.residuals > 0).all()


def test_more_eigenvalues_than_parameters():
    of = subject(params=["8.bias"], subsets=["all"])
    found = measure_hessian(of, settings=HessianSettings(top=8, bottom=2), plan=PLAN).of("all")
    values = np.linalg.eigvalsh(dense(of, of.subsets[0])[2])
    np.testing.assert_allclose(found.top.values, values[::-1], atol=1e-12)
    assert len(found.top.values) == len(found.top.residuals) == 5 and len(found.bottom.values) == 2
    assert found.trace.low == found.trace.value == found.trace.high == pytest.approx(values.sum())


def test_a_diverged_network_is_reported_not_repaired():
    net = network()
    net[-1].weight.data[0, 0] = float("nan")
    found = measure_hessian(subject(net=net, subsets=["all"]), settings=SETTINGS, plan=PLAN).of("all")
    assert not found.finite and len(found.top.values) == 0 and np.isnan(found.top.outermost)
    assert np.isnan(found.loss) and np.isnan(found.trace.value) and found.negative_curvature.verdict == UNDECIDED


def test_products_added_up_from_classes_give_the_same_traces():
    alone = measure_hessian(subject(subsets=["balanced"]), settings=SETTINGS, plan=PLAN).of("balanced")
    shared = measured(torch.float64).of("balanced")
    assert shared.trace.value == pytest.approx(alone.trace.value, rel=1e-10)
    assert shared.products == alone.products - SETTINGS.probes
    np.testing.assert_array_equal(shared.top.values, alone.top.values)


def test_subsets_of_the_same_samples_and_weights_are_measured_once():
    even = subject(samples=samples((9, 9, 9)), train_counts=(60, 30, 15))
    seen = []
    result = measure_hessian(even, settings=SETTINGS, plan=PLAN, on_done=seen.append)
    assert {c.subset for c in seen} == {s.name for s in even.subsets}
    for twins in (("all", "balanced"), ("few", "class:2"), ("medium", "class:1")):
        first, second = (result.of(name) for name in twins)
        np.testing.assert_array_equal(first.top.values, second.top.values)
        assert first.trace == second.trace


@pytest.mark.parametrize("known", [pytest.param(1, marks=pytest.mark.exhaustive), 4, 7])
def test_what_is_known_already_is_not_measured_again_and_the_rest_is_the_same(known):
    (whole, seen), again = in_order(torch.float64, nn.GELU), []
    done = {c.subset: c for c in seen[:known]}
    result = measure_hessian(subject(), settings=SETTINGS, plan=PLAN, done=done, on_done=again.append)
    assert [c.subset for c in again] == [c.subset for c in seen[known:]]
    for one, other in zip(whole.curvatures, result.curvatures, strict=True):
        np.testing.assert_array_equal(one.top.values, other.top.values)
        np.testing.assert_array_equal(one.density.values, other.density.values)
        assert (one.trace, one.top_scaled) == (other.trace, other.top_scaled)


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
        if threading.current_thread() is threading.main_thread():  # what is checked beforehand passes
            return cross_entropy(logits, labels)
        seen.append(torch.get_num_threads())
        raise RuntimeError("loss failed")

    of = subject(loss=broken)
    with pytest.raises(RuntimeError, match="loss failed"):
        measure_hessian(of, settings=SETTINGS, plan=plan)
    assert seen and set(seen) == {1} and torch.get_num_threads() == before


def test_a_compressed_basis_gives_the_same_numbers():
    of = subject(subsets=["class:0", "class:2"])
    settings = HessianSettings(top=2, max_products=2000, tol=1e-6)
    whole = measure_hessian(of, settings=settings, plan=Plan(16, keep=1000)).curvatures
    small = measure_hessian(of, settings=settings, plan=Plan(16, keep=1000, basis=12)).curvatures
    for one, other in zip(whole, small, strict=True):
        assert one.converged and other.converged
        np.testing.assert_allclose(other.top.values, one.top.values, rtol=1e-6)
        np.testing.assert_allclose(other.bottom.values, one.bottom.values, rtol=1e-3)
        assert other.top_scaled.value == pytest.approx(one.top_scaled.value, rel=1e-6)
        assert other.density.values.size and np.isfinite(other.trace.value)


def test_more_eigenvalues_than_memory_holds_are_refused():
    of = subject(subsets=["class:0"])
    with pytest.raises(InputError, match="a basis of 12 vectors, of 16 that --top 5 and --bottom 1 need"):
        measure_hessian(of, plan=Plan(16, basis=12))


def test_a_neighbors_vectors_decide_nothing():
    of, settings = subject(subsets=["class:1", "class:2"]), HessianSettings(top=2, vectors=True, intervals=False)
    cold = measure_hessian(of, settings=settings)
    near = {one.subset: torch.as_tensor(one.top.vectors) for one in cold.curvatures}
    warm = measure_hessian(of, settings=settings, initial_vectors=near)
    for before, after in zip(cold.curvatures, warm.curvatures, strict=True):
        np.testing.assert_allclose(after.top.values, before.top.values, rtol=1e-5)
        assert after.trace.low <= before.trace.high and before.trace.low <= after.trace.high
