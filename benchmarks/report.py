"""`python -m benchmarks.report`: how large the report's page is and how long a reader waits for it.

100 classes in 4 runs with surfaces of 51×51 cells, then 1,000 and 8,142 classes in one run; the files are made up as
the tests make theirs. Times are taken inside headless Chromium, from the click to the frame that shows its effect, in
a window of 1280×900 pixels; WebGL is drawn by the processor, as on a machine without a graphics card.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.document import rewrite_block
from foundation.command import Parser, run
from foundation.devices import choose_device, describe_device
from landscape.report import write_report
from tests.landscape.report.browser import CHROMIUM
from tests.landscape.report.synthetic import build_run

METHODS = ("ce", "bgp", "sam", "ldam")
CROWDS = (1000, 8142)

NEXT_FRAME = """selector => new Promise((done) => {
  const started = performance.now();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
  document.querySelector(selector).click();
})"""
"""Milliseconds from a click to the frame that shows it; asked for first, since the charts start right after it."""

DRAWN = """selector => new Promise((done) => {
  const started = performance.now();
  new MutationObserver((_, observer) => {
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - started)));
  }).observe(document.getElementById("surface"), { attributes: true, attributeFilter: ["data-drawn"] });
  document.querySelector(selector).click();
})"""
"""Milliseconds from a click to the frame that shows the redrawn surfaces."""

FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
OTHER_TILE = ".tile:not(.selected)"


def write_pages(folder: Path) -> dict[int, Path]:
    """Makes the files up and writes their pages.

    Args:
        folder: Where to.

    Returns:
        By number of classes.
    """
    pages = {}
    for classes in (100, *CROWDS):
        counts = [int(count) for count in np.geomspace(1000, 5, classes)]
        names = [f"class number {c}" for c in range(classes)]
        few = classes <= 100
        files = [
            build_run(
                folder / str(classes) / method / "landscape.h5", counts=counts, names=names, seed=seed,
                sharpness=1 / (1 + seed), points=51 if few else 5, cross=few, grid=256 if few else 16, history=few,
                splits=("train", "test") if few else ("train",),
            )
            for seed, method in enumerate(METHODS[: 4 if few else 1])
        ]  # fmt: skip
        pages[classes] = write_report(files, folder / f"{classes}.html").path
    return pages


def time_page(browser: Browser, path: Path) -> dict[str, float]:
    """One reading of the large page: opened afresh, then one click after the other.

    Args:
        browser: Chromium.
        path: The page.

    Returns:
        Milliseconds by what was waited for.
    """
    page = _opened(browser, path)
    found = {"first paint": float(page.evaluate(FIRST_PAINT))}
    page.wait_for_timeout(1000)  # what the page draws by itself is done
    found["feedback"] = float(page.evaluate(NEXT_FRAME, OTHER_TILE))
    _in_sight(page)
    found["contour"] = float(page.evaluate(DRAWN, OTHER_TILE))
    found["first 3-D"] = float(page.evaluate(DRAWN, "#surface [data-value='3d']"))
    _in_sight(page)
    page.evaluate(DRAWN, "#surface [data-value='contour']")
    _in_sight(page)
    found["further 3-D"] = float(page.evaluate(DRAWN, "#surface [data-value='3d']"))
    page.close()
    return found


def time_feedback(browser: Browser, path: Path) -> float:
    """Milliseconds from choosing a class to the frame that shows it."""
    page = _opened(browser, path)
    page.wait_for_timeout(1000)
    found = float(page.evaluate(NEXT_FRAME, OTHER_TILE))
    page.close()
    return found


def _opened(browser: Browser, path: Path) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    page.locator(".tile").first.wait_for()
    return page


def _in_sight(page: Page) -> None:
    page.locator("#surface .body").scroll_into_view_if_needed()
    page.locator("#surface[data-drawn]:not(:has(.busy))").wait_for()
    page.wait_for_timeout(500)


def _main(arguments: argparse.Namespace) -> None:
    times: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = write_pages(Path(folder))
        megabytes = {classes: path.stat().st_size / 1e6 for classes, path in pages.items()}
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--headless"])
        for _ in range(arguments.turns):
            for name, milliseconds in time_page(browser, pages[100]).items():
                times[name].append(milliseconds)
            for classes in CROWDS:
                times[f"feedback, {classes:,} classes"].append(time_feedback(browser, pages[classes]))
        version = browser.version
        browser.close()
    middle = {name: statistics.median(values) for name, values in times.items()}
    text = _text(middle, megabytes, arguments.turns, version)
    print(text)
    rewrite_block("report", text)
    figures = {
        "page_mb": megabytes[100], "first_paint_s": middle["first paint"] / 1e3, "feedback_ms": middle["feedback"],
        "contour_ms": middle["contour"], "first_3d_ms": middle["first 3-D"], "further_3d_ms": middle["further 3-D"],
    }  # fmt: skip
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


def _text(middle: Mapping[str, float], megabytes: Mapping[int, float], turns: int, version: str) -> str:
    rows = [
        ("first paint of the page", "first paint"),
        ("choosing a class: the first visible answer", "feedback"),
        ("choosing a class: 4 contours redrawn", "contour"),
        ("contours to 3-D, the first time", "first 3-D"),
        ("contours to 3-D, again", "further 3-D"),
        *((f"choosing one of {classes:,} classes", f"feedback, {classes:,} classes") for classes in CROWDS),
    ]
    lines = [f"| {words} | {middle[name]:,.0f} |" for words, name in rows]
    crowds = " and ".join(f"{megabytes[classes]:.1f} MB with {classes:,} classes" for classes in CROWDS)
    return "\n".join(
        [
            f"100 classes in 4 runs with surfaces of 51×51 cells: one page of {megabytes[100]:.1f} MB (one run: "
            f"{crowds}). Headless Chromium {version}, WebGL in software, {describe_device(choose_device('cpu'))}; "
            f"medians of {turns} turns, each a page opened afresh.\n",
            "| until it is seen | ms |",
            "|---|---|",
            *lines,
        ]
    )


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command.

    Args:
        argv: Arguments instead of the process's own.
    """
    parser = Parser("benchmarks.report", "Measures how long a reader waits for the report.", "--turns 5")
    parser.add_argument("--turns", type=int, default=5, help="how often each wait is timed")
    run(_main, parser, argv)


if __name__ == "__main__":
    main()
