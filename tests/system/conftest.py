"""The daemon as systemd starts it: a process of its own, a real broker, a recording as camera."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from live_camera import LiveCamera
from mosquitto import PATIENCE, Collector, Mosquitto, Relay, wait_for
from recording import record

from maskedge import configfile
from maskedge.daemon import Daemon
from maskedge.scene import Visit, Wearing


@pytest.fixture(scope="session")
def killed_after():
    """Seconds after which systemd kills what it has told to stop."""
    unit = Path(__file__).parents[2] / "systemd/maskedge.service"
    return float(re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)[1])


@pytest.fixture(scope="session")
def visit_video(tmp_path_factory):
    """One bare-faced person walks through; 11 s."""
    folder = tmp_path_factory.mktemp("scene")
    return record(folder / "visit.avi", [Visit(Wearing.BARE)], pause=3.5)


@pytest.fixture(scope="session")
def visits_video(tmp_path_factory):
    """A bare-faced person, then a masked one; 19 s."""
    folder = tmp_path_factory.mktemp("scene")
    visits = [Visit(Wearing.BARE), Visit(Wearing.MASKED)]
    return record(folder / "visits.avi", visits, pause=3.5)


class DaemonProcess:
    """``maskedge run`` with its configuration file, log and notify socket.

    Attributes:
        under: a command that runs it, such as a tracer; for the next start.
        cwd: its working directory; None: ours.
        told_systemd: every line of the notify socket that was read so far.
    """

    under: tuple = ()
    cwd: Path | None = None

    def __init__(self, folder: Path, settings: dict):
        self.folder = folder
        self.config = folder / "config.yaml"
        self.log_path = folder / "daemon.log"
        self.configure(settings)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.setblocking(False)
        self.told_systemd: list[str] = []
        self._asked = 0
        self.process = None

    def configure(self, settings: dict):
        """In one step: a busy machine may halt us for longer than a daemon waits for the rest."""
        draft = self.config.with_suffix(".new")
        draft.write_text(yaml.safe_dump(settings))
        draft.replace(self.config)

    def start(self, *args, **environ):
        environ = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "STATE_DIRECTORY": str(self.folder / "state"),
            **environ,
        }
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.under,
                    sys.executable,
                    "-m",
                    "maskedge",
                    "run",
                    "--config",
                    str(self.config),
                    *args,
                ],
                env=environ,
                cwd=self.cwd,
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def log(self):
        return self.log_path.read_text()

    def notified(self, word):
        """Whether systemd was told ``word`` since this was last asked."""
        while True:
            try:
                self.told_systemd += self._notify.recv(4096).decode().split("\n")
            except BlockingIOError:
                break
        new = self.told_systemd[self._asked :]
        self._asked = len(self.told_systemd)
        return word in new

    def ready(self):
        wait_for(lambda: self.notified("READY=1") or self.process.poll() is not None, "READY=1")
        assert self.process.poll() is None, self.log
        return self

    def send(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE):
        return self.process.wait(timeout)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def close(self):
        self.kill()
        self._notify.close()


@pytest.fixture
def broker(tmp_path):
    broker = Mosquitto(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def wire(broker):
    """What lies between daemon and broker: opened only once the subscriber listens again."""
    relay = Relay(broker.port)
    yield relay
    relay.close()


@pytest.fixture
def daemon(tmp_path, broker):
    """``daemon(source=..., verdict={...})``: configured, not yet started."""
    made = []

    def build(source, **sections):
        folder = tmp_path / f"daemon-{len(made)}"
        folder.mkdir()
        camera = {"source": str(source), **sections.pop("camera", {})}
        settings = {
            "device": "door",
            "camera": camera,
            "mqtt": {"host": "127.0.0.1", "port": broker.port},
            "publish": {"interval": 1},
            **sections,
        }
        made.append(DaemonProcess(folder, settings))
        made[-1].settings = settings
        return made[-1]

    yield build
    for one in made:
        one.close()


class Running:
    """The daemon in a thread of this process, for faults that only its inside can have."""

    def __init__(self, config):
        self.daemon = Daemon(configfile.load(config), lambda: configfile.load(config))
        self.code = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        self.code = self.daemon.run()

    def stop(self):
        """Seconds until it had ended."""
        begin = time.monotonic()
        self.daemon.stop()
        self._thread.join(PATIENCE)
        assert self.code == 0
        return time.monotonic() - begin


@pytest.fixture
def running(daemon, monkeypatch):
    """``running(source, ...)``: the daemon in this process and the socket that systemd reads."""
    made = []

    def start(source, watchdog=None, **sections):
        unit = daemon(source, **sections)
        monkeypatch.setenv("NOTIFY_SOCKET", str(unit.folder / "notify"))
        monkeypatch.setenv("STATE_DIRECTORY", str(unit.folder / "state"))
        if watchdog:
            monkeypatch.setenv("WATCHDOG_USEC", str(int(watchdog * 1e6)))
        inside = Running(unit.config)
        made.append(inside)
        wait_for(lambda: unit.notified("READY=1"), "READY=1")
        return inside, unit

    yield start
    for inside in made:
        if inside.code is None:
            inside.stop()


@pytest.fixture
def collect(broker):
    """Everything that units publish, from now on."""
    made = []

    def build():
        made.append(Collector(broker.client()))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def health(broker):
    """``health()``: the retained health message, or nothing yet."""

    def read():
        payload = broker.retained("maskedge/door/health").get("maskedge/door/health")
        return json.loads(payload) if payload else {}

    return read


@pytest.fixture
def camera():
    """A live camera at ``camera.url``: a bare-faced visit after the other."""
    camera = LiveCamera()
    yield camera
    camera.close()
