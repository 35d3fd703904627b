"""Packed numbers come back as they were: floats exactly, codes within their step, whatever is not finite."""

from __future__ import annotations

import base64

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landscape.comparison.packing import MINUS, NAN, PLUS, STEPS, ZERO, bytes_, codes, floats


def unpacked(packed: dict[str, object]) -> np.ndarray:
    """What the page's `unpack` does, written independently in Python."""
    raw = base64.b64decode(str(packed["b"]))
    if packed["t"] == "u1":
        return np.frombuffer(raw, "u1")
    if packed["t"] == "f4":
        return np.frombuffer(raw, "<f4").astype(float)
    code = np.frombuffer(raw, "<u2")
    low, high = float(packed["lo"]), float(packed["hi"])  # type: ignore[arg-type]
    values = low + code.astype(float) * (high - low) / STEPS
    values = np.exp(values) if packed["t"] == "log" else values
    for special, meaning in ((ZERO, 0.0), (MINUS, -np.inf), (PLUS, np.inf), (NAN, np.nan)):
        values[code == special] = meaning
    return values


anything = st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), max_size=40)


@given(anything)
def test_floats_are_exact(values: list[float]) -> None:
    np.testing.assert_array_equal(unpacked(floats(values)), np.array(values, dtype="f4").astype(float))


@given(st.lists(st.one_of(st.floats(1e-12, 1e12), st.sampled_from([0.0, np.nan, np.inf])), max_size=60))
def test_losses_keep_their_relative_size(values: list[float]) -> None:
    array = np.array(values)
    positive = array[np.isfinite(array) & (array > 0)]
    span = np.log(positive.max() / positive.min()) if positive.size else 0.0
    np.testing.assert_allclose(unpacked(codes(array)), array, rtol=max(span, 1.0) / STEPS)


@given(st.lists(st.one_of(st.floats(-1e9, 1e9), st.sampled_from([-np.inf, np.nan, np.inf])), min_size=1, max_size=60))
def test_differences_keep_their_absolute_size(values: list[float]) -> None:
    array = np.array([-1.0, *values])
    finite = array[np.isfinite(array)]
    span = max(float(finite.max() - finite.min()), 1.0)
    np.testing.assert_allclose(unpacked(codes(array)), array, rtol=0, atol=span / STEPS)


def test_a_loss_surface_is_finer_than_half_precision() -> None:
    values = np.geomspace(1e-5, 1e2, 1000)
    assert np.max(np.abs(unpacked(codes(values)) / values - 1)) < 2**-12


def test_bytes_are_statuses() -> None:
    assert unpacked(bytes_([0, 4, 255])).tolist() == [0, 4, 255]
