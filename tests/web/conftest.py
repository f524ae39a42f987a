"""The status page, served to tests and to a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import chromium
from doorway import Door, Network, card
from webloop import Loop, configuration

from maskedge.config import Config
from maskedge.health.drift import Drift
from maskedge.web.page import StatusPage


@pytest.fixture
def serve():
    """``serve(token_file=...)``: a page that listens, and the loop that feeds it."""
    made = []

    def build(loaded=None, drift=None, **web):
        loaded = loaded or configuration(**web)
        page = StatusPage(loaded)
        loop = Loop(page, loaded.config, drift)
        loop.port = loaded.config.web.port
        loop.loaded = loaded
        made.append(loop)
        loop.look()
        return loop

    yield build
    for loop in made:
        loop.stop()
        loop.page.close()


@pytest.fixture
def drifted(tmp_path):
    """A unit that has learnt its place, where it has then grown dark."""
    measured = [Network(card=card(network, Door())) for network in ("detector", "classifier")]
    drift = Drift(Config(device="door"), tuple(measured), tmp_path / "baseline.json")
    rng = np.random.default_rng(6)
    for number in range(2400):
        drift.visit(Door(light=130.0 if number < 2250 else 60.0, rng=rng).visit(), 300.0 * number)
    return drift


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def noise():
    """A picture that JPEG can't compress well."""
    return np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
