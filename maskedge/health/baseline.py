"""What is normal at this place: learnt from its own first days, kept in one small file.

The file is written at most once an hour and only after visits, until the days are over; then never
again (docs/decisions/0073-two-references.md). Deleting it makes the daemon learn anew.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.health.features import FEATURES, WIDTH, distance, part

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.health.features import Feature

log = logging.getLogger(__name__)

SCHEMA = "maskedge.drift/1"
DAY = 86_400.0
SAVE_EVERY = 3600.0
"""Least seconds between two writes."""
FAIR_DAY = 30
"""Visits from which one day says how much days differ."""


@dataclass
class Baseline:
    """Counts of the first days.

    Attributes:
        key: what the counts hold for; another place or network asks for others.
        days: counts (days, WIDTH) of each day of running time.
        visits: how many those are.
        seconds: for how long it has been learnt.
        complete: whether it is learnt and doesn't change any more.
    """

    key: str
    days: NDArray[np.int64]
    visits: int = 0
    seconds: float = 0.0
    complete: bool = False
    _total: NDArray[np.int64] | None = field(default=None, repr=False)

    @classmethod
    def empty(cls, key: str, days: int) -> Baseline:
        """Nothing learnt yet, of so many days to learn."""
        return cls(key, np.zeros((days, WIDTH), np.int64))

    @property
    def total(self) -> NDArray[np.int64]:
        """Counts (WIDTH,) of all days."""
        if self._total is None:
            self._total = self.days.sum(axis=0)
        return self._total

    def learn(self, bins: NDArray[np.intp], elapsed: float, least: int) -> bool:
        """Take in a visit; returns whether it is complete with it.

        Args:
            bins: where it falls in a row of counts.
            elapsed: seconds since the visit before.
            least: visits that make it complete, once its days are over.
        """
        self.seconds += elapsed
        # With too few visits the days go on, and share the places there are.
        self.days[int(self.seconds / DAY) % len(self.days), bins] += 1
        self._total = None
        self.visits += 1
        self.complete = self.visits >= least and self.seconds >= len(self.days) * DAY
        return self.complete

    def span(self, days: int) -> None:
        """Learn for so many days instead; what was counted stays, unless it is complete."""
        if self.complete or days == len(self.days):
            return
        spread = np.zeros((days, WIDTH), np.int64)
        for number, counts in enumerate(self.days):
            spread[number % days] += counts
        self.days, self._total = spread, None

    def unrest(self, feature: Feature) -> float:
        """The PSI by which these days surely differ among each other, at most; 0: by none."""
        rows = part(self.days, feature)
        fair = [day for day in rows if day.sum() >= FAIR_DAY]
        apart = (distance(feature, day, rows.sum(axis=0) - day) for day in fair)
        sure = [d.psi - math.sqrt(2 * d.freedom) * d.scale for d in apart if d is not None]
        return max(0.0, *sure) if sure else 0.0

    def to_json(self) -> str:
        """As the file has it."""
        counts = {f.name: part(self.days, f).tolist() for f in FEATURES}
        return json.dumps(
            {
                "schema": SCHEMA,
                "key": self.key,
                "visits": self.visits,
                "seconds": round(self.seconds),
                "complete": self.complete,
                "days": counts,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Baseline:
        """Back from :meth:`to_json`.

        Raises:
            ValueError: it isn't that.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            days = np.concatenate(
                [np.array(content["days"][f.name], np.int64).reshape(-1, f.bins) for f in FEATURES],
                axis=1,
            )
            found = cls(
                str(content["key"]),
                days,
                int(content["visits"]),
                float(content["seconds"]),
                bool(content["complete"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no baseline: {error!r}") from error
        if content.get("schema") != SCHEMA or not len(days) or (days < 0).any():
            raise ValueError("no baseline of this version")
        return found


class BaselineFile:
    """Where a baseline outlives the process; the disk is never waited for while it runs.

    Args:
        path: the file.
        clock: monotonic seconds, to bound how often it is written.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._saved_at = clock()
        self._writing: threading.Thread | None = None
        self._written = False
        self._warned = False

    def load(self, key: str, days: int) -> Baseline:
        """What was learnt for this key and so many days, or nothing."""
        fresh = Baseline.empty(key, days)
        try:
            found = Baseline.from_json(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return fresh
        except (OSError, ValueError) as error:
            log.warning("%s can't be read (%s): it is learnt anew", self.path, error)
            return fresh
        if found.key != key:
            log.info("%s is of another camera or network: it is learnt anew", self.path)
            return fresh
        found.span(days)
        self._written = True
        return found

    def due(self) -> bool:
        """Whether it may be written again."""
        return self._clock() - self._saved_at >= SAVE_EVERY

    def deleted(self) -> bool:
        """Whether somebody has taken away what was written, and not the whole folder."""
        return self._written and not self.path.exists() and self.path.parent.is_dir()

    def forget(self) -> None:
        """It was deleted on purpose."""
        self._written = False

    def save(self, baseline: Baseline) -> None:
        """Write it in a thread of its own; a write that still hangs is not joined by another."""
        if self._writing is not None and self._writing.is_alive():
            return
        self._saved_at = self._clock()
        writing = threading.Thread(
            target=self._write, args=(baseline.to_json(),), name="baseline", daemon=True
        )
        try:
            writing.start()
        except RuntimeError as error:  # TasksMax= is reached
            log.warning("%s: not written this time: %s", self.path, error)
        else:
            self._writing = writing

    def close(self, timeout: float) -> None:
        """Wait for the last write, so many seconds at most."""
        if self._writing is not None:
            self._writing.join(max(0.0, timeout))

    def _write(self, text: str) -> None:
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.chmod(0o600)
            os.replace(new, self.path)  # noqa: PTH105 - the atomic one
            self._written = True
        except OSError as error:
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            log.log(level, "%s can't be written: %s", self.path, error.strerror)
