"""Reads what can still be read from a damaged outbox file.

The table is read from its first event up to the damage and from its last down to it. Free pages,
where deleted events still lie, are left alone: what a broker has acknowledged must not come again.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

SELECT = "SELECT seq, event_id, payload, created FROM events ORDER BY seq"


def salvage(damaged: Path, application_id: int, version: int) -> list[tuple[int, str, str, float]]:
    """The events of a damaged file, by number; the file itself isn't changed.

    Args:
        damaged: the file; its log, if any, lies beside it with ``-wal`` added to the name.
        application_id: what SQLite's header must say.
        version: the same for the table's form.

    Returns:
        ``seq``, ``event_id``, payload and ``created`` of each whole event; none if the file is
        another program's, of another version, or beyond reading. Never raises for what is in it.

    Raises:
        OSError: the disk has no room for the copy that is read.
    """
    with tempfile.TemporaryDirectory(prefix="salvage-", dir=damaged.parent) as folder:
        copy = Path(folder) / "outbox.db"
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{damaged}{suffix}", f"{copy}{suffix}")
        if not copy.exists():
            return []
        with closing(sqlite3.connect(copy)) as database:
            if _says(database, "application_id") != application_id:
                return []
            if _says(database, "user_version") != version:
                return []
            found = {**_read(database, SELECT), **_read(database, f"{SELECT} DESC")}
    return [found[seq] for seq in sorted(found)]


def _says(database: sqlite3.Connection, pragma: str) -> int | None:
    with suppress(sqlite3.Error):
        return int(database.execute(f"PRAGMA {pragma}").fetchone()[0])
    return None


def _read(database: sqlite3.Connection, query: str) -> dict[int, tuple[int, str, str, float]]:
    """Up to the damage."""
    found = {}
    # UnicodeDecodeError: text that no longer is any, or a damaged schema in an error's message.
    with suppress(sqlite3.Error, UnicodeDecodeError):
        for row in database.execute(query):
            if _is_whole(*row):
                found[row[0]] = row
    return found


def _is_whole(seq: Any, event_id: Any, payload: Any, created: Any) -> bool:
    """Whether the columns are what was written: the payload repeats the id."""
    if not (isinstance(seq, int) and isinstance(payload, str) and isinstance(created, float)):
        return False
    try:
        event = json.loads(payload)
    except ValueError:
        return False
    return isinstance(event, dict) and event.get("event_id") == event_id
