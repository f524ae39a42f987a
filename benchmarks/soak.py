"""The whole daemon over many frames while everything fails in turn; does memory grow, is one lost?

    python benchmarks/soak.py [--frames 100000] [--every 1500] [--json]

A drawn scene is read as fast as the networks take it (real int8 networks, by way of a fake Edge
TPU's worker process), events go by the real outbox to a real mosquitto and a subscriber in a
process of its own. Every ``--every`` frames the next fault of the schedule befalls it: the broker
is killed (SIGKILL) and started again, the camera errs, the Edge TPU aborts or hangs, the
configuration is changed to something wrong and back. Media time is the scene's (10 fps), so
100,000 frames are 2.8 hours of it.

Needs mosquitto and scikit-image's portrait. The broker comes back for the subscriber first and
then for the unit: what a broker keeps for subscribers who are away is another question.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from broker import Collector, Mosquitto, Relay, running_broker
from commandline import Parser, count, run

from maskedge import configfile
from maskedge.camera.frame import Frame
from maskedge.config import MqttConfig
from maskedge.daemon import Daemon
from maskedge.delivery.outbox import Outbox
from maskedge.errors import CameraError, EndOfStream
from maskedge.inference.fake_tpu import FakeTpu, Fault
from maskedge.scene import SceneCamera, Visit, Wearing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FPS = 10
WARM_UP = 0.1
"""Share of the frames after which memory is expected not to grow."""


class SoakCamera:
    """The same visit again and again, drawn once, so that drawing costs nothing."""

    name = "soak"
    live = False

    def __init__(self, frames: int) -> None:
        scene = SceneCamera([Visit(Wearing.BARE)], fps=FPS, pause=2.5, realtime=False)
        scene.open()
        self._drawn = [scene.read() for _ in range(int(scene.duration * FPS))]
        self._frames = frames
        self.given = 0
        self.broken = False

    def open(self) -> None:
        """Nothing to open."""

    def read(self) -> Frame:
        """Return the next frame; time runs on over errors, as a live camera's does."""
        if self.broken:
            self.broken = False
            raise CameraError("soak: an error by schedule")
        if self.given >= self._frames:
            raise EndOfStream("soak: over")
        drawn = self._drawn[self.given % len(self._drawn)]
        frame = Frame(drawn.pixels, drawn.order, self.given / FPS, self.given)
        self.given += 1
        return frame

    def close(self) -> None:
        """Nothing to close."""


def resident() -> float:
    """Megabytes of this process."""
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


class Soak:
    """The daemon, what surrounds it, and the hand that breaks it."""

    def __init__(self, folder: Path, broker: Mosquitto, frames: int, every: int) -> None:
        self.camera = SoakCamera(frames)
        self.faults = 0
        self.resident: list[tuple[int, float]] = []
        self._frames, self._every = frames, every
        self._broker = broker
        self._wire = Relay(self._broker.port)
        self._tpu = FakeTpu(folder / "tpu.json")
        self._path = folder / "config.yaml"
        self._received = folder / "received"
        self._connected = folder / "connected"
        self._settings = {
            "device": "soak",
            "mqtt": {"host": "127.0.0.1", "port": self._wire.port},
            "outbox": {"path": str(folder / "outbox.db")},
            "inference": {"accelerator": "edgetpu", "device": self._tpu.device, "timeout": 1.0},
            "publish": {"interval": 1},
        }
        self._outbox = folder / "outbox.db"
        self._configure()
        arguments = [__file__, "--collect", str(self._broker.port), str(folder)]
        self._collector = subprocess.Popen([sys.executable, *arguments])
        self._over = threading.Event()

    def run(self) -> dict[str, object]:
        """Run to the end; returns the figures."""
        loaded = configfile.load(self._path)
        daemon = Daemon(loaded, lambda: configfile.load(self._path), lambda _: self.camera)
        threads = [threading.Thread(target=work) for work in (self._break, self._measure)]
        self._wait(self._connected.exists)
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        daemon.run()
        self._over.set()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begin
        counters = daemon._monitor.metrics.counters()  # noqa: SLF001 - the figures of health
        outbox = Outbox(self._outbox)
        pending, dropped = outbox.status().pending, outbox.status().dropped
        outbox.close()
        made = sum(counters.get(f"violations_{kind}", 0) for kind in ("started", "ended"))
        self._wait(lambda: len(self._ids()) + pending >= made, 20.0)
        self.close()
        ids = self._ids()
        warm = [mb for at, mb in self.resident if at >= WARM_UP * self._frames]
        return {
            "frames": self.camera.given,
            "seconds": round(seconds),
            "frames_per_second": round(self.camera.given / seconds, 1),
            "faults_injected": self.faults,
            "events_made": made,
            "events_received": len(ids),
            "events_pending": pending,
            "events_dropped": dropped,
            "events_lost": made - pending - len(ids),
            "rss_mb_after_warm_up": round(warm[0], 1),
            "rss_mb_at_the_end": round(warm[-1], 1),
            "rss_mb_highest": round(max(warm), 1),
            "rss_mb_over_time": [round(mb, 1) for _, mb in self.resident[:: self._step()]],
            "counters": counters,
        }

    def _step(self) -> int:
        return max(1, len(self.resident) // 20)

    def _ids(self) -> set[str]:
        return set(self._received.read_text().split()) if self._received.exists() else set()

    def _measure(self) -> None:
        going = True
        while going:
            going = not self._over.wait(1.0)
            self.resident.append((self.camera.given, resident()))

    def _break(self) -> None:
        schedule = itertools.cycle(self._schedule())
        for at in range(self._every, int(self._frames * 0.95), self._every):
            if not self._wait(lambda at=at: self.camera.given >= at or self._over.is_set(), 1e9):
                return
            if self._over.is_set():
                return
            next(schedule)
            self.faults += 1

    def _schedule(self) -> Iterator[None]:
        while True:
            self._kill_broker()
            yield
            self.camera.broken = True
            yield
            self._suffer(Fault.ABORT)
            yield
            self._configure(verdict={"min_fac": 3})
            self._over.wait(3.0)
            self._configure(verdict={"min_evidence": 2.5})
            yield
            self._suffer(Fault.HANG)
            yield
            self._configure()
            yield

    def _kill_broker(self) -> None:
        self._wire.open = False
        self._broker.kill()
        self._wait(lambda: not self._connected.exists())
        self._broker.start()
        self._wait(self._connected.exists)
        self._wire.cut()
        self._wire.open = True

    def _suffer(self, fault: Fault) -> None:
        self._tpu.fail(fault)
        self._over.wait(2.0)
        self._tpu.heal()

    def _configure(self, **sections: object) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump({**self._settings, **sections}))
        fresh.replace(self._path)

    def _wait(self, condition: Callable[[], object], timeout: float = 60.0) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """End the subscriber; what it has received is written."""
        self._collector.terminate()
        self._collector.wait()
        self._wire.close()


def collect(port: int, folder: Path) -> None:
    """The subscriber: writes the id of every event, and shows by a file whether it listens."""
    collector = Collector(MqttConfig(host="127.0.0.1", port=port))
    mark = folder / "connected"
    with (folder / "received").open("w") as file:
        while True:
            if collector.connected:
                mark.touch()
            else:
                mark.unlink(missing_ok=True)
            while collector.notices:
                event = collector.notices.pop(0).event
                if event is not None:
                    file.write(f"{event['event_id']}\n")
            file.flush()
            time.sleep(0.02)


def main() -> None:
    """Run and print."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=count, default=100_000)
    parser.add_argument("--every", type=count, default=1500, help="frames from fault to fault")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--collect", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.collect:
        collect(int(options.collect[0]), Path(options.collect[1]))
    logging.getLogger("maskedge").setLevel(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_broker(Path(folder)) as broker,
        closing(Soak(Path(folder), broker, options.frames, options.every)) as soak,
    ):
        figures = soak.run()
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    run(main)
