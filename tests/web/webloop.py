"""Somebody who plays the daemon's loop, and somebody who asks the status page."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mosquitto import free_port

from maskedge import events
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.camera.status import CameraState, CameraStatus
from maskedge.config import Config
from maskedge.configfile import LoadedConfig
from maskedge.delivery.mqtt import PublisherStatus
from maskedge.delivery.outbox import OutboxStatus
from maskedge.geometry import Box
from maskedge.health.monitor import Monitor, Parts
from maskedge.pipeline import FrameResult, PersonView
from maskedge.scene import Visit, Wearing, draw, hall
from maskedge.signals.local import SignalsStatus
from maskedge.vision.base import Face

if TYPE_CHECKING:
    from maskedge.health.drift import Drift
    from maskedge.health.visits import Values
    from maskedge.web.page import StatusPage

TIMINGS = {"motion": 0.001, "detect": 0.02, "track": 0.001, "classify": 0.004, "decide": 0.0005}


def parts(**changes):
    """All is well."""
    good = Parts(
        camera=CameraStatus("scene", CameraState.STREAMING, time.monotonic(), frames=9, fps=10.0),
        broker=PublisherStatus(
            connected=True, since=0.0, code=None, last_error=None, in_flight=0, sent=3,
            acknowledged=3, resent=0, connects=1,
        ),
        outbox=OutboxStatus(0, 0, None, 0, None, None),
        backend={"detector": "litert", "classifier": "litert"},
        models={"detector": "0123456789ab", "classifier": "ba9876543210"},
        accelerator_fault=None,
        scene=frozenset(),
        config_error=None,
        signals=SignalsStatus(),
    )  # fmt: skip
    return replace(good, **changes)


class Loop:
    """Plays the daemon: a person walks by, over and over."""

    def __init__(self, page: StatusPage, config: Config, drift: Drift | None = None):
        self.page = page
        self.parts = parts()
        self.label = "without_mask"
        self.told = False
        self.others: tuple[PersonView, ...] = ()
        self.monitor = Monitor(config, _Nobody(), time.monotonic(), drift)
        self.builder = events.EventBuilder(
            config.device, config.name, events.Models("0123456789ab", "ba9876543210")
        )
        self.drift = drift
        self.frames = 0
        self._visits: SimpleQueue[tuple[Values, float]] = SimpleQueue()
        self._visit = Visit(Wearing.BARE)
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def picture(self):
        progress = 0.3 + 0.4 * (self.frames % 50) / 50
        return draw(hall(640, 480), self._visit, progress)

    def step(self, pixels=None):
        """One turn of the daemon's loop."""
        pixels = self.picture() if pixels is None else pixels
        self.frames += 1
        frame = Frame(pixels, ChannelOrder.RGB, time.monotonic(), self.frames)
        box = Box(200, 100, 300, 220)
        violation = 1 if self.told else None
        person = PersonView(7, box, self.label, 0.93, seen=True, violation=violation)
        result = FrameResult(
            faces=(Face(box, 0.9), Face(Box(10, 10, 40, 40), 0.8)),
            persons=(person, *self.others),
            looked=True,
            timings=TIMINGS,
        )
        self.monitor.frame(result, 0.0265, time.monotonic())
        self.page.frame(frame, result, 0.0265)

    def look(self):
        now = time.monotonic()
        self.monitor.look(self.parts, now, force=True)
        if self.page._hub is not None:
            self.page._hub.fresh()  # somebody wants to know
        self.page.looked(self.monitor, self.parts, now)

    def visit(self, values, now):
        """A visit is over; counted by the thread that looks, as drift is that thread's alone."""
        self._visits.put((values, now))

    def violate(self, label="without_mask", person=7, ago=0.0):
        """A violation starts, or did seconds ago; returns its event."""
        now = time.monotonic() - ago
        event = self.builder.started(
            label=label, confidence=0.93, votes=events.Votes(5, 5), track_id=person,
            box=Box(0.3, 0.2, 0.5, 0.5), first_seen=now - 1, decided_at=now,
        )  # fmt: skip
        self.page.told([event])
        return event

    def end(self, started):
        self.page.told([self.builder.ended(started, time.monotonic())])

    def start(self, fps=10):
        """Go on in a thread."""

        def run():
            while not self._end.wait(1 / fps):
                self.step()
                while not self._visits.empty():
                    self.drift.visit(*self._visits.get())
                if self.frames % 3 == 0:
                    self.look()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        self._end.set()
        if self._thread is not None:
            self._thread.join()


class _Nobody:
    def publish_state(self, payload):
        """Nobody listens."""

    def publish_health(self, payload):
        """Nobody listens."""


def configuration(path=None, **web):
    """A configuration with the page on."""
    port = web.pop("port", None) or free_port()
    settings = {"enabled": True, "port": port, **web}
    return LoadedConfig(Config(device="door", web=settings), path)


class Answer:
    """What the server said."""

    def __init__(self, response, body):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


def ask(port, path, method="GET", body=None, host=None, **headers):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if host is not None:
            headers["Host"] = host
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response, response.read())
    finally:
        connection.close()
