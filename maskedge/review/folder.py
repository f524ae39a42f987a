"""The folder of kept faces: ``NAME.jpg``, ``NAME.json`` and, once labelled, ``NAME.label.json``.

Daemon, page and purge may work on it at the same time, as processes of their own: each file is
written whole or not at all, there is no common index, and a file that is gone is no error. Files
of other names are never touched.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from maskedge.errors import ReviewError
from maskedge.review.record import ANSWERS, DELETED, NAME, Mark, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from pathlib import Path

    from maskedge.clock import Ages

TOMORROW = 86_400.0
"""Seconds by which a face may be dated ahead of a clock that is right."""
BLOCK = 4096
"""Bytes that a file takes up at least."""
LEFTOVER = 600.0
"""Seconds after which what a killed writer left, or a person deleted, is removed."""
PICTURE, RECORD, MARK = ".jpg", ".json", ".label.json"
OURS = re.compile(rf"({NAME.pattern})\.(jpg|json|label\.json)|\.({NAME.pattern})\.\S+\.\d+")
"""Names of our files, whole ones and those being written."""


class Item(NamedTuple):
    """A kept face as it lies in the folder.

    Attributes:
        name: of its files, without their endings.
        record: what is known of it.
        bytes: what its files take up.
        mark: what a person said of it, or None.
    """

    name: str
    record: Record
    bytes: int
    mark: str | None

    @property
    def labelled(self) -> bool:
        """Whether a person said what it shows."""
        return self.mark in ANSWERS


@dataclass(slots=True)
class Removed:
    """What was removed: faces, those of them that were labelled, and bytes."""

    faces: int = 0
    labelled: int = 0
    bytes: int = 0


@dataclass
class ReviewFolder:
    """Reads and writes kept faces; one thread at a time.

    Attributes:
        path: the folder; made, for its owner only, with the first face that is kept.
    """

    path: Path
    _records: dict[str, Record] = field(default_factory=dict)
    _marks: dict[str, tuple[int, str]] = field(default_factory=dict)
    _unread: dict[str, OSError] = field(default_factory=dict)

    @property
    def unread(self) -> str | None:
        """Which face couldn't be read when all were listed last, why, and the cure."""
        for error in self._unread.values():
            cure = f"sudo chown -R --reference={self.path} {self.path}"
            return f"{error.filename}: can't be read: {error.strerror}; it is kept; cure: {cure}"
        return None

    def items(self) -> list[Item]:
        """Every face that is whole, oldest first; none where the folder isn't there.

        One whose files can't be read, as they are somebody else's, is left out: see `unread`.

        Raises:
            ReviewError: the folder can't be read.
        """
        stats = self._stats()
        names = {n.removesuffix(PICTURE) for n in stats if n.endswith(PICTURE)}
        names = {n for n in names if n + RECORD in stats}
        self._records = {n: r for n, r in self._records.items() if n in names}
        self._marks = {n: m for n, m in self._marks.items() if n + MARK in stats}
        self._unread = {}
        items = []
        for name in names:
            record = self._record(name)
            mark = self._mark(name, stats.get(name + MARK))
            if record is not None and name not in self._unread:
                files = (name + ending for ending in (PICTURE, RECORD, MARK))
                taken = sum(blocks(stats[file].st_size) for file in files if file in stats)
                items.append(Item(name, record, taken, mark))
        return sorted(items, key=lambda item: (item.record.time, item.name))

    def picture(self, name: str) -> bytes:
        """A face's JPEG.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        self._check(name)
        return (self.path / (name + PICTURE)).read_bytes()

    def keep(self, record: Record, jpeg: bytes) -> int:
        """Write a face; it counts once its record, which comes last, is there.

        Returns:
            The bytes that it takes up.

        Raises:
            ReviewError: it can't be written, or others may look into the folder.
        """
        content = record.model_dump_json().encode()
        try:
            self._prepare()
            self._put(record.name + PICTURE, jpeg)
            self._put(record.name + RECORD, content)
        except OSError as error:
            raise self._unwritable(error) from error
        self._records[record.name] = record
        return blocks(len(jpeg)) + blocks(len(content))

    def mark(self, name: str, label: str | None) -> None:
        """Write down what a person says of a face; None: nothing any more.

        Raises:
            FileNotFoundError: the face is gone.
            ReviewError: it can't be written.
        """
        self._check(name)
        if not (self.path / (name + RECORD)).exists():
            raise FileNotFoundError(name)
        try:
            if label is None:
                (self.path / (name + MARK)).unlink(missing_ok=True)
            else:
                self._put(
                    name + MARK, Mark.model_validate({"label": label}).model_dump_json().encode()
                )
        except OSError as error:
            raise self._unwritable(error) from error

    def remove(self, name: str) -> None:
        """Remove a face, its record first, so that no half of it ever counts.

        Raises:
            ReviewError: it can't be removed.
        """
        self._check(name)
        try:
            for ending in (RECORD, PICTURE, MARK):
                (self.path / (name + ending)).unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def purge(self, unwanted: Callable[[Item], bool]) -> Removed:
        """Remove the faces of which ``unwanted`` says so.

        Raises:
            ReviewError: one can't be removed, or the folder can't be read.
        """
        removed = Removed()
        for item in self.items():
            if unwanted(item):
                self.remove(item.name)
                removed.faces += 1
                removed.labelled += item.labelled
                removed.bytes += item.bytes
        return removed

    def sweep(self, now: float, *, deleted: float = LEFTOVER, halves: float = LEFTOVER) -> int:
        """Remove what a person deleted, and what a killed writer left.

        A face of which a file can't be read isn't one of these: it stays, unless ``halves`` is 0.

        Args:
            now: seconds since the epoch.
            deleted: seconds since it was deleted; 0: at once.
            halves: seconds since it was written; 0: at once, though somebody may be at it.

        Returns:
            How many faces and files that was.

        Raises:
            ReviewError: one can't be removed, or the folder can't be read.
        """
        stats = self._stats()
        items = self.items()
        removed = 0

        def old(file: str, limit: float) -> bool:
            return limit <= 0 or now - stats[file].st_mtime >= limit

        for item in items:
            if (
                item.mark == DELETED
                and item.name + MARK in stats
                and old(item.name + MARK, deleted)
            ):
                self.remove(item.name)
                removed += 1
        spared = {item.name for item in items}.union(self._unread if halves > 0 else ())
        for file in stats:
            half = file.startswith(".") or file.split(".")[0] not in spared
            if half and old(file, halves):
                try:
                    (self.path / file).unlink(missing_ok=True)
                except OSError as error:
                    raise self._unwritable(error) from error
                removed += 1
        return removed

    def probe(self) -> None:
        """Find out whether it can be written again.

        Raises:
            ReviewError: it can't.
        """
        file = self.path / f".00000000T000000_00000000-0_0.jpg.{os.getpid()}"
        try:
            self._prepare()
            file.write_bytes(bytes(BLOCK))
            file.unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def _stats(self) -> dict[str, os.stat_result]:
        """Our files, by name."""
        try:
            with os.scandir(self.path) as entries:
                found = [entry.name for entry in entries if OURS.fullmatch(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise ReviewError(
                f"{self.path}: can't be read: {error.strerror}; as root it can: sudo"
            ) from error
        stats = {}
        for name in found:
            try:
                stats[name] = (self.path / name).lstat()
            except OSError:
                continue  # removed meanwhile
        return stats

    def _record(self, name: str) -> Record | None:
        """None: damaged or gone, then a sweep removes it; or it can't be read."""
        if name not in self._records:
            try:
                record = Record.model_validate_json(self._read(name, RECORD))
            except ValidationError:
                return None
            if record.name != name:
                return None
            self._records[name] = record
        return self._records[name]

    def _mark(self, name: str, stat: os.stat_result | None) -> str | None:
        if stat is None:
            return None
        known = self._marks.get(name)
        if known is None or known[0] != stat.st_mtime_ns:
            try:
                known = stat.st_mtime_ns, Mark.model_validate_json(self._read(name, MARK)).label
            except ValidationError:
                return None
            self._marks[name] = known
        return known[1]

    def _read(self, name: str, ending: str) -> bytes:
        """A file of a face; nothing where it is gone, or can't be read, which is noted."""
        try:
            return (self.path / (name + ending)).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            self._unread[name] = error
            return b""

    def _prepare(self) -> None:
        """Make the folder, for its owner only."""
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            self.path.mkdir(parents=True, mode=0o700)
            return
        if mode & 0o077:
            raise ReviewError(
                f"{self.path}: others may look into it; cure: sudo chmod 700 {self.path}"
            )

    def _put(self, file: str, content: bytes) -> None:
        """Write a file whole or not at all, for the folder's owner only."""
        target = self.path / file
        made = self.path / f".{file}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(made, flags, 0o600), "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
                if os.geteuid() == 0:  # at the terminal, for the service's user
                    owner = self.path.stat()
                    os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
            made.replace(target)
        except BaseException:
            made.unlink(missing_ok=True)
            raise

    def _check(self, name: str) -> None:
        if NAME.fullmatch(name) is None:
            raise FileNotFoundError(name)

    def _unwritable(self, error: OSError) -> ReviewError:
        return ReviewError(
            f"{self.path}: can't be written: {error.strerror}; free space, or mend review.folder"
        )


def expired(ages: Ages, max_age: timedelta) -> Callable[[Item], bool]:
    """Says which faces are older than ``max_age``.

    Where the clock is known to be right, what bears a date after tomorrow was kept under a wrong
    one, and goes as well.

    Args:
        ages: what is known of them.
        max_age: most that a face may be kept.
    """
    now, synced = ages.wall(), ages.synced()

    def check(item: Item) -> bool:
        dated = item.record.time.timestamp()
        old = ages.of(item.name, dated) > max_age.total_seconds()
        return old or (synced and dated > now + TOMORROW)

    return check


def blocks(size: int) -> int:
    """What a file of ``size`` bytes takes up, counted carefully."""
    return max(1, -(-size // BLOCK)) * BLOCK
