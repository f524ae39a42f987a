from __future__ import annotations

import errno
import os
import struct

import numpy as np
import pytest

from maskedge.camera import v4l2
from maskedge.camera.frame import Camera, ChannelOrder
from maskedge.camera.guard import CameraGuard, CameraState
from maskedge.camera.opencv import load_cv2
from maskedge.camera.v4l2 import V4L2Camera, find_devices, parse_capability, query
from maskedge.errors import CameraError

CAPTURE, MPLANE, M2M, METADATA, STREAMING = 0x1, 0x1000, 0x4000, 0x0080_0000, 0x0400_0000
DEVICE_CAPS = 0x8000_0000


def capability(driver="uvcvideo", card="HD Webcam", whole=CAPTURE, node=None):
    """A struct v4l2_capability as the kernel fills it."""
    return struct.pack(
        "16s32s32sIII12x",
        driver.encode(),
        card.encode(),
        b"usb-0000:01:00.0-1.2",
        0x060109,
        whole | STREAMING | (0 if node is None else DEVICE_CAPS),
        0 if node is None else node | STREAMING,
    )


@pytest.fixture
def dev(tmp_path, monkeypatch):
    """A /dev whose nodes are files that hold what VIDIOC_QUERYCAP answers."""

    def ioctl(descriptor, request, buffer):
        assert request == 0x80685600  # VIDIOC_QUERYCAP on every 64-bit Linux
        answer = os.read(descriptor, 200)
        if not answer:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        buffer[:] = answer

    monkeypatch.setattr(v4l2.fcntl, "ioctl", ioctl)
    monkeypatch.setattr(v4l2, "DEV", tmp_path)
    return tmp_path


class FakeCapture:
    """cv2.VideoCapture on V4L2, as measured: isOpened() stays true, a lost device reads False."""

    def __init__(self, path, _backend):
        self.properties = []
        self.opened = FakeCapture.available
        self.path = path
        FakeCapture.made.append(self)

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return self.opened

    def set(self, key, value):
        self.properties.append((key, value))
        return True

    def grab(self):
        return FakeCapture.available

    def retrieve(self):
        return FakeCapture.available, FakeCapture.picture

    def release(self):
        self.opened = False


@pytest.fixture
def capture(monkeypatch):
    FakeCapture.available = True
    FakeCapture.made = []
    FakeCapture.picture = np.full((480, 640, 3), (10, 20, 200), np.uint8)
    monkeypatch.setattr(load_cv2(), "VideoCapture", FakeCapture)
    return FakeCapture


@pytest.fixture
def webcam(dev):
    path = dev / "video0"
    path.write_bytes(capability(whole=CAPTURE | METADATA, node=CAPTURE))
    return path


def test_it_is_a_camera():
    assert isinstance(V4L2Camera(), Camera)


def test_the_nodes_own_capabilities_decide(tmp_path):
    whole = CAPTURE | METADATA
    assert parse_capability(tmp_path, capability(whole=whole, node=CAPTURE)).captures
    assert not parse_capability(tmp_path, capability(whole=whole, node=METADATA)).captures
    assert parse_capability(tmp_path, capability(whole=CAPTURE)).captures  # kernels before 3.4
    assert parse_capability(tmp_path, capability(whole=0, node=MPLANE)).captures


def test_the_pis_own_pipeline_is_no_camera_for_opencv(tmp_path):
    assert not parse_capability(tmp_path, capability("unicam", node=CAPTURE)).captures
    assert not parse_capability(tmp_path, capability("bcm2835-isp", node=CAPTURE)).captures


def test_devices_are_found_in_the_order_of_their_numbers(dev):
    (dev / "video10").write_bytes(capability("bcm2835-codec", "codec", node=M2M))
    (dev / "video2").write_bytes(capability(card="Second", node=CAPTURE))
    (dev / "video1").write_bytes(capability(card="Meta", node=METADATA))
    (dev / "video0").write_bytes(b"")  # no V4L2
    (dev / "videocard").write_bytes(capability())
    found = find_devices(dev)
    assert [(device.path.name, device.card, device.captures) for device in found] == [
        ("video1", "Meta", False),
        ("video2", "Second", True),
        ("video10", "codec", False),
    ]


def test_a_file_that_is_no_device_is_recognised_by_the_real_ioctl(tmp_path):
    path = tmp_path / "video0"
    path.write_bytes(b"no device")
    assert query(path) is None
    assert query("/dev/null") is None


@pytest.mark.parametrize("device", ["0", 0])
def test_a_number_means_dev_video(device):
    assert V4L2Camera(device).name == "/dev/video0"


def test_frames_come_with_their_order(webcam, capture):
    camera = V4L2Camera(str(webcam), fps=15, clock=lambda: 7.0)
    camera.open()
    frame = camera.read()
    assert (frame.width, frame.height, frame.order) == (640, 480, ChannelOrder.BGR)
    assert (frame.time, frame.number, camera.read().number) == (7.0, 0, 1)
    cv2 = load_cv2()
    asked = dict(capture.made[0].properties)
    assert asked[cv2.CAP_PROP_FPS] == 15
    assert cv2.CAP_PROP_FOURCC not in asked
    camera.close()
    assert not capture.made[0].opened


def test_large_pictures_are_asked_for_as_jpeg_before_their_size(webcam, capture):
    camera = V4L2Camera(str(webcam), width=1280, height=720)
    camera.open()
    cv2 = load_cv2()
    keys = [key for key, _ in capture.made[0].properties]
    assert keys.index(cv2.CAP_PROP_FOURCC) < keys.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert capture.made[0].properties[0][1] == cv2.VideoWriter.fourcc(*"MJPG")


@pytest.mark.parametrize("shape", [(240, 320), (240, 320, 1), (240, 320, 3), (240, 320, 4)])
def test_other_sizes_and_channels_are_accepted(webcam, capture, caplog, shape):
    caplog.set_level("INFO")
    capture.picture = np.full(shape, 9, np.uint8)
    camera = V4L2Camera(str(webcam))
    camera.open()
    assert camera.read().pixels.shape == (240, 320, 3)
    camera.read()
    assert caplog.text.count("gives 320x240") == 1


@pytest.mark.parametrize(
    "picture", [None, np.zeros((0, 0, 3), np.uint8), np.zeros((8, 8, 3), np.uint16), np.zeros(9)]
)
def test_what_is_no_picture_is_an_error(webcam, capture, picture):
    capture.picture = picture
    camera = V4L2Camera(str(webcam))
    camera.open()
    with pytest.raises(CameraError, match="handed out"):
        camera.read()


def test_unplugged_and_back_under_the_guard(webcam, capture, until, timed):
    answer = webcam.read_bytes()
    guard = CameraGuard(
        lambda: V4L2Camera(str(webcam)),
        read_timeout=20.0,
        reopen_delay=0.02,
        reopen_delay_max=0.05,
    )
    with guard:
        until(lambda: guard.status.state is CameraState.STREAMING)
        capture.available = False
        webcam.unlink()
        until(lambda: guard.status.state is CameraState.LOST and guard.status.reopens > 2)
        assert "plug the camera in" in guard.status.error
        webcam.write_bytes(answer)
        capture.available = True
        with timed("plugged in again: until it streams (tried every 0.05 s; by default 3 s)"):
            until(lambda: guard.status.state is CameraState.STREAMING)
    assert not any(made.opened for made in capture.made[:-1])


def test_an_unplugged_device_says_so(webcam, capture):
    camera = V4L2Camera(str(webcam))
    camera.open()
    capture.available = False
    webcam.unlink()
    with pytest.raises(CameraError, match="it was unplugged"):
        camera.read()


def test_why_a_device_cant_be_opened(dev, capture, monkeypatch):
    def reason(path):
        with pytest.raises(CameraError) as caught:
            V4L2Camera(str(path)).open()
        return str(caught.value)

    assert "no such device: plug the camera in" in reason(dev / "video9")
    (dev / "video1").write_bytes(capability(node=METADATA))
    assert "gives no pictures" in reason(dev / "video1")
    (dev / "video2").write_bytes(b"")
    assert "is no V4L2 device" in reason(dev / "video2")
    (dev / "video3").write_bytes(capability("unicam", node=CAPTURE))
    assert "use source: picamera" in reason(dev / "video3")
    (dev / "video4").write_bytes(capability(node=CAPTURE))
    capture.available = False
    assert "another program may use it" in reason(dev / "video4")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(v4l2.os, "open", refuse)
    assert "add this user to the group `video`" in reason(dev / "video4")
