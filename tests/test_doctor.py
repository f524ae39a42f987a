"""doctor: each finding caused, none without its cure; no check can hang or crash the command."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mosquitto import PATIENCE, Mosquitto, free_port

from maskedge import clock, modelfile
from maskedge.camera.fake_picamera2 import FakePicamera2Module
from maskedge.config import Config
from maskedge.doctor import broker, devices, runner, software, system
from maskedge.doctor.checks import CHECKS
from maskedge.doctor.finding import Check, Place, split
from maskedge.errors import AcceleratorError, UsageError
from maskedge.health.faults import FAULTS
from maskedge.inference import edgetpu, runtime

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path):
    """``place(camera={...})``: an empty file system with this configuration."""

    def build(environ=None, **settings):
        root = tmp_path / "root"
        (root / "sys/bus").mkdir(parents=True, exist_ok=True)
        (root / "dev").mkdir(exist_ok=True)
        config = Config.model_validate({"device": "door", **settings})
        return Place(config, root, dict(os.environ) if environ is None else environ)

    return build


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def looked(check, place):
    """The findings; those that are bad must say what to do."""
    findings = list(check.run(place))
    told(findings)
    return findings


def told(findings):
    assert findings
    for finding in findings:
        assert finding.message
        assert finding.cure or finding.status == "ok"


def bad(findings):
    (one,) = [finding for finding in findings if finding.status != "ok"]
    told([one])
    return one


def fine(findings):
    findings = list(findings)
    assert {finding.status for finding in findings} == {"ok"}, findings
    return " ".join(finding.message for finding in findings)


# Python and its packages.


def test_python(place, monkeypatch):
    assert "64 bits" in fine(looked(software.Python(), place()))
    monkeypatch.setattr(software.platform, "machine", lambda: "armv7l")
    one = bad(looked(software.Python(), place()))
    assert (one.status, one.cure) == ("fail", "install the 64-bit Raspberry Pi OS")
    monkeypatch.setattr(software.sys, "version_info", (3, 9, 2))
    assert "3.11 or newer" in bad(looked(software.Python(), place())).cure


def distribution(folder, name, version, code=None):
    write(folder / f"{name.replace('-', '_')}-{version}.dist-info/METADATA",
          f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")  # fmt: skip
    if code is not None:
        write(folder / f"{name}.py", code)


@pytest.fixture
def requires(monkeypatch):
    def build(*requirements):
        monkeypatch.setattr(metadata, "requires", lambda _: [*requirements, 'x; extra == "dev"'])

    return build


def test_the_packages_of_this_environment_are_in_order(place):
    findings = list(runner.examine([software.Packages()], place()))
    told(findings)
    assert "numpy" in findings[0].message
    assert findings[0].status == "ok"


def test_a_missing_package(place, requires):
    requires("maskedge-nosuch>=1.2")
    one = bad(looked(software.Packages(), place()))
    assert (one.status, one.cure) == ("fail", "pip install 'maskedge-nosuch>=1.2'")


def test_a_package_that_is_too_old(place, requires, tmp_path, monkeypatch):
    distribution(tmp_path, "oldone", "1.9.1", "")
    monkeypatch.syspath_prepend(tmp_path)
    requires("oldone>=1.10")
    one = bad(looked(software.Packages(), place()))
    assert one.message == "oldone 1.9.1 is too old, 1.10 is needed"


def test_a_package_that_cannot_be_imported(place, requires, tmp_path, monkeypatch):
    distribution(tmp_path, "brokenone", "1.0", "raise ImportError('libGL.so.1: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    requires("brokenone>=1")
    one = bad(looked(software.Packages(), place()))
    assert "libGL.so.1" in one.message
    assert one.status == "fail"


def test_two_opencvs(place, requires, tmp_path, monkeypatch):
    distribution(tmp_path, "opencv-python", "4.11.0")
    distribution(tmp_path, "opencv-python-headless", "4.11.0")
    monkeypatch.syspath_prepend(tmp_path)
    requires("click>=8")
    one = bad(looked(software.Packages(), place()))
    assert (one.status, one.cure.split()[:2]) == ("warn", ["pip", "uninstall"])


def test_not_installed_at_all(place, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    assert bad(looked(software.Packages(), place())).message == "maskedge isn't installed"


@pytest.mark.parametrize(
    ("name", "numpy", "opencv", "status"),
    [
        ("litert", "2.3.0", "5.0", "ok"),
        ("tflite_runtime", "1.26.4", "4.11.0.86", "ok"),
        ("tflite_runtime", "2.1.0", "4.11.0.86", "fail"),
        ("tflite_runtime", "1.26.4", "4.12.0", "fail"),
    ],
)
def test_interpreter_and_numpy_must_fit(place, monkeypatch, name, numpy, opencv, status):
    versions = {"numpy": numpy, "opencv-python-headless": opencv}
    monkeypatch.setattr(software, "installed", versions.get)
    monkeypatch.setattr(runtime, "find_runtime", lambda: runtime.Runtime(name, None))
    (one,) = looked(software.Interpreter(), place())
    assert one.status == status
    assert status == "ok" or "numpy<2" in one.cure


def test_no_interpreter(place, monkeypatch):
    def none():
        raise AcceleratorError("no TFLite interpreter is installed; install one: pip …")

    monkeypatch.setattr(runtime, "find_runtime", none)
    assert bad(looked(software.Interpreter(), place())).cure == "install one: pip …"


def test_the_wrong_pycoral(place, tmp_path, monkeypatch):
    assert fine(looked(software.Pycoral(), place())) == "not installed, and not needed"
    write(tmp_path / "pycoral/__init__.py", "raise SystemExit('never to be run')")
    monkeypatch.syspath_prepend(tmp_path)
    one = bad(looked(software.Pycoral(), place()))
    assert (one.status, one.cure.partition(";")[0]) == ("warn", "pip uninstall pycoral")
    write(tmp_path / "pycoral/utils/edgetpu.py", "")
    assert fine(looked(software.Pycoral(), place())) == "Google's"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("2.14.0", (2, 14, 0)), ("5.0.0.93", (5, 0, 0, 93)), ("2rc1", (2,)), ("?", ())],
)
def test_versions(text, numbers):
    assert software.version(text) == numbers


# Networks.


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A copy of the shipped networks, to be damaged."""
    folder = tmp_path / "models"
    shutil.copytree(modelfile.models_dir(), folder)
    monkeypatch.setattr(modelfile, "models_dir", lambda: folder)
    return folder


def test_the_shipped_networks_run(place):
    said = fine(runner.examine([software.Networks()], place()))
    assert "have the SHA-256 that they should" in said
    assert "classifier: mask_classifier.tflite" in said


def test_a_damaged_network(place, models):
    path = models / "mask_classifier.tflite"
    path.write_bytes(path.read_bytes() + b"\0")
    one = bad(looked(software.Networks(), place()))
    assert (one.status, one.cure) == ("fail", "install both again")
    assert "SHA-256" in one.message


def test_a_missing_network(place):
    one = bad(looked(software.Networks(), place(classifier={"model": "/nowhere/net.tflite"})))
    assert one.status == "fail"
    assert "/nowhere/net.tflite" in one.message


def test_an_own_network_without_its_card(place, tmp_path):
    own = tmp_path / "own.tflite"
    shutil.copy(modelfile.models_dir() / "mask_classifier.tflite", own)
    findings = list(software.Networks().run(place(classifier={"model": str(own)})))
    one = next(finding for finding in findings if finding.status != "ok")
    assert str(own) in one.message


# Camera.


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


def test_a_camera_that_the_service_has(place, fake_systemctl):
    where = place(fake_systemctl("ActiveState=active"), camera={"source": "/dev/video99"})
    one = bad(looked(devices.CameraPicture(), where))
    assert one.status == "warn"
    assert "systemctl stop maskedge" in one.cure


# The Pi's camera.


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


# Edge TPU.


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


# Broker.


@pytest.fixture
def mosquitto(tmp_path):
    made = []

    def build(*lines, start=True, **options):
        folder = tmp_path / f"broker-{len(made)}"
        folder.mkdir()
        made.append(Mosquitto(folder, *lines, **options))
        return made[-1].start() if start else made[-1]

    yield build
    for one in made:
        one.kill()


def reached(place, server, environ=None, **settings):
    mqtt = {"host": "127.0.0.1", "port": server.port, **settings}
    return looked(broker.Broker(), place(environ or {}, mqtt=mqtt))


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_broker_in_order(place, mosquitto, version):
    said = fine(reached(place, mosquitto(), version=version))
    assert "maskedge/door/doctor came back" in said
    assert "anonymous" in said


def test_nothing_is_left_on_the_broker(place, mosquitto):
    server = mosquitto()
    reached(place, server)
    assert server.retained() == {}


def test_no_broker(place):
    one = bad(reached(place, SimpleNamespace(port=free_port())))
    assert (one.status, one.help) == ("fail", "docs/faults.md#broker_lost")
    assert one.cure == "is the broker running, is mqtt.port right?"


def test_an_unknown_broker(place):
    one = bad(looked(broker.Broker(), place({}, mqtt={"host": "no-such-host.invalid"})))
    assert "no-such-host.invalid: name not known" in one.message


@pytest.fixture
def guarded(mosquitto):
    server = mosquitto(start=False, anonymous=False)
    server.configure(f"password_file {server.passwords(door='secret')}")
    return server.start()


def test_a_password_right_wrong_and_missing(place, guarded):
    right = {"MASKEDGE_MQTT_PASSWORD": "secret"}
    assert "as 'door'" in fine(reached(place, guarded, right, username="door"))
    wrong = {"MASKEDGE_MQTT_PASSWORD": "hunter2"}
    one = bad(reached(place, guarded, wrong, username="door"))
    assert "bad user name or password" in f"{one}"
    assert "hunter2" not in f"{one}"
    findings = reached(place, guarded, username="door")
    assert "there is no password for it" in findings[0].message
    assert findings[1].status == "fail"


def test_the_units_password_is_used(place, guarded):
    where = place({}, mqtt={"host": "127.0.0.1", "port": guarded.port, "username": "door"})
    write(where.root / "etc/maskedge/mqtt-password", "secret\n")
    fine(looked(broker.Broker(), where))


def test_a_password_file_that_cannot_be_read(place, tmp_path):
    missing = str(tmp_path / "none")
    one = bad(looked(broker.Broker(), place(mqtt={"username": "me", "password_file": missing})))
    assert missing in one.message
    assert "sudo" in one.cure


def test_a_broker_that_lets_us_write_but_not_read(place, mosquitto):
    server = mosquitto(start=False)
    acl = server.file("acl", "topic write maskedge/door/#\n")
    server.configure(f"acl_file {acl}")
    server.start()
    one = bad(reached(place, server))
    assert (one.status, one.cure) == ("warn", "let the broker's ACL allow maskedge/door/#")


def test_a_broker_that_does_not_let_us_write(place, mosquitto):
    server = mosquitto(start=False)
    acl = server.file("acl", "topic read #\n")
    server.configure(f"acl_file {acl}")
    server.start()
    one = bad(reached(place, server))
    assert (one.status, one.message) == ("fail", "may not write maskedge/door/doctor")


def test_tls(place, mosquitto, tmp_path):
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    certificate = tmp_path / "cert.pem"
    server = mosquitto(f"certfile {certificate}", f"keyfile {tmp_path / 'key.pem'}")
    tls = {"enabled": True, "ca_file": str(certificate)}
    assert ", TLS, " in fine(reached(place, server, tls=tls))
    one = bad(reached(place, server, tls={"enabled": True}))
    assert (one.status, "certificate verify failed" in one.message) == ("fail", True)
    one = bad(reached(place, server, tls={"enabled": True, "verify": False}))
    assert one.status == "warn"
    assert "ca_file" in one.cure


def test_a_port_where_nobody_speaks(place, monkeypatch):
    monkeypatch.setattr(broker, "ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        one = bad(reached(place, SimpleNamespace(port=mute.getsockname()[1])))
    assert "did not answer" in one.message


# The system.


def test_clock(place, monkeypatch):
    monkeypatch.setattr(clock, "clock_synced", lambda: True)
    assert "set by NTP" in fine(looked(system.Clock(), place()))
    monkeypatch.setattr(clock, "clock_synced", lambda: False)
    one = bad(looked(system.Clock(), place()))
    assert (one.status, one.help) == ("warn", "docs/faults.md#clock_unsynced")


def test_temperature_and_throttling(place):
    where = place()
    assert "doesn't tell" in fine(looked(system.Temperature(), where))
    zone = where.root / "sys/class/thermal/thermal_zone0/temp"
    flags = where.root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    write(zone, "51200\n")
    write(flags, "0\n")
    assert fine(looked(system.Temperature(), where)) == "51 °C"
    write(zone, "84000\n")
    assert "cooler" in bad(looked(system.Temperature(), where)).cure
    write(zone, "51200\n")
    write(flags, "50005\n")
    one = bad(looked(system.Temperature(), where))
    assert one.help == "docs/faults.md#throttled"
    assert "under-voltage, throttled" in one.message
    write(flags, "50000\n")
    one = bad(looked(system.Temperature(), where))
    assert one.message == "since it was switched on, there was under-voltage, throttled"
    write(flags, "nonsense\n")
    fine(looked(system.Temperature(), where))


def test_disk(place, tmp_path, monkeypatch):
    where = place({"STATE_DIRECTORY": str(tmp_path)})
    free = [500e6]
    monkeypatch.setattr(system.shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    assert "500 MB free, writable" in fine(looked(system.Disk(), where))
    free[0] = 100e6
    assert bad(looked(system.Disk(), where)).status == "warn"
    free[0] = 1e6
    one = bad(looked(system.Disk(), where))
    assert (one.status, one.help) == ("fail", "docs/faults.md#outbox_unwritable")
    assert list(tmp_path.glob("tmp*")) == []


def test_disk_where_the_folder_does_not_exist_yet(place, tmp_path):
    where = place({"XDG_STATE_HOME": str(tmp_path / "a/b")})
    assert str(tmp_path / "a/b/maskedge") in fine(looked(system.Disk(), where))
    assert not (tmp_path / "a").exists()


def test_disk_that_cannot_be_written(place, tmp_path):
    write(tmp_path / "file", "in the way")
    for folder in ("/proc/nowhere", str(tmp_path / "file"), str(tmp_path / "file/deeper")):
        one = bad(looked(system.Disk(), place({}, outbox={"path": f"{folder}/outbox.db"})))
        assert (one.status, one.help) == ("fail", "docs/faults.md#outbox_unwritable")


def test_disk_of_the_service_when_somebody_asks_at_the_terminal(place):
    where = place({})
    (where.root / "var/lib/maskedge").mkdir(parents=True)
    assert "var/lib/maskedge" in fine(looked(system.Disk(), where))


def test_disk_of_somebody_else(place, tmp_path, monkeypatch):
    monkeypatch.setattr(system.os, "access", lambda *_: False)
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    one = bad(looked(system.Disk(), place({"STATE_DIRECTORY": str(tmp_path / "x")})))
    assert (one.status, one.cure) == ("fail", "sudo maskedge doctor disk")


@pytest.fixture
def fake_systemctl(tmp_path):
    """``fake_systemctl("ActiveState=active")``: an environment with it, and a running systemd."""

    def build(*lines):
        (tmp_path / "root/run/systemd/system").mkdir(parents=True, exist_ok=True)
        program = write(
            tmp_path / "bin/systemctl", "#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n"
        )
        program.chmod(0o755)
        return {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}

    return build


def test_no_systemd(place):
    assert fine(looked(system.Unit(), place())) == "systemd doesn't run here"


@pytest.mark.parametrize(
    ("lines", "status", "cure"),
    [
        (["LoadState=not-found", "ActiveState=inactive"], "ok", ""),
        (["ActiveState=active", "UnitFileState=enabled", "NRestarts=0"], "ok", ""),
        (["ActiveState=active", "UnitFileState=enabled", "NRestarts=7"], "warn", "journalctl"),
        (["ActiveState=active", "UnitFileState=disabled"], "warn", "systemctl enable"),
        (["ActiveState=activating", "NRestarts=3"], "warn", "journalctl"),
        (["ActiveState=inactive"], "warn", "enable --now"),
        (["ActiveState=failed", "ExecMainStatus=78"], "fail", "maskedge check"),
        (["ActiveState=failed", "ExecMainStatus=69"], "fail", "journalctl"),
    ],
)
def test_unit(place, fake_systemctl, lines, status, cure):
    (one,) = looked(system.Unit(), place(fake_systemctl(*lines)))
    assert one.status == status
    assert cure in one.cure


# Deadlines and crashes.


class Slow(Check):
    name, deadline = "clock", 0.2

    def run(self, place):  # noqa: ARG002
        time.sleep(30)
        yield self.ok("late")


class Broken(Check):
    name = "clock"

    def run(self, place):  # noqa: ARG002
        yield self.ok("first")
        raise RuntimeError("boom")


def test_a_check_that_hangs_is_given_up(place):
    began = time.monotonic()
    one = bad(runner.examine([Slow()], place()))
    assert one.message == "no answer within 0.2 s"
    assert one.cure
    assert time.monotonic() - began < 20


def test_a_check_that_raises_is_a_finding(place):
    findings = list(runner.examine([Broken()], place()))
    assert findings[0].message == "first"
    assert findings[1].message == "can't be checked (RuntimeError: boom)"
    assert findings[1].cure


def sabotage(tmp_path, code):
    """An environment in which every Python runs this before anything else."""
    write(tmp_path / "sabotage/sitecustomize.py", code)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "sabotage")}


class Impatient(devices.CameraPicture):
    def limit(self, place):  # noqa: ARG002
        return 1.0


def test_a_library_that_hangs_is_killed(place, tmp_path):
    where = place(sabotage(tmp_path, "import time; time.sleep(300)"), camera={"source": "fake"})
    one = bad(runner.examine([Impatient()], where))
    assert one.message == "no answer within 1 s"
    assert one.help == "docs/faults.md#camera_lost"
    assert "cable" in one.cure


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os; os._exit(3)", "exit code 3"),
    ],
)
def test_a_library_that_crashes_is_a_finding(place, tmp_path, code, how):
    where = place(sabotage(tmp_path, code), camera={"source": "fake"})
    one = bad(runner.examine([devices.CameraPicture()], where))
    assert one.message == f"the check's process crashed ({how})"
    assert one.cure


def test_a_native_librarys_chatter_does_no_harm(place, tmp_path):
    code = "import cv2, os; os.write(1, b'INFO: hello'); real = cv2.cvtColor\n"
    code += "cv2.cvtColor = lambda *a: (os.write(1, b'INFO'), real(*a))[1]"
    where = place(sabotage(tmp_path, code), camera={"source": "fake"})
    fine(runner.examine([devices.CameraPicture()], where))


def test_an_unknown_check_is_a_usage_error():
    with pytest.raises(UsageError, match="no check is called 'brokr'; there are python, "):
        runner.chosen(["brokr"])


def test_without_a_valid_configuration_only_some_checks_run():
    names = [check.name for check in runner.chosen([], settings=False)]
    assert "broker" not in names
    assert "camera" not in names
    assert "clock" in names


def test_help_leads_to_faults_that_are_described():
    described = (ROOT / "docs/faults.md").read_text()
    for fault in FAULTS:
        assert f"`{fault.code}`" in described


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("b:1: refused; is it on?", ("b:1: refused", "is it on?")),
        ("none found. Plug one in: a, b", ("none found", "Plug one in: a, b")),
        ("/dev/x: gone: check the cable", ("/dev/x: gone", "check the cable")),
        ("odd", ("odd", "see the help")),
    ],
)
def test_our_sentences_are_split_before_the_cure(sentence, parts):
    assert split(sentence) == parts


# The command.


def doctor(*args, **environ):
    return subprocess.run(
        [sys.executable, "-m", "maskedge", "doctor", *args],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environ},
    )


def test_the_command_in_json(tmp_path):
    config = write(tmp_path / "config.yaml", "device: door\n")
    done = doctor("--json", "--config", str(config), "pycoral", "python")
    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert shown["schema"] == "maskedge.doctor/1"
    assert [one["check"] for one in shown["findings"]] == ["configuration", "python", "pycoral"]
    assert set(shown["findings"][0]) == {"check", "status", "message", "cure", "help"}


def test_the_command_fails_when_something_does(tmp_path):
    config = write(tmp_path / "config.yaml", f"mqtt: {{host: 127.0.0.1, port: {free_port()}}}\n")
    done = doctor("--config", str(config), "broker")
    assert done.returncode == 1
    assert "→ is the broker running" in done.stdout
    assert "1 in order, 0 to look at, 1 broken" in done.stdout
    assert "\x1b[" not in done.stdout
    quiet = doctor("--quiet", "--config", str(config), "broker")
    assert quiet.stdout.splitlines() == done.stdout.splitlines()[1:3]


def test_a_wrong_configuration_is_a_finding_and_the_rest_is_still_looked_at(tmp_path):
    config = write(tmp_path / "config.yaml", "camera: {fsp: 3}\nmqtt: {prot: 1}\n")
    done = doctor("--json", "--config", str(config), "pycoral", "broker")
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 1
    assert [(one["check"], one["status"]) for one in findings] == [
        ("configuration", "fail"),
        ("configuration", "fail"),
        ("pycoral", "ok"),
    ]
    assert "did you mean `fps`?" in findings[0]["message"]


def test_without_pydantic_the_command_says_what_is_missing(tmp_path):
    environ = sabotage(tmp_path, "import sys; sys.modules['pydantic'] = None")
    done = doctor("pycoral", PYTHONPATH=environ["PYTHONPATH"])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pydantic" in done.stdout
    assert "pip install --force-reinstall maskedge" in done.stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_on_a_terminal_only_where_wanted(tmp_path, no_color):
    config = write(tmp_path / "config.yaml", "device: door\n")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "maskedge", "doctor", "--config", str(config), "pycoral"],
        stdout=slave,
        stderr=slave,
        env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm"},
    )
    os.close(slave)
    assert process.wait(PATIENCE) == 0
    said = os.read(master, 65_536).decode()
    os.close(master)
    assert ("\x1b[32m" in said) == (not no_color)


def test_every_check_can_be_asked_for_by_the_name_in_the_help():
    text = doctor("--help").stdout
    listed = text.partition("Checks: ")[2].partition(".")[0].replace("\n", " ")
    assert {name.strip() for name in listed.split(",")} == set(CHECKS)
