"""Moments and identities: wall time of steady moments, whether it is true, ages, ids, the boot."""

from __future__ import annotations

import ctypes
import secrets
import threading
import time
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container

_TIME_ERROR = 5  # adjtimex(2): the clock isn't synchronised
_COUNTER_MAX = 0xFFF  # 12 bits
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class WallClock:
    """Tells wall time of moments on a steady time line.

    Args:
        steady: now on the time line of the frames: ``time.monotonic`` for a live camera, the
            media time of the newest frame for a file.
        wall: now in seconds since the epoch; it may step.
    """

    def __init__(
        self,
        steady: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._steady = steady
        self._wall = wall

    def offset(self) -> float:
        """Seconds to add to a steady moment, by what the wall clock says now."""
        return self._wall() - self._steady()


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Uuid7:
    """RFC 9562, section 5.7, with the counter of section 6.2, method 1, in ``rand_a``.

    Ids rise within the process even when the wall clock stands still or steps back: then the
    last millisecond is kept and the counter goes on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._millis = -1
        self._counter = 0

    def __call__(self) -> uuid.UUID:
        with self._lock:
            now = max(0, time.time_ns() // 1_000_000)
            if now > self._millis:
                self._millis, self._counter = now, secrets.randbits(11)
            elif self._counter < _COUNTER_MAX:
                self._counter += 1
            else:
                self._millis, self._counter = self._millis + 1, secrets.randbits(11)
            millis, counter = self._millis, self._counter
        value = (millis & (2**48 - 1)) << 80
        value |= 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(62)
        return uuid.UUID(int=value)


uuid7 = _Uuid7()
"""Return a new, rising UUIDv7."""


@cache
def boot_id() -> str:
    """This boot's id, or where the kernel tells none, one made up for this process."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid4())


@cache
def _adjtimex() -> Callable[[Any], int] | None:
    function = getattr(ctypes.CDLL(None), "adjtimex", None)
    return function if callable(function) else None


def clock_synced() -> bool:
    """Whether something (NTP, GPS) sets the wall clock; a few microseconds.

    The kernel's word counts; where a sandbox forbids asking it (ProtectClock=), timesyncd's.
    """
    adjtimex = _adjtimex()
    if adjtimex is not None and 0 <= adjtimex(ctypes.create_string_buffer(512)) < _TIME_ERROR:
        return True
    return _TIMESYNCD.exists()


def _since_boot() -> float:
    """Seconds since the machine was switched on, also those in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Ages:
    """How old kept things are, whatever is done to the clock that dates them.

    A machine without a clock that runs on while it is off begins with an old time and is set later,
    so that what it has kept meanwhile looks as old as the step was long. But what this process
    has kept is exactly as old as it has kept it. What it found bearing a future date is no older
    than it has known it, until the clock has reached that date. The rest is as old as the clock
    says.

    Args:
        wall: seconds since the epoch; it may step.
        steady: seconds that never step.
        synced: whether something sets the wall clock.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = _since_boot,
        synced: Callable[[], bool] = clock_synced,
    ) -> None:
        self.wall = wall
        self.synced = synced
        self._steady = steady
        self._kept: dict[str, float] = {}
        self._met: dict[str, float] = {}

    def kept(self, name: str) -> None:
        """Note that this process has just kept something."""
        self._kept[name] = self._steady()

    def of(self, name: str, dated: float) -> float:
        """Seconds, never below 0.

        Args:
            name: unique.
            dated: what it bears, seconds since the epoch.
        """
        now = self._steady()
        if name in self._kept:
            return now - self._kept[name]
        age = self.wall() - dated
        if age < 0:
            self._met.setdefault(name, now)
        return max(age, now - self._met.get(name, now))

    def forget(self, left: Container[str]) -> None:
        """Forget whatever isn't left."""
        for known in (self._kept, self._met):
            for name in [name for name in known if name not in left]:
                known.pop(name, None)
