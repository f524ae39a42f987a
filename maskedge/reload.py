"""Notices that a file was changed, however the editor writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SETTLE = 0.5
"""Seconds that a change must rest, so that a file isn't read while it is being written."""

_Stamp = tuple[int, int, int] | None


class FileWatch:
    """Compares what the file system says of a path; polled, costs one ``stat``.

    Editors write in place, truncate first, or rename a new file over the old one: inode, size and
    time of modification together notice all of these. A file that is gone for a moment (between
    delete and rename) is no change; one that comes back different is.
    """

    def __init__(self, path: Path | None) -> None:
        """Watch ``path`` from how it is now; None: there is nothing to watch."""
        self._path = path
        self._known = self._stamp()
        self._candidate: _Stamp = self._known
        self._since = float("-inf")

    def changed(self, now: float) -> bool:
        """Whether the file differs from when this last said so, and has come to rest."""
        stamp = self._stamp()
        if stamp is None or stamp == self._known:
            self._candidate = self._known
            return False
        if stamp != self._candidate:
            self._candidate, self._since = stamp, now
            return False
        if now - self._since < SETTLE:
            return False
        self._known = stamp
        return True

    def _stamp(self) -> _Stamp:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns
