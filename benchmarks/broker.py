"""The mosquitto of the tests, for benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mosquitto import Collector, Mosquitto, Relay

__all__ = ["PLAIN", "Collector", "Relay", "start_broker"]

PLAIN = ("max_inflight_messages 20", "max_queued_messages 1000")
"""What mosquitto does unless it is told otherwise, and the tests tell it."""


def start_broker(folder: Path, *lines: str, quiet: bool = False) -> Mosquitto:
    """A running broker whose files lie in ``folder``; ends the program if there can be none."""
    try:
        return Mosquitto(folder, *lines, quiet=quiet).start()
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        sys.exit(str(error))
