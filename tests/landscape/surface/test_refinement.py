from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.schema import FAILED, MEASURED, NON_FINITE, TODO
from landscape.surface.refinement import Refinement

EXACT_SURFACES = Path(__file__).parent / "exact_surfaces.npz"
"""Losses of `all`, `few` and the classes 0, 4 and 9 in 51 × 51 cells of random planes."""

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


def smooth(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([3 * a**2 + b**2, np.log1p(np.exp(8 * a - 3 * b)), 0.2 + np.cos(2 * a) * np.cos(3 * b) + 1])


def kinked(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([np.abs(a - 0.2 * b) * 4 + 0.1, np.maximum(a + b, 0) ** 2])


def field_over(shape: tuple[int, int], field: Field) -> np.ndarray:
    b, a = (np.linspace(-1, 1, n) for n in shape)
    return field(*np.meshgrid(a, b))


class Refined(NamedTuple):
    filled: np.ndarray
    error: np.ndarray
    kept: np.ndarray
    status: np.ndarray
    loss: np.ndarray

    def wrong(self, truth: np.ndarray) -> np.ndarray:
        """Errors of the interpolated losses, (S, cells)."""
        return np.abs(self.filled - truth)[:, self.status == TODO]

    def stated(self) -> np.ndarray:
        """What is stated of them, (S, cells)."""
        return self.error[:, self.status == TODO]


def refine(truth: np.ndarray, tolerance: float | None) -> Refined:
    """Lets a refinement see only what it asks for."""
    refinement = Refinement(truth.shape[1:], tolerance)
    loss, status = np.full_like(truth, np.nan), np.zeros(truth.shape[1:], dtype=np.int8)
    wanted = refinement.start()
    while wanted:
        for row, column in wanted:
            assert status[row, column] == TODO, "no cell is asked for twice"
            loss[:, row, column] = truth[:, row, column]
            status[row, column] = MEASURED if np.isfinite(loss[:, row, column]).all() else NON_FINITE
        wanted = refinement.more(loss, status)
    if (status == TODO).any():
        between = refinement.between({"loss": loss, "accuracy": np.clip(loss, 0, 1)}, status)
        accuracy = between.values["accuracy"]
        assert np.nanmin(accuracy) >= 0 and np.nanmax(accuracy) <= 1
        return Refined(between.values["loss"], between.error, between.kept_tolerance, status, loss)
    return Refined(loss, np.zeros_like(loss), np.zeros(len(loss)), status, loss)


@pytest.mark.parametrize("field", [smooth, kinked])
@pytest.mark.parametrize("shape", [(51, 51), (31, 45)])
def test_interpolated_cells_are_within_the_tolerance(field: Field, shape: tuple[int, int]) -> None:
    truth = field_over(shape, field)
    filled, _, _, status, _ = refine(truth, 0.01)
    unmeasured = status == TODO
    share = np.abs(filled - truth) / np.ptp(truth, axis=(1, 2))[:, None, None]
    assert (share[:, unmeasured] <= 0.01).mean(axis=1).min() >= 0.99
    assert unmeasured.mean() > 0.75


def test_the_stated_error_covers_the_true_one() -> None:
    for field in (smooth, kinked):
        truth = field_over((51, 51), field)
        refined = refine(truth, 0.02)
        assert (refined.wrong(truth) <= refined.stated()).mean(axis=1).min() >= 0.95
        assert not refined.error[:, refined.status == MEASURED].any()


def random_smooth(random: np.random.Generator, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Waves, a bowl and a softened wall."""
    field = random.uniform(0, 3) * a**2 + random.uniform(0, 3) * b**2
    for _ in range(random.integers(1, 5)):
        p, q = random.normal(size=2) * 2.5
        field = field + random.normal() * np.cos(p * a + q * b + random.uniform(0, 6.3))
    p, q = random.normal(size=2) * 4
    return np.asarray(field + abs(random.normal()) * np.logaddexp(0, p * a + q * b))


def random_kinked(random: np.random.Generator, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Creases and half-parabolas, as layers of ReLUs make them."""
    field = np.zeros_like(a)
    for _ in range(random.integers(1, 4)):
        p, q, r = random.normal(size=3) * [1.5, 1.5, 0.4]
        plane = p * a + q * b + r
        field = field + (np.abs(plane) if random.random() < 0.5 else np.maximum(plane, 0) ** 2)
    return field


def random_cliff(random: np.random.Generator, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A valley near 0 and walls up to fifty nats, as tail classes have them."""
    field = np.full_like(a, 10 ** random.uniform(-5, -1))
    for _ in range(random.integers(1, 3)):
        angle, power = random.uniform(0, 6.3), random.uniform(1, 2.5)
        beyond = np.maximum(np.cos(angle) * a + np.sin(angle) * b - random.uniform(-0.2, 0.6), 0)
        field = field + 10 ** random.uniform(0, 1.7) * beyond**power
    return field


SHAPES = ((51, 51), (31, 45), (41, 41))


def random_fields(seed: int) -> np.ndarray:
    """Three subsets of one kind, with rounding of its own."""
    random = np.random.default_rng(seed)
    kind = (random_smooth, random_kinked, random_cliff)[seed % 3]
    truth = field_over(SHAPES[seed // 3 % 3], lambda a, b: np.stack([kind(random, a, b) for _ in range(3)]))
    truth = truth - np.minimum(truth.min(axis=(1, 2), keepdims=True), 0)
    return np.asarray(truth * (1 + 1e-13 * random.standard_normal(truth.shape)))


def assert_statements_hold(seed: int) -> None:
    """Three unlike fields are harder than the classes of one network, whose creases lie at the same places."""
    truth = random_fields(seed)
    refined = refine(truth, 0.01)
    wrong, extent = refined.wrong(truth), np.ptp(truth, axis=(1, 2))[:, None]
    assert (wrong <= np.maximum(refined.kept, 0.01)[:, None] * extent).mean(axis=1).min() >= 0.97
    assert (wrong <= refined.stated()).mean(axis=1).min() >= 0.85


@pytest.mark.parametrize("seed", range(6))
def test_statements_hold_on_random_fields(seed: int) -> None:
    assert_statements_hold(seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(6, 60))
def test_statements_hold_on_many_random_fields(seed: int) -> None:
    assert_statements_hold(seed)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_rounding_changes_no_choice(scale: float) -> None:
    truth = scale * field_over((31, 45), smooth)
    noise = np.random.default_rng(0).standard_normal(truth.shape)
    counts = [int((refine(truth * (1 + 1e-15 * size * noise), 0.01).status == TODO).sum()) for size in (0, 1, 10)]
    assert max(counts) - min(counts) <= 0.02 * truth[0].size


def test_what_is_stated_on_surfaces_of_trained_networks() -> None:
    """Of the 15 subsets, 14 are covered in 95 % of their cells by statements at most twice as large as the errors.

    The other one, the class of smallest range, is covered in fewer: 60 held-out cells know a 95th percentile within a
    quarter. Every cell was measured: `cnn` on the digits, imbalance 50, in two planes of one network and
    one of another.
    """
    covered, inflated = [], []
    for truth in np.load(EXACT_SURFACES).values():
        refined = refine(truth.astype(np.float64), 0.01)
        wrong, stated, extent = refined.wrong(truth), refined.stated(), np.ptp(truth, axis=(1, 2))
        covered += list((wrong <= stated).mean(axis=1))
        inflated += list(np.quantile(stated, 0.95, axis=1) / np.quantile(wrong, 0.95, axis=1))
        assert (refined.status == MEASURED).mean() <= 0.15
        assert (wrong <= np.maximum(refined.kept, 0.01)[:, None] * extent[:, None]).mean(axis=1).min() >= 0.99
    holds = (np.array(covered) >= 0.95) & (np.array(inflated) <= 2.0)
    assert len(holds) == 15 and holds.sum() >= 14
    assert min(covered) >= 0.80 and max(inflated) <= 2.5


def test_a_subset_too_rough_for_the_tolerance_says_what_it_keeps() -> None:
    """What lies between the coarse cells and shows in none of them is stated as soon as a held-out cell meets it."""
    noise = 0.2 * np.random.default_rng(0).standard_normal((31, 45))
    truth = np.stack([field_over((31, 45), smooth)[0], 3 + noise])
    refinement = Refinement((31, 45), 0.5)
    loss, status = np.full_like(truth, np.nan), np.zeros((31, 45), dtype=np.int8)
    for ask in (refinement.start, lambda: refinement.more(loss, status)):
        for cell in ask():
            loss[(slice(None), *cell)], status[cell] = truth[(slice(None), *cell)], MEASURED
    between = refinement.between({"loss": loss}, status)
    wrong = np.abs(between.values["loss"] - truth)[:, status == TODO] / np.ptp(truth, axis=(1, 2))[:, None]
    assert between.kept_tolerance[1] > 0.1 > between.kept_tolerance[0]
    assert ((wrong <= between.kept_tolerance[:, None]).mean(axis=1) >= 0.98).all()


def test_interpolated_losses_never_reach_below_the_smallest_measured() -> None:
    """A cubic overshoots beside a cliff; to 0 it would be a hole on a logarithmic scale."""
    truth = field_over((51, 51), lambda a, b: np.stack([1e-6 + 20 * np.maximum(a + 0.3 * b, 0) ** 2]))
    filled, _, _, _, loss = refine(truth, 0.05)
    assert filled.min() == np.nanmin(loss) == 1e-6


def test_smaller_tolerances_measure_more() -> None:
    truth = field_over((51, 51), kinked)
    counts = [(refine(truth, tolerance).status == MEASURED).sum() for tolerance in (0.05, 0.02, 0.01)]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_measured_cells_keep_their_values_exactly() -> None:
    filled, _, _, status, loss = refine(field_over((41, 41), smooth), 0.01)
    assert np.array_equal(filled[:, status == MEASURED], loss[:, status == MEASURED])


@given(rows=st.integers(1, 13), columns=st.integers(3, 13))
@settings(max_examples=20, deadline=None)
def test_without_a_tolerance_every_cell_is_measured(rows: int, columns: int) -> None:
    truth = np.arange(2 * rows * columns, dtype=float).reshape(2, rows, columns)
    filled, _, _, status, _ = refine(truth, None)
    assert (status == MEASURED).all() and np.array_equal(filled, truth)


@given(rows=st.integers(3, 20), columns=st.integers(3, 20), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_any_shape_ends_with_finite_cells(rows: int, columns: int, seed: int) -> None:
    noise = np.random.default_rng(seed).exponential(size=(3, rows, columns))
    filled, error, _, status, _ = refine(noise, 0.05)
    assert np.isfinite(filled).all() and np.isfinite(error).all() and set(np.unique(status)) <= {TODO, MEASURED}


def test_a_line_is_measured_whole() -> None:
    assert (refine(np.ones((2, 1, 51)), 0.01).status == MEASURED).all()


def test_a_constant_surface_needs_the_coarse_grid_only() -> None:
    filled, error, _, status, _ = refine(np.full((2, 51, 51), 2.3), 0.01)
    assert (status == MEASURED).sum() == 81
    np.testing.assert_allclose(filled, 2.3, rtol=1e-9)
    assert error.max() < 1e-9


def test_nothing_is_interpolated_next_to_what_is_not_finite() -> None:
    truth = field_over((41, 41), smooth)
    truth[:, 25:, 25:] = np.nan
    filled, _, _, status, _ = refine(truth, 0.01)
    hole = np.isnan(truth[0])
    assert (status[hole] != TODO).all() and np.isnan(filled[:, hole]).all()
    assert np.isfinite(filled[:, ~hole & (status != NON_FINITE)]).all()


def test_too_few_finite_cells_are_never_interpolated_from() -> None:
    truth = np.full((1, 21, 21), np.nan)
    truth[0, 10, 10] = 1.0
    assert (refine(truth, 0.01).status != TODO).all()


def test_failed_cells_count_as_broken() -> None:
    truth = field_over((21, 21), smooth)
    refinement = Refinement((21, 21), 0.01)
    loss, status = np.full_like(truth, np.nan), np.zeros((21, 21), dtype=np.int8)
    for cell in refinement.start():
        loss[(slice(None), *cell)], status[cell] = truth[(slice(None), *cell)], MEASURED
    loss[:, 10, 10], status[10, 10] = np.nan, FAILED
    for cell in refinement.more(loss, status):  # those that are held out
        loss[(slice(None), *cell)], status[cell] = truth[(slice(None), *cell)], MEASURED
    around = {cell for cell in refinement.more(loss, status) if max(abs(cell[0] - 10), abs(cell[1] - 10)) <= 2}
    assert around
