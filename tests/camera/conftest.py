from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from mosquitto import free_port

SERVER = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
_NEEDS = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "assert Gst.ElementFactory.find('x264enc')"
)


class RtspServer:
    """The test server as a process that can be killed, frozen and started again."""

    def __init__(self, *auth: str) -> None:
        self._auth = auth
        self._process: subprocess.Popen[str] | None = None
        self.port = free_port()
        self.start()

    def url(self, path: str = "/cam", login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, SERVER, str(self.port), *self._auth], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == f"ready {self.port}\n"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)


@pytest.fixture(scope="session")
def gstreamer():
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", _NEEDS], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no RTSP server: install the packages of tests/apt-packages.txt")


@pytest.fixture
def rtsp_server(gstreamer):  # noqa: ARG001 - skips where it must
    servers = []

    def start(*auth: str) -> RtspServer:
        servers.append(RtspServer(*auth))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def until():
    """Poll a condition until it holds; fail with its name after a generous time."""

    def wait(condition, seconds: float = 30.0, step: float = 0.02):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            result = condition()
            if result:
                return result
            time.sleep(step)
        pytest.fail(f"not within {seconds} s")

    return wait


@pytest.fixture
def make_video(tmp_path):
    """Write a video whose frame number n is grey of level 8 n."""

    def write(name: str = "video.mp4", frames: int = 20, fps: float = 10.0, codec: str = "mp4v"):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (320, 240))
        for number in range(frames):
            writer.write(np.full((240, 320, 3), number * 8 % 256, np.uint8))
        writer.release()
        return path

    return write


@pytest.fixture
def make_picture(tmp_path):
    def write(name: str, level: int = 90, size: tuple[int, int] = (48, 32)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(level).integers(0, 20, (size[1], size[0], 3))
        assert cv2.imwrite(str(path), (noise + level).astype(np.uint8))
        return path

    return write
