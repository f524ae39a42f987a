"""How the system tells the daemon to end, or to read its configuration again."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from maskedge.errors import EX_OK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

END = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP


class Requests:
    """SIGTERM and SIGINT ask for a clean end, SIGHUP for a reload.

    Attributes:
        stopping: the end was asked for; by whom doesn't matter. No Event: a handler that
            interrupts its methods would wait for its lock for ever.
    """

    def __init__(self, reload: Callable[[], None], hurry: Callable[[], None]) -> None:
        """Listen to nothing yet.

        Args:
            reload: called at SIGHUP, in the middle of anything.
            hurry: called when the end was asked for, in the middle of anything.
        """
        self.stopping = False
        self._reload = reload
        self._hurry = hurry
        self._interruptible = False

    def end(self) -> None:
        """Ask for a clean end; from any thread."""
        self.stopping = True
        self._hurry()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals, where they can be taken: in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._take) for number in (*END, RELOAD)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Something that may hang, before there is anything to lose: a signal ends it at once."""
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if number == RELOAD:
            self._reload()
            return
        self.end()
        if self._interruptible:
            raise SystemExit(EX_OK)
