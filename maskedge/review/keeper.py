"""The daemon's side of the review set: nothing at all while ``review.enabled`` is false.

The loop hands over what :mod:`maskedge.review.candidates` has cut out; a thread of its own chooses,
encodes, writes and removes. It writes at most :data:`BURST` faces at once and then one in
:data:`EVERY` seconds: an SD card wears out by writing.
"""

from __future__ import annotations

import logging
import random
import shutil
import threading
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import cv2

from maskedge import paths
from maskedge.clock import Ages
from maskedge.errors import ReviewError
from maskedge.review.candidates import FLOOR, Candidates, Cut
from maskedge.review.folder import BLOCK, ReviewFolder, blocks, expired
from maskedge.review.selection import Candidate, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from maskedge.camera.frame import Frame
    from maskedge.config import Config, ReviewConfig
    from maskedge.events import Models
    from maskedge.pipeline import FrameResult
    from maskedge.review.folder import Item
    from maskedge.review.record import Record

log = logging.getLogger(__name__)

BURST = 20
"""Faces that may be written one after the other."""
EVERY = 60.0
"""Seconds between two faces after that."""
WAITING = 16
"""Most faces that wait in memory for their turn, chosen as those on the disk are."""
MAX_FACES = 20_000
"""Most faces kept, however small."""
TIDY = 3600.0
"""Seconds between two looks for what has become too old."""
RETRY = 30.0
"""Seconds after which a disk that took nothing is tried again."""
LEAST_FREE = 64_000_000
"""Bytes of the disk that are left to the outbox and the system."""
QUALITY = 90
"""Of the JPEG, 0..100."""
STEPS, HOURS = 3, 4
"""Parts into which doubt is divided, and hours that a part of the day has."""


class ReviewSet:
    """Takes what the daemon's loop sees, and keeps what a person should look at."""

    def __init__(self, config: Config) -> None:
        """Begin as the configuration says; nothing is written before there is a face to keep."""
        self._candidates = Candidates()
        self._ages = Ages()
        self._writer: Writer | None = None
        self._start(config)

    @property
    def error(self) -> str | None:
        """Why nothing can be kept now though something should be; None: all is well."""
        return self._writer.error if self._writer is not None else None

    def frame(self, frame: Frame, result: FrameResult, now: float, models: Models) -> None:
        """Note what a frame brought; ``now`` on the line of ``time.monotonic``."""
        if self._writer is not None and self._config.enabled:
            offset = time.time() - time.monotonic()
            self._writer.hand(self._candidates.note(frame, result, now, offset, models))

    def reconfigure(self, config: Config) -> None:
        """Take a new configuration; faces not yet written are given up."""
        if (config.review, paths.review_folder(config)) != (self._config, self._folder):
            if self._writer is not None:
                self._writer.close(0.0, write=False)
            self._candidates = Candidates()
            self._start(config)

    def close(self, deadline: float) -> None:
        """Write what waits, and end; returns within ``deadline`` seconds, done or not."""
        if self._writer is not None:
            self._writer.hand(self._candidates.flush())
            self._writer.close(deadline)

    def _start(self, config: Config) -> None:
        self._config = config.review
        self._folder = paths.review_folder(config)
        self._writer = None
        if config.review.enabled:
            log.info(
                "uncertain faces are kept in %s: at most %d MB, %g days",
                self._folder,
                config.review.max_megabytes,
                config.review.max_age,
            )
        elif not self._folder.exists():
            return
        # Also when it was switched off: what was kept before must not become older than it may.
        self._writer = Writer(self._folder, config.review, self._ages)
        self._writer.start()


class Writer:
    """Chooses and writes, in a thread of its own.

    Attributes:
        error: why the folder can't be read or written now, or None.
    """

    def __init__(
        self,
        folder: Path,
        config: ReviewConfig,
        ages: Ages | None = None,
        *,
        burst: int = BURST,
        every: float = EVERY,
    ) -> None:
        self.error: str | None = None
        self._folder = ReviewFolder(folder)
        self._config = config
        self._ages = Ages() if ages is None else ages
        self._chance = random.Random()  # noqa: S311 - a sample, no secret
        limit = config.max_megabytes * 1_000_000
        self._selection = Selection(MAX_FACES, limit, self._chance)
        self._changed = threading.Condition()
        self._waiting: dict[str, Cut] = {}
        self._queue = self._new_queue()
        self._closing = False
        self._burst, self._every = burst, every
        self._turns, self._counted = float(burst), time.monotonic()
        self._tidy_at = self._try_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="review", daemon=True)

    def start(self) -> None:
        """Begin, by removing what has become too old."""
        self._thread.start()

    def hand(self, cuts: Iterable[Cut]) -> None:
        """Let faces wait for their turn; returns at once."""
        for cut in cuts:
            with self._changed:
                gone = self._queue.offer(_candidate(cut.record, 0, fixed=False))
                if gone is None:
                    continue
                for name in gone:
                    del self._waiting[name]
                self._waiting[cut.record.name] = cut
                self._changed.notify_all()

    def close(self, deadline: float, *, write: bool = True) -> None:
        """End within ``deadline`` seconds; ``write`` what waits until then, or give it up."""
        with self._changed:
            self._closing = True
            if not write:
                self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(deadline)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._due, self._patience())
                closing = self._closing
                cut = self._next()
            if time.monotonic() >= self._tidy_at:
                self._try(self._tidy)
            if cut is not None:
                self._try(partial(self._keep, cut))
            elif self.error is not None and time.monotonic() >= self._try_at:
                self._try(self._probe if self._config.enabled else self._tidy)
            if closing and (cut is None or self.error is not None):
                return

    def _due(self) -> bool:
        """Whether there is something to do at once."""
        return self._closing or (bool(self._waiting) and self._turn() and self._usable())

    def _patience(self) -> float:
        """Seconds until there may be something to do."""
        now = time.monotonic()
        moments = [self._tidy_at]
        if self.error is not None:
            moments.append(self._try_at)
        elif self._waiting:
            moments.append(now + (1 - self._turns) * self._every)
        return max(0.0, min(moments) - now)

    def _usable(self) -> bool:
        return self.error is None or time.monotonic() >= self._try_at

    def _turn(self) -> bool:
        """Whether a face may be written now."""
        now = time.monotonic()
        self._turns = min(self._burst, self._turns + (now - self._counted) / self._every)
        self._counted = now
        return self._turns >= 1

    def _next(self) -> Cut | None:
        """The most doubtful of those that wait, if it may be written."""
        if not (self._waiting and self._turn() and self._usable()):
            return None
        name = max(self._queue.kept, key=lambda candidate: candidate.doubt).name
        self._queue.drop(name)
        cut = self._waiting.pop(name)
        if not self._waiting:
            self._queue = self._new_queue()
        return cut

    def _new_queue(self) -> Selection:
        return Selection(WAITING, 1, self._chance)

    def _keep(self, cut: Cut) -> None:
        """Write a face, if the choice falls on it, in the place of others where it is full."""
        done, encoded = cv2.imencode(".jpg", cut.pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not done:
            return
        jpeg = encoded.tobytes()
        self._check_space()
        self._look()
        size = blocks(len(jpeg)) + 2 * BLOCK
        gone = self._selection.offer(_candidate(cut.record, size, fixed=False))
        if gone is None:
            return
        for name in gone:
            self._folder.remove(name)
        self._turns -= 1
        self._folder.keep(cut.record, jpeg)
        self._ages.kept(cut.record.name)

    def _tidy(self) -> None:
        """Remove what is too old, what exceeds the bounds, and what others left behind."""
        self._tidy_at = time.monotonic() + RETRY
        removed = self._folder.purge(expired(self._ages, timedelta(days=self._config.max_age)))
        self._folder.sweep(time.time())
        self._look()
        self._ages.forget({candidate.name for candidate in self._selection.kept})
        self._tidy_at = time.monotonic() + TIDY
        if removed.faces:
            log.info("%d kept faces were too old and are removed", removed.faces)

    def _look(self) -> None:
        """See what is in the folder; a person may have labelled or removed some."""
        items = self._folder.items()
        for name in self._selection.restore(_kept(item) for item in items):
            self._folder.remove(name)

    def _probe(self) -> None:
        """Find out whether faces could be kept again."""
        self._check_space()
        self._folder.probe()
        self._look()

    def _check_space(self) -> None:
        place = self._folder.path
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if free < LEAST_FREE:
            raise ReviewError(
                f"{self._folder.path}: only {free / 1e6:.0f} MB of the disk are free, which are "
                "left to events: free space, or lower review.max_megabytes"
            )

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except ReviewError as error:
            self.error = str(error)
        except OSError as error:
            self.error = f"{self._folder.path}: {error.strerror}"
        else:
            self.error = self._folder.unread
        self._try_at = time.monotonic() + RETRY


def _kept(item: Item) -> Candidate:
    reserved = 0 if item.mark is not None else BLOCK
    return _candidate(item.record, item.bytes + reserved, fixed=item.labelled)


def _candidate(record: Record, size: int, *, fixed: bool) -> Candidate:
    step = min(STEPS - 1, int(STEPS * (record.doubt - FLOOR) / (1 - FLOOR)))
    kind = (step, record.guess, record.time.astimezone().hour // HOURS)
    return Candidate(record.name, kind, int(record.likeness, 16), record.doubt, size, fixed)
