"""The spectrum as a measure: counts are those of the nodes, nothing lies beyond the extreme eigenvalues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser

from landscape.comparison.compare import compare
from landscape.comparison.spectrum import SpectralMeasure, spectra_of
from landscape.figures.spectra import _steps
from landscape.files.dimension_scales import make_scale
from landscape.report import write_report
from tests.landscape.altered import altered
from tests.landscape.report.browser import opened
from tests.landscape.report.synthetic import write_run

NODES = np.array([-2.0, -0.5, 0.0, 0.1, 1.0, 7.0])
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.2, 0.1, 0.1])


def with_nodes(file: Path) -> Path:
    with altered(file) as opened:
        group = opened["hessian/train"]
        size = len(group["top"])
        make_scale(group, "node", np.arange(len(NODES) + 1))
        for name, values in (("nodes", NODES), ("weights", WEIGHTS)):
            group[name] = np.tile(np.r_[values, np.nan], (size, 1))
            group[name].attrs["dims"] = '["subset", "node"]'
        group["top"][:, 0], group["bottom"][:, 0] = 7.0, -2.0
        group["top_residual"][:, 0], group["bottom_residual"][:, 0] = 0.01, 0.01
        group["top_residual"][:, 1:] = 99.0
    return file


def test_nodes_and_converged_eigenvalues_are_those_of_the_file(tmp_path: Path) -> None:
    compared = compare([with_nodes(write_run(tmp_path / "run" / "landscape.h5", points=5))])
    spectra = spectra_of(compared.runs[0], compared.rows, "train")
    assert len(spectra) == 15
    np.testing.assert_array_equal(spectra[4].nodes, NODES)
    np.testing.assert_allclose(spectra[4].weights, WEIGHTS)
    np.testing.assert_array_equal(spectra[4].converged, [-2.0, 7.0])
    nodes, share = spectra[4].beyond()
    np.testing.assert_array_equal(nodes, [-2.0, -0.5, 0.1, 1.0, 7.0])
    np.testing.assert_allclose(share, [0.1, 0.3, 0.4, 0.2, 0.1])


def test_a_smoothed_density_is_cut_at_the_extreme_eigenvalues(tmp_path: Path) -> None:
    compared = compare([write_run(tmp_path / "run" / "landscape.h5", points=5)])
    spectra = spectra_of(compared.runs[0], compared.rows, "train")
    columns = compared.table.views[0].columns[0]
    for row, spectrum in spectra.items():
        assert columns["bottom"].value[row] <= spectrum.nodes[0] and spectrum.nodes[-1] <= columns["top"].value[row]
        assert abs(spectrum.weights.sum() - 1) < 1e-12


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30, unique=True))
def test_steps_count_eigenvalues(values: list[float]) -> None:
    """Against counting by hand, between the nodes too, for a Hessian of these very eigenvalues."""
    nodes = np.sort(np.array(values))
    measure = SpectralMeasure(nodes, np.full(len(nodes), 1 / len(nodes)), nodes)
    x, share = _steps(measure, 1e-9)
    assert np.all(np.diff(x) >= 0)
    for i in range(1, len(x)):
        middle = (x[i - 1] + x[i]) / 2
        if x[i - 1] < middle < x[i] and x[i - 1] * x[i] > 0:
            beyond = np.sum(nodes >= middle) if middle > 0 else np.sum(nodes <= middle)
            np.testing.assert_allclose([share[i - 1], share[i]], max(beyond / len(nodes), 1e-9))


def test_the_page_draws_the_same_steps(browser: Browser, tmp_path: Path) -> None:
    file = with_nodes(write_run(tmp_path / "run" / "landscape.h5", points=5))
    report = write_report([file], tmp_path / "report.html").path
    compared = compare([file])
    measure = spectra_of(compared.runs[0], compared.rows, "train")[4]
    _, share = _steps(measure, 0.05)
    with opened(browser, report, address="#row=few") as page:
        drawn = page.plotted("spectrum", "Array.from(plot.data[0].y)")
        np.testing.assert_allclose(10 ** np.array(drawn), share, rtol=1e-5)
        assert page.plotted("spectrum", "plot.data[1].x.length") == 2
        page.page.locator("#spectrum [data-value=density]").click()
        ends = page.plotted("spectrum", "[plot.data[0].x[0], plot.data[0].x.at(-1)]")
        np.testing.assert_allclose(ends, [-2.0, 7.0], rtol=1e-6)
        assert "standard deviation 0.09" in page.page.locator("#spectrum .caption").inner_text()
