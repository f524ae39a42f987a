"""From ``camera.source`` to a camera: which class, with which settings.

The one place, too, where pictures are turned (``camera.rotate``): in the capture thread, so that
everything after it sees an upright picture and the networks' thread doesn't pay.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge import paths
from maskedge.camera import files, v4l2
from maskedge.camera.fake import FakeCamera
from maskedge.camera.guard import CameraGuard
from maskedge.camera.opencv import load_cv2
from maskedge.camera.pi import PiCamera, load_picamera2, pi_cameras
from maskedge.camera.stream import StreamCamera
from maskedge.camera.urls import STREAM_SCHEMES, redact, scheme, shown
from maskedge.errors import CameraError, InputError

if TYPE_CHECKING:
    from maskedge.camera.frame import Camera, Frame
    from maskedge.config import CameraConfig

_NAMES = ("auto", "picamera", "fake")


def open_source(config: CameraConfig) -> Camera:
    """The camera that the configuration names, not opened yet.

    Args:
        config: its ``source`` is ``auto`` (the Pi's camera, else the first V4L2 device that
            captures), ``picamera``, ``fake``, a device (``/dev/video0``, ``/dev/v4l/by-id/...`` or
            its number), a URL (rtsp, rtsps, http, https), or the path of a video, a picture or a
            folder of pictures, played at its own speed.

    Raises:
        CameraError: ``auto`` found no camera; says where it looked.
        InputError: there is no such file, nothing is called so, or a stream's address is none.
    """
    camera = _camera(config)
    return TurnedCamera(camera, config.rotate) if config.rotate else camera


def open_guard(config: CameraConfig) -> CameraGuard:
    """A guard, not started yet, that opens and reopens the configured camera.

    A camera that is asked for few frames gets the time of three.
    """
    return CameraGuard(
        partial(open_source, config),
        read_timeout=_deadline(config),
        reopen_delay=config.reopen_delay,
        reopen_delay_max=max(config.reopen_delay, config.reopen_delay_max),
        give_up_after=config.give_up_after,
        name=shown(config.source),
    )


def describe_source(config: CameraConfig) -> str:
    """One line that says what would be opened; opens nothing, shows no password.

    Raises:
        InputError: there is no such file, nothing is called so, or a stream's address is none.
    """
    source = config.source
    asked = f"{config.width}x{config.height} at {config.fps:g} fps"
    turned = f", turned {config.rotate}° clockwise" if config.rotate else ""
    if source == "auto":
        what = f"the Pi's camera, else the first V4L2 device, {asked}"
    elif source in _NAMES:
        what = f"{source}, {asked}"
    elif _is_device(source):
        what = f"V4L2 device {v4l2.V4L2Camera(source).name}, {asked}"
    elif scheme(source) in STREAM_SCHEMES:
        what = f"stream {StreamCamera(source).name}"
    else:
        camera = _recording(config)
        kind = "video" if isinstance(camera, files.VideoFile) else "pictures"
        what = f"{kind} {shown(source)}, played {'again and again' if config.loop else 'once'}"
    return what + turned


def try_recording(config: CameraConfig) -> None:
    """Open what is a recording and close it again: it plays as well now as later.

    A camera or a stream isn't touched: it may come back, and one is opened by one program only.

    Raises:
        InputError: it can't be played, or there is nothing called so.
        CameraError: the same, as OpenCV isn't there.
    """
    source = config.source
    if source in _NAMES or _is_device(source) or scheme(source) in STREAM_SCHEMES:
        return
    camera = _recording(config)
    if Path(camera.name).is_fifo():  # it would be waited for
        return
    try:
        camera.open()
    finally:
        camera.close()


class TurnedCamera:
    """A camera whose pictures are turned clockwise.

    Args:
        camera: the one that gives them.
        degrees: 90, 180 or 270.
    """

    def __init__(self, camera: Camera, degrees: int) -> None:
        cv2 = load_cv2()
        self._camera = camera
        self._code = {
            90: cv2.ROTATE_90_CLOCKWISE,
            180: cv2.ROTATE_180,
            270: cv2.ROTATE_90_COUNTERCLOCKWISE,
        }[degrees]
        self.name = camera.name
        self.live = camera.live

    def open(self) -> None:
        """Open the camera."""
        self._camera.open()

    def read(self) -> Frame:
        """Return the next frame, turned."""
        frame = self._camera.read()
        return replace(frame, pixels=load_cv2().rotate(frame.pixels, self._code))

    def close(self) -> None:
        """Close the camera."""
        self._camera.close()


def _camera(config: CameraConfig) -> Camera:
    source = config.source
    if source == "auto":
        return _auto(config)
    if source == "picamera":
        return _pi(config)
    if source == "fake":
        return FakeCamera(width=config.width, height=config.height, fps=config.fps)
    if _is_device(source):
        return _device(config, source)
    if scheme(source) in STREAM_SCHEMES:
        return StreamCamera(source, read_timeout=config.read_timeout)
    return _recording(config)


def _auto(config: CameraConfig) -> Camera:
    looked: list[str] = []
    try:
        if pi_cameras(load_picamera2()):
            return _pi(config)
        looked.append("a Pi camera (libcamera lists none)")
    except CameraError as error:
        looked.append(f"a Pi camera ({str(error).removeprefix('picamera: ')})")
    except Exception as error:  # noqa: BLE001 - libcamera without its kernel parts
        looked.append(f"a Pi camera (libcamera fails: {error})")
    devices = v4l2.find_devices()
    for device in devices:
        if device.captures:
            return _device(config, str(device.path))
    others = ", ".join(f"{device.path} {device.card!r}" for device in devices)
    looked.append(f"a V4L2 device in /dev/video* ({f'no camera: {others}' if others else 'none'})")
    raise CameraError(
        f"no camera found. Looked for {' and for '.join(looked)}. Plug one in, or name another "
        "camera.source: rtsp://…, a video, a picture, a folder"
    )


def _pi(config: CameraConfig) -> Camera:
    return PiCamera(
        width=config.width,
        height=config.height,
        fps=config.fps,
        read_timeout=_deadline(config),
    )


def _device(config: CameraConfig, path: str) -> Camera:
    return v4l2.V4L2Camera(path, width=config.width, height=config.height, fps=config.fps)


def _recording(config: CameraConfig) -> Camera:
    source = config.source
    kind = scheme(source)
    if kind is not None and kind != "file":
        schemes = ", ".join(sorted(STREAM_SCHEMES))
        raise InputError(f"{redact(source)}: {kind} isn't supported: use one of {schemes}")
    path = Path(source.removeprefix("file://"))
    if not paths.present(path):
        close = difflib.get_close_matches(source, _NAMES, 1)
        if close:
            raise InputError(f"{source}: no such file or camera (did you mean {close[0]}?)")
        if ":" in source and "@" in source:
            raise InputError(
                f"{shown(source)}: no such file; a stream's address begins with rtsp:// or http://"
            )
    return files.open_files(path, realtime=True, loop=config.loop, fps=config.fps)


def _deadline(config: CameraConfig) -> float:
    return max(config.read_timeout, 3 / config.fps)


def _is_device(source: str) -> bool:
    return source.isdecimal() or source.startswith("/dev/")
