"""Takes the documentation's pictures from a report: `python docs/take_pictures.py report.html docs/images`.

Needs the extra `test` (Playwright) and Debian's Chromium. Pictures keep their true colors, about 300 kB or less each.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURES = (
    # file, address, dark, panel (None: the top of the page), charts that must have been drawn
    ("report.png", "", False, None, ("explorer", "spectrum")),
    ("report-class.png", "#row=class%3A9", True, "verdicts", ()),
    ("report-surface.png", "#row=few", False, "surface", ("surface",)),
    ("report-surface-3d.png", "#row=few&form=3d", True, "surface", ("surface",)),
)


def main() -> None:
    """Opens the report named first and writes to the folder named second."""
    report, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--headless"])
        for name, address, dark, panel, charts in PICTURES:
            page = browser.new_page(viewport={"width": 1280, "height": 1400}, color_scheme="dark" if dark else "light")
            page.goto(report.as_uri() + address)
            _take(page, panel, charts, folder / name)
            page.close()
        browser.close()


def _take(page: Page, panel: str | None, charts: tuple[str, ...], path: Path) -> None:
    for drawn in charts:
        page.locator(f"#{drawn} .body").scroll_into_view_if_needed()
        page.locator(f"#{drawn}[data-drawn]:not(:has(.busy))").wait_for()
    if panel is None:
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=path)
    else:
        page.add_style_tag(content=".toolbar { position: static !important }")
        page.locator(f"#{panel}").screenshot(path=path)
    Image.open(path).convert("RGB").save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
