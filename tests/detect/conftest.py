"""A video in which one bare-faced person walks by, and the networks to judge it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from recording import record

from maskedge.config import Config
from maskedge.scene import Visit, Wearing
from maskedge.vision.system import Vision


@pytest.fixture(scope="session")
def walk(tmp_path_factory):
    """Bare-faced; 4 s of walking, 1 s before and after, 10 frames a second."""
    folder = tmp_path_factory.mktemp("walk")
    return record(folder / "walk.avi", [Visit(Wearing.BARE)], pause=1)


@pytest.fixture(scope="session")
def config():
    return Config.model_validate({"inference": {"accelerator": "cpu"}})


@pytest.fixture(scope="session")
def vision(config):
    opened = Vision.open(config)
    yield opened
    opened.close()
