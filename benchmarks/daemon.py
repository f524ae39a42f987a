r"""The whole daemon as a process: start-up, memory, an idle scene, and from frame to subscriber.

    python benchmarks/daemon.py [--quick] [--latency] [--json]

A real daemon (``maskedge run`` but for its camera), a real mosquitto on loopback and a real
subscriber. The camera hands out drawn frames at 10 fps, read anew for each frame, so that what is
measured is the program and not a video decoder. Told are:

- ``first_verdict``: CPU seconds of the process, imports and all, until the subscriber has the
  violation of a person in view from the first frame on;
- ``camera``: per cent of one core that the reading of those frames takes alone;
- ``still``: per cent of one core in all, over a still, noisy scene, after ten seconds;
- ``busy``: the same with one person in view all the time;
- ``rss_mib``: resident memory, early and late; ``growth_mib``: what it gained between;
- ``latency``: milliseconds from the deciding frame's moment to the subscriber, over crowds of
  32 persons who come and go: each comes as a burst, the hardest case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
from commandline import Parser, run

SIZES = ((640, 480), (1280, 720), (1920, 1080))
FPS = 10.0
NOISES = 4
"""Pictures of one scene with different noise."""
CROWD = 32
WATCH, PAUSE = 7.0, 3.0
"""Seconds that a crowd is in view, and that nobody is."""


class Frames:
    """A camera that reads its frames from a file of raw pixels, as a device driver hands them out.

    Args:
        script: ``{"path", "width", "height", "cycle"}``; the cycle's entries are the seconds for
            which the scene of a number is shown; the last lasts for ever when alone.
    """

    name, live = "frames", True

    def __init__(self, script: dict) -> None:
        self._path, self._cycle = script["path"], script["cycle"]
        self._shape = script["height"], script["width"], 3
        self._size = int(np.prod(self._shape))

    def open(self) -> None:
        """Begin with the first scene."""
        self._file = open(self._path, "rb", buffering=0)  # noqa: PTH123, SIM115 - held while open
        self._start, self._number = time.monotonic(), 0

    def read(self):  # noqa: ANN201 - a Frame; imported only in the measured process
        """The next frame, at its time."""
        from maskedge.camera.frame import ChannelOrder, Frame  # noqa: PLC0415 - as above

        at = self._number / FPS
        time.sleep(max(0.0, self._start + at - time.monotonic()))
        phase, scene = at % sum(self._cycle), 0
        while phase >= self._cycle[scene]:
            phase -= self._cycle[scene]
            scene += 1
        pixels = np.empty(self._shape, np.uint8)
        self._file.seek((scene * NOISES + self._number % NOISES) * self._size)
        self._file.readinto(pixels)
        frame = Frame(pixels, ChannelOrder.BGR, time.monotonic(), self._number)
        self._number += 1
        return frame

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def child(arguments: list[str]) -> int:
    """The measured process: ``maskedge run`` with another camera."""
    from maskedge.cli import cli  # noqa: F401, PLC0415 - what the command loads as well
    from maskedge.commands.options import load_config  # noqa: PLC0415
    from maskedge.daemon import Daemon  # noqa: PLC0415

    script, *overrides = arguments
    loaded = load_config(None, None, tuple(overrides))
    return Daemon(loaded, make_camera=lambda _config: Frames(json.loads(script))).run()


@dataclass
class Usage:
    """What the kernel says of a process."""

    cpu: float
    rss: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Seconds of CPU so far, MiB resident now."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        rss = next(line for line in status if line.startswith("VmRSS")).split()[1]
        return cls(ticks / os.sysconf("SC_CLK_TCK"), int(rss) / 1024)


class Listener:
    """A subscriber that notes when what arrived."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.arrived: list[tuple[float, dict]] = []
        self._came = threading.Condition()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("maskedge/+/violation", qos=1)
        self._client.loop_start()

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        with self._came:
            self.arrived.append((time.time(), json.loads(message.payload)))
            self._came.notify_all()

    def wait(self, count: int, seconds: float) -> bool:
        """Until so many events have arrived."""
        with self._came:
            return self._came.wait_for(lambda: len(self.arrived) >= count, seconds)

    def close(self) -> None:
        """Hear no more."""
        self._client.loop_stop()


def scenes(folder: Path, size: tuple[int, int], crowds: list[int]) -> str:
    """A file with the scene of each crowd, in several noises."""
    from maskedge.bench.pictures import crowd  # noqa: PLC0415 - the parent alone draws

    random = np.random.default_rng(0)
    path = folder / f"{size[0]}-{'-'.join(map(str, crowds))}.raw"
    with path.open("wb") as file:
        for count in crowds:
            picture = crowd(*size, count)[..., ::-1].astype(np.int16)
            for _ in range(NOISES):
                noise = random.normal(0, 2, picture.shape).astype(np.int16)
                file.write(np.clip(picture + noise, 0, 255).astype(np.uint8).tobytes())
    return str(path)


class Unit:
    """One measured daemon."""

    def __init__(
        self,
        folder: Path,
        port: int,
        size: tuple[int, int],
        cycle: dict[int, float],
        *more: str,
    ) -> None:
        script = {
            "path": scenes(folder, size, list(cycle)),
            "width": size[0],
            "height": size[1],
            "cycle": list(cycle.values()),
        }
        overrides = [
            "inference.accelerator=cpu",
            "inference.threads=1",
            f"camera.width={size[0]}",
            f"camera.height={size[1]}",
            "mqtt.host=127.0.0.1",
            f"mqtt.port={port}",
            f"outbox.path={folder}/{time.monotonic_ns()}.db",
            *more,
        ]
        command = [sys.executable, __file__, "--child", json.dumps(script), *overrides]
        environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.DEVNULL
        )
        self.pid = self._process.pid

    @property
    def usage(self) -> Usage:
        """So far."""
        return Usage.of(self.pid)

    def stop(self) -> None:
        """SIGTERM, as systemd would."""
        self._process.terminate()
        self._process.wait(20)


def share(unit: Unit, settle: float, seconds: float) -> dict[str, float]:
    """Per cent of one core after ``settle`` seconds, and memory."""
    time.sleep(settle)
    before = unit.usage
    time.sleep(seconds)
    after = unit.usage
    return {
        "core_percent": round(100 * (after.cpu - before.cpu) / seconds, 2),
        "rss_mib": round(after.rss, 1),
        "growth_mib": round(after.rss - before.rss, 2),
    }


def camera_alone(folder: Path, size: tuple[int, int], frames: int = 30) -> float:
    """Per cent of one core for reading frames at their pace, without sleeping."""
    script = {"path": scenes(folder, size, [0]), "width": size[0], "height": size[1]}
    camera = Frames({**script, "cycle": [1e9]})
    camera.open()
    camera._start = float("-inf")  # noqa: SLF001 - never too early
    before = time.process_time()
    for _ in range(frames):
        camera.read()
    spent = time.process_time() - before
    camera.close()
    return round(100 * FPS * spent / frames, 2)


def first_verdict(folder: Path, listener: Listener, size: tuple[int, int]) -> float:
    """CPU seconds until the subscriber has the first violation."""
    known = len(listener.arrived)
    unit = Unit(folder, listener.port, size, {1: 1e9})
    try:
        if not listener.wait(known + 1, 60):
            sys.exit("no violation within a minute")
        return round(unit.usage.cpu, 2)
    finally:
        unit.stop()


def latency(folder: Path, listener: Listener, rounds: int) -> dict[str, float]:
    """Milliseconds from the deciding frame to the subscriber, of every `started`."""
    known = len(listener.arrived)
    again = ("verdict.leave_after=1", "verdict.cooldown=0")  # each crowd is a new one
    cycle = {0: PAUSE, CROWD: WATCH}
    unit = Unit(folder, listener.port, SIZES[0], cycle, "verdict.min_face=32", *again)
    time.sleep(rounds * (WATCH + PAUSE) + 2)
    unit.stop()
    took = sorted(
        1e3 * (at - datetime.fromisoformat(event["decided_at"]).timestamp())
        for at, event in listener.arrived[known:]
        if event["type"] == "started"
    )
    if not took:
        sys.exit("nobody was told of")
    return {
        "events": len(took),
        "p50_ms": round(took[len(took) // 2], 1),
        "p99_ms": round(took[min(len(took) - 1, int(0.99 * len(took)))], 1),
    }


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(sys.argv[2:]))
    from broker import PLAIN, running_broker  # noqa: PLC0415 - the parent alone has one

    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute, coarse")
    parser.add_argument("--latency", action="store_true", help="only frame to subscriber")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds, rounds, sizes = (10, 2, SIZES[:1]) if options.quick else (30, 8, SIZES)
    if options.latency:
        sizes = ()
    result: dict = {"sizes": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_broker(folder, *PLAIN, quiet=True) as broker:
            listener = Listener(broker.port)
            for size in sizes:
                row: dict = {"first_verdict_cpu_s": first_verdict(folder, listener, size)}
                row["camera_core_percent"] = camera_alone(folder, size)
                for what, crowd in (("still", 0), ("busy", 1)):
                    unit = Unit(folder, listener.port, size, {crowd: 1e9})
                    row[what] = share(unit, 10, seconds)
                    unit.stop()
                result["sizes"][f"{size[0]}x{size[1]}"] = row
            result["latency"] = latency(folder, listener, rounds)
            listener.close()
    if options.json:
        print(json.dumps(result))
        return
    for size, row in result["sizes"].items():
        print(f"{size}: first verdict after {row['first_verdict_cpu_s']} s of CPU")
        print(f"{size}: camera {row['camera_core_percent']:6.2f} % of a core, of the following")
        for what in ("still", "busy"):
            figures = row[what]
            print(
                f"{size}: {what:6} {figures['core_percent']:6.2f} % of a core, "
                f"{figures['rss_mib']:.0f} MiB, growth {figures['growth_mib']:+.2f} MiB"
            )
    print(
        "frame to subscriber: {p50_ms} ms p50, {p99_ms} ms p99, {events} events".format(
            **result["latency"]
        )
    )


if __name__ == "__main__":
    run(main)
