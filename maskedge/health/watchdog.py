"""Tells systemd that work is being done; without work it isn't told, and restarts us.

The protocol is sd_notify(3): one datagram to the socket that ``$NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """Sends sd_notify messages; does nothing when not started by systemd."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)  # a stuck manager must not stop detection

    def send(self, *lines: str) -> None:
        """Send ``KEY=value`` lines, for example ``READY=1``."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds that ``WatchdogSec=`` allows between pings, or None when it asks for none."""
    try:
        if int(environ.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return None
        microseconds = int(environ["WATCHDOG_USEC"])
    except (KeyError, ValueError):
        return None
    return microseconds / 1e6 if microseconds > 0 else None


class Watchdog:
    """Pings while frames cross the whole pipeline, are waited for, or a lost camera is reported.

    A thread that merely lives proves nothing, so there is no timer here: the daemon's loop calls
    :meth:`worked` or :meth:`failed` after each frame, and in each turn without one :meth:`waiting`
    or :meth:`curing`.
    """

    def __init__(self, notifier: Notifier, interval: float | None, cure_limit: float) -> None:
        """Watch.

        Args:
            notifier: how systemd is reached.
            interval: seconds that systemd allows, see :func:`watchdog_interval`.
            cure_limit: seconds for which a lost camera alone doesn't count as a hang.
        """
        self._notifier = notifier
        self._every = None if interval is None else interval / 4
        self._cure_limit = cure_limit
        self._last_ping = float("-inf")
        self._failing = False

    def worked(self, now: float) -> None:
        """Note that a frame crossed the whole pipeline at ``now`` (monotonic seconds)."""
        self._failing = False
        self._ping(now)

    def failed(self) -> None:
        """Note that a frame was lost on its way: until one isn't, waiting is no work."""
        self._failing = True

    def waiting(self, now: float) -> None:
        """Note that the camera still has time for the next frame, however long it may take."""
        if not self._failing:
            self._ping(now)

    def curing(self, now: float, lost_since: float) -> None:
        """Note that the camera has been lost since ``lost_since`` and that this is reported."""
        if now - lost_since < self._cure_limit:
            self._ping(now)

    def _ping(self, now: float) -> None:
        if self._every is not None and now - self._last_ping >= self._every:
            self._last_ping = now
            self._notifier.send("WATCHDOG=1")
