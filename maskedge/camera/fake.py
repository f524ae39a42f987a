"""A camera without hardware that behaves like one, faults included.

For tests and for trying the program out (``source: fake``). A script says what happens, step by
step; :meth:`FakeCamera.play`, :meth:`~FakeCamera.unplug` and :meth:`~FakeCamera.plug` change it
from another thread while it runs. Closing and opening again go on in the script: the fake is the
thing at the end of the cable, so one object may be handed out again and again.

    fake = FakeCamera(Show(20), Hang(), Show(None, picture=black))
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.errors import CameraError, EndOfStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = Callable[[int, int, int], NDArray[np.uint8]]
    """Draws frame ``number`` of ``width`` and ``height``: uint8 (height, width, 3), RGB."""


def moving(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A ramp of grey with a bright bar that wanders: every picture differs from the last."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.linspace(40, 200, width, dtype=np.uint8)[None, :, None]
    bar = max(1, width // 20)
    left = number * bar % width
    picture[:, left : left + bar] = (250, 240, 60)
    return picture


def frozen(_number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Always the same picture."""
    return moving(0, width, height)


def black(_number: int, width: int, height: int) -> NDArray[np.uint8]:
    """No light at all."""
    return np.zeros((height, width, 3), np.uint8)


def covered(_number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A hand on the lens: some light, no detail."""
    return np.full((height, width, 3), (58, 34, 30), np.uint8)


@dataclass(frozen=True, slots=True)
class Show:
    """Give frames.

    Attributes:
        count: how many; None: for ever.
        picture: what they show.
        size: (width, height), where it differs from what was asked.
        fps: pace, where it differs from what was asked.
    """

    count: int | None = 1
    picture: Picture = moving
    size: tuple[int, int] | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Hang:
    """Block for so many seconds (None: until released), then go on as if nothing had been.

    Attributes:
        seconds: how long.
        when: in the next ``read``, or in the next ``open``.
    """

    seconds: float | None = None
    when: str = "read"


@dataclass(frozen=True, slots=True)
class Fail:
    """Raise an error.

    Attributes:
        error: a message for a CameraError, or any exception.
        when: in the next ``read``, or in the next ``open``.
    """

    error: Exception | str = "device error"
    when: str = "read"


@dataclass(frozen=True, slots=True)
class End:
    """The stream is over, as a file's."""


Step = Show | Hang | Fail | End


class FakeCamera:
    """A scripted camera.

    Args:
        steps: what happens; after the last one the stream ends. None at all: frames for ever.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        fps: pace; 0: as fast as it is read.
        live: as in :class:`~maskedge.camera.frame.Camera`.
        name: what messages call it.
        clock: stamps the frames.
        sleep: waits between them.
    """

    def __init__(  # noqa: PLR0913 - a camera has that many properties
        self,
        *steps: Step,
        width: int = 640,
        height: int = 480,
        fps: float = 10.0,
        live: bool = True,
        name: str = "fake",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.live = live
        self.opened = 0
        """How many times it was opened with success."""
        self._handles = 0
        self._steps: deque[Step] = deque(steps or (Show(None),))
        self._shown = 0
        self._size = (width, height)
        self._fps = fps
        self._clock = clock
        self._sleep = sleep
        self._plugged = True
        self._number = 0
        self._drawn = 0
        self._lock = threading.Lock()
        self._released = threading.Event()

    def play(self, *steps: Step) -> None:
        """Replace what is left of the script; a read that hangs goes on hanging."""
        with self._lock:
            self._steps = deque(steps)
            self._shown = 0

    def unplug(self) -> None:
        """Pull the cable: reads and openings fail until :meth:`plug`."""
        self._plugged = False

    def plug(self) -> None:
        """Put the cable back; the camera must be opened again."""
        with self._lock:
            self._plugged = True
            self._handles = 0

    @property
    def is_open(self) -> bool:
        """It was opened more often than closed: an abandoned user may still hold it."""
        return self._handles > 0

    def release(self) -> None:
        """End every hang, now and to come."""
        self._released.set()

    def open(self) -> None:
        """Do the script's next step if it is one for opening; fail while unplugged."""
        with self._lock:
            step = self._steps[0] if self._steps else None
            if isinstance(step, Fail | Hang) and step.when == "open":
                self._steps.popleft()
            else:
                step = None
        if isinstance(step, Hang):
            self._released.wait(step.seconds)
        with self._lock:
            if not self._plugged:
                raise CameraError(f"{self.name}: no such device: plug it in")
            if isinstance(step, Fail):
                raise _as_error(step.error, self.name)
            self.opened += 1
            self._handles += 1
            self._number = 0

    def read(self) -> Frame:
        """Do the next step."""
        step = self._next()
        if isinstance(step, Fail):
            raise _as_error(step.error, self.name)
        if isinstance(step, End):
            raise EndOfStream(f"{self.name}: over")
        if isinstance(step, Hang):
            self._released.wait(step.seconds)
            step = Show()
        fps = self._fps if step.fps is None else step.fps
        if fps:
            self._sleep(1 / fps)
        if not self._plugged:
            raise CameraError(f"{self.name}: gave no frame, it was unplugged")
        with self._lock:
            number, self._number = self._number, self._number + 1
            drawn, self._drawn = self._drawn, self._drawn + 1
        pixels = step.picture(drawn, *(step.size or self._size))
        return Frame(pixels, ChannelOrder.RGB, self._clock(), number)

    def close(self) -> None:
        """Keep the script where it is."""
        with self._lock:
            self._handles = max(0, self._handles - 1)

    def _next(self) -> Step:
        with self._lock:
            if not (self.is_open and self._plugged):
                raise CameraError(f"{self.name}: gave no frame, it isn't open or was unplugged")
            if not self._steps:
                return End()
            step = self._steps[0]
            if isinstance(step, Show):
                self._shown += 1
                if step.count is None or self._shown < step.count:
                    return step
                self._shown = 0
            self._steps.popleft()
            return step


def _as_error(error: Exception | str, name: str) -> Exception:
    return CameraError(f"{name}: {error}") if isinstance(error, str) else error
