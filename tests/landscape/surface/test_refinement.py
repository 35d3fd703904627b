from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.schema import FAILED, MEASURED, NON_FINITE, TODO
from landscape.surface.refinement import Refinement

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


def smooth(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([3 * a**2 + b**2, np.log1p(np.exp(8 * a - 3 * b)), 0.2 + np.cos(2 * a) * np.cos(3 * b) + 1])


def kinked(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([np.abs(a - 0.2 * b) * 4 + 0.1, np.maximum(a + b, 0) ** 2])


def field_over(shape: tuple[int, int], field: Field) -> np.ndarray:
    b, a = (np.linspace(-1, 1, n) for n in shape)
    return field(*np.meshgrid(a, b))


def refine(truth: np.ndarray, tolerance: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
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
        values, error = refinement.between({"loss": loss, "accuracy": np.clip(loss, 0, 1)}, status)
        filled = values["loss"]
        assert np.nanmin(values["accuracy"]) >= 0 and np.nanmax(values["accuracy"]) <= 1
    else:
        filled, error = loss, np.zeros_like(loss)
    return filled, error, status, loss


@pytest.mark.parametrize("field", [smooth, kinked])
@pytest.mark.parametrize("shape", [(51, 51), (31, 45)])
def test_interpolated_cells_are_within_the_tolerance(field: Field, shape: tuple[int, int]) -> None:
    truth = field_over(shape, field)
    filled, _, status, _ = refine(truth, 0.01)
    unmeasured = status == TODO
    share = np.abs(filled - truth) / np.ptp(truth, axis=(1, 2))[:, None, None]
    assert (share[:, unmeasured] <= 0.01).mean(axis=1).min() >= 0.99
    assert unmeasured.mean() > 0.75


def test_the_stated_error_covers_the_true_one() -> None:
    for field in (smooth, kinked):
        truth = field_over((51, 51), field)
        filled, error, status, _ = refine(truth, 0.02)
        wrong = np.abs(filled - truth)[:, status == TODO]
        assert (wrong <= error[:, status == TODO]).mean(axis=1).min() >= 0.95
        assert not error[:, status == MEASURED].any()


def test_interpolated_losses_never_reach_below_the_smallest_measured() -> None:
    """A cubic overshoots beside a cliff; to 0 it would be a hole on a logarithmic scale."""
    truth = field_over((51, 51), lambda a, b: np.stack([1e-6 + 20 * np.maximum(a + 0.3 * b, 0) ** 2]))
    filled, _, _, loss = refine(truth, 0.05)
    assert filled.min() == np.nanmin(loss) == 1e-6


def test_smaller_tolerances_measure_more() -> None:
    truth = field_over((51, 51), kinked)
    counts = [(refine(truth, tolerance)[2] == MEASURED).sum() for tolerance in (0.05, 0.02, 0.01)]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_measured_cells_keep_their_values_exactly() -> None:
    filled, _, status, loss = refine(field_over((41, 41), smooth), 0.01)
    assert np.array_equal(filled[:, status == MEASURED], loss[:, status == MEASURED])


@given(rows=st.integers(1, 13), columns=st.integers(3, 13))
@settings(max_examples=20, deadline=None)
def test_without_a_tolerance_every_cell_is_measured(rows: int, columns: int) -> None:
    truth = np.arange(2 * rows * columns, dtype=float).reshape(2, rows, columns)
    filled, _, status, _ = refine(truth, None)
    assert (status == MEASURED).all() and np.array_equal(filled, truth)


@given(rows=st.integers(3, 20), columns=st.integers(3, 20), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_any_shape_ends_with_finite_cells(rows: int, columns: int, seed: int) -> None:
    noise = np.random.default_rng(seed).exponential(size=(3, rows, columns))
    filled, error, status, _ = refine(noise, 0.05)
    assert np.isfinite(filled).all() and np.isfinite(error).all() and set(np.unique(status)) <= {TODO, MEASURED}


def test_a_line_is_measured_whole() -> None:
    assert (refine(np.ones((2, 1, 51)), 0.01)[2] == MEASURED).all()


def test_a_constant_surface_needs_the_coarse_grid_only() -> None:
    filled, error, status, _ = refine(np.full((2, 51, 51), 2.3), 0.01)
    assert (status == MEASURED).sum() == 81
    np.testing.assert_allclose(filled, 2.3, rtol=1e-9)
    assert error.max() < 1e-9


def test_nothing_is_interpolated_next_to_what_is_not_finite() -> None:
    truth = field_over((41, 41), smooth)
    truth[:, 25:, 25:] = np.nan
    filled, _, status, _ = refine(truth, 0.01)
    hole = np.isnan(truth[0])
    assert (status[hole] != TODO).all() and np.isnan(filled[:, hole]).all()
    assert np.isfinite(filled[:, ~hole & (status != NON_FINITE)]).all()


def test_too_few_finite_cells_are_never_interpolated_from() -> None:
    truth = np.full((1, 21, 21), np.nan)
    truth[0, 10, 10] = 1.0
    assert (refine(truth, 0.01)[2] != TODO).all()


def test_failed_cells_count_as_broken() -> None:
    truth = field_over((21, 21), smooth)
    refinement = Refinement((21, 21), 0.01)
    loss, status = np.full_like(truth, np.nan), np.zeros((21, 21), dtype=np.int8)
    for cell in refinement.start():
        loss[(slice(None), *cell)], status[cell] = truth[(slice(None), *cell)], MEASURED
    loss[:, 10, 10], status[10, 10] = np.nan, FAILED
    around = {cell for cell in refinement.more(loss, status) if max(abs(cell[0] - 10), abs(cell[1] - 10)) <= 2}
    assert around
