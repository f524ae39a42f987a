"""Starts a program of the user's for events: no shell, a deadline, and nobody waits for it.

The event comes on its standard input, as it will be sent, but without a number. It runs in a
process group of its own; when it ends, or its time is over, the group is killed.
"""

from __future__ import annotations

import logging
import os
import select
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge import paths
from maskedge.events import seal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from maskedge.config import CommandConfig
    from maskedge.events import Violation

log = logging.getLogger(__name__)

WAITING = 100
"""Events that wait for a program that is slower than they come; beyond, the oldest go."""
LAST_WORDS = 200
"""Characters of what it said that go into the fault's sentence."""
KILL_WAIT = 1.0
"""Seconds to wait for a killed process: one stuck in the kernel goes when the kernel lets it."""

ELSEWHERE = (
    "put it where the service may look, such as /usr/local/bin: /home and /root are closed to it"
)
"""The cure for a program that the unit's sandbox hides."""

_OURS = ("MASKEDGE_", "WATCHDOG_", "LISTEN_")
_PRIVATE = {"NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "LG_WD"}


def environment(event: Violation, ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The program's environment: ours without what is between systemd and us, and the event."""
    kept = {k: v for k, v in ours.items() if not k.startswith(_OURS) and k not in _PRIVATE}
    return kept | {
        "MASKEDGE_EVENT": event.type,
        "MASKEDGE_LABEL": event.label,
        "MASKEDGE_DEVICE": event.device,
        "MASKEDGE_CAMERA": event.camera,
        "MASKEDGE_EVENT_ID": event.event_id,
        "MASKEDGE_VIOLATION_ID": event.violation_id,
    }


def missing(config: CommandConfig) -> str | None:
    """Why the program can't be started at all; None: it can, or none is configured."""
    if not config.run or shutil.which(config.run[0]) is not None:
        return None
    program = Path(config.run[0])
    if "/" not in config.run[0]:
        return f"{program}: not found in PATH; install it or give its whole path"
    try:
        there = program.exists()
    except OSError as error:  # a folder on the way is closed, as /home is under systemd
        return f"{program}: {error.strerror}; {ELSEWHERE}"
    if there:
        return f"{program}: not an executable file for this user; chmod a+rx it"
    return f"{program}: no such file; correct signals.command.run"


class CommandHook:
    """Runs the program for events. :meth:`told` from any thread; it never waits.

    Args:
        config: with a program.
        count: told ``commands_run``, ``commands_failed`` and ``commands_skipped`` as they happen.
    """

    def __init__(self, config: CommandConfig, count: Callable[[str], None]) -> None:
        self._config = config
        self._count = count
        self._news = threading.Condition()
        self._events: deque[Violation] = deque()
        self._skipped = 0
        self._closing = False
        self._stop = os.eventfd(0)  # readable from the moment on when nothing may run any longer
        self._error = missing(config)
        self._threads = [
            threading.Thread(target=self._run, name=f"command-{number}", daemon=True)
            for number in range(config.at_once)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def error(self) -> str | None:
        """What is wrong with the program, until it has ended well again."""
        if self._skipped:
            return (
                f"{self._shown} is slower than events come, {self._skipped} were left out; "
                "make it faster or raise signals.command.at_once"
            )
        return self._error

    @property
    def _shown(self) -> str:
        return shlex.quote(Path(self._config.run[0]).name)

    def told(self, events: Iterable[Violation]) -> None:
        """Violations have started or ended."""
        config = self._config
        with self._news:
            for event in events:
                if event.type in config.events and event.label in config.labels:
                    self._events.append(event)
            while len(self._events) > WAITING:
                self._events.popleft()
                self._skipped += 1
                self._count("commands_skipped")
            self._news.notify_all()

    def close(self, timeout: float = 1.0) -> tuple[Violation, ...]:
        """Give what waits and runs this long, seconds, then kill it; to be called once.

        Returns:
            The events that still wait.
        """
        deadline = time.monotonic() + timeout
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._join(deadline)
        left: tuple[Violation, ...] = ()
        if any(thread.is_alive() for thread in self._threads):
            with self._news:
                left = tuple(self._events)
                self._events.clear()
            log.warning("%s is killed in the middle, %d events wait", self._shown, len(left))
            os.eventfd_write(self._stop, 1)
            self._join(time.monotonic() + KILL_WAIT)
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._stop)
        return left

    def _join(self, deadline: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._events or self._closing)
                if not self._events:
                    return
                event = self._events.popleft()
            error = self._start(event)
            if error is not None:
                log.info("%s for %s %s: %s", self._shown, event.label, event.type, error)
            with self._news:
                self._error = None if error is None else f"{self._shown}: {error}"
                if error is None and not self._events:
                    self._skipped = 0
            self._count("commands_run" if error is None else "commands_failed")

    def _start(self, event: Violation) -> str | None:
        """Run the program once; returns what went wrong."""
        payload = seal(event.to_json(), seq=None, created=event.created) + b"\n"
        state = paths.state_dir()
        try:
            process = subprocess.Popen(
                self._config.run,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(event),
                cwd=state if state.is_dir() else "/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return missing(self._config) or _cure(error)
        return _watch(process, payload, self._config.timeout, self._stop)


def _watch(
    process: subprocess.Popen[bytes], payload: bytes, timeout: float, stop: int
) -> str | None:
    """Feed it, listen to it, and end it; returns what went wrong.

    Its end is seen by a pidfd, as a grandchild may keep the pipe open; and its group is killed
    before it is reaped, so that the group's number can't be somebody else's yet.
    """
    assert process.stdin is not None  # noqa: S101 - asked for; for the type checker
    assert process.stdout is not None  # noqa: S101
    deadline = time.monotonic() + timeout
    with suppress(BrokenPipeError), process.stdin as pipe:  # less than a pipe holds: no wait
        pipe.write(payload)
    out, end = process.stdout.fileno(), os.pidfd_open(process.pid)
    poller = select.poll()
    for source in (out, end, stop):
        poller.register(source, select.POLLIN)
    words = b""
    ready: set[int] = set()
    try:
        while not ready & {end, stop} and (left := deadline - time.monotonic()) > 0:
            ready = {source for source, _ in poller.poll(left * 1000)}
            if out in ready:
                said = os.read(out, 65_536)
                words = (words + said)[-4 * LAST_WORDS :]
                if not said:
                    poller.unregister(out)
    finally:
        os.close(end)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_WAIT)
    log.debug("it said: %r", words)
    if end in ready:
        return _outcome(process.returncode, words)
    if stop in ready:
        return "killed in the middle, as maskedge ends or its configuration has changed"
    return f"killed after {timeout:g} s; make it faster or raise signals.command.timeout"


def _outcome(code: int, words: bytes) -> str | None:
    if code == 0:
        return None
    how = f"exit code {code}" if code > 0 else f"ended by {_signal_name(-code)}"
    lines = [line for line in words.decode("utf-8", "replace").splitlines() if line.strip()]
    last = "".join(c for c in lines[-1] if c.isprintable())[-LAST_WORDS:] if lines else ""
    return f"{how}, its last words: {last}" if last else how


def _signal_name(number: int) -> str:
    with suppress(ValueError):  # most of the real-time signals have none
        return signal.Signals(number).name
    return f"signal {number}"


def _cure(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror == "Exec format error":
        return "can't be started: a script's first line must be #! and its interpreter"
    return f"can't be started: {getattr(error, 'strerror', None) or error}"
