"""Keeps a camera going: a deadline for every call, the newest frame only, and reopening.

A read can hang where no signal reaches it (a V4L2 ioctl, picamera2's event loop, a frozen
server), so each life of a camera is a :class:`_Session` in a daemon thread of its own. The
supervising thread waits for the session's end or its deadline; past it the session is abandoned:
what it may still return is ignored, and a new camera is opened beside it.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from maskedge.camera.status import CameraState, CameraStatus
from maskedge.camera.urls import redact
from maskedge.errors import CameraError, EndOfStream, MaskedgeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.camera.frame import Camera, Frame

__all__ = ["CameraGuard", "CameraState", "CameraStatus"]

log = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 0.8
"""Seconds that :meth:`CameraGuard.close` waits for each of its two threads."""

_STOPPED = 1.0
"""Seconds by which the supervisor may wake late; later, the whole process was stopped."""

_RATE_WINDOW = 2.0
"""Seconds over which the rate is measured; a stream begins with a burst of what it had buffered."""


class _Session(threading.Thread):
    """One life of one camera: made, opened, read until it fails, closed."""

    def __init__(self, guard: CameraGuard) -> None:
        super().__init__(name="camera", daemon=True)
        self._guard = guard
        self.deadline = guard.clock() + guard.open_timeout
        self.doing = "opening it"
        self.limit = guard.open_timeout
        self.outcome: Exception | None = None
        self.frames = 0
        self.last_number = -1
        self.excused_until = -math.inf

    def run(self) -> None:
        """Feed the guard until one of the two has enough."""
        guard = self._guard
        camera: Camera | None = None
        outcome: Exception | None = None
        try:
            camera = guard.make_camera()
            guard.named(self, camera.name)
            camera.open()
            self.doing, self.limit = "a read", guard.read_timeout
            going = True
            while going:
                self.deadline = guard.clock() + guard.read_timeout
                frame = camera.read()
                self.deadline = math.inf  # a file's frame may wait for its taker
                going = guard.deliver(self, frame, live=camera.live)
        except Exception as error:  # noqa: BLE001 - a camera's fault must not end its thread unseen
            outcome = error
        guard.over(self, outcome)
        if camera is not None:
            with suppress(Exception):  # the protocol forbids it; a foreign camera may not know
                camera.close()


class CameraGuard:
    """A camera that comes back.

    Start it with :meth:`start` or ``with``. One thread takes frames with :meth:`wait`; any may
    read :attr:`status`.

    Args:
        make_camera: makes a camera, not opened; called anew for each opening.
        read_timeout: seconds until a read that gives nothing is abandoned.
        open_timeout: the same for making and opening; unset: three times as long, at least 10 s.
        reopen_delay: first wait before reopening, seconds; doubles with each failure, jittered.
        reopen_delay_max: longest wait.
        give_up_after: failed reopenings in a row after which :meth:`wait` raises; 0: never.
        max_hung: abandoned threads alive at once, above which it gives up in any case.
        name: what messages call the camera until it has been made.
        clock: seconds, for status and deadlines.
        jitter: a random number in 0..1.
    """

    def __init__(  # noqa: PLR0913 - every limit can be set
        self,
        make_camera: Callable[[], Camera],
        *,
        read_timeout: float = 5.0,
        open_timeout: float | None = None,
        reopen_delay: float = 0.5,
        reopen_delay_max: float = 3.0,
        give_up_after: int = 20,
        max_hung: int = 4,
        name: str = "camera",
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.make_camera = make_camera
        self.read_timeout = read_timeout
        self.open_timeout = max(10.0, 3 * read_timeout) if open_timeout is None else open_timeout
        self.clock = clock
        self._delay = reopen_delay
        self._delay_max = reopen_delay_max
        self._give_up_after = give_up_after
        self._max_hung = max_hung
        self._jitter = jitter
        self._changed = threading.Condition()
        self._supervisor = threading.Thread(
            target=self._supervise, name="camera-guard", daemon=True
        )
        self._session: _Session | None = None
        self._ending: _Session | None = None
        self._hung: list[_Session] = []
        self._closing = False
        self._frame: Frame | None = None
        self._failure: MaskedgeError | None = None
        self._mark = (0.0, 0)  # when, and after how many frames, the measured window began
        self._status = CameraStatus(name, CameraState.OPENING, clock())

    def start(self) -> Self:
        """Begin to open the camera; returns at once."""
        self._supervisor.start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, timeout: float | None = None) -> Frame | None:
        """Take the next frame: the newest of a live camera, every one of a file.

        Args:
            timeout: seconds; None: until there is one.

        Returns:
            The frame, or None: none came in time, the stream has :attr:`ended`, or it was closed.

        Raises:
            CameraError: given up; end the process for a clean start.
            InputError: the source is a file that can't be read.
        """
        with self._changed:
            self._changed.wait_for(self._something_to_say, timeout)
            if self._closing:
                return None
            if self._frame is not None:
                frame, self._frame = self._frame, None
                self._changed.notify_all()
                return frame
            if self._failure is not None:
                raise type(self._failure)(str(self._failure)) from self._failure
            return None

    @property
    def ended(self) -> bool:
        """The source came to its end and its last frame was taken."""
        with self._changed:
            return self._status.state is CameraState.ENDED and self._frame is None

    @property
    def status(self) -> CameraStatus:
        """The camera now."""
        with self._changed:
            return self._status

    @property
    def waiting(self) -> bool:
        """Whether opening the camera, or its next frame, is still within the deadline."""
        with self._changed:
            session = self._session
            return (
                self._status.state in (CameraState.OPENING, CameraState.STREAMING)
                and session is not None
                and self.clock() < session.deadline
            )

    @property
    def hung(self) -> int:
        """Abandoned threads that still hang in the camera's library; they can't be ended."""
        return sum(session.is_alive() for session in self._hung)

    def stop(self) -> None:
        """Begin to close: no frame comes any more. Never waits."""
        with self._changed:
            self._closing = True
            if self._session is not None:
                self._ending, self._session = self._session, None
            self._changed.notify_all()

    def close(self, timeout: float = 2 * _CLOSE_TIMEOUT) -> None:
        """Stop and close the camera.

        Args:
            timeout: most seconds spent, even if a read hangs.
        """
        self.stop()
        for thread in (self._supervisor, self._ending):
            if thread is not None and thread.is_alive():
                thread.join(timeout / 2)

    # What a session calls, from its thread.

    def named(self, session: _Session, name: str) -> None:
        """The camera has been made and is called so."""
        with self._changed:
            if self._session is session:
                self._status = replace(self._status, name=name)

    def deliver(self, session: _Session, frame: Frame, *, live: bool) -> bool:
        """Take a frame over; False: nobody wants any more from this session."""
        with self._changed:
            if not live:
                self._changed.wait_for(lambda: self._frame is None or self._session is not session)
            if self._session is not session:
                return False
            skipped = max(0, frame.number - session.last_number - 1)
            session.last_number = frame.number
            session.frames += 1
            now, old = self.clock(), self._status
            if old.state is not CameraState.STREAMING:
                log.info("%s: streaming, %dx%d", old.name, frame.width, frame.height)
                old = replace(old, state=CameraState.STREAMING, since=now, error=None)
                self._mark = (now, old.frames + 1)
            frames, fps = old.frames + 1, old.fps
            if now - self._mark[0] >= _RATE_WINDOW:
                fps = (frames - self._mark[1]) / (now - self._mark[0])
                self._mark = (now, frames)
            self._status = replace(
                old,
                frames=frames,
                dropped=old.dropped + skipped + (self._frame is not None),
                fps=fps,
                width=frame.width,
                height=frame.height,
            )
            self._frame = frame
            self._changed.notify_all()
            return True

    def over(self, session: _Session, outcome: Exception | None) -> None:
        """The session has come to its end; its camera is about to be closed."""
        with self._changed:
            session.outcome = outcome
            self._changed.notify_all()

    # The supervising thread.

    def _supervise(self) -> None:
        failures = 0  # attempts in a row that gave no frame
        while True:
            began = self.clock()
            session = _Session(self)
            with self._changed:
                if self._closing:
                    return
                self._session = session
            try:
                session.start()
            except RuntimeError as refused:  # TasksMax= is reached
                outcome: Exception | None = CameraError(f"{self._status.name}: {refused}")
            else:
                outcome = self._watch(session, began)
            if outcome is None:
                return
            error = _readable(outcome, self._status.name)
            failures = 0 if session.frames else failures + 1
            verdict = self._verdict(error, failures)
            if verdict is not None:
                self._finish(verdict)
                return
            if session.frames and self.clock() < session.excused_until:
                self._begin_again()
            else:
                self._lose(error)
            spent = 0.0 if session.frames else self.clock() - began
            if not self._pause(self._backoff(failures, spent)):
                return

    def _watch(self, session: _Session, looked: float) -> Exception | None:
        """Wait for the session's end or its deadline; None: the guard is closing.

        Args:
            session: it has been started.
            looked: when, just before.
        """
        asked = 0.0
        with self._changed:
            while True:
                now = self.clock()
                if now - looked > asked + _STOPPED:  # nor could the camera's thread read
                    session.excused_until = now + session.limit
                    session.deadline = max(session.deadline, session.excused_until)
                if session.outcome is not None or self._closing:
                    break
                looked, left = now, session.deadline - now
                if left <= 0:
                    self._session = None
                    self._hung.append(session)
                    return CameraError(
                        f"{self._status.name}: {session.doing} took longer than "
                        f"{session.limit:g} s: check the camera"
                    )
                asked = min(left, self.read_timeout)
                self._changed.wait(asked)
            if self._closing:
                return None
            self._session = None
        session.join(_CLOSE_TIMEOUT)  # it has failed and is closing its camera
        if session.is_alive():
            self._hung.append(session)
        return session.outcome

    def _verdict(self, error: MaskedgeError, failures: int) -> MaskedgeError | None:
        """What ends the guard's work: the stream's end, a bad file, or one failure too many."""
        if isinstance(error, EndOfStream) or not isinstance(error, CameraError):
            return error
        self._hung = [session for session in self._hung if session.is_alive()]
        if len(self._hung) > self._max_hung:
            return CameraError(
                f"{error}; {len(self._hung)} calls to the camera hang, only a restart of the "
                "program ends them"
            )
        reopened = failures - (0 if self._status.frames else 1)  # the very first wasn't a reopening
        if self._give_up_after and reopened >= self._give_up_after:
            return CameraError(f"{error}; gave up after {reopened} failed attempts to reopen it")
        return None

    def _finish(self, verdict: MaskedgeError) -> None:
        with self._changed:
            if isinstance(verdict, EndOfStream):
                state, message = CameraState.ENDED, None
            else:
                state, message, self._failure = CameraState.LOST, str(verdict), verdict
            self._status = replace(
                self._status, state=state, since=self.clock(), error=message, fps=0.0
            )
            self._changed.notify_all()

    def _lose(self, error: MaskedgeError) -> None:
        with self._changed:
            old = self._status
            if old.state is not CameraState.LOST:
                log.info("%s", error)
                old = replace(old, state=CameraState.LOST, since=self.clock(), fps=0.0)
            self._status = replace(old, error=str(error))

    def _begin_again(self) -> None:
        """The process was stopped, longer than FFmpeg waits: no fault of the camera."""
        log.info("%s: this process was stopped for a while; opened anew", self._status.name)
        with self._changed:
            self._status = replace(
                self._status, state=CameraState.OPENING, since=self.clock(), error=None, fps=0.0
            )

    def _backoff(self, failures: int, spent: float) -> float:
        """Seconds until the next attempt; the time that the last one took counts as waited."""
        delay = min(self._delay * 2.0 ** min(failures, 16), self._delay_max)
        return max(self._delay / 2, delay * (0.5 + 0.5 * self._jitter()) - spent)

    def _pause(self, seconds: float) -> bool:
        with self._changed:
            if self._changed.wait_for(lambda: self._closing, seconds):
                return False
            self._status = replace(self._status, reopens=self._status.reopens + 1)
            return True

    def _something_to_say(self) -> bool:
        return (
            self._closing
            or self._frame is not None
            or self._failure is not None
            or self._status.state is CameraState.ENDED
        )


def _readable(error: Exception, name: str) -> MaskedgeError:
    """A camera library's own exception as ours."""
    if isinstance(error, MaskedgeError):
        return error
    return CameraError(redact(f"{name}: {type(error).__name__}: {error}"))
