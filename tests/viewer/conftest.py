"""A headless Chromium, and pages opened in it."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SOFTWARE_WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, a package of the extra 'dev'")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with sync_api.sync_playwright() as playwright:
        arguments = [*SOFTWARE_WEBGL, *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: object) -> Iterator[Callable[..., object]]:
    """Opens addresses, each in a browser of its own. No console may complain, and nothing is asked of the network."""
    contexts, complaints = [], []

    def open_page(address: str, ready: str = "#main:not([hidden])", script: str = "", **options: object) -> object:
        context = chromium.new_context(**{"viewport": {"width": 900, "height": 640}} | options)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        local = ("file:", "blob:", "data:", "http://127.0.0.1:")
        page.on("request", lambda r: None if r.url.startswith(local) else complaints.append(r.url))
        page.goto(address)
        page.wait_for_selector(ready)
        page.complaints = complaints
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints, complaints
