from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskedge.camera import sources, v4l2
from maskedge.camera.fake import FakeCamera, Show
from maskedge.camera.fake_picamera2 import FakePicamera2Module
from maskedge.camera.files import PictureFiles, VideoFile
from maskedge.camera.frame import ChannelOrder
from maskedge.camera.pi import PiCamera
from maskedge.camera.sources import TurnedCamera, describe_source, open_guard, open_source
from maskedge.camera.stream import StreamCamera
from maskedge.camera.urls import redact, shown, with_password
from maskedge.camera.v4l2 import V4L2Camera, VideoDevice
from maskedge.config import CameraConfig
from maskedge.errors import CameraError, InputError


def source(name, **settings):
    return open_source(CameraConfig(source=str(name), **settings))


@pytest.fixture
def no_pi(monkeypatch):
    def load():
        raise CameraError("picamera: picamera2 isn't installed for this Python: cure")

    monkeypatch.setattr(sources, "load_picamera2", load)


def devices(monkeypatch, *found):
    monkeypatch.setattr(v4l2, "find_devices", lambda: list(found))


def test_names_devices_addresses_and_paths(make_video, make_picture, tmp_path):
    assert isinstance(source("picamera"), PiCamera)
    assert isinstance(source("fake"), FakeCamera)
    assert source("0").name == "/dev/video0"
    assert isinstance(source("/dev/v4l/by-id/usb-046d-video-index0"), V4L2Camera)
    for url in ("rtsp://host/cam", "RTSP://host/cam", "rtsps://h/c", "http://h/c", "https://h/c"):
        assert isinstance(source(url), StreamCamera)
    video = make_video()
    assert isinstance(source(video), VideoFile)
    assert isinstance(source(f"file://{video}"), VideoFile)
    assert isinstance(source(make_picture("a.jpg")), PictureFiles)
    assert isinstance(source(tmp_path), PictureFiles)
    assert source(video).live


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("nowhere.mp4", "no such file or folder"),
        ("picam", "did you mean picamera"),
        ("picamera2", "did you mean picamera"),
        ("ftp://host/x.mp4", "ftp isn't supported: use one of http, https, rtsp, rtsps"),
        ("rtsp:/joe:secret@host/cam", "begins with rtsp://"),
        ("joe:secret@host/cam", "begins with rtsp://"),
        ("rtsp://joe:secret@[::1/cam", "no address of a stream"),
    ],
)
def test_a_source_that_is_nothing_is_an_error_at_once(name, cure):
    with pytest.raises(InputError, match=cure) as caught:
        source(name)
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError):
        describe_source(CameraConfig(source=name))


def test_auto_takes_the_pi_camera_first(monkeypatch):
    monkeypatch.setattr(sources, "load_picamera2", FakePicamera2Module)
    devices(monkeypatch, VideoDevice("/dev/video0", "Webcam", "uvcvideo", captures=True))
    assert isinstance(source("auto"), PiCamera)


@pytest.mark.usefixtures("no_pi")
def test_auto_takes_the_first_device_that_captures(monkeypatch):
    devices(
        monkeypatch,
        VideoDevice("/dev/video0", "Meta", "uvcvideo", captures=False),
        VideoDevice("/dev/video2", "Webcam", "uvcvideo", captures=True),
        VideoDevice("/dev/video4", "Other", "uvcvideo", captures=True),
    )
    assert source("auto").name == "/dev/video2"


def test_auto_leaves_usb_cameras_that_libcamera_lists_to_v4l2(monkeypatch):
    module = FakePicamera2Module()
    module.cameras = [{"Id": "/base/usb@2/uvc", "Num": 0}]
    monkeypatch.setattr(sources, "load_picamera2", lambda: module)
    devices(monkeypatch, VideoDevice("/dev/video0", "Webcam", "uvcvideo", captures=True))
    assert source("auto").name == "/dev/video0"


@pytest.mark.usefixtures("no_pi")
def test_auto_without_a_camera_says_where_it_looked(monkeypatch):
    devices(monkeypatch, VideoDevice("/dev/video10", "bcm2835-codec", "codec", captures=False))
    with pytest.raises(CameraError) as caught:
        source("auto")
    message = str(caught.value)
    assert "picamera2 isn't installed" in message
    assert "/dev/video10 'bcm2835-codec'" in message
    assert "rtsp://" in message


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pictures_are_turned_clockwise(degrees):
    def corner(_number, width, height):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[0, 0] = 255  # top left
        return picture

    camera = TurnedCamera(FakeCamera(Show(1, picture=corner), width=6, height=4, fps=0), degrees)
    camera.open()
    frame = camera.read()
    camera.close()
    expected = {90: (0, -1), 180: (-1, -1), 270: (-1, 0)}[degrees]
    assert frame.pixels[expected].tolist() == [255, 255, 255]
    assert (frame.width, frame.height) == ((6, 4) if degrees == 180 else (4, 6))
    assert frame.pixels.flags.c_contiguous
    assert (frame.order, frame.number) == (ChannelOrder.RGB, 0)


def test_rotation_is_taken_from_the_configuration():
    camera = source("fake", rotate=90, width=96, height=64, fps=200)
    camera.open()
    assert camera.read().width == 64
    assert (camera.name, camera.live) == ("fake", True)


def test_the_guard_of_a_configuration():
    config = CameraConfig(source="fake", fps=100, width=64, height=64, read_timeout=30.0)
    with open_guard(config) as guard:
        assert guard.wait(30.0).width == 64
    slow = open_guard(CameraConfig(source="rtsp://joe:secret@host/cam", fps=0.1, read_timeout=5))
    assert slow.read_timeout == pytest.approx(30.0)
    assert slow.status.name == "rtsp://joe:***@host/cam"


def test_a_missing_file_comes_out_of_the_guard():
    with (
        open_guard(CameraConfig(source="nowhere.mp4")) as guard,
        pytest.raises(InputError, match="nowhere"),
    ):
        guard.wait(30.0)


def test_descriptions(make_video):
    def describe(name, **settings):
        return describe_source(CameraConfig(source=str(name), **settings))

    assert describe("auto") == "the Pi's camera, else the first V4L2 device, 640x480 at 10 fps"
    assert describe("1", rotate=90).startswith("V4L2 device /dev/video1, 640x480")
    assert describe("1", rotate=90).endswith("turned 90° clockwise")
    assert describe("rtsp://joe:secret@host/c") == "stream rtsp://joe:***@host/c"
    video = make_video()
    assert describe(video) == f"video {video}, played once"
    assert describe(video, loop=True).endswith("played again and again")


@pytest.mark.parametrize(
    ("url", "visible"),
    [
        ("rtsp://host:554/cam", "rtsp://host:554/cam"),
        ("rtsp://joe@host/cam", "rtsp://joe@host/cam"),
        ("rtsp://joe:pw@host/cam", "rtsp://joe:***@host/cam"),
        ("rtsp://joe:p@/w@host/cam", "rtsp://joe:***@host/cam"),
        ("rtsp://:pw@host/cam", "rtsp://:***@host/cam"),
        ("http://h/s?user=joe&password=pw&x=1", "http://h/s?user=joe&password=***&x=1"),
        ("rtsp://h/user=joe_password=pw_channel=1", "rtsp://h/user=joe_password=***"),
        ("http://h/s?access_token=pw", "http://h/s?access_token=***"),
    ],
)
def test_passwords_are_never_shown(url, visible):
    assert redact(url) == shown(url) == visible


@given(st.text("ab/@:?#% &=é", min_size=1), st.text("ab/@:?#%é", max_size=4))
def test_no_password_however_odd_is_shown(filling, user):
    password = f"SE{filling}CRET"
    for source_text in (f"rtsp://{user}:{password}@host:1/cam", f"{user}:{password}@host/cam"):
        visible = shown(source_text)
        assert "SE" not in visible
        assert "CRET" not in visible


def test_a_password_comes_from_the_environment_or_a_credential(monkeypatch, tmp_path):
    monkeypatch.delenv("MASKEDGE_CAMERA_PASSWORD", raising=False)
    assert with_password("rtsp://joe@host/cam") == "rtsp://joe@host/cam"
    (tmp_path / "camera-password").write_text("from file\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert with_password("rtsp://joe@host:1/cam") == "rtsp://joe:from%20file@host:1/cam"
    monkeypatch.setenv("MASKEDGE_CAMERA_PASSWORD", "p@ss")
    assert with_password("rtsp://joe@host/cam?x=1") == "rtsp://joe:p%40ss@host/cam?x=1"
    assert with_password("rtsp://joe:own@host/cam") == "rtsp://joe:own@host/cam"
    assert with_password("rtsp://host/cam") == "rtsp://host/cam"
    assert "ss" not in StreamCamera("rtsp://joe@host/cam").name


def test_importing_the_sources_loads_no_opencv():
    script = "import sys, maskedge.camera.sources; print('cv2' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "False\n"


def test_a_recording_that_we_may_not_look_at_is_named(closed):
    with pytest.raises(InputError, match=f"^{closed}/hall.mp4: can't be read: Permission denied"):
        open_source(CameraConfig(source=str(closed / "hall.mp4")))
