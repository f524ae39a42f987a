"""Frames of the sample scene, and a broker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from mosquitto import Mosquitto


@pytest.fixture
def mosquitto(tmp_path):
    """``mosquitto("max_packet_size 20000")``: a broker, not yet started."""
    made = []

    def build(*lines, **more):
        made.append(Mosquitto(tmp_path, *lines, **more))
        return made[-1]

    yield build
    for one in made:
        one.kill()
