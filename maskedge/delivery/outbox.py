"""Where an event goes first: durable on disk, and in memory for as long as the disk can't.

Two ways in: :meth:`Outbox.put` returns when the event is on disk; :meth:`Outbox.submit` returns
at once and a thread of the outbox writes it, so that detection waits neither for network nor
disk. While the disk is full, read-only or gone, events wait in memory (bounded, oldest dropped
first and counted), can be sent from there, and are written when the disk is back.

Order is kept throughout: nothing overtakes an event that waits in memory.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskedge.delivery.store import EventStore, Row
from maskedge.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from maskedge.events import Violation

log = logging.getLogger(__name__)

RETRY_AFTER = 2.0
"""Seconds until a disk that failed is tried again."""

DELETE_AFTER = 0.1
"""Seconds that acknowledged events stay on disk, to be deleted together in one write."""

_DELETE_BATCH = 200


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What health tells of the outbox.

    Attributes:
        pending: events that no broker has acknowledged, on disk and in memory.
        in_memory: of these, the ones that a power cut would take.
        oldest: ``decided_at`` of the one that waits longest; None: none waits.
        dropped: events lost since the start of the process, for whatever reason.
        error: why the disk can't be used now; None: it can.
        recovered: what unusable file was set aside, and why; None: none was, or it was gone when
            something was last written.
        unwritten: of ``dropped``, lost to the bound on memory while the disk took none.
        damaged: of ``dropped``, so damaged that they couldn't be sent; the rest is lost to
            ``max_events``.
    """

    pending: int
    in_memory: int
    oldest: str | None
    dropped: int
    error: str | None
    recovered: str | None
    unwritten: int = 0
    damaged: int = 0


class Outbox:
    """Events from their making to their acknowledgement. Thread-safe; a bad disk never raises.

    Args:
        path: the SQLite file; its folder is made when missing.
        max_events: most events on disk; beyond, the oldest are dropped and counted.
        max_in_memory: the same for events that wait for the disk.

    Attributes:
        listener: called, from any thread, when there may be something new to send.
    """

    def __init__(
        self, path: Path, *, max_events: int = 100_000, max_in_memory: int = 10_000
    ) -> None:
        self.listener: Callable[[], None] = _nobody
        self._store = EventStore(path, max_events)
        self._max_in_memory = max_in_memory
        self._disk = threading.Lock()  # guards _store; taken before _changed, never after
        self._changed = threading.Condition()  # guards what follows
        self._waiting: dict[str, Row] = {}  # to be written
        self._writing: frozenset[str] = frozenset()  # of these, what is being written now
        self._done: dict[str, Row] = {}  # to be deleted
        self._unwritten = 0
        self._damaged = 0
        self._closing = False
        self._error: str | None = None
        self._oldest: str | None = None
        with self._disk:
            self._read(self._store.open)
            self._note_oldest()
        self._writer = threading.Thread(target=self._keep_writing, name="outbox", daemon=True)
        self._writer.start()

    def put(self, *events: Violation) -> bool:
        """Store events, in order and in one transaction, before returning.

        Returns:
            True: they are durable. False: the disk failed, they wait in memory.
        """
        with self._changed:
            self._queue(events)
        durable = self._flush()
        if not durable:
            with self._changed:
                self._changed.notify_all()
        self.listener()
        return durable

    def submit(self, *events: Violation) -> None:
        """Hand events over and return at once; they are durable some milliseconds later."""
        with self._changed:
            self._queue(events)
            self._changed.notify_all()

    def resize(self, max_events: int) -> None:
        """Keep at most so many events on disk, from the next write on; never waits."""
        self._store.max_events = max_events

    def flush(self, timeout: float) -> bool:
        """Wait until what was submitted is on disk, or the disk has failed.

        Args:
            timeout: most seconds.

        Returns:
            True: everything is durable.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._error is not None, timeout)
            return not self._waiting

    def pending(self, limit: int, exclude: Collection[str] = ()) -> list[Row]:
        """The events to send next, in order; from disk first, then those that it didn't take.

        Args:
            limit: most rows returned.
            exclude: ``event_id`` of events to leave out, as they are under way.
        """
        with self._disk:
            with self._changed:
                hidden = {*exclude, *self._done}
            rows: list[Row] = []
            self._read(lambda: rows.extend(self._store.pending(limit, hidden)))
            if self._error is None:
                return rows
            with self._changed:
                waiting = [row for row in self._waiting.values() if row.event_id not in hidden]
        return rows + waiting[: limit - len(rows)]

    def delete(self, rows: Iterable[Row]) -> None:
        """Forget events that the broker has acknowledged.

        Returns at once: they are no longer pending, and go from the disk a moment later, many in
        one write. A process killed in between sends them once more.
        """
        with self._changed:
            before = len(self._done)
            for row in rows:
                in_memory = self._waiting.pop(row.event_id, None) is not None
                if not in_memory or row.event_id in self._writing:
                    self._done[row.event_id] = row
            if not before or before < _DELETE_BATCH <= len(self._done):
                self._changed.notify_all()

    def discard(self, row: Row) -> None:
        """Forget an event that can't be sent, as something has damaged it; counted as dropped."""
        log.error("event %s in the outbox is damaged and is dropped", row.seq)
        with self._changed:
            self._damaged += 1
        self.delete([row])

    def status(self) -> OutboxStatus:
        """For health; waits for nothing."""
        with self._changed:
            in_memory, done = len(self._waiting), len(self._done)
            unwritten, damaged = self._unwritten, self._damaged
        return OutboxStatus(
            pending=max(0, self._store.count - done) + in_memory,
            in_memory=in_memory,
            oldest=self._oldest,
            dropped=self._store.dropped + unwritten + damaged,
            error=self._error,
            recovered=self._store.recovered,
            unwritten=unwritten,
            damaged=damaged,
        )

    def close(self, deadline: float = 2.0) -> int:
        """Write what waits, let go of the file.

        Args:
            deadline: most seconds spent.

        Returns:
            How many events are lost because the disk took none; they are logged.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join(deadline)
        if not self._writer.is_alive():
            with self._disk:
                self._store.close()
        lost = len(self._waiting)
        if lost:
            why = self._error or f"{self._store.path}: the disk doesn't answer"
            log.error("%d events could not be written and are lost: %s", lost, why)
        return lost

    def _queue(self, events: Iterable[Violation]) -> None:
        for event in events:
            row = Row(None, event.event_id, event.to_json(), event.created)
            self._waiting[row.event_id] = row
        while len(self._waiting) > self._max_in_memory:
            del self._waiting[next(iter(self._waiting))]
            self._unwritten += 1

    def _flush(self) -> bool:
        """Write and delete all that waits for it; True if the disk took it."""
        with self._disk:
            with self._changed:
                new, gone = list(self._waiting.values()), list(self._done.values())
                self._writing = frozenset(row.event_id for row in new)
            self._store.look_aside()
            written = not (new or gone) or self._read(lambda: self._store.write(new, gone))
            # One write in what a full disk has left over doesn't make it well.
            if written and self._error is not None and self._read(self._store.probe):
                log.info("%s: the outbox can be written again", self._store.path)
                self._error = None
            with self._changed:
                self._writing = frozenset()
                for row in new if written else ():
                    self._waiting.pop(row.event_id, None)
                for row in gone if written else ():
                    self._done.pop(row.event_id, None)
                self._changed.notify_all()
            self._note_oldest()
            return written

    def _read(self, work: Callable[[], object]) -> bool:
        recovered = self._store.recovered
        try:
            work()
        except OutboxError as error:
            if self._error is None:
                log.error("%s; events wait in memory", error)  # noqa: TRY400 - the disk's, not ours
            self._error = str(error)
            return False
        finally:
            if self._store.recovered != recovered:
                log.error("%s", self._store.recovered)
        return True

    def _note_oldest(self) -> None:
        """Keep the answer at hand, so that asking for it never waits for the disk."""
        with self._changed:
            done, waiting = set(self._done), list(self._waiting.values())[:1]
        rows: list[Row] = []
        if self._store.count > len(done):
            self._read(lambda: rows.extend(self._store.pending(1, done)))
        rows += waiting
        self._oldest = _decided_at(rows[0]) if rows else None

    def _keep_writing(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: bool(self._waiting or self._done or self._closing),
                    RETRY_AFTER if self._error else None,
                )
                self._changed.wait_for(
                    lambda: (
                        bool(self._waiting or self._closing) or len(self._done) >= _DELETE_BATCH
                    ),
                    DELETE_AFTER,
                )
                closing, news = self._closing, bool(self._waiting)
            written = self._flush()
            if news:
                self.listener()
            if closing:
                return
            if not written:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, RETRY_AFTER)


def _decided_at(row: Row) -> str | None:
    try:
        return str(json.loads(row.payload)["decided_at"])
    except (ValueError, TypeError, KeyError):
        return None


def _nobody() -> None:
    """Listens to nothing."""
