"""Camera, libcamera, Edge TPU."""

from __future__ import annotations

import shutil
import sys

import cv2
import numpy as np
import pytest
from findings import bad, fine, looked, sabotage, write
from mosquitto import free_port

from maskedge.camera.fake_picamera2 import FakePicamera2Module
from maskedge.doctor import devices, runner
from maskedge.inference import edgetpu


def test_a_camera_that_works(place):
    said = fine(runner.examine([devices.CameraPicture()], place(camera={"source": "fake"})))
    assert "640x480" in said


def test_a_camera_that_is_not_there(place):
    one = bad(looked(devices.CameraPicture(), place(camera={"source": "/dev/video99"})))
    assert (one.status, one.help) == ("fail", "docs/faults.md#camera_lost")
    assert "/dev/v4l/by-id" in one.cure


def test_a_file_that_is_not_there(place):
    one = bad(looked(devices.CameraPicture(), place(camera={"source": "/nowhere.mp4"})))
    assert "/nowhere.mp4" in one.message


def test_no_camera_at_all(place, monkeypatch):
    monkeypatch.setattr("maskedge.camera.v4l2.find_devices", lambda *_: [])
    one = bad(looked(devices.CameraPicture(), place()))
    assert one.cure.startswith("Plug one in")


@pytest.mark.parametrize(("grey", "code"), [(2, "picture_black"), (90, "lens_covered")])
def test_a_picture_that_shows_nothing(place, tmp_path, grey, code):
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.full((480, 640, 3), grey, np.uint8))
    one = bad(looked(devices.CameraPicture(), place(camera={"source": str(path)})))
    assert (one.status, one.help) == ("fail", f"docs/faults.md#{code}")


def test_a_password_of_a_camera_is_not_repeated(place):
    source = f"rtsp://me:hunter2@127.0.0.1:{free_port()}/x"
    one = bad(looked(devices.CameraPicture(), place(camera={"source": source})))
    assert "hunter2" not in f"{one}"
    assert one.help == "docs/faults.md#camera_lost"


def test_the_units_password_of_a_camera_is_used(place, tmp_path):
    told = tmp_path / "told"
    spy = f"import os; open({str(told)!r}, 'w').write(os.environ.get('CREDENTIALS_DIRECTORY', ''))"
    where = place(sabotage(tmp_path, spy), camera={"source": "fake"})
    fine(runner.examine([devices.CameraPicture()], where))
    assert told.read_text() == ""
    secret = write(where.root / "etc/maskedge/camera-password", "hunter2\n")
    fine(runner.examine([devices.CameraPicture()], where))
    assert told.read_text() == str(secret.parent)


def test_a_camera_that_the_service_has(place, fake_systemctl):
    where = place(fake_systemctl("ActiveState=active"), camera={"source": "/dev/video99"})
    one = bad(looked(devices.CameraPicture(), where))
    assert one.status == "warn"
    assert "systemctl stop maskedge" in one.cure


@pytest.fixture
def pi(place, monkeypatch):
    """A Pi, with this picamera2; None: none is installed."""

    def build(module=None, source="auto"):
        where = place(camera={"source": source})
        write(where.root / "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
        monkeypatch.setitem(sys.modules, "picamera2", module)
        return where

    return build


def test_libcamera_is_not_looked_for_where_it_is_not_needed(place):
    assert "no Raspberry Pi" in fine(looked(devices.Libcamera(), place()))
    where = place(camera={"source": "/dev/video0"})
    assert "another" in fine(looked(devices.Libcamera(), where))


@pytest.mark.parametrize(("source", "status"), [("auto", "warn"), ("picamera", "fail")])
def test_picamera2_missing(pi, source, status):
    one = bad(looked(devices.Libcamera(), pi(source=source)))
    assert one.status == status
    assert "python3-picamera2" in one.cure


def test_a_virtual_environment_that_keeps_picamera2_out(pi, tmp_path, monkeypatch):
    where = pi()
    (where.root / "usr/lib/python3/dist-packages/picamera2").mkdir(parents=True)
    write(tmp_path / "venv/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
    monkeypatch.setattr(devices.sys, "prefix", str(tmp_path / "venv"))
    one = bad(looked(devices.Libcamera(), where))
    assert "include-system-site-packages = true" in one.cure
    write(tmp_path / "venv/pyvenv.cfg", "include-system-site-packages = true\n")
    assert "keeps it out" not in bad(looked(devices.Libcamera(), where)).message


def test_picamera2_with_and_without_a_camera(pi):
    module = FakePicamera2Module()
    assert "lists 1 camera" in fine(looked(devices.Libcamera(), pi(module)))
    module.cameras.clear()
    assert "ribbon cable" in bad(looked(devices.Libcamera(), pi(module))).cure


def plug(where, speed="5000", *, node=True):
    device = where.root / "sys/bus/usb/devices/2-1"
    attributes = {
        "idVendor": "18d1", "idProduct": "9302", "busnum": "2", "devnum": "4", "speed": speed
    }  # fmt: skip
    for name, value in attributes.items():
        write(device / name, value)
    if node:
        write(where.root / "dev/bus/usb/002/004", "")


@pytest.fixture
def library(monkeypatch):
    """Whether libedgetpu loads."""

    def build(*, loads=True):
        def load(name):
            if not loads:
                raise OSError(f"{name}: cannot open shared object file")

        monkeypatch.setattr(devices.ctypes, "CDLL", load)

    return build


@pytest.fixture
def compiled(models):
    for path in models.glob("*.tflite"):
        shutil.copy(path, edgetpu.compiled_path(path))
    return models


def test_no_edge_tpu(place):
    assert "the CPU is used" in fine(looked(devices.EdgeTpu(), place()))
    one = bad(looked(devices.EdgeTpu(), place(inference={"accelerator": "edgetpu"})))
    assert (one.status, one.help) == ("fail", "docs/faults.md#accelerator_lost")
    assert "not wanted" in fine(looked(devices.EdgeTpu(), place(inference={"accelerator": "cpu"})))


@pytest.mark.usefixtures("compiled")
def test_an_edge_tpu_in_order(place, library):
    library()
    where = place()
    plug(where)
    assert "5000 Mbit/s" in fine(looked(devices.EdgeTpu(), where))


@pytest.mark.usefixtures("compiled")
def test_an_edge_tpu_in_a_slow_port(place, library):
    library()
    where = place()
    plug(where, "480")
    one = bad(looked(devices.EdgeTpu(), where))
    assert (one.status, "USB 3" in one.cure) == ("warn", True)


@pytest.mark.usefixtures("compiled")
def test_an_edge_tpu_that_may_not_be_opened(place, library):
    library()
    where = place(inference={"accelerator": "edgetpu"})
    plug(where, node=False)
    assert bad(looked(devices.EdgeTpu(), where)).status == "fail"


@pytest.mark.usefixtures("compiled")
def test_an_edge_tpu_without_its_library(place, library):
    library(loads=False)
    where = place()
    plug(where)
    assert "libedgetpu1-std" in bad(looked(devices.EdgeTpu(), where)).cure


@pytest.mark.usefixtures("models")
def test_an_edge_tpu_without_compiled_networks(place, library):
    library()
    where = place()
    plug(where)
    assert "convert compile" in bad(looked(devices.EdgeTpu(), where)).cure
