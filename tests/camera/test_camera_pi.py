from __future__ import annotations

import importlib
import time

import pytest

from maskedge.camera import pi
from maskedge.camera.fake_picamera2 import RED_RGB, FakePicamera2Module
from maskedge.camera.frame import Camera, ChannelOrder
from maskedge.camera.guard import CameraGuard, CameraState
from maskedge.camera.pi import PiCamera
from maskedge.errors import CameraError


@pytest.fixture
def module():
    return FakePicamera2Module()


@pytest.fixture
def make(module):
    cameras = []

    def build(module=module, **settings):
        cameras.append(PiCamera(picamera2=module, **({"read_timeout": 10.0} | settings)))
        return cameras[-1]

    yield build
    for camera in cameras:
        camera.close()


def test_it_is_a_camera():
    assert isinstance(PiCamera(), Camera)


def test_frames_are_blue_first_and_say_so(make):
    camera = make()
    camera.open()
    before = time.monotonic()
    frame = camera.read()
    assert (frame.width, frame.height, frame.order) == (640, 480, ChannelOrder.BGR)
    assert tuple(frame.pixels[0, 0, ::-1]) == RED_RGB
    assert frame.pixels.flags.c_contiguous
    assert before <= frame.time <= time.monotonic()
    assert [camera.read().number for _ in range(2)] == [1, 2]


def test_what_is_asked_of_the_camera(make, module):
    camera = make(width=641, height=481, fps=5)
    camera.open()
    (asked,) = module.configurations
    assert asked["main"] == {"size": (640, 480), "format": "RGB888"}
    assert asked["controls"] == {"FrameDurationLimits": (200_000, 200_000)}
    assert asked["raw"] == {"size": (1640, 1232)}  # half of the imx219, and all of its view


def test_a_large_picture_uses_the_whole_sensor(make, module):
    camera = make(width=3280, height=2464)
    camera.open()
    assert module.configurations[0]["raw"] == {"size": (3280, 2464)}


def test_a_stalled_sensor_is_cured_in_place_without_allocating(make, module):
    module.cured_by_restart = True
    camera = make(read_timeout=1.0)
    camera.open()
    camera.read()
    module.stalled.set()
    assert camera.read().number == 1
    assert module.starts == 2
    assert len(module.configurations) == 1


def test_one_that_stays_stalled_is_an_error_within_the_deadline(make, module):
    camera = make(read_timeout=0.5)
    camera.open()
    module.stalled.set()
    with pytest.raises(CameraError, match=r"no frame in 0\.4 s: check the ribbon cable"):
        camera.read()
    camera.close()
    assert module.owner is None


def test_an_older_picamera2_that_cant_cancel_is_an_error_too_and_closes(make):
    module = FakePicamera2Module(legacy=True)
    camera = make(module, read_timeout=0.5)
    camera.open()
    camera.read()
    module.stalled.set()
    with pytest.raises(CameraError, match="full-upgrade"):
        camera.read()
    camera.close()  # the fake's own close would block here, as picamera2's does
    with pytest.raises(CameraError, match="another program uses the camera"):
        make(module).open()


def test_an_error_inside_its_event_loop_comes_out(make, module):
    camera = make()
    camera.open()
    module.error = RuntimeError("device timeout")
    with pytest.raises(CameraError, match="picamera: device timeout"):
        camera.read()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_other_sizes_and_channels_are_accepted_and_noted_once(make, module, caplog, channels):
    caplog.set_level("INFO")
    module.size, module.channels = (320, 240), channels
    camera = make()
    camera.open()
    for _ in range(3):
        frame = camera.read()
    assert frame.pixels.shape == (240, 320, 3)
    assert caplog.text.count("asked for 640x480, gives 320x240") == 1


def test_a_busy_camera_says_so(make):
    make().open()
    with pytest.raises(CameraError, match="another program uses the camera"):
        make().open()


def test_exhausted_memory_says_what_frees_it_and_lets_the_camera_go(make, module):
    module.cma_configures = 2
    camera = make()
    for _ in range(2):
        camera.open()
        camera.close()
    with pytest.raises(CameraError, match=r"\(CMA\).*a restart frees it"):
        camera.open()
    assert module.owner is None


@pytest.mark.parametrize("cameras", [[], [{"Id": "/base/axi/usb@2/uvc", "Num": 0}]])
def test_no_camera_on_the_ribbon(make, module, cameras):
    module.cameras = cameras
    with pytest.raises(CameraError, match="check the ribbon cable"):
        make().open()


def test_reading_before_opening_is_an_error(make):
    with pytest.raises(CameraError, match="not open"):
        make().read()


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (ModuleNotFoundError("no", name="picamera2"), "apt install python3-picamera2"),
        (ModuleNotFoundError("no", name="picamera2"), "--system-site-packages"),
        (ModuleNotFoundError("no", name="libcamera"), "apt install python3-libcamera"),
        (ValueError("numpy.dtype size changed"), "numpy<2"),
    ],
)
def test_a_failed_import_tells_its_cure(monkeypatch, error, cure):
    def fail(_name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(CameraError, match=cure):
        pi.load_picamera2()


def test_under_the_guard_a_stall_ends_when_the_sensor_comes_back(module, until):
    guard = CameraGuard(
        lambda: PiCamera(picamera2=module, read_timeout=0.5),
        read_timeout=10.0,
        reopen_delay=0.05,
        reopen_delay_max=0.05,
    )
    with guard:
        until(lambda: guard.status.state is CameraState.STREAMING)
        module.stalled.set()
        until(lambda: guard.status.state is CameraState.LOST and guard.status.reopens >= 2)
        module.stalled.clear()
        until(lambda: guard.status.state is CameraState.STREAMING)


def test_under_the_guard_exhausted_memory_ends_in_a_clean_restart(module, until):
    module.cma_configures = 3
    guard = CameraGuard(
        lambda: PiCamera(picamera2=module, read_timeout=0.2),
        read_timeout=10.0,
        reopen_delay=0.01,
        reopen_delay_max=0.01,
        give_up_after=5,
    )
    with guard:
        until(lambda: guard.status.state is CameraState.STREAMING)
        module.stalled.set()
        with pytest.raises(CameraError, match=r"CMA.*gave up after 5"):
            until(lambda: guard.wait(30.0) is None)
