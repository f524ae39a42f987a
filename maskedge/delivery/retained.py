"""Values that the broker keeps for those who come later: only the newest counts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Retained:
    """The newest value of each topic, and which of them the broker may not have. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, str] = {}
        self._stale: dict[str, None] = {}  # in the order of sending

    def set(self, topic: str, payload: str) -> None:
        """Replace a value, sent or not."""
        with self._lock:
            self._values[topic] = payload
            self._stale[topic] = None

    def forget_broker(self) -> None:
        """A broker without persistence has lost everything: send all again."""
        with self._lock:
            self._stale = dict.fromkeys(self._values)

    def take(self, busy: Collection[str], most: int) -> dict[str, str]:
        """Values to send now, which count as sent.

        Args:
            busy: topics whose value must wait: another is under way, or the broker refuses it.
            most: so many values at most.
        """
        with self._lock:
            topics = [topic for topic in self._stale if topic not in busy][: max(0, most)]
            ready = {topic: self._values[topic] for topic in topics}
            for topic in ready:
                del self._stale[topic]
        return ready

    def again(self, topic: str) -> None:
        """The broker has refused a value: its newest is to be sent later."""
        with self._lock:
            if topic in self._values:
                self._stale[topic] = None

    def stale(self, busy: Collection[str]) -> bool:
        """Whether any value waits to be sent, but those of ``busy`` topics."""
        with self._lock:
            return any(topic not in busy for topic in self._stale)
