"""Violations that start and end, and waiting for what comes of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from maskedge.events import EventBuilder, Models, Votes
from maskedge.geometry import Box


class Story:
    """``started()`` and ``ended()`` as the daemon would build them."""

    def __init__(self):
        self._builder = EventBuilder("door", "hall", Models("0123456789ab", "ba9876543210"))

    def started(self, label="without_mask"):
        return self._builder.started(
            label=label,
            confidence=0.9,
            votes=Votes(5, 5),
            track_id=1,
            box=Box(0.1, 0.2, 0.3, 0.4),
            first_seen=1.0,
            decided_at=2.0,
        )

    def ended(self, started):
        return self._builder.ended(started, 3.0)


@pytest.fixture
def story():
    return Story()
