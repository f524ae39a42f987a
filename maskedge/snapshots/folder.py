"""Keeps pictures in a folder that only this user can look into, for a while and up to a size.

Only files of this module's own naming are ever counted or deleted; whatever else lies there is
left alone.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from maskedge.clock import Ages

if TYPE_CHECKING:
    from pathlib import Path

KEEP_FREE = 100_000_000
"""Bytes of the disk that are left free: events waiting to be sent need them more."""
DAY = 86_400.0
LEFTOVER = 600.0
"""Seconds after which what a killed writer left is removed; before, one may be at it."""
WRONG = 60.0
"""Seconds by which a file's date may be wrong until it is corrected."""

_OURS = re.compile(
    r"\d{8}T\d{6}\.\d{3}Z_(?:without|incorrect)_mask_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"\.jpg(?:\.new)?"
)


class _File(NamedTuple):
    """One of ours: when it was written, seconds since the epoch, and its bytes."""

    written: float
    size: int
    path: Path


class Purged(NamedTuple):
    """How many pictures were deleted, their bytes, and how many are left."""

    files: int
    bytes: int
    left: int


def name(decided_at: str, label: str, event_id: str) -> str:
    """The file's name: sorts by time, and tells the event.

    Args:
        decided_at: RFC 3339, UTC, as in the event.
        label: of the violation.
        event_id: of the event.
    """
    stamp = decided_at.replace("-", "").replace(":", "")
    return f"{stamp}_{label}_{event_id}.jpg"


class SnapshotFolder:
    """The folder. Used by one thread.

    Args:
        path: made when missing, with mode 0700.
        max_age: days until a picture is deleted.
        max_megabytes: most that the pictures take together, in millions of bytes.
        ages: known already, of an earlier folder; None: of none.
    """

    def __init__(
        self,
        path: Path,
        max_age: float,
        max_megabytes: float,
        ages: Ages | None = None,
    ) -> None:
        self.path = path
        self._max_age = max_age * DAY
        self._max_bytes = max_megabytes * 1e6
        self._ages = Ages() if ages is None else ages

    def keep(self, name: str, jpeg: bytes) -> None:
        """Write a picture, whole or not at all, after making room for it.

        Raises:
            OSError: it can't be written; the message says why and how to cure it.
        """
        self._prepare()
        self.sweep(len(jpeg))
        room = os.statvfs(self.path)
        if room.f_bavail * room.f_frsize - len(jpeg) < KEEP_FREE:
            raise OSError(f"{self.path}: less than {KEEP_FREE // 10**6} MB are free; free some")
        path, new = self.path / name, self.path / f"{name}.new"
        new.unlink(missing_ok=True)
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(file, "wb") as stream:
                stream.write(jpeg)
                stream.flush()
                os.fsync(file)
            with suppress(FileNotFoundError):  # purged meanwhile
                new.replace(path)
            self._ages.kept(name)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise

    def sweep(self, coming: int = 0) -> int:
        """Delete what is too old, and the oldest of what is too much.

        Args:
            coming: bytes to make room for.

        Returns:
            How many files were deleted.

        Raises:
            OSError: the folder can't be read, or a file not be deleted.
        """
        now, synced = self._ages.wall(), self._ages.synced()
        keep: list[tuple[float, _File]] = []
        gone: list[_File] = []
        files = self._files()
        self._ages.forget({file.path.name for file in files})
        for file in files:
            age = self._ages.of(file.path.name, file.written)
            if age > (LEFTOVER if file.path.suffix == ".new" else self._max_age):
                gone.append(file)
                continue
            keep.append((-age, file))
            if synced and abs(now - age - file.written) > WRONG:  # dated by a clock that was wrong
                with suppress(FileNotFoundError):
                    os.utime(file.path, (now - age, now - age))
        total = sum(file.size for _, file in keep) + coming
        for _, file in sorted(keep):
            if total <= self._max_bytes:
                break
            gone.append(file)
            total -= file.size
        for file in gone:
            file.path.unlink(missing_ok=True)
        return len(gone)

    def purge(self, age: float, *, really: bool = True) -> Purged:
        """Delete the pictures that are ``age`` seconds old and older; 0: all, half ones too.

        Args:
            age: seconds.
            really: False: only count them.

        Raises:
            OSError: the folder can't be read, or a file not be deleted.
        """
        now = self._ages.wall()
        files = self._files()
        gone = [file for file in files if age <= 0 or now - file.written >= age]
        for file in gone if really else ():
            file.path.unlink(missing_ok=True)
        return Purged(len(gone), sum(file.size for file in gone), len(files) - len(gone))

    def _files(self) -> list[_File]:
        files = []
        with suppress(FileNotFoundError):
            for path in self.path.iterdir():
                if _OURS.fullmatch(path.name):
                    with suppress(FileNotFoundError):
                        status = path.lstat()
                        files.append(_File(status.st_mtime, status.st_size, path))
        return files

    def _prepare(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o077:
            raise OSError(
                f"{self.path}: others can look into it (mode {mode:04o}); chmod 700 {self.path}"
            )
