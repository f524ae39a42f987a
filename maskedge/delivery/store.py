"""Events on disk: one SQLite file that survives a power cut and heals itself when it can't.

Write-ahead log, ``synchronous=FULL``: a commit is one append and one flush, and what was
committed is there after a power cut (docs/decisions/0010-outbox-journal.md has the figures).
The lock is exclusive, so that no second process sends the same events.

A file that is damaged, of a newer version or another program's is renamed, never deleted, and a
new one is begun, with the events that a damaged one still gives. ``seq`` comes from AUTOINCREMENT:
numbered in the transaction that stores the event, never used twice; a file begun after another was
set aside counts on from the time in milliseconds, or, by a clock that fell, from far above where
the file before began (kept in ``<name>.numbers``): above any number given before.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from maskedge.delivery.salvage import salvage
from maskedge.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

T = TypeVar("T")

APPLICATION_ID = 0x4D45_4F42  # "MEOB"
VERSION = 1

ROOM = 32_768
"""Bytes that are free on a disk that is well again: those of the next ten events."""

_APART = 10**9  # more numbers than a file ever gives
_HIGHEST = 2**53  # that JSON tells exactly

_CREATE = """
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id TEXT NOT NULL,
  payload TEXT NOT NULL,
  created REAL NOT NULL
)
"""
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Row(NamedTuple):
    """One event that waits to be sent.

    Attributes:
        seq: its number; None: it is only in memory.
        payload: JSON text as of :meth:`Violation.to_json`.
        created: ``time.monotonic()`` when it was built, in the boot that the payload names.
    """

    seq: int | None
    event_id: str
    payload: str
    created: float


class _Unusable(Exception):
    """The file is not an outbox that this program can use; the text says why."""


class EventStore:
    """The file. Not thread-safe; opened by the first call, and again after each failure.

    Args:
        path: the file; its folder is made when missing, for this user only.
        max_events: see the attribute.

    Attributes:
        max_events: most events kept; beyond, the oldest go first. May change at any time.
        count: events in the file.
        dropped: events that went because of ``max_events``.
        recovered: what was set aside and why; None: nothing was, or it has been taken away.
    """

    def __init__(self, path: Path, max_events: int) -> None:
        self.path = path
        self.count = 0
        self.dropped = 0
        self.recovered: str | None = None
        self._aside = path
        self.max_events = max_events
        self._saved: list[tuple[int, str, str, float]] = []  # for the file that is to be made
        self._database: sqlite3.Connection | None = None

    @property
    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    @property
    def _numbers(self) -> Path:
        return self.path.with_name(self.path.name + ".numbers")

    def open(self) -> None:
        """Make it ready; all other methods do so too.

        Raises:
            OutboxError: folder or file can't be made, read or locked.
        """
        self._run(lambda _: None)

    def write(self, new: Sequence[Row], gone: Sequence[Row] = ()) -> list[int]:
        """Store some events and forget others, durably, all or nothing.

        Args:
            new: to store, in this order; their ``seq`` doesn't matter.
            gone: to forget, by number, or by id if they had none when they were read.

        Returns:
            The numbers that the new ones got.

        Raises:
            OutboxError: the disk is full or can't be written.
        """

        def work(database: sqlite3.Connection) -> list[int]:
            database.execute("BEGIN IMMEDIATE")
            before = database.total_changes
            database.executemany(
                "DELETE FROM events WHERE seq = ?", [(r.seq,) for r in gone if r.seq is not None]
            )
            database.executemany(
                "DELETE FROM events WHERE event_id = ?", [(r.event_id,) for r in gone if not r.seq]
            )
            count = self.count - (database.total_changes - before) + len(new)
            numbers = [self._insert(database, row) for row in new]
            excess = max(0, count - self.max_events)
            if excess:
                oldest = "SELECT seq FROM events ORDER BY seq LIMIT ?"
                database.execute(f"DELETE FROM events WHERE seq IN ({oldest})", (excess,))  # noqa: S608 - constant
            database.execute("COMMIT")
            self.count = count - excess
            self.dropped += excess
            return numbers

        return self._run(work)

    def pending(self, limit: int, exclude: Collection[str] = ()) -> list[Row]:
        """The first events by number, without those whose ``event_id`` is in ``exclude``.

        Raises:
            OutboxError: the file can't be read.
        """

        def work(database: sqlite3.Connection) -> list[Row]:
            found: list[Row] = []
            for row in database.execute(
                "SELECT seq, event_id, payload, created FROM events ORDER BY seq"
            ):
                if row[1] not in exclude:
                    found.append(Row(*row))
                    if len(found) == limit:
                        break
            return found

        return self._run(work) if limit > 0 else []

    def probe(self) -> None:
        """See whether the disk is well again: has room for the next events, takes a page.

        Raises:
            OutboxError: it isn't.
        """

        def work(database: sqlite3.Connection) -> None:
            with tempfile.TemporaryFile(dir=self.path.parent) as file:
                os.posix_fallocate(file.fileno(), 0, ROOM)
            database.execute(f"PRAGMA user_version = {VERSION}")

        self._run(work)

    def look_aside(self) -> None:
        """Forget what was set aside once somebody has taken it away; never raises."""
        with suppress(OSError):
            if self.recovered is not None and not self._aside.exists():
                self.recovered = None

    def close(self) -> None:
        """Let go of the file; never raises."""
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    @staticmethod
    def _insert(database: sqlite3.Connection, event: Row) -> int:
        cursor = database.execute(
            "INSERT INTO events (event_id, payload, created) VALUES (?, ?, ?)",
            (event.event_id, event.payload, event.created),
        )
        return int(cursor.lastrowid or 0)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do it, once more on a new file if this one turns out damaged."""
        try:
            try:
                return work(self._ready())
            except (_Unusable, sqlite3.DatabaseError, UnicodeDecodeError) as error:
                # The last: a damaged schema, in whose error message is no text.
                if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error):
                    raise
                self._set_aside(str(error))
                return work(self._ready())
        except (sqlite3.Error, OSError, _Unusable) as error:
            self._recover(error)
            raise OutboxError(self._explain(error)) from error
        except BaseException:
            self.close()
            raise

    def _recover(self, error: Exception) -> None:
        """A full disk can still be read; after anything else the file is opened afresh."""
        if self._database is not None and _is_full(error):
            with suppress(sqlite3.Error):
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                return
        self.close()

    def _explain(self, error: Exception) -> str:
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{self.path}: another process uses this outbox; stop it or set outbox.path"
        if _is_full(error):
            return f"{self.path}: the disk is full; free some space"
        if isinstance(error, OSError):
            return f"{error.filename or self.path}: {error.strerror}; mend the disk or permissions"
        return f"{self.path}: can't use the outbox: {error}; mend the disk or its permissions"

    def _ready(self) -> sqlite3.Connection:
        if self._database is None:
            if not self.path.exists():
                if self._wal.exists():  # SQLite would replay a lost file's log into the new one
                    self._set_aside("the file is gone, its log is there")
                self._create()
            self._database = self._connect()
        return self._database

    def _connect(self) -> sqlite3.Connection:
        if self.path.stat().st_size == 0:
            raise _Unusable("empty")
        if not os.access(self.path, os.W_OK):
            raise PermissionError(0, "read-only", str(self.path))
        database = sqlite3.connect(
            self.path, isolation_level=None, timeout=0.2, check_same_thread=False
        )
        try:
            _prepare(database)
            self.count = int(database.execute("SELECT count(*) FROM events").fetchone()[0])
        except BaseException:
            database.close()
            raise
        return database

    def _create(self) -> None:
        """Build the file beside its place and rename it there: it is whole or it isn't there."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path.with_name(self.path.name + ".new")
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        database = sqlite3.connect(draft, isolation_level=None)
        try:
            # Pages of 1 KiB: an event dirties two or three, and each is written whole.
            database.execute("PRAGMA page_size = 1024")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute(_CREATE)
            base = self._base()
            if base:
                database.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (base,)
                )
            database.execute("BEGIN")
            database.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", self._saved)
            database.execute("COMMIT")
        finally:
            database.close()
        if base:
            self._note(base)
        draft.rename(self.path)
        self._saved = []
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _base(self) -> int:
        """What a new file counts on from: above any number given before."""
        before = 0
        with suppress(OSError, ValueError):
            before = int(self._numbers.read_text(encoding="ascii"))
        if not 0 < before < _HIGHEST:
            if not any(self.path.parent.glob(f"{self.path.name}.aside-*")):
                return 0
            before = 0
        return max(time.time_ns() // 1_000_000, before + _APART)

    def _note(self, base: int) -> None:
        draft = self._numbers.with_name(self._numbers.name + ".new")
        with draft.open("w", encoding="ascii") as file:
            file.write(f"{base}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._numbers)

    def _set_aside(self, why: str) -> None:
        self.close()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.aside-{stamp}")
        tries = 0
        while aside.exists():
            tries += 1
            aside = self.path.with_name(f"{self.path.name}.aside-{stamp}-{tries}")
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(f"{aside}{suffix}")
        with suppress(OSError):
            self._saved = salvage(aside, APPLICATION_ID, VERSION)
        self._aside = aside
        self.recovered = (
            f"{self.path}: {why}; set aside as {aside.name}, a new outbox was begun with the "
            f"{len(self._saved)} events that could be read"
        )


def _prepare(database: sqlite3.Connection) -> None:
    """Set it up, check that it is ours and whole, and take the lock."""
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    if _pragma(database, "application_id") != APPLICATION_ID:
        raise _Unusable("not a maskedge outbox")
    version = _pragma(database, "user_version")
    if version != VERSION:
        raise _Unusable(f"version {version}, this program knows {VERSION}")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA journal_size_limit = 1048576")
    damage = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise _Unusable(f"damaged: {damage}")
    # Takes the lock now, so that a second process is refused before it shows events.
    database.execute("BEGIN IMMEDIATE")
    database.execute("COMMIT")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for other errors."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC
    return _code(error) == sqlite3.SQLITE_FULL


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return _code(error) in _DAMAGE
