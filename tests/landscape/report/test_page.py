"""The page in a browser: every panel, control and theme, with no error and no request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from landscape.report import write_report
from tests.landscape.report.browser import Opened, opened, started
from tests.landscape.report.synthetic import write_run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    first = write_run(folder / "ce" / "landscape.h5", surface=("train", "test"), spoil=True)
    second = write_run(folder / "bgp" / "landscape.h5", sharpness=0.25, seed=1, surface=("train", "test"))
    return write_report([first, second], folder / "report.html").path


def surface(page: Opened) -> object:
    return page.plotted("surface", "plot.data.filter((t) => t.type === 'contour').map((t) => t.z[10].slice(5, 9))")


def test_choosing_another_class_changes_every_panel(browser: Browser, report: Path) -> None:
    with opened(browser, report) as page:
        before = surface(page), page.plotted("density", "Array.from(plot.data[0].x.slice(0, 3))")
        page.page.locator("#verdicts .tile").nth(3).click()
        assert page.page.locator("tr.selected td.name").first.inner_text() == "Dress"
        assert page.page.locator("[role=combobox]").first.input_value() == "Dress"
        assert surface(page) != before[0]
        assert page.plotted("density", "Array.from(plot.data[0].x.slice(0, 3))") != before[1]
        assert "row=class%3A3" in page.page.url
