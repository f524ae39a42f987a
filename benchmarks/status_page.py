"""What the status page costs the pipeline: off, on but unwatched, and watched; in one run.

    python benchmarks/status_page.py [--rounds N] [--json]

The daemon's own frame path (pipeline, monitor's look once a second, page) is run over the sample
scene with the shipped networks. Each frame goes through two pipelines, one with the page off and
one with it on, first the one and then the other, so that whatever else the machine does falls on
both alike. Watched means: another process reads the news and asks for pictures as fast as the
server gives them.

Told is, for each state of the page, the median over the rounds of the ratio to off: of the CPU
time of the pipeline's thread, and of the median frame by the wall clock; and the CPU time of the
web's own thread, which encodes and sends, in per cent of one core.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import socket
import statistics
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from commandline import Parser, count, run

from maskedge.camera.status import CameraState, CameraStatus
from maskedge.config import Config
from maskedge.configfile import LoadedConfig
from maskedge.delivery.mqtt import PublisherStatus
from maskedge.delivery.outbox import OutboxStatus
from maskedge.errors import EndOfStream
from maskedge.health.monitor import Monitor, Parts
from maskedge.pipeline import Pipeline
from maskedge.scene import SceneCamera
from maskedge.signals.local import SignalsStatus
from maskedge.vision.system import Vision
from maskedge.web.page import StatusPage

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from maskedge.camera.frame import Frame

STATES = ("unwatched", "watched")
FPS = 10.0
"""Of the scene."""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def watch(port: int, watching: Event, stopping: Event) -> None:
    """A browser's part, in a process of its own: news and one picture after the other."""
    news = None
    pictures = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    last = 0
    while not stopping.is_set():
        if not watching.wait(0.1):
            if news is not None:
                news.close()
                news = None
            continue
        with suppress(OSError, http.client.HTTPException):
            if news is None:
                news = socket.create_connection(("127.0.0.1", port))
                news.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                news.setblocking(False)
            with suppress(BlockingIOError):
                news.recv(1 << 20)
            pictures.request("GET", f"/picture?after={last}")
            answer = pictures.getresponse()
            answer.read()
            if answer.status == http.client.OK:
                last = json.loads(answer.getheader("x-maskedge-view") or "{}")["number"]


class Nobody:
    """Takes what the monitor publishes."""

    def publish_state(self, payload: object) -> None:
        """Nobody listens."""

    def publish_health(self, payload: object) -> None:
        """Nobody listens."""


class Unit:
    """The daemon's frame path in one mode."""

    def __init__(self, vision: Vision, page: StatusPage, config: Config) -> None:
        self.page = page
        self.pipeline = Pipeline(
            vision.detector, vision.classifier, vision.assess, None, config, timer=time.perf_counter
        )
        self.monitor = Monitor(config, Nobody(), time.monotonic())
        self.parts = Parts(
            camera=CameraStatus("scene", CameraState.STREAMING, 0.0),
            broker=PublisherStatus(True, 0.0, None, None, 0, 0, 0, 0, 1),
            outbox=OutboxStatus(0, 0, None, 0, None, None),
            backend=vision.backends,
            models=vision.models._asdict(),
            accelerator_fault=None,
            scene=frozenset(),
            config_error=None,
            signals=SignalsStatus(),
        )

    def step(self, frame: Frame, now: float) -> tuple[float, float]:
        """One turn of the daemon's loop; its seconds of CPU and by the wall clock."""
        cpu, wall = time.thread_time(), time.perf_counter()
        result = self.pipeline.process(frame, now)
        seconds = time.perf_counter() - wall
        self.monitor.frame(result, seconds, now)
        self.page.frame(frame, result, seconds)
        if self.monitor.look(self.parts, now):
            self.page.looked(self.monitor, self.parts, now)
        return time.thread_time() - cpu, time.perf_counter() - wall


def forget(page: StatusPage) -> None:
    """What requests of before have asked for; it would otherwise last some seconds."""
    page._hub._watched_until = page._hub._wanted_until = float("-inf")  # noqa: SLF001


def compare(off: Unit, on: Unit, frames: list[Frame], begin: float) -> dict[str, float]:
    """Each frame through both."""
    web = time.pthread_getcpuclockid(on.page._server._thread.ident)  # noqa: SLF001 - from outside
    web_before, start = time.clock_gettime(web), time.perf_counter()
    taken: dict[Unit, list[tuple[float, float]]] = {off: [], on: []}
    for number, frame in enumerate(frames):
        for unit in (off, on) if number % 2 else (on, off):
            taken[unit].append(unit.step(frame, begin + frame.time))
    passed = time.perf_counter() - start
    cpu, wall = ([[row[n] for row in taken[unit]] for unit in (off, on)] for n in (0, 1))
    return {
        "off_ms": sum(cpu[0]) / len(frames) * 1000,
        "on_ms": sum(cpu[1]) / len(frames) * 1000,
        "cpu_ratio": sum(cpu[1]) / sum(cpu[0]),
        "wall_ratio": statistics.median(wall[1]) / statistics.median(wall[0]),
        "web_load": (time.clock_gettime(web) - web_before) / passed,
    }


def scene_frames() -> list[Frame]:
    """The sample scene's frames, read beforehand."""
    camera = SceneCamera(fps=FPS, pause=1.0, realtime=False)
    camera.open()
    frames = []
    with suppress(EndOfStream):
        while True:
            frames.append(camera.read())
    return frames


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Both states of the page, in turn."""
    frames = scene_frames()
    port = free_port()
    base = {"inference": {"threads": 1, "accelerator": "cpu"}}
    off = Config(**base)
    on = Config(**base, web={"enabled": True, "port": port})
    vision = Vision.open(off)
    page = StatusPage(LoadedConfig(on, None))
    without, with_page = (
        Unit(vision, StatusPage(LoadedConfig(off, None)), off),
        Unit(vision, page, on),
    )
    context = multiprocessing.get_context("spawn")
    watching, stopping = context.Event(), context.Event()
    watcher = context.Process(target=watch, args=(port, watching, stopping), daemon=True)
    watcher.start()
    taken: dict[str, list[dict[str, float]]] = {state: [] for state in STATES}
    begin = time.monotonic()
    try:
        for number in range(rounds + 1):
            for state in STATES:
                (watching.set if state == "watched" else watching.clear)()
                time.sleep(0.5)
                forget(page)
                figures = compare(without, with_page, frames, begin)
                begin += frames[-1].time + 10
                if number:  # the first round warms up
                    taken[state].append(figures)
    finally:
        stopping.set()
        watcher.join(10)
        page.close()
        vision.close()
    return {
        state: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for state, rows in taken.items()
    }


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=count, default=9)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print("            CPU, ms a frame         ratio to off       web's thread")
    print("               off       on      CPU     wall      of one core")
    for state, row in found.items():
        print(
            f"{state:10} {row['off_ms']:7.3f}  {row['on_ms']:7.3f}  {row['cpu_ratio']:7.3f}  "
            f"{row['wall_ratio']:7.3f}          {row['web_load']:7.1%}"
        )


if __name__ == "__main__":
    run(main)
