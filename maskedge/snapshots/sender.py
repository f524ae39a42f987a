"""Pictures on their way to the broker: they wait in memory only, and not many of them.

A guest on the publisher's connection (docs/decisions/0056-pictures-wait-in-memory.md). A picture
is sent at least once while the process lives and the bound isn't reached; unlike an event it
isn't on disk, as nobody asked for pictures there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskedge.delivery.backoff import Backoff
from maskedge.delivery.problems import FAILURE, NOT_AUTHORISED

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.delivery.connection import Ack, Connection
    from maskedge.delivery.session import Session

MOST = 32
"""Pictures that wait; beyond, the oldest go. Each has at most :data:`..maker.MAX_BYTES`."""
TRIES = 2
"""Connections that a picture may cost, or refusals, until it is given up."""


@dataclass
class _Picture:
    topic: str
    jpeg: bytes
    tries: int = 0


class SnapshotSender:
    """See :class:`~maskedge.delivery.mqtt.Guest`. Outlives publishers; thread-safe.

    Args:
        count: told ``snapshots_sent`` and ``snapshots_dropped`` as they happen.

    Attributes:
        listener: called when there is something to send.
        error: what stands between pictures and broker, and the cure; None: nothing.
    """

    def __init__(self, count: Callable[[str], None]) -> None:
        self.listener: Callable[[], None] = _nobody
        self.error: str | None = None
        self._count = count
        self._lock = threading.Lock()
        self._waiting: deque[_Picture] = deque()
        self._under_way: dict[int, _Picture] = {}
        self._pauses = Backoff(first=2.0, longest=60.0)
        self._not_before = float("-inf")

    def put(self, topic: str, jpeg: bytes) -> None:
        """Send a picture as soon as there is a connection; never waits."""
        with self._lock:
            self._waiting.append(_Picture(topic, jpeg))
            while len(self._waiting) > MOST:
                self._drop(self._waiting.popleft())
        self.listener()

    def clear(self) -> None:
        """Forget what waits or would be sent again: pictures aren't wanted any more."""
        with self._lock:
            self._waiting.clear()
            self._under_way.clear()
            self.error = None

    # What the delivery thread calls.

    def turn(self, connection: Connection, session: Session) -> None:  # noqa: ARG002 - a guest's
        """Publish a picture while no event is under way."""
        with self._lock:
            if (
                self._waiting
                and session.free
                and not self._under_way
                and time.monotonic() >= self._not_before
            ):
                picture = self._waiting[0]
                mid = session.publish_besides(picture.topic, picture.jpeg)
                self._under_way[mid] = self._waiting.popleft()

    def answered(self, ack: Ack) -> None:
        """The broker has taken a picture, or refuses it."""
        with self._lock:
            picture = self._under_way.pop(ack.mid, None)
            if picture is None:
                return
            if ack.code >= FAILURE:
                cure = "; let its ACL allow it" if ack.code == NOT_AUTHORISED else ""
                self.error = f"the broker refuses {picture.topic}: {ack.reason.lower()}{cure}"
                self._not_before = time.monotonic() + self._pauses.next()
                self._again(picture)
                return
            self._pauses.reset()
            self.error = None
            self._count("snapshots_sent")

    def lost(self) -> None:
        """The connection is gone: what wasn't acknowledged is sent again, but not for ever."""
        with self._lock:
            for picture in reversed(self._under_way.values()):
                if picture.tries + 1 >= TRIES:
                    self.error = (
                        f"the connection ends whenever a picture of {len(picture.jpeg)} bytes is "
                        "sent; let the broker take packets of that size, or set snapshot.mqtt to "
                        "false"
                    )
                self._again(picture)
            self._under_way.clear()

    def _again(self, picture: _Picture) -> None:
        picture.tries += 1
        if picture.tries < TRIES:
            self._waiting.appendleft(picture)
        else:
            self._drop(picture)

    def _drop(self, _: _Picture) -> None:
        self._count("snapshots_dropped")


def _nobody() -> None:
    """Listens to nothing."""
