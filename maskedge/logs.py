"""Logging: priorities that journald understands under systemd, plain lines on a terminal."""

from __future__ import annotations

import logging
import os
import sys

_SYSLOG = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class _JournalFormatter(logging.Formatter):
    """``<4>message``: systemd turns the prefix of sd-daemon(3) into the entry's priority."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        prefix = f"<{_SYSLOG.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in text.splitlines())


def set_up(verbosity: int = 0) -> None:
    """Send the log to standard error.

    Args:
        verbosity: -2 errors only, -1 warnings too, 0 the normal course of things, 1 everything.
    """
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    level = {-2: logging.ERROR, -1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG)
    root = logging.getLogger("maskedge")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
