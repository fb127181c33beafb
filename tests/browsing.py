"""Pages of a gateway in a real headless Chromium."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from polling import PATIENCE_SECONDS

expect.set_options(timeout=1_000 * PATIENCE_SECONDS)

DESKTOP = {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}}
DARK = {**DESKTOP, "color_scheme": "dark"}
PHONE = {"color_scheme": "light", "viewport": {"width": 360, "height": 740}}


@contextmanager
def chromium() -> Generator[Browser]:
    """Chromium, or the reason why the test is skipped."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(autouse=True)
def closed_pages(request: pytest.FixtureRequest) -> Generator[None]:
    """Close a test's pages at its end: they would go on to ask and to draw."""
    yield
    if "browser" in request.fixturenames:
        for context in request.getfixturevalue("browser").contexts:
            context.close()


def opened(browser: Browser, url: str, path: str, **kinds: Any) -> tuple[Page, list[str]]:
    """The page, and what went wrong in it or went elsewhere."""
    context = browser.new_context(**kinds)
    context.set_default_timeout(1_000 * PATIENCE_SECONDS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda one: None if one.url.startswith((url, "data:")) else wrong.append(one.url)
    )
    page.goto(url + path)
    return page, wrong


def check_layout(page: Page) -> None:
    """Nothing sticks out sideways, and axe finds no barrier."""
    assert page.viewport_size is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
    assert found.violations_count == 0, found.generate_report()
