"""A landscape file in a notebook: xarray, figures, and a summary of itself."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from foundation.errors import InputError
from landscape.notebook import LandscapeFile, open
from tests.landscape.report.synthetic import write_run


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> LandscapeFile:
    folder = tmp_path_factory.mktemp("runs") / "ce"
    names = ("<b>T-shirt</b>", *(f"class {c}" for c in range(1, 10)))
    return open(write_run(folder / "landscape.h5", names=names, points=7))


def test_xarray_holds_the_files_numbers(file: LandscapeFile) -> None:
    with h5py.File(file.path) as opened:
        hessian = file.hessian()
        np.testing.assert_array_equal(hessian.top.sel(subset="few"), opened["hessian/train/top"][4])
        surface = file.surface()
        assert surface.loss.dims == ("subset", "b", "a")
        np.testing.assert_array_equal(surface.a, opened["surface/train/a"][()])
        np.testing.assert_array_equal(file.sharpness("test").radius, [0.05, 0.1, 0.2])
        np.testing.assert_array_equal(file.evaluation("test").accuracy, opened["evaluation/test/accuracy"][()])
        assert float(file.summary().trace.sel(subset="class:9")) == opened["hessian/train/trace"][14]
    assert hessian.attrs["split"] == "train"


def test_it_shows_itself_with_names_as_text(file: LandscapeFile) -> None:
    assert "hessian/train: 15 subsets" in repr(file)
    shown = file._repr_html_()
    assert "&lt;b&gt;T-shirt&lt;/b&gt;" in shown and "<b>T-shirt" not in shown


def test_plots_are_plotly_figures_of_those_numbers(file: LandscapeFile) -> None:
    measure = file.plot_measure("trace", "test")
    np.testing.assert_array_equal(measure.data[0].y, file.hessian("test").trace[5:])
    assert measure.layout.xaxis.ticktext[0] == "&lt;b&gt;T-shirt&lt;/b&gt;"
    spectrum = file.plot_spectrum("few")
    top = float(file.hessian().top.sel(subset="few")[0])
    assert max(spectrum.data[0].x) <= top and max(spectrum.data[1].x) <= top
    assert all(np.all(np.diff(trace.y[np.argsort(trace.x)]) <= 0) for trace in spectrum.data)
    for flat, kind in ((True, "contour"), (False, "surface")):
        surface = file.plot_surface("class:3", flat=flat)
        assert surface.data[0].type == kind
        np.testing.assert_allclose(10 ** surface.data[0].z, file.surface().loss.sel(subset="class:3"))


def test_unknown_names_are_one_sentence(file: LandscapeFile) -> None:
    for ask, words in (
        (lambda: file.hessian("validation"), "unknown hessian measurement 'validation'"),
        (lambda: file.plot_measure("size"), "unknown measure 'size'"),
        (lambda: file.plot_surface("class:77"), "unknown subset 'class:77'"),
        (lambda: file.summary("validation"), "unknown measurement 'validation'"),
    ):
        with pytest.raises(InputError, match=words):
            ask()
