"""A stand-in for the picamera2 module, for running :mod:`maskedge.camera.pi` without a Pi.

It imitates what 0.3.38's source does, and how it fails: frames come from an event loop that works
jobs off in order, so that a capture lost to a stalled sensor blocks every job behind it, ``stop``
too, until ``cancel_all_and_flush``; each ``configure`` takes contiguous memory (CMA) of which only
part comes back; one process-wide owner at a time.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RED_RGB = (200, 30, 20)
"""What every picture shows."""


class FakeJob:
    """One task of the event loop."""

    def __init__(
        self,
        task: Callable[[], Any],
        signal: Callable[[FakeJob], None] | None,
        *,
        needs_frame: bool,
    ) -> None:
        self.task = task
        self.needs_frame = needs_frame
        self.future: Future[Any] = Future()
        self._signal = signal

    def execute(self) -> None:
        """Run the task, keep its result or its exception, call back."""
        try:
            self.future.set_result(self.task())
        except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
            self.future.set_exception(error)
        if self._signal:
            self._signal(self)

    def get_result(self, timeout: float | None = None) -> Any:
        """The result; blocks until there is one."""
        return self.future.result(timeout)


class FakeLegacyPicamera2:
    """The camera class before ``cancel_all_and_flush``: a lost capture can't be taken back.

    Made through :class:`FakePicamera2Module`, which holds its faults.
    """

    def __init__(self, module: FakePicamera2Module, number: int = 0) -> None:
        if number >= len(module.cameras):
            raise RuntimeError(f"No camera number {number} found")
        if module.owner is not None:
            cause = RuntimeError("failed to acquire camera: Device or resource busy")
            raise RuntimeError("Camera __init__ sequence did not complete.") from cause
        module.owner = self
        self._module = module
        self._config: dict[str, Any] | None = None
        self._jobs: list[FakeJob] = []
        self._condition = threading.Condition()
        self._loop: threading.Thread | None = None
        self.started = False
        self.sensor_resolution = (3280, 2464)

    def create_video_configuration(self, **settings: Any) -> dict[str, Any]:
        """The settings, checked as far as picamera2 does."""
        if settings["main"]["size"][0] % 2 or settings["main"]["size"][1] % 2:
            raise RuntimeError("width and height should be even")
        return settings

    def configure(self, configuration: dict[str, Any]) -> None:
        """Allocate the buffers."""
        if self.started:
            raise RuntimeError("Camera must be stopped before configuring")
        if self._module.cma_configures == 0:
            raise RuntimeError("failed to allocate capture buffers for stream 0")
        self._module.cma_configures -= 1
        self._module.configurations.append(configuration)
        self._config = configuration

    def start(self) -> None:
        """Start the sensor and the event loop."""
        if self._config is None:
            raise RuntimeError("Camera has not been configured")
        self._module.starts += 1
        if self._module.cured_by_restart:
            self._module.stalled.clear()
        self.started = True
        if self._loop is None:
            self._loop = threading.Thread(target=self._run, daemon=True, name="fake-picamera2")
            self._loop.start()

    def capture_array(
        self,
        name: str = "main",
        wait: float | None = None,
        signal_function: Callable[[FakeJob], None] | None = None,
    ) -> Any:
        """The next frame, or with a callback a job that will have it."""
        if name != "main":
            raise RuntimeError(f"no stream {name}")
        job = self._dispatch(self._module.picture, signal_function, needs_frame=True)
        if wait is None:
            wait = signal_function is None
        return job.get_result(None if wait is True else wait) if wait else job

    def stop(self) -> None:
        """Stop, in turn with the other jobs."""
        if self.started:
            self._dispatch(lambda: None, None, needs_frame=False).get_result()
            self.started = False

    def close(self) -> None:
        """Stop and let go."""
        self.stop()
        with self._condition:
            self._loop = None
            self._condition.notify_all()
        if self._module.owner is self:
            self._module.owner = None

    def _dispatch(
        self,
        task: Callable[[], Any],
        signal: Callable[[FakeJob], None] | None,
        *,
        needs_frame: bool,
    ) -> FakeJob:
        job = FakeJob(task, signal, needs_frame=needs_frame)
        with self._condition:
            self._jobs.append(job)
            self._condition.notify_all()
        return job

    def _ready(self) -> bool:
        return bool(self._jobs) and not (
            self._jobs[0].needs_frame and self._module.stalled.is_set()
        )

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._loop is None or self._ready(), 0.02)
                if self._loop is None:
                    return
                if not self._ready():
                    continue
                job = self._jobs.pop(0)
            job.execute()


class FakePicamera2(FakeLegacyPicamera2):
    """The camera class of today."""

    def cancel_all_and_flush(self) -> None:
        """Forget all jobs."""
        with self._condition:
            for job in self._jobs:
                job.future.set_exception(CancelledError())
            self._jobs = []


class FakePicamera2Module:
    """What ``import picamera2`` gives, with its hardware.

    Attributes:
        cameras: as ``global_camera_info`` lists them.
        size: (width, height) handed out instead of the size asked for, or None.
        channels: 1, 3 or 4.
        error: raised inside the event loop by the next captures, or None.
        stalled: set: the sensor gives no frames.
        cured_by_restart: ``start`` ends a stall.
        cma_configures: how many times ``configure`` finds memory; negative: always.
        starts: how many times the sensor was started.
        configurations: all that were configured.
        owner: the instance that holds the camera.
    """

    def __init__(self, *, legacy: bool = False) -> None:
        self.cameras: list[dict[str, Any]] = [
            {"Model": "imx219", "Id": "/base/soc/i2c0mux/i2c@1/imx219@10", "Num": 0}
        ]
        self.size: tuple[int, int] | None = None
        self.channels = 3
        self.error: Exception | None = None
        self.stalled = threading.Event()
        self.cured_by_restart = False
        self.cma_configures = -1
        self.starts = 0
        self.configurations: list[dict[str, Any]] = []
        self.owner: FakeLegacyPicamera2 | None = None
        self._class = FakeLegacyPicamera2 if legacy else FakePicamera2

    @property
    def Picamera2(self) -> Any:  # noqa: N802 - the name of picamera2's class
        """The class: call it with a number; ``global_camera_info`` is its static method."""
        module = self

        class Picamera2(self._class):  # type: ignore[name-defined,misc]
            def __init__(self, number: int = 0) -> None:
                super().__init__(module, number)

            @staticmethod
            def global_camera_info() -> list[dict[str, Any]]:
                return module.cameras

        return Picamera2

    def picture(self) -> NDArray[np.uint8]:
        """A red picture in picamera2's "RGB888": blue first in memory."""
        if self.error is not None:
            raise self.error
        width, height = self.size or self.configurations[-1]["main"]["size"]
        red, green, blue = RED_RGB
        picture = np.empty((height, width, 4), np.uint8)
        picture[:] = (blue, green, red, 255)
        return picture[..., 0] if self.channels == 1 else picture[..., : self.channels]
