"""What is under way on one connection: sent in order, settled by PUBACK, at most 20 at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from maskedge.delivery import problems
from maskedge.delivery.backoff import Backoff
from maskedge.delivery.problems import FAILURE, NOT_AUTHORISED
from maskedge.delivery.store import Row
from maskedge.events import seal

if TYPE_CHECKING:
    from maskedge.delivery.connection import Ack, Connection
    from maskedge.delivery.outbox import Outbox
    from maskedge.delivery.retained import Retained

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 20
"""Publications without a PUBACK; what is beyond stays on disk."""

LONGEST_PATIENCE = 120.0
_FETCH = 200


class _Sent(NamedTuple):
    """A publication under way: an event, or a retained value's topic."""

    what: Row | str
    at: float


@dataclass
class _Hold:
    """The broker refuses a topic: leave it alone for a while, longer each time.

    It outlives the connection, as some brokers (mosquitto 2.0) end it after a refusal.
    """

    words: str
    retry_at: float = 0.0
    waits: Backoff = field(default_factory=lambda: Backoff(first=2.0, longest=60.0))


@dataclass
class Progress:
    """What outlives a connection.

    Attributes:
        ack_timeout: seconds without any PUBACK until the broker counts as frozen, to begin with.
        patience: the same in force: longer for a broker that is only slow.
        unsettled: ids of events that were sent and may come again.
        news: set when the outbox may hold something that wasn't fetched.
        holds: topics that the broker refuses.
        wary: the last connection ended soon and without a word: send one publication at a time
            until the broker takes an event. mosquitto 2.0 ends the connection after a refusal,
            and what it hadn't read by then makes the system throw the refusal away unread.
    """

    ack_timeout: float
    patience: float = field(init=False)
    sent: int = 0
    acknowledged: int = 0
    resent: int = 0
    connects: int = 0
    unsettled: set[str] = field(default_factory=set)
    news: threading.Event = field(default_factory=threading.Event)
    holds: dict[str, _Hold] = field(default_factory=dict)
    wary: bool = False

    def __post_init__(self) -> None:
        self.patience = self.ack_timeout

    def wait_longer(self) -> None:
        """The broker didn't answer in time: it may only be slow."""
        self.patience = min(self.patience * 2, LONGEST_PATIENCE)

    def answered_after(self, seconds: float) -> None:
        """The broker has answered: give it a few times as long."""
        self.patience = min(max(self.ack_timeout, 3 * seconds), LONGEST_PATIENCE)

    @property
    def denied(self) -> str | None:
        """What the broker refuses, in words; None: nothing."""
        return next((hold.words for hold in list(self.holds.values())), None)


class Session:
    """Delivers over one connection; used by the delivery thread alone.

    Args:
        connection: open.
        root: ``<prefix>/<device>``.
        outbox: where events come from and are deleted.
        retained: values to publish besides.
        progress: shared with the sessions before and after.

    Attributes:
        others: acknowledgements of what guests published, see :meth:`publish_besides`.
    """

    def __init__(
        self,
        connection: Connection,
        root: str,
        outbox: Outbox,
        retained: Retained,
        progress: Progress,
    ) -> None:
        self.others: deque[Ack] = deque()
        self._connection = connection
        self._violations = f"{root}/violation"
        self._outbox = outbox
        self._retained = retained
        self._progress = progress
        self._window = max(1, min(MAX_IN_FLIGHT, connection.receive_maximum))
        self._under_way: dict[int, _Sent] = {}
        self._besides: set[int] = set()
        self._unsent: deque[Row] = deque()
        self._moved = time.monotonic()
        progress.connects += 1
        progress.news.set()
        retained.forget_broker()

    @property
    def in_flight(self) -> int:
        """Publications without a PUBACK."""
        return len(self._under_way)

    @property
    def room(self) -> int:
        """How many more publications the broker takes now; guests' take a place too."""
        window = 1 if self._progress.wary else self._window
        return window - len(self._under_way) - len(self._besides)

    @property
    def free(self) -> bool:
        """Delivery has nothing to do but what the broker refuses, and there is room for a guest."""
        return self.room > 0 and (self.idle or (self.refused and not self._under_way))

    @property
    def refused(self) -> bool:
        """The broker takes no events."""
        return self._violations in self._progress.holds

    @property
    def idle(self) -> bool:
        """The broker has everything there is."""
        waiting = self._under_way or self._unsent or self._progress.news.is_set()
        return not waiting and not self._retained.stale(self._held())

    def publish_retained(self, topic: str, payload: str) -> int:
        """Send a value that the broker keeps, while there is :attr:`room`; returns its packet id.

        Raises:
            ConnectionProblem: the connection is lost.
        """
        return self._send(topic, topic, payload, retain=True)

    def publish_besides(self, topic: str, payload: str | bytes, *, retain: bool = False) -> int:
        """Send what a guest has to say, while :attr:`free`; the PUBACK will be in :attr:`others`.

        Raises:
            ConnectionProblem: the connection is lost.
        """
        self._moved = time.monotonic()
        mid = self._connection.publish(topic, payload, retain=retain)
        self._besides.add(mid)
        return mid

    def pump(self, wait: float = 1.0) -> list[int]:
        """Fill the window, wait for something to happen, take the acknowledgements.

        Args:
            wait: most seconds; 1, as paho's keepalive wants to be looked at.

        Returns:
            The packet ids that the broker took.

        Raises:
            ConnectionProblem: the connection is lost or the broker frozen.
        """
        busy = {sent.what for sent in self._under_way.values() if isinstance(sent.what, str)}
        for topic, payload in self._retained.take(busy | self._held(), self.room).items():
            self.publish_retained(topic, payload)
        self._send_events()
        taken: list[int] = []
        try:
            self._connection.step(self._until_next(wait))
        finally:  # acknowledgements that came before the end count
            while self._connection.acks:
                ack = self._connection.acks.popleft()
                if self._settle(ack):
                    taken.append(ack.mid)
        patience = self._progress.patience
        waits = self._under_way or self.room <= 0
        if waits and time.monotonic() - self._moved > patience:
            raise problems.frozen(patience)
        return taken

    def end(self) -> None:
        """The connection is gone: what had no PUBACK will be sent again."""
        rows = [sent.what for sent in self._under_way.values() if isinstance(sent.what, Row)]
        self._progress.unsettled.update(row.event_id for row in rows)
        self._under_way = {}

    def _held(self) -> set[str]:
        now = time.monotonic()
        return {topic for topic, hold in self._progress.holds.items() if now < hold.retry_at}

    def _until_next(self, wait: float) -> float:
        now = time.monotonic()
        return min(
            [wait, *(h.retry_at - now for h in self._progress.holds.values() if h.retry_at > now)]
        )

    def _send_events(self) -> None:
        if self.refused and (self._under_way or self._violations in self._held()):
            return
        room = min(1, self.room) if self.refused else self.room
        while room > 0 and (self._unsent or self._fetch()):
            row = self._unsent.popleft()
            try:
                sealed = seal(row.payload, seq=row.seq, created=row.created)
            except (ValueError, TypeError, KeyError):
                self._outbox.discard(row)
                continue
            self._send(row, self._violations, sealed)
            room -= 1
            self._progress.sent += 1
            if row.event_id in self._progress.unsettled:
                self._progress.unsettled.discard(row.event_id)
                self._progress.resent += 1

    def _fetch(self) -> bool:
        if not self._progress.news.is_set():
            return False
        self._progress.news.clear()
        under_way = {s.what.event_id for s in self._under_way.values() if isinstance(s.what, Row)}
        self._unsent.extend(self._outbox.pending(_FETCH, under_way))
        if len(self._unsent) == _FETCH:
            self._progress.news.set()
        return bool(self._unsent)

    def _send(
        self, what: Row | str, topic: str, payload: str | bytes, *, retain: bool = False
    ) -> int:
        now = time.monotonic()
        if not self._under_way:
            self._moved = now
        mid = self._connection.publish(topic, payload, retain=retain)
        self._under_way[mid] = _Sent(what, now)
        return mid

    def _settle(self, ack: Ack) -> bool:
        sent = self._under_way.pop(ack.mid, None)
        if sent is None:
            self._besides.discard(ack.mid)
            self._moved = time.monotonic()
            self.others.append(ack)
            return False
        self._moved = time.monotonic()
        self._progress.answered_after(self._moved - sent.at)
        what = sent.what
        topic = self._violations if isinstance(what, Row) else what
        if ack.code >= FAILURE:
            self._hold(topic, ack)
            if isinstance(what, Row):
                self._begin_again(what)
            else:
                self._retained.again(what)
            return False
        if self._progress.holds.pop(topic, None):
            log.info("the broker takes %s again", topic)
        if isinstance(what, Row):
            self._outbox.delete([what])
            self._progress.acknowledged += 1
            self._progress.wary = False
        return True

    def _hold(self, topic: str, ack: Ack) -> None:
        cure = "; let its ACL allow it" if ack.code == NOT_AUTHORISED else ""
        words = f"the broker refuses {topic}: {ack.reason.lower()}{cure}"
        hold = self._progress.holds.get(topic)
        if hold is None:
            log.warning("%s", words)
            hold = self._progress.holds[topic] = _Hold(words)
        if time.monotonic() >= hold.retry_at:  # once for all that were in flight together
            hold.retry_at = time.monotonic() + hold.waits.next()

    def _begin_again(self, refused: Row) -> None:
        """An event was refused: the next to send is the oldest again, later, and alone."""
        self._progress.unsettled.add(refused.event_id)
        self._unsent.clear()
        self._progress.news.set()
