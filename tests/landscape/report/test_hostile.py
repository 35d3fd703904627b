"""Names that try to run, files with parts missing, and everything a measurement can go wrong with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from foundation.errors import InputError
from landscape.report import write_report
from landscape.report.__main__ import main
from tests.landscape.altered import altered
from tests.landscape.report.browser import opened
from tests.landscape.report.synthetic import open_recording, put, subsets_of, write_run

ATTACK = "</script><img src=x onerror=alert(1)>"
HOSTILE = (
    ATTACK,
    "<b>bold</b>&amp;%{x}",
    "",
    "",
    "Straße 北京 🦊",
    "x" * 200,
    "'\"=1+1",
    "\u202eabc\u2028\u0000",
    "all",
    "few",
)


def test_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    names = [name.replace("\u0000", "") for name in HOSTILE]
    first = write_run(tmp_path / "<img src=y onerror=alert(2)>" / "landscape.h5", names=names, points=5)
    second = write_run(tmp_path / "$x$ & %{y}" / "landscape.h5", names=names, points=5, seed=1)
    page = write_report([first, second], tmp_path / "report.html").path
    assert ATTACK not in page.read_text()
    with opened(browser, page, address="#row=class%3A0&form=contour") as shown:
        shown.page.on("dialog", lambda dialog: shown.errors.append(dialog.message))
        for panel in ("explorer", "spectrum", "surface", "matrix", "curves"):
            shown.settle(panel)
        assert shown.page.locator("[role=combobox]").first.input_value() == ATTACK
        assert "</script><img" in shown.page.locator("#surface").inner_text()
        assert shown.page.locator("img").count() == 0
        titles = [tile.get_attribute("title") for tile in shown.page.locator("#verdicts .tile").all()[:10]]
        assert len(set(titles)) == 10
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize("part", ["evaluation", "hessian", "sharpness", "surface"])
def test_a_file_with_one_part_opens(browser: Browser, tmp_path: Path, part: str) -> None:
    only = write_run(tmp_path / "only" / "landscape.h5", parts=(part,), splits=("train",), points=5, history=False)
    report = write_report([only], tmp_path / "report.html")
    assert any("has no" in caveat for caveat in report.caveats)
    with opened(browser, report.path) as shown:
        for panel in ("explorer", "spectrum", "surface"):
            shown.settle(panel)
            assert shown.page.locator(f"#{panel} .empty, #{panel} .js-plotly-plot").count() == 1


def test_one_class_and_a_run_with_other_classes(browser: Browser, tmp_path: Path) -> None:
    one = write_run(tmp_path / "one" / "landscape.h5", counts=(9,), names=("only",), points=5)
    other = write_run(tmp_path / "other" / "landscape.h5", counts=(90, 30), names=("only", "two"), points=5)
    report = write_report([one, other], tmp_path / "report.html")
    assert any("not measured on the same classes" in caveat for caveat in report.caveats)
    assert any("different counts" in caveat for caveat in report.caveats)
    with opened(browser, report.path, address="#row=class%3A1&difference=true") as shown:
        for panel in ("explorer", "spectrum", "surface"):
            shown.settle(panel)
        assert shown.page.locator("#surface .empty").inner_text() != ""


def test_nan_everywhere_and_an_unfinished_measurement(browser: Browser, tmp_path: Path) -> None:
    file = write_run(tmp_path / "nan" / "landscape.h5", points=5)
    with altered(file) as opened_file:
        for name in ("top", "bottom", "trace", "density", "loss"):
            opened_file["hessian/train"][name][...] = np.nan
        opened_file["hessian/train/status"][...] = 2
        opened_file["surface/train/loss"][...] = np.nan
        opened_file["surface/train/status"][...] = 2
    subsets = subsets_of((10, 5), ("a", "b"))
    with open_recording(file, "hessian", "later", subsets) as record:
        put(record, "top", np.full((len(subsets), 1), np.nan), ("subset", "rank"))
        put(record, "status", np.zeros(len(subsets), dtype="i1"), ("subset",))
    report = write_report([file], tmp_path / "report.html")
    assert any("unfinished, 0.0 % of it is there" in caveat for caveat in report.caveats)
    assert any("not finite" in caveat for caveat in report.caveats)
    with opened(browser, report.path) as shown:
        for panel in ("explorer", "spectrum", "surface"):
            shown.settle(panel)
        shown.page.locator("#toolbar [data-value=later]").click()
        shown.settle("explorer")


@pytest.mark.exhaustive
def test_thousands_of_classes_stay_usable(browser: Browser, tmp_path: Path) -> None:
    counts = [int(count) for count in np.geomspace(1000, 2, 8142)]
    names = [f"species {c}" for c in range(len(counts))]
    file = write_run(
        tmp_path / "many" / "landscape.h5", counts=counts, names=names, splits=("train",), points=5, cross=False,
        grid=128, history=False,
    )  # fmt: skip
    report = write_report([file], tmp_path / "report.html")
    assert report.size < 20e6
    assert report.left_out == 8142 - 40
    with opened(browser, report.path) as shown:
        assert shown.page.locator(".tile").count() <= 41
        assert shown.page.locator("#summary tbody tr").count() <= 250
        box = shown.page.locator("[role=combobox]").first
        box.fill("species 4071")
        box.press("Enter")
        shown.settle("explorer")
        assert shown.page.locator(".tile.selected").get_attribute("title").startswith("species 4071,")
        shown.settle("surface")
        assert "species 4071" in shown.page.locator("#surface .empty").inner_text()


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    good = write_run(tmp_path / "a" / "landscape.h5", parts=("evaluation",), splits=("train",))
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    for paths, out, words in (
        ([], tmp_path / "r.html", "no landscape file"),
        ([tmp_path / "nowhere.h5"], tmp_path / "r.html", "does not exist"),
        ([text], tmp_path / "r.html", "damaged"),
        ([good, good], tmp_path / "r.html", "given twice"),
        ([good], tmp_path, "is a folder"),
        ([good], text / "r.html", "cannot be written"),
    ):
        with pytest.raises(InputError, match=words):
            write_report(paths, out)
    assert not (tmp_path / "r.html").exists()


def test_the_command_says_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_run(tmp_path / "a" / "landscape.h5", parts=("evaluation",), splits=("train",))
    out = tmp_path / "report.html"
    with pytest.raises(SystemExit) as done:
        main([str(good), "--out", str(out)])
    assert done.value.code == 0
    assert capsys.readouterr().out.startswith(f"{out}: 1 run, ")
    with pytest.raises(SystemExit):
        main([str(good.parent), "--out", str(out), "--json"])  # a run folder is as good as the file in it
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(out) and told["runs"] == ["a"] and told["size"] == out.stat().st_size
