"""The page in a browser: every panel, control and theme, with no error and no request."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from landscape.comparison.formatting import figure
from landscape.report import write_report
from tests.landscape.altered import altered
from tests.landscape.report.browser import Opened, opened
from tests.landscape.report.synthetic import NAMES, write_run

PANELS = ("explorer", "spectrum", "surface", "matrix", "line", "curves")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    options = {"surface": ("train", "test"), "points": 11, "deep": True}
    first = write_run(folder / "ce" / "landscape.h5", spoil=True, trajectory=True, **options)
    second = write_run(folder / "bgp" / "landscape.h5", sharpness=0.25, seed=1, matched=True, **options)
    return write_report([first, second], folder / "report.html").path


@pytest.fixture(scope="module")
def shared(browser: Browser, report: Path) -> Iterator[Opened]:
    """One open page for tests that leave nothing behind but its state, for opening takes seconds."""
    with opened(browser, report) as page:
        yield page


@pytest.fixture
def page(shared: Opened) -> Iterator[Opened]:
    """The page in its first state: the address is all of it."""
    at(shared, "")
    yield shared
    assert shared.errors == [] and shared.requests == []


def at(page: Opened, state: str) -> None:
    page.page.evaluate(f"location.hash = {state!r}")


def heights(page: Opened) -> object:
    return page.plotted("surface", "plot.data.filter((t) => t.z && t.z.length > 1).map((t) => t.z[4].slice(2, 6))")


def numbers(page: Opened, panel: str) -> object:
    """Everything a panel shows as numbers and texts, to see whether it changed."""
    if panel not in PANELS:
        return page.page.locator(f"#{panel} .body").inner_text()
    return page.plotted(
        panel, "JSON.stringify([plot.data, plot.layout.coloraxis, plot.layout.scene, plot.layout.shapes])"
    )


def test_choosing_another_class_changes_every_panel(page: Opened) -> None:
    before = {panel: numbers(page, panel) for panel in PANELS}
    surface = heights(page)
    page.page.locator("#verdicts .tile").nth(3).click()
    assert page.page.locator("tr.selected td.name").first.inner_text() == "Dress"
    assert page.page.locator("[role=combobox]").first.input_value() == "Dress"
    assert page.page.locator("#announce").inner_text() == "Dress, train"
    assert heights(page) != surface
    assert all(numbers(page, panel) != before[panel] for panel in PANELS)
    assert "row=class%3A3" in page.page.url


def test_a_class_is_chosen_from_table_search_keys_headline_and_address(page: Opened) -> None:
    at(page, "row=class%3A5")
    box = page.page.locator("[role=combobox]").first
    assert box.input_value() == "Sandal"
    page.page.locator("tbody tr", has_text="Coat").first.click()
    assert box.input_value() == "Coat"
    box.fill("boot")
    box.press("Enter")
    assert box.input_value() == "Ankle boot"
    page.page.locator("h1").click()
    page.page.keyboard.press("[")
    assert box.input_value() == "Bag"
    page.page.locator("#verdicts .tile.selected").first.focus()
    page.page.keyboard.press("ArrowLeft")
    assert box.input_value() == "Sneaker"
    page.page.locator(".answers button.link").first.click()
    assert box.input_value() in ("Bag", "Ankle boot")
    page.page.evaluate("location.hash = '#row=few&y=trace'")
    assert box.input_value() == "few"
    page.settle("explorer")
    assert "Hessian trace" in page.page.locator("#explorer .caption").inner_text()
    points = page.page.locator("#explorer .points path")
    points.nth(2).scroll_into_view_if_needed()
    place = points.nth(2).bounding_box()
    assert place is not None
    page.page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    assert box.input_value() == "Pullover"


@pytest.mark.parametrize(("dark", "width"), [pytest.param(False, 1280, marks=pytest.mark.exhaustive), (True, 2560)])
def test_every_control_changes_what_is_shown(browser: Browser, report: Path, dark: bool, width: int) -> None:
    with opened(browser, report, dark=dark, width=width, address="#row=class%3A4") as page:
        assert page.page.locator("html").get_attribute("data-theme") == ("dark" if dark else "light")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width

        def changes(panel: str, act: object) -> None:
            before = numbers(page, panel)
            act()  # type: ignore[operator]
            assert numbers(page, panel) != before, panel

        find = page.page.locator
        changes("surface", find("#surface [data-value='3d']").click)
        changes("surface", lambda: find("#surface select[data-key=quantity]").select_option("accuracy"))
        changes("surface", lambda: find("#surface select[data-key=quantity]").select_option("rise"))
        changes("surface", find("#surface [data-value='contour']").click)
        changes("surface", lambda: find("#surface select[data-key=quantity]").select_option("loss"))
        changes("surface", lambda: find("#surface input[data-key=log]").click())
        changes("surface", lambda: find("#surface input[data-key=clip]").fill("60"))
        changes("surface", find("#surface input[data-key=points]").click)
        changes("surface", find("#surface input[data-key=path]").click)
        changes("surface", find("#toolbar [data-value=test]").click)
        changes("explorer", lambda: find("#explorer select[data-key=y]").select_option("accuracy"))
        changes("explorer", find("#explorer input[data-key=errors]").click)
        changes("explorer", lambda: find("#explorer select[data-key=x]").select_option("top"))
        changes("spectrum", find("#spectrum [data-value=density]").click)
        find("#pin").click()
        changes("spectrum", find("#verdicts .tile").first.click)
        changes("matrix", lambda: find("#matrix select[data-key=matrixRun]").select_option("1"))
        for kind in ("overlap", "share", "layer_top", "cross"):
            changes("matrix", lambda kind=kind: find("#matrix select[data-key=matrix]").select_option(kind))
        changes("line", find("#line [data-value=accuracy]").click)
        changes("curves", find("#curves [data-value=loss]").click)
        changes("summary", find("th [data-sort=top]").click)
        changes("summary", find("th [data-sort=top]").click)
        changes("summary", find("#summary [data-value=groups]").click)
        changes("summary", lambda: find("#summary input").fill("shirt"))
        changes("surface", find(".chip").nth(1).click)
        changes("spectrum", find("#theme").click)
        state = page.page.url
        for word in ("view=test", "form", "y=accuracy", "x=top", "pin=class%3A4", "hidden=1", "spectrum=density"):
            assert word in state or word == "form"


def test_the_detail_shows_held_out_figures_and_every_sample_of_a_small_class(page: Opened, report: Path) -> None:
    with h5py.File(report.parent / "ce" / "landscape.h5") as file:
        group = file["hessian/train"]
        held, error = float(group["top_held_out"][5, 0]), 1.959964 * float(group["top_held_out_se"][5, 0])
        single = group["top_samples"][14, :6]
        rank, rank_error = float(group["effective_rank"][5]), 1.959964 * float(group["effective_rank_se"][5])
    at(page, "row=class%3A0")
    detail = page.page.locator("#detail")
    assert f"held out {figure(held)} ({figure(held - error)} to {figure(held + error)})" in detail.inner_text()
    interval = f"({figure(rank - rank_error)} to {figure(rank + rank_error)})"
    assert f"effective rank {figure(rank)} {interval}" in detail.inner_text()
    assert "found on one half of the samples" in detail.inner_text()
    assert detail.locator("circle").count() == 0
    page.page.locator("#verdicts .tile").nth(9).click()
    assert "held out" not in detail.inner_text().lower()
    dots = detail.locator(".runs > div").first.locator("svg").first.locator("circle title").all_text_contents()
    assert dots == [figure(float(value)) for value in single]
    page.page.locator(".chip").first.click()
    assert detail.locator("svg").count() == 2


def test_matrices_of_layers_and_shares_show_the_files_numbers(page: Opened, report: Path) -> None:
    with h5py.File(report.parent / "bgp" / "landscape.h5") as file:
        layers, share = file["hessian/train/layer_top"][5:], file["hessian/train/share"][:, 5:]
    at(page, "matrix=layer_top&matrixRun=1")
    np.testing.assert_allclose(page.plotted("matrix", "plot.data[0].z"), np.log10(layers.T), rtol=1e-6)
    assert page.plotted("matrix", "plot.layout.yaxis.ticktext") == ["conv1", "conv2", "head"]
    page.page.locator("#matrix select[data-key=matrix]").select_option("share")
    shown = np.array(page.plotted("matrix", "plot.data[0].z"), dtype=float)
    np.testing.assert_allclose(shown, share, rtol=1e-6)
    assert page.plotted("matrix", "plot.layout.yaxis.ticktext") == ["λ₁", "λ₂", "λ₃", "λ₄", "λ₅"][: len(share)]
    place = page.page.locator("#matrix .nsewdrag").bounding_box()
    assert place is not None
    page.page.mouse.move(place["x"] + 0.75 * place["width"], place["y"] + 0.3 * place["height"])
    page.page.mouse.click(place["x"] + 0.75 * place["width"], place["y"] + 0.3 * place["height"])
    assert page.page.locator("[role=combobox]").first.input_value() == NAMES[7]


def test_each_class_of_the_summary_sorts_by_its_value(page: Opened) -> None:
    page.page.locator("#summary [data-value=classes]").click()
    page.page.locator("th [data-sort=top]").click()
    texts = page.page.locator("#summary tbody td:nth-child(6)").all_inner_texts()
    values = [float(re.split(r"[÷×=\s]", text)[0].replace(",", "")) for text in texts]
    assert values == sorted(values, reverse=True)
    assert page.page.locator("th[aria-sort=descending]").count() == 1


def test_what_an_address_names_and_the_page_has_not_is_the_default(page: Opened) -> None:
    for address in ("", "line=elsewhere&matrix=none&matrixRun=7"):
        page.page.locator("#line [data-value=accuracy]").click()
        at(page, address)
        assert page.plotted("line", "plot.data.length") == 2
        assert page.plotted("matrix", "plot.data[0].z.length") > 1


def test_every_panel_saves_its_numbers(page: Opened) -> None:
    for panel in ("verdicts", "summary", *PANELS):
        lines = list(csv.reader(io.StringIO(saved(page, panel, "CSV").decode("utf-8"))))
        assert len(lines) > 5
        assert len({len(line) for line in lines}) == 1


def test_a_surface_saves_its_picture(page: Opened) -> None:
    page.settle("surface")
    assert saved(page, "surface", "PNG").startswith(b"\x89PNG")
    assert b"<svg" in saved(page, "surface", "SVG")[:200]


def saved(page: Opened, panel: str, form: str) -> bytes:
    page.page.locator(f"#{panel} .exports summary").click()
    with page.page.expect_download() as waiting:
        page.page.locator(f"#{panel} .exports button[data-save={form}]").click()
    assert waiting.value.suggested_filename == f"{panel}.{form.lower()}"
    return Path(waiting.value.path()).read_bytes()


def test_cameras_turn_together(browser: Browser, report: Path) -> None:
    with opened(browser, report, address="#form=3d") as page:
        page.settle("surface")
        eyes = "[plot.layout.scene.camera.eye.x, plot.layout.scene2.camera.eye.x]"
        before = page.plotted("surface", eyes)
        box = page.page.locator("#surface .gl-container").bounding_box()
        assert box is not None
        page.page.mouse.move(box["x"] + 150, box["y"] + 200)
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + 260, box["y"] + 240, steps=4)
        page.page.mouse.up()
        after = page.plotted("surface", eyes)
        assert isinstance(after, list) and isinstance(before, list)
        assert after[0] != before[0]
        assert after[0] == after[1]
        # 10×10 cells of two triangles; at two corners that are not finite three triangles are left open.
        assert page.plotted("surface", "plot.data.filter((t) => t.i).map((t) => t.i.length)") == [197, 200]
        page.page.locator("#surface [data-value=contour]").click()
        assert page.plotted("surface", "plot.data[0].type") == "contour"
        page.page.locator("#surface [data-value='3d']").click()
        assert page.plotted("surface", eyes) == after
        assert page.page.locator("#surface .js-plotly-plot").count() == 2
        page.page.locator("#surface #scene canvas").click(position={"x": 150, "y": 200})
        page.page.mouse.wheel(0, -200)
        frames = 0
        while page.plotted("surface", eyes) == after:  # the wheel is answered in a later frame
            page.page.evaluate("() => new Promise(requestAnimationFrame)")
            assert (frames := frames + 1) < 500
        page.page.evaluate("() => new Promise(requestAnimationFrame)")
        page.page.locator("#surface .reset").click()
        assert page.plotted("surface", eyes) == pytest.approx(before)


def test_printing_shows_every_panel(browser: Browser, report: Path) -> None:
    with opened(browser, report, dark=True) as page:
        pdf = page.page.pdf()
        assert pdf.startswith(b"%PDF")
        for panel in PANELS:
            assert page.page.locator(f"#{panel} .js-plotly-plot").count() == 1


@pytest.mark.exhaustive
@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False), (1280, True)])
def test_axe_finds_nothing_to_mend(browser: Browser, report: Path, width: int, dark: bool) -> None:
    with opened(browser, report, width=width, dark=dark, address="#row=class%3A9") as page:
        for panel in PANELS:
            page.settle(panel)
        page.page.evaluate("document.querySelectorAll('details').forEach((closed) => { closed.open = true; })")
        assert Axe().run(page.page).response["violations"] == []
        page.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
        assert Axe().run(page.page).violations_count == 1  # a button without a name
        assert page.page.locator("html").get_attribute("lang") == "en"
        assert page.page.locator("h1").count() == 1


def test_a_phone_shows_everything_by_name_without_scrolling_sideways(browser: Browser, report: Path) -> None:
    with opened(browser, report, width=390) as page:
        for panel in PANELS:
            page.settle(panel)
            assert page.page.locator(f"#{panel} .body").bounding_box()["width"] > 300
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
        domains = page.plotted("surface", "[plot.layout.xaxis.domain, plot.layout.xaxis2.domain]")
        assert domains[0] == domains[1]  # the runs lie below each other
        nameless = page.page.evaluate(
            """[...document.querySelectorAll('button, select, input, [role=img]')]
            .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')))
            .map((e) => e.outerHTML.slice(0, 80))"""
        )
        assert nameless == []


def test_rows_are_chosen_by_the_keyboard_and_every_panel_says_what_it_is(page: Opened) -> None:
    page.page.locator("#summary td.name button", has_text="Coat").focus()
    page.page.keyboard.press("Enter")
    assert page.page.locator("[role=combobox]").first.input_value() == "Coat"
    panels = page.page.locator("main > .panel:has(.body)").count()
    assert page.page.locator("main > .panel .what").count() >= panels
    what = page.page.locator("#spectrum .what")
    what.locator("summary").focus()
    page.page.keyboard.press("Enter")
    assert "eigenvalues" in what.locator("p").inner_text()


def test_held_out_intervals_of_four_runs_stay_inside_their_panel(browser: Browser, tmp_path: Path) -> None:
    files = [
        write_run(tmp_path / f"run-{i}" / "landscape.h5", seed=i, points=5, deep=True, splits=("train",))
        for i in range(4)
    ]
    report = write_report(files, tmp_path / "report.html").path
    with opened(browser, report, width=390, address="#row=few") as page:
        for width in (390, 1440):
            page.page.set_viewport_size({"width": width, "height": 800})
            assert "held out" in page.page.locator("#detail").inner_text()
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width
            boxes = [figure.bounding_box() for figure in page.page.locator("#detail .figure").all()]
            assert len(boxes) > 4
            for i, one in enumerate(boxes):
                assert all(apart(one, other) for other in boxes[i + 1 :])


def apart(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two boxes overlap nowhere."""
    ends = (("x", "width"), ("y", "height"))
    return any(a[at] + a[size] <= b[at] + 1 for at, size in ends for a, b in ((one, other), (other, one)))


def test_a_difference_is_offered_only_over_the_same_points(browser: Browser, report: Path, tmp_path: Path) -> None:
    with opened(browser, report) as page:  # two networks, each with random directions of its own
        page.settle("surface")
        assert page.page.locator("#surface input[data-key=difference]").count() == 0
    files = [write_run(tmp_path / name / "landscape.h5", points=5, seed=i) for i, name in enumerate(("eval", "fresh"))]
    for file in files:
        with altered(file) as opened_file:
            opened_file.attrs["checkpoint_sha256"] = "c" * 64  # one network, measured in two ways
    both = write_report(files, tmp_path / "report.html").path
    with h5py.File(files[0]) as first, h5py.File(files[1]) as second:
        expected = second["surface/train/loss"][4] - first["surface/train/loss"][4]
    with opened(browser, both, address="#row=few&log=false") as page:
        page.settle("surface")
        page.page.locator("#surface input[data-key=difference]").click()
        drawn = page.plotted("surface", "plot.data.find((trace) => trace.type === 'contour').z")
        np.testing.assert_allclose(drawn, expected, atol=2e-4 * np.abs(expected).max())
        assert "blue is lower" in page.page.locator("#surface .caption").inner_text()


def test_an_interpolated_cell_tells_its_stated_error(page: Opened) -> None:
    at(page, "row=few")
    told = page.plotted("surface", "plot.data.find((trace) => trace.type === 'contour').text.flat()")
    assert sum("(interpolated, estimated error 0.01)" in text for text in told) == 29  # 6 lines with 5, but one
    page.page.locator("#surface select[data-key=quantity]").select_option("accuracy")
    told = page.plotted("surface", "plot.data.find((trace) => trace.type === 'contour').text.flat()")
    assert not any("estimated error" in text for text in told)


@pytest.mark.exhaustive
def test_charts_are_zoomed_by_the_wheel_and_read_by_keys(browser: Browser, report: Path) -> None:
    with opened(browser, report, address="#row=few") as page:
        said, range_ = page.page.locator("#announce"), "plot.layout.xaxis.range"
        before = page.plotted("surface", range_)
        ground = page.page.locator("#surface .nsewdrag").first
        ground.hover(position={"x": 90, "y": 90})
        page.page.mouse.wheel(0, -20)
        assert page.plotted("surface", range_) == before  # the wheel scrolls the page until the chart is clicked
        ground.click(position={"x": 90, "y": 90})
        page.page.mouse.wheel(0, -60)
        page.page.locator("#surface .reset").wait_for()
        assert page.plotted("surface", range_) != before
        page.page.locator("#surface .reset").click()
        assert page.plotted("surface", range_) == before
        page.settle("explorer")
        page.page.locator("#explorer .js-plotly-plot").focus()
        for key in (
            *["ArrowDown"] * 9,
            "ArrowRight",
            "ArrowRight",
        ):  # behind the levels of all and three groups in two runs
            page.page.keyboard.press(key)
        assert NAMES[2] in said.inner_text() and "training samples, " in said.inner_text()
        page.page.keyboard.press("Enter")
        assert page.page.locator("[role=combobox]").first.input_value() == NAMES[2]
        page.settle("matrix")
        page.page.locator("#matrix .js-plotly-plot").focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
            page.page.keyboard.press(key)
        assert page.page.locator("[role=combobox]").first.input_value() == NAMES[1]
