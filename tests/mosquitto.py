"""A real mosquitto on a free loopback port, with everything that can befall a broker."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from maskedge.config import MqttConfig
from maskedge.delivery.backoff import Backoff
from maskedge.delivery.connection import Connection
from maskedge.listen import Subscriber

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0
"""Seconds for anything to happen on a slow, loaded machine."""


def wait_for(condition, what="the condition", timeout=PATIENCE):
    """Poll until true; fail with ``what`` when it never is."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {timeout} s")
        time.sleep(0.02)
    return value


_OURS: list[socket.socket] = []


def free_port():
    """A port at which nobody listens, and which the system gives to nobody else.

    It stays bound as long as this process lives; a server that sets SO_REUSEADDR may listen there,
    today or after a restart. Given back, it might be another worker's by then.
    """
    ours = socket.socket()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ours.bind(("127.0.0.1", 0))
    _OURS.append(ours)
    return ours.getsockname()[1]


class Mosquitto:
    """The broker. It may be started, killed and started again on the same port.

    ``log()`` tells of every packet unless ``quiet``: a line for each takes the broker's time.
    """

    def __init__(self, folder: Path, *lines: str, anonymous: bool = True, quiet: bool = False):
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed: see tests/apt-packages.txt")
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self._command = [program, *([] if quiet else ["-v"]), "-c"]
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._anonymous = anonymous
        self._folder = folder
        self.configure(*lines)

    def configure(self, *lines: str):
        """Options besides the listener, in force from the next start."""
        text = [
            "per_listener_settings false",
            "persistence false",
            "max_inflight_messages 0",
            "max_queued_messages 0",
            "user root",
            f"allow_anonymous {str(self._anonymous).lower()}",
            f"listener {self.port} 127.0.0.1",
            *lines,
        ]
        self._config.write_text("\n".join(text) + "\n")

    def start(self):
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, str(self._config)], stdout=log, stderr=log
            )
        wait_for(self._listens, f"mosquitto on port {self.port}")
        return self

    def _listens(self):
        if self.process.poll() is not None:
            pytest.fail(f"mosquitto ended: {self._log.read_text()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self):
        """SIGKILL: what it held in memory is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """SIGTERM: it writes down what it was told to keep."""
        self.process.terminate()
        self.process.wait()
        self.process = None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def reload(self):
        """Read password and ACL files again."""
        self.process.send_signal(signal.SIGHUP)

    def file(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def retained(self, topic="#") -> dict[str, bytes]:
        """What a newcomer is told, all of it, however slow the machine."""
        newcomer = f"newcomer-{secrets.token_hex(4)}"
        connection = Connection(self.client(), newcomer, password=None, tls=None)
        connection.open(PATIENCE)
        for _ in range(2):  # the second answer comes after all that the first request brought
            connection.subscribe([topic], PATIENCE)
        connection.close()
        return {said.topic: said.payload for said in connection.messages if said.retained}

    def passwords(self, **users: str) -> Path:
        """A password file of mosquitto's own making."""
        path = self._folder / "passwd"
        path.touch()
        for user, password in users.items():
            subprocess.run(
                ["mosquitto_passwd", "-b", str(path), user, password],
                check=True,
                capture_output=True,
            )
        return path

    def client(self, **settings) -> MqttConfig:
        """How to reach it."""
        return MqttConfig(host="127.0.0.1", port=self.port, **settings)


class Eavesdropper:
    """Everything published at a broker, to the byte, by mosquitto's own subscriber."""

    def __init__(self, broker: Mosquitto, folder: Path):
        self._file = folder / "eavesdropped"
        self._port = str(broker.port)
        how = ["-i", "eavesdropper", "-p", self._port, "-q", "1", "-t", "#", "-F", "%r %q %t %x"]
        with self._file.open("w") as out:
            self._process = subprocess.Popen(["mosquitto_sub", *how], stdout=out)
        wait_for(lambda: "Sending SUBACK to eavesdropper" in broker.log(), "the eavesdropper")

    def rows(self) -> list[tuple[bool, int, str, bytes]]:
        """(retained, QoS, topic, payload) of each message so far."""
        lines = self._file.read_text().splitlines(keepends=True)
        fields = [line.rstrip("\n").split(" ") for line in lines if line.endswith("\n")]
        return [(row[0] == "1", int(row[1]), row[2], bytes.fromhex(row[3])) for row in fields]

    def stop(self) -> dict[str, list[bytes]]:
        """The payloads by topic, of all that the broker has taken so far."""
        last = f"eavesdropped/{secrets.token_hex(4)}"
        subprocess.run(["mosquitto_pub", "-p", self._port, "-t", last, "-n"], check=True)
        wait_for(lambda: any(row[2] == last for row in self.rows()), "the last word")
        self._process.terminate()
        self._process.wait()
        heard: dict[str, list[bytes]] = {}
        for _, _, topic, payload in self.rows():
            heard.setdefault(topic, []).append(payload)
        del heard[last]
        return heard


class Relay:
    """A wire between a client and the broker that can be cut, closed and slowed down."""

    def __init__(self, target: int):
        self.open = True
        self.delay = 0.0  # seconds that the broker's answers take longer
        self.lag = 0.0  # the same for what the client says; lost, if it dies meanwhile
        self._target = target
        self._pairs: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                if not self.open:
                    raise ConnectionError
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self._pairs += [near, far]
            threading.Thread(target=self._copy, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, True), daemon=True).start()

    def _copy(self, source, sink, answers):
        try:
            while data := source.recv(65536):
                if answers and self.delay:
                    time.sleep(self.delay)
                if not answers and self.lag:
                    time.sleep(self.lag)
                    if select.select([source], [], [], 0)[0] and not source.recv(
                        1, socket.MSG_PEEK
                    ):
                        break
                sink.sendall(data)
        except (OSError, ValueError):  # select() calls a closed socket a bad value
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def client(self, **settings) -> MqttConfig:
        """How to reach the broker by this wire."""
        return MqttConfig(host="127.0.0.1", port=self.port, **settings)

    def cut(self):
        """Lose every connection, now."""
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs.clear()

    def close(self):
        self._server.close()
        self.cut()


class Collector:
    """Everything that units publish, gathered by a real subscriber in a thread."""

    def __init__(self, config: MqttConfig, device: str | None = None):
        self.notices: list = []
        self.connects = 0
        self._subscriber = Subscriber(config, device)
        # Back before the units are: a broker keeps nothing for who wasn't there.
        self._subscriber._backoff = Backoff(0.02, 0.05)
        self._subscriber.connect()
        self._thread = threading.Thread(target=self._gather, daemon=True)
        self._thread.start()

    def _gather(self):
        for notice in self._subscriber.notices():
            self.notices.append(notice)

    @property
    def connected(self):
        return self._subscriber._connection is not None

    @property
    def events(self):
        return [notice.event for notice in list(self.notices) if notice.event is not None]

    @property
    def availability(self):
        return [n.availability for n in list(self.notices) if n.availability is not None]

    def firsts(self):
        """Events without repetitions, in the order of their first arrival."""
        firsts = {}
        for event in self.events:
            firsts.setdefault(event["event_id"], event)
        return list(firsts.values())

    def drain(self):
        """Wait until nothing more comes, and nothing is unread."""
        before = -1
        while before != len(self.notices) or self._unread():
            before = len(self.notices)
            time.sleep(0.5)

    def _unread(self):
        wire = self._subscriber._connection._client.socket()
        return select.select([wire], [], [], 0)[0]

    def close(self):
        self._subscriber.stop()
        self._thread.join(PATIENCE)
        self._subscriber.close()
