"""Keeps the kernel from writing our memory, and the pictures in it, to disk when we crash.

The systemd unit says so, too (``LimitCORE=0``); this is for every other way to start us. systemd
itself ends a hung service by SIGABRT, whose default is a core dump.
"""

from __future__ import annotations

import resource
from contextlib import suppress


def forbid() -> None:
    """No core dump of this process, nor of those that it starts; harmless where it can't be."""
    with suppress(OSError, ValueError):  # the unit's filter refuses the call, and has its own limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
