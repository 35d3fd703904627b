"""A page in a real browser: Debian's Chromium, driven by Playwright, with every error and request noted."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
HARMLESS = ("GPU stall due to ReadPixels", "willReadFrequently")
"""Notes of the software renderer on its own speed."""


@dataclass
class Opened:
    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def settle(self, panel: str) -> None:
        """Waits until the panel in sight has drawn everything it has to draw."""
        self.page.locator(f"#{panel} .body").scroll_into_view_if_needed()
        # Locators, not wait_for_function: that one evaluates text, which the page's policy rightly forbids.
        self.page.locator(f"#{panel}[data-drawn]").wait_for()
        self.page.locator(f"#{panel}:not(:has(.busy))").wait_for()

    def plotted(self, panel: str, expression: str) -> object:
        """Evaluates an expression of `plot`, the panel's Plotly element."""
        self.settle(panel)
        shown = f"document.querySelector('#{panel} .js-plotly-plot:not([hidden])')"
        return self.page.evaluate(f"(() => {{ const plot = {shown}; return {expression}; }})()")


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        reason = "no Chromium at /usr/bin/chromium: install Debian's package chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--headless"])
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(
    browser: Browser, path: Path, *, width: int = 1280, dark: bool = False, address: str = ""
) -> Iterator[Opened]:
    """Opens a page offline; leaving the block asserts that nothing went wrong and nothing was asked for."""
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", accept_downloads=True
    )
    page = context.new_page()
    found = Opened(page)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("console", lambda message: _note(found, message.type, message.text))
    page.on("request", lambda request: _request(found, request.url, path))
    page.goto(path.as_uri() + address)
    yield found
    context.close()
    assert found.errors == []
    assert found.requests == []


def _note(found: Opened, kind: str, text: str) -> None:
    if kind in ("error", "warning") and not any(words in text for words in HARMLESS):
        found.errors.append(f"{kind}: {text}")


def _request(found: Opened, url: str, path: Path) -> None:
    if not url.startswith(("data:", "blob:")) and url.split("#")[0] != path.as_uri():
        found.requests.append(url)
