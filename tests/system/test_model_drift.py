"""The daemon with real networks at a door where the light goes off by two stops, and on again."""

import threading

import numpy as np
import pytest
from mosquitto import wait_for

from maskedge import configfile
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.daemon import Daemon
from maskedge.errors import EndOfStream
from maskedge.health import baseline, drift, window
from maskedge.scene import Visit, Wearing, draw, hall

STEP = 0.4
"""Seconds of the scene between two frames."""
SHOWN, EMPTY = 4, 2
"""Frames with persons in view, and without, in turn."""
AT = (0.36, 0.62, 0.88)
"""Where they stand, three at a time."""


class Door:
    """A camera before a door; its time runs as fast as its frames are looked at."""

    name = "door"
    live = False

    def __init__(self):
        self.stops = 0.0
        self.cycles = 0
        self.over = False
        self._number = 0
        person = Visit(Wearing.MASKED, face=62.0)
        empty = full = hall(640, 480)
        for place in AT:
            full = draw(full, person, place)
        self._pictures = (full, empty)
        self._noise = np.random.default_rng(3)

    def open(self):
        """Always there."""

    def close(self):
        """Always there."""

    def read(self):
        if self.over:
            raise EndOfStream("door: over")
        self.cycles, frame = divmod(self._number, SHOWN + EMPTY)
        light = 2 ** (self.stops / 2.2)  # of the sensor's, in the picture's gamma
        pixels = self._pictures[frame >= SHOWN] * light + self._noise.normal(0, 2, (480, 640, 1))
        self._number += 1
        shown = np.clip(pixels, 0, 255).astype(np.uint8)
        return Frame(shown, ChannelOrder.RGB, self._number * STEP, self._number)


@pytest.fixture
def door(broker, daemon, monkeypatch):
    """A daemon of this process at a door, which learns in minutes of the scene's time."""
    monkeypatch.setattr(window, "BLOCK", 8)
    monkeypatch.setattr(drift, "BLOCK", 8)
    monkeypatch.setattr(drift, "LEARNT", 2)
    monkeypatch.setattr(baseline, "DAY", 20.0)
    broker.start()
    unit = daemon(
        "auto",
        motion={"enabled": False},
        tracker={"max_age": 0.5},
        drift={"min_visits": 20, "baseline_days": 1, "spacing": 0},
    )
    monkeypatch.setenv("STATE_DIRECTORY", str(unit.folder / "state"))
    camera = Door()
    inside = Daemon(configfile.load(unit.config), make_camera=lambda _: camera)
    thread = threading.Thread(target=inside.run, daemon=True)
    thread.start()
    camera.unit, camera.inside = unit, inside
    yield camera
    camera.over = True
    thread.join(30)
    assert not thread.is_alive()


def test_light_that_goes_off_by_two_stops_is_raised_by_name_and_cleared(door, health):
    def watched():
        return health().get("inference", {}).get("drift") or {}

    def fault():
        return {f["code"]: f["message"] for f in health()["faults"]}.get("model_drift")

    wait_for(lambda: watched().get("state") == "watching", "the baseline")
    assert watched()["learnt_visits"] >= 40
    wait_for(lambda: watched()["features"].get("brightness"), "a comparison")
    assert fault() is None
    door.stops = -2.0
    wait_for(fault, "the fault")
    message = fault()
    assert "brightness" in message
    assert ", here at first " in message
    assert watched()["features"]["brightness"]["site"]["moved"] is True
    door.stops = 0.0
    wait_for(lambda: fault() is None, "its end")
    kept = door.unit.folder / "state/baseline.json"
    assert kept.stat().st_size < 10_000
