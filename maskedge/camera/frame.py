"""What a camera hands over: pixels with their channel order, moment and number."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ChannelOrder(StrEnum):
    """Order of the three colour channels in memory."""

    RGB = "rgb"
    BGR = "bgr"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture.

    Attributes:
        pixels: uint8 of shape (height, width, 3), C-contiguous rows.
        order: which colour each of the three channels is.
        time: seconds on the source's own steady time line: ``time.monotonic()`` at the moment
            of capture for a live camera, the media time for a file.
        number: counts from 0 since the source was opened.
        path: the file it came from, for file sources.
    """

    pixels: NDArray[np.uint8]
    order: ChannelOrder
    time: float
    number: int = 0
    path: str | None = None

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])


@runtime_checkable
class Camera(Protocol):
    """A source of frames. Not thread-safe: one thread opens, reads and closes it."""

    name: str
    """What health and logs call it, without any password."""

    live: bool
    """True: frames that nobody took are stale and may be dropped. False: a file."""

    def open(self) -> None:
        """Make it ready to read.

        Raises:
            CameraError: it isn't there, is busy, or refuses the asked format.
            InputError: a file source's file is missing or unreadable.
        """

    def read(self) -> Frame:
        """Return the next frame; may block for as long as the device does.

        Raises:
            CameraError: no frame came; the camera should be closed and opened again.
            EndOfStream: a file is at its end.
        """

    def close(self) -> None:
        """Let go of the device; never raises; harmless when not open."""
