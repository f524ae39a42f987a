"""The Raspberry Pi's own camera through picamera2.

Three things shape this module. ``capture_array`` can block for ever when the sensor stops
(picamera2#794, #1004), so every capture is asked for with a callback and waited for with a limit,
which works in every picamera2 since 0.3.12. Each reopening costs contiguous memory that isn't given
back (#887), so a stalled camera is first stopped and started in place, which allocates nothing.
And the sensor's smallest mode is cut out of its middle, so a half-size one is asked for.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.camera.pixels import AskedSize, three_channels
from maskedge.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_FORMAT = "RGB888"
"""In libcamera's naming, little-endian: blue comes first in memory."""

_BUFFERS = 4
_PATIENCE = 0.4
"""Share of the read deadline that each of a read's two tries may take."""


def load_picamera2() -> Any:
    """Import picamera2.

    Raises:
        CameraError: it, or libcamera under it, can't be imported here; says what to install.
    """
    try:
        return importlib.import_module("picamera2")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "picamera2":
            raise CameraError(
                "picamera: picamera2 isn't installed for this Python: sudo apt install "
                "python3-picamera2, and make the virtual environment with --system-site-packages"
            ) from error
        raise CameraError(
            f"picamera: picamera2 is installed but {error.name} isn't: sudo apt install "
            "python3-libcamera python3-picamera2, and use the system's own Python version"
        ) from error
    except Exception as error:  # numpy's ABI check raises ValueError, libcamera what it likes
        raise CameraError(
            f"picamera: picamera2 can't be imported ({error}): Raspberry Pi OS's packages and "
            "those of the virtual environment don't fit together, mostly numpy; try there "
            "pip install 'numpy<2' 'opencv-python-headless<4.12'"
        ) from error


def pi_cameras(picamera2: Any) -> list[int]:
    """Numbers of the cameras on the Pi's own connector; libcamera lists USB cameras too."""
    found = picamera2.Picamera2.global_camera_info()
    return [i for i, camera in enumerate(found) if "/usb" not in str(camera.get("Id", ""))]


class PiCamera:
    """A camera on the Pi's ribbon connector.

    Args:
        width: asked for, pixels (made even, as the hardware wants it).
        height: asked for, pixels.
        fps: asked for; long exposures are limited to it.
        read_timeout: seconds within which :meth:`read` has given a frame or an error.
        picamera2: the module, or a :class:`~maskedge.camera.fake_picamera2.FakePicamera2Module`.
        clock: stamps the frames.
    """

    name = "picamera"
    live = True

    def __init__(  # noqa: PLR0913 - what is asked of a camera
        self,
        *,
        width: int = 640,
        height: int = 480,
        fps: float = 10.0,
        read_timeout: float = 5.0,
        picamera2: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = (width // 2 * 2, height // 2 * 2)
        self._frame_us = round(1e6 / fps)
        self._patience = _PATIENCE * read_timeout
        self._module = picamera2
        self._clock = clock
        self._asked = AskedSize(*self._size)
        self._device: Any = None
        self._stuck = False
        self._number = 0

    def open(self) -> None:
        """Claim, configure and start the camera; see :class:`~maskedge.camera.frame.Camera`."""
        module = self._module or load_picamera2()
        try:
            self._claim(module)
        except CameraError:
            raise
        except Exception as error:  # picamera2 and libcamera raise RuntimeError, OSError, ...
            self.close()
            raise CameraError(f"picamera: {_explain(error)}") from error
        self._number = 0

    def read(self) -> Frame:
        """Return the next frame; a stalled camera is stopped and started once before giving up."""
        if self._device is None:
            raise CameraError("picamera: not open")
        try:
            picture = self._capture()
            if picture is None:
                log.info("picamera: no frame in %.1f s, stopping and starting it", self._patience)
                self._restart()
                picture = self._capture()
        except CameraError:
            raise
        except Exception as error:  # what went wrong inside the camera's event loop
            raise CameraError(f"picamera: {_explain(error)}") from error
        if picture is None:
            raise CameraError(
                f"picamera: no frame in {2 * self._patience:.1f} s: check the ribbon cable"
            )
        pixels = three_channels(picture, self.name)
        self._asked.compare(pixels, self.name)
        frame = Frame(pixels, ChannelOrder.BGR, self._clock(), self._number)
        self._number += 1
        return frame

    def close(self) -> None:
        """Stop and release the camera."""
        device, self._device = self._device, None
        if device is None or self._stuck:
            return  # picamera2's stop() would wait for ever behind the lost capture
        with suppress(Exception):
            if hasattr(device, "cancel_all_and_flush"):
                device.cancel_all_and_flush()
        try:
            device.close()
        except Exception as error:  # noqa: BLE001 - closing never raises
            log.debug("picamera: closing failed: %s", error)

    def _claim(self, module: Any) -> None:
        numbers = pi_cameras(module)
        if not numbers:
            raise CameraError(
                "picamera: libcamera finds no Pi camera: check the ribbon cable at both ends "
                "and that `rpicam-hello --list-cameras` lists it"
            )
        self._device = module.Picamera2(numbers[0])
        self._device.configure(self._configuration(self._device))
        self._device.start()

    def _configuration(self, device: Any) -> Any:
        half = tuple(edge // 4 * 2 for edge in device.sensor_resolution)
        raw = (max(half[0], self._size[0]), max(half[1], self._size[1]))
        return device.create_video_configuration(
            main={"size": self._size, "format": _FORMAT},
            raw={"size": raw},
            controls={"FrameDurationLimits": (self._frame_us, self._frame_us)},
            buffer_count=_BUFFERS,
        )

    def _capture(self) -> NDArray[np.uint8] | None:
        """One picture, or None when none came in time."""
        arrived = threading.Event()
        job = self._device.capture_array("main", signal_function=lambda _: arrived.set())
        return job.get_result() if arrived.wait(self._patience) else None

    def _restart(self) -> None:
        """Stop and start without allocating; the lost capture is cancelled first."""
        cancel = getattr(self._device, "cancel_all_and_flush", None)
        if cancel is None:
            self._stuck = True
            raise CameraError(
                "picamera: no frame came, and this picamera2 can't be stopped then: "
                "sudo apt full-upgrade brings one that can"
            )
        cancel()
        self._device.stop()
        self._device.start()


def _explain(error: BaseException) -> str:
    """What picamera2's exception means for the person at the Pi."""
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(str(cause) or type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    text = "; ".join(dict.fromkeys(chain))
    lowered = text.lower()
    if "allocat" in lowered:
        return f"no contiguous memory (CMA) left for its buffers ({text}): a restart frees it"
    if "busy" in lowered or "acquire" in lowered:
        return f"another program uses the camera ({text}): stop it first"
    return f"{text}: check the ribbon cable and `rpicam-hello --list-cameras`"
