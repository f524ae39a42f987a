"""The status page, served to tests and to a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import chromium
from webloop import Loop, configuration

from maskedge.web.page import StatusPage


@pytest.fixture
def serve():
    """``serve(token_file=...)``: a page that listens, and the loop that feeds it."""
    made = []

    def build(loaded=None, **web):
        loaded = loaded or configuration(**web)
        page = StatusPage(loaded)
        loop = Loop(page, loaded.config)
        loop.port = loaded.config.web.port
        loop.loaded = loaded
        made.append(loop)
        loop.look()
        return loop

    yield build
    for loop in made:
        loop.stop()
        loop.page.close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def noise():
    """A picture that JPEG can't compress well."""
    return np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
