"""Between the daemon's loop and those who watch."""

import re
import threading
import time
import weakref
from pathlib import Path

from webloop import Loop, ask, configuration, parts

from maskedge import events
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.configfile import LoadedConfig
from maskedge.delivery.outbox import OutboxStatus
from maskedge.geometry import Box
from maskedge.health.faults import FAULTS
from maskedge.pipeline import FrameResult, PersonView
from maskedge.web import app
from maskedge.web.faulthelp import fault_help
from maskedge.web.hub import VIOLATIONS, WANT, WATCH, Hub


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def started(number):
    return events.EventBuilder("door", "hall", events.Models("a", "b")).started(
        label="without_mask", confidence=0.9, votes=events.Votes(4, 4), track_id=number,
        box=Box(0, 0, 1, 1), first_seen=1.0, decided_at=2.0,
    )  # fmt: skip


def frame(pixels):
    return Frame(pixels, ChannelOrder.RGB, 0.0)


def test_a_frame_is_kept_only_while_somebody_watches(noise):
    clock = Clock()
    hub = Hub(configuration(), clock)
    picture = frame(noise)
    hub.frame(picture, FrameResult())
    assert hub._view is None
    assert hub.watch() is None
    hub.frame(picture, FrameResult())
    assert hub.watch().frame is picture
    clock.now += WATCH + 0.01
    hub.frame(frame(noise.copy()), FrameResult())
    assert hub._view is None


def test_the_last_frame_of_a_camera_that_hangs_goes_with_those_who_watched(noise):
    clock = Clock()
    hub = Hub(configuration(), clock)
    hub.watch()
    hub.frame(frame(noise), FrameResult())
    hub.looked()
    assert hub._view is not None
    clock.now += WATCH + 0.01
    hub.looked()
    assert hub._view is None


def test_only_the_newest_frame_is_kept(noise):
    hub = Hub(configuration())
    hub.watch()
    kept = []
    for _ in range(5):
        pixels = noise.copy()
        kept.append(weakref.ref(pixels))
        hub.frame(frame(pixels), FrameResult())
    del pixels
    assert [ref() is not None for ref in kept] == [False] * 4 + [True]
    assert hub.watch().number == 5


def test_a_topic_has_a_new_version_exactly_when_it_has_changed():
    clock = Clock()
    hub = Hub(configuration(), clock, wall=clock)

    def versions():
        return {name: topic.version for name, topic in hub.topics().items()}

    before = versions()
    assert versions() == before
    hub.told([started(1)])
    changed = versions()
    assert {name for name in changed if changed[name] != before[name]} == {"violations"}
    person = PersonView(1, Box(0, 0, 9, 9), "with_mask", 0.9, seen=True, violation=None)
    for _ in range(3):
        hub.frame(frame(None), FrameResult(persons=(person,)))
    again = versions()
    assert {name for name in again if again[name] != changed[name]} == {"day"}
    hub.frame(frame(None), FrameResult(persons=(person,)))
    assert versions() == again
    clock.now += 1800
    assert versions()["day"] != again["day"]


def test_an_ended_violation_takes_the_place_of_its_start():
    hub = Hub(configuration())
    first, second = started(1), started(2)
    builder = events.EventBuilder("door", "hall", events.Models("a", "b"))
    hub.told([first])
    hub.told([second, builder.ended(first, 5.0)])
    rows = hub.topics()["violations"].content()
    assert [(row["track_id"], row["ended_at"] is None) for row in rows] == [(2, True), (1, False)]


def test_one_that_outlasts_all_that_are_shown_is_no_new_one_when_it_ends():
    hub = Hub(configuration())
    builder = events.EventBuilder("door", "hall", events.Models("a", "b"))
    longest = started(0)
    hub.told([longest, *map(started, range(1, VIOLATIONS + 1))])
    before = hub.topics()["violations"]
    shown = before.content()
    hub.told([builder.ended(longest, 3.0)])
    after = hub.topics()["violations"]
    assert after.content() == shown
    assert after.version == before.version


def test_the_list_of_violations_is_bounded():
    hub = Hub(configuration())
    hub.told(started(number) for number in range(VIOLATIONS + 5))
    rows = hub.topics()["violations"].content()
    assert [row["track_id"] for row in rows] == list(range(VIOLATIONS + 4, 4, -1))


def test_the_configuration_says_what_differs_and_hides_passwords():
    config = Config(camera={"source": "rtsp://me:hunter2@cam/x", "fps": 5}, device="door")
    said = Hub(LoadedConfig(config, Path("/etc/maskedge/config.yaml"))).topics()["config"].content()
    assert said["file"] == "/etc/maskedge/config.yaml"
    values = {row["key"]: row for row in said["values"]}
    assert values["camera.fps"] == {"key": "camera.fps", "value": "5", "default": False}
    assert values["camera.width"]["default"]
    assert values["mqtt.port"]["value"] == "null"
    assert values["verdict.alert_on"]["value"] == "[without_mask, incorrect_mask]"
    assert values["motion.enabled"]["value"] == "true"
    assert "hunter2" not in str(said)


def test_reloads_are_told_newest_first_with_the_reason_of_a_refusal():
    loaded = configuration()
    hub = Hub(loaded)
    hub.reloaded(loaded)
    hub.reloaded(loaded, "config.yaml:3: camera.fsp: unknown key; did you mean `fps`?")
    newest, oldest = hub.topics()["config"].content()["reloads"]
    assert "did you mean" in newest["refused"]
    assert oldest["refused"] is None
    for _ in range(50):
        hub.reloaded(loaded)
    assert len(hub.topics()["config"].content()["reloads"]) == 10


def test_nothing_is_said_of_the_daemon_before_its_first_look():
    assert "overview" not in Hub(configuration()).topics()


def test_health_tells_what_cost_which_events():
    loop = Loop(None, Config())
    lost = OutboxStatus(0, 0, None, 6, None, None, unwritten=3, damaged=1)
    loop.monitor.look(parts(outbox=lost), 1.0, force=True)
    faults = loop.monitor.health(parts(outbox=lost), 1.0)["faults"]
    (said,) = [fault["message"] for fault in faults if fault["code"] == "outbox_overflow"]
    assert re.findall(r"\d", said) == ["2", "3", "1"]


def test_every_fault_has_help():
    known = fault_help()
    assert {kind.code for kind in FAULTS} <= set(known)
    assert known["camera_lost"]["title"] == "Camera lost"
    for entry in known.values():
        assert entry["text"]
        assert not set(entry["text"]) & set("*`#[]")


def test_the_overview_is_what_health_and_state_say(serve):
    loop = serve()
    loop.parts = parts(config_error="refused")
    loop.look()
    said = loop.page._hub.topics()["overview"].content()
    assert "config_refused" in {fault["code"] for fault in said["health"]["faults"]}
    assert said["state"]["people"]["with_mask"] == 0
    assert said["broker"]["connected"]


def test_an_overview_is_made_only_while_somebody_wants_it(serve):
    loop = serve()
    hub, clock = loop.page._hub, Clock()
    hub.clock = clock
    hub._wanted_until = hub._overview_at = float("-inf")
    assert not hub.looked()
    before = hub.overview
    loop.page.looked(None, parts(), 0.0)  # the monitor isn't even asked
    assert hub.overview is before
    assert not hub.fresh()
    assert hub.looked()
    hub.tell(before)
    assert hub.fresh()
    clock.now += WANT + 0.1
    assert not hub.looked()
    assert hub.look_age() == 0


def test_who_asks_for_the_status_waits_for_a_look_of_now(serve, monkeypatch):
    monkeypatch.setattr(app, "FRESH", 60.0)  # so long is it waited for
    loop = serve()
    loop.look()
    loop.page._hub._overview_at = loop.page._hub._wanted_until = float("-inf")  # a minute later
    loop.parts = parts(config_error="since then")
    wanted = loop.page._hub.looked

    def turn():
        while not wanted():
            time.sleep(0.01)
        loop.look()

    thread = threading.Thread(target=turn)
    thread.start()
    codes = [f["code"] for f in ask(loop.port, "/status.json").json["overview"]["health"]["faults"]]
    thread.join(30)
    assert "config_refused" in codes
