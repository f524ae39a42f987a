"""Debian's Chromium, headless, driven by Playwright."""

from __future__ import annotations

import contextlib
import shutil

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 60_000
"""Milliseconds for anything to appear on a slow, loaded machine."""


@contextlib.contextmanager
def chromium():
    """A browser; skips where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: see tests/apt-packages.txt")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@contextlib.contextmanager
def tab(browser, **settings):
    """A page of its own context; fails if the page said anything on its console."""
    said = []
    context = browser.new_context(**settings)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.said = said
    yield page
    context.close()
