"""Camera and Edge TPU: what is plugged in."""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskedge import paths
from maskedge.camera import urls
from maskedge.doctor.finding import Check, Finding, Place, split
from maskedge.doctor.system import serving
from maskedge.errors import CameraError, EndOfStream, MaskedgeError
from maskedge.health.faults import AcceleratorLost, CameraLost, LensCovered, PictureBlack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maskedge.camera.frame import Camera

WATCH = 1.5
"""Seconds of looking through the camera: its exposure needs some frames to settle."""
SYSTEM_PACKAGES = "usr/lib/python3/dist-packages"


class CameraPicture(Check):
    """Opens the camera and looks through it."""

    name = "camera"
    child = True
    settings = True
    fault = CameraLost
    credential = urls.PASSWORD_CREDENTIAL
    crash = "unplug the camera and plug it in again, or restart the computer; check its cable"

    def limit(self, place: Place) -> float:
        """The camera's own patience, and the time to load its library."""
        return place.config.camera.read_timeout * 2 + 30

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        from maskedge.camera.sources import open_source

        try:
            camera = open_source(place.config.camera)
            yield from self._look(camera)
        except MaskedgeError as error:
            if isinstance(error, CameraError) and serving(place):
                yield self.warn(
                    f"{error} (the running service may have it)",
                    "sudo systemctl stop maskedge, and look again; or ask the service: "
                    "maskedge listen",
                )
            else:
                yield self.judge(CameraLost, camera_error=str(error))

    def _look(self, camera: Camera) -> Iterator[Finding]:
        from maskedge.vision.quality import BLACK, COVERED, SceneQuality

        began = time.monotonic()
        camera.open()
        try:
            frames = [camera.read()]
            first = time.monotonic()
            while time.monotonic() - first < WATCH:
                try:
                    frames = [*frames[-2:], camera.read()]
                except EndOfStream:
                    break
        finally:
            camera.close()
        quality = SceneQuality(lasting=0.0)
        scene: set[str] = set()
        for number, frame in enumerate(frames):
            scene = quality.update(frame, float(number))
        size = f"{frames[-1].width}x{frames[-1].height}"
        yield self.ok(f"{camera.name}: {size}, first picture after {first - began:.1f} s")
        shown = {BLACK: PictureBlack, COVERED: LensCovered}
        for condition in sorted(scene & set(shown)):
            yield self.judge(shown[condition], scene=frozenset({condition}))


class Libcamera(Check):
    """picamera2 comes from the system, so the virtual environment must let it in."""

    name = "libcamera"
    deadline = 60.0
    child = True
    settings = True
    fault = CameraLost
    crash = "sudo apt install --reinstall python3-libcamera python3-picamera2"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        from maskedge.camera.pi import load_picamera2, pi_cameras

        source = place.config.camera.source
        model = _read(place.root / "proc/device-tree/model").strip("\0\n ")
        if source != "picamera" and not (source == "auto" and model.startswith("Raspberry Pi")):
            why = "this is no Raspberry Pi" if source == "auto" else "camera.source is another"
            yield self.ok(f"not needed: {why}")
            return
        bad = self.fail if source == "picamera" else self.warn
        if _shut_out(place):
            yield bad(
                f"picamera2 is installed, but the virtual environment {sys.prefix} keeps it out",
                f"set include-system-site-packages = true in {sys.prefix}/pyvenv.cfg",
            )
            return
        try:
            cameras = pi_cameras(load_picamera2())
        except CameraError as error:
            yield bad(*split(str(error)))
            return
        if cameras:
            yield self.ok(f"works, and lists {len(cameras)} camera{'s' * (len(cameras) > 1)}")
        else:
            yield bad(
                "picamera2 works, but libcamera lists no camera",
                "check the ribbon cable at both ends, then: rpicam-hello --list-cameras",
            )


class EdgeTpu(Check):
    """Library, device, port, permission and compiled networks."""

    name = "edgetpu"
    deadline = 30.0
    child = True
    settings = True
    fault = AcceleratorLost
    crash = "reinstall libedgetpu; until then set inference.accelerator to cpu"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        from maskedge.inference.edgetpu import INSTALL, LIBRARY, diagnose

        wanted = place.config.inference.accelerator
        if wanted == "cpu":
            yield self.ok("not wanted: inference.accelerator is cpu")
            return
        seen = diagnose(place.root / "sys", place.root / "dev")
        bad = self.fail if wanted == "edgetpu" else self.warn
        if not seen.present:
            cure = seen.cure or "run it where sysfs can be seen"
            absent = self.ok(f"{seen.finding}: the CPU is used")
            yield absent if wanted == "auto" else bad(seen.finding, cure)
            return
        if not seen.usable:
            yield bad(seen.finding, seen.cure)
        elif seen.cure:
            yield self.warn(seen.finding, seen.cure)
        else:
            yield self.ok(seen.finding)
        try:
            ctypes.CDLL(LIBRARY)
        except OSError as error:
            yield bad(f"{LIBRARY} can't be loaded ({error})", INSTALL)
        else:
            yield self.ok(f"{LIBRARY} loads")
        yield from self._compiled(place, bad)

    def _compiled(self, place: Place, bad: Any) -> Iterator[Finding]:
        from maskedge.inference.edgetpu import compiled_path
        from maskedge.models.parcel import of_role
        from maskedge.models.store import ROLES, Store

        own = [place.config.detector.model, place.config.classifier.model]
        networks = [path for path in own if path is not None and path.suffix == ".tflite"]
        store = Store(paths.models_store(place.environ, place.root))
        folders = next(store.fallbacks())
        for role, model in zip(ROLES, own, strict=True):
            if model is None:
                networks += [item.path for item in of_role(folders, role)]
        missing = [path for path in networks if not compiled_path(path).exists()]
        if missing:
            yield bad(
                f"{len(missing)} of {len(networks)} networks aren't compiled for it "
                f"({missing[0].name} …), so the CPU runs them",
                f"on an x86 computer: python -m convert compile {missing[0].name} …; then here: "
                "sudo maskedge models install *_edgetpu.tflite",
            )


def _shut_out(place: Place) -> bool:
    """picamera2 is on the system, and this is a virtual environment without the system's."""
    own = _read(Path(sys.prefix) / "pyvenv.cfg").lower().replace(" ", "")
    there = (place.root / SYSTEM_PACKAGES / "picamera2").exists()
    return there and "include-system-site-packages=false" in own


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
