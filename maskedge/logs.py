"""What goes to standard error: priorities for the journal, colours for a terminal, else plain."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_SYSLOG = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
"""Priorities of syslog(3)."""
_COLOURS = {
    logging.DEBUG: "2",
    logging.WARNING: "33",
    logging.ERROR: "1;31",
    logging.CRITICAL: "1;31",
}
"""SGR parameters (ECMA-48): faint, yellow, bold red."""


def in_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd reads this stream: ``$JOURNAL_STREAM`` names its device and inode.

    The variable alone says little: children inherit it, a terminal in a desktop session too
    (systemd.exec(5)).
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):  # no variable, or a stream without a file
        return False


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether it's a terminal that shows colours and nobody said no (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def emphasised(text: str, level: int, stream: TextIO) -> str:
    """Lines as this stream shows best how urgent they are.

    Args:
        text: one or more lines.
        level: of the module ``logging``.
        stream: where they will go.
    """
    if in_journal(stream):  # sd-daemon(3)
        return "\n".join(f"<{_SYSLOG.get(level, 6)}>{line}" for line in text.splitlines())
    if level in _COLOURS and wants_colour(stream):
        return f"\x1b[{_COLOURS[level]}m{text}\x1b[0m"
    return text


class _Formatter(logging.Formatter):
    """The journal notes the time itself."""

    def __init__(self, stream: TextIO) -> None:
        plain = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
        super().__init__("%(name)s: %(message)s" if in_journal(stream) else plain)
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        return emphasised(super().format(record), record.levelno, self._stream)


def set_up(verbosity: int = 0) -> None:
    """Send the log to standard error, and there what nobody caught.

    Args:
        verbosity: -2 errors only, -1 warnings too, 0 the normal course of things, 1 everything.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(sys.stderr))
    level = {-2: logging.ERROR, -1: logging.WARNING, 0: logging.INFO}
    root = logging.getLogger("maskedge")
    root.handlers[:] = [handler]
    root.setLevel(level.get(max(verbosity, -2), logging.DEBUG))
    root.propagate = False
    if in_journal(sys.stderr):
        sys.excepthook = _log_uncaught
        threading.excepthook = lambda args: _log_uncaught(
            args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
        )


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """As one message at the priority it deserves, not as thirty lines of information."""
    logging.getLogger("maskedge").critical("it crashed", exc_info=(kind, error, trace))
