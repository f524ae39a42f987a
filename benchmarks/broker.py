"""The mosquitto of the tests, for benchmarks."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mosquitto import Collector, Mosquitto, Relay

from maskedge.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PLAIN", "Collector", "Mosquitto", "Relay", "running_broker"]

PLAIN = ("max_inflight_messages 20", "max_queued_messages 1000")
"""What mosquitto does unless it is told otherwise, and the tests tell it."""


@contextmanager
def running_broker(folder: Path, *lines: str, quiet: bool = False) -> Iterator[Mosquitto]:
    """A broker whose files lie in ``folder``.

    Raises:
        BrokerError: mosquitto isn't installed, or doesn't start.
    """
    try:
        broker = Mosquitto(folder, *lines, quiet=quiet).start()
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        raise BrokerError(str(error)) from None
    try:
        yield broker
    finally:
        broker.kill()
