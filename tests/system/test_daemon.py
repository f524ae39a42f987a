"""The main job end to end: recording in, violations out, through every accident."""

import json
import signal
import time
from datetime import datetime

import jsonschema
import numpy as np
import pytest
import yaml
from live_camera import jpeg
from mosquitto import wait_for

from maskedge import events

STATE = ("outbox.db", "homeassistant.json", "baseline.json")
"""All that a unit keeps on disk."""


def codes(health):
    return {fault["code"] for fault in health.get("faults", [])}


def check(payload, name):
    jsonschema.Draft202012Validator(events.schema(name)).validate(payload)


def test_a_bare_faced_visit_is_told_once_and_ended_a_masked_one_not_at_all(
    broker, daemon, collect, visits_video
):
    broker.start()
    collector = collect()
    unit = daemon(visits_video).start()
    assert unit.wait() == 0, unit.log
    wait_for(lambda: collector.availability == ["online", "stopped"], "stopped")
    assert [(e["type"], e["label"]) for e in collector.events] == [
        ("started", "without_mask"),
        ("ended", "without_mask"),
    ]
    started, ended = collector.events
    for event in collector.events:
        check(event, "violation-1")
    assert ended["violation_id"] == started["event_id"]
    assert [started["seq"], ended["seq"]] == [1, 2]
    assert not started["delayed"]
    seen, decided = (datetime.fromisoformat(started[key]) for key in ("first_seen", "decided_at"))
    assert 0 <= (decided - seen).total_seconds() < 10
    retained = broker.retained("maskedge/door/#")
    state = json.loads(retained["maskedge/door/state"])
    health = json.loads(retained["maskedge/door/health"])
    check(state, "state-1")
    check(health, "health-1")
    assert retained["maskedge/door/availability"] == b"stopped"
    assert state["compliance"] == {"window_s": 3600.0, "persons": 2, "rate": 0.5}
    assert health["counters"]["violations_started"] == 1
    assert health["camera"]["state"] == "ended"


def test_broker_off_at_start_and_on_later(broker, daemon, collect, wire, visit_video):
    wire.open = False
    mqtt = {"host": "127.0.0.1", "port": wire.port}
    unit = daemon(visit_video, camera={"loop": True}, mqtt=mqtt).start().ready()
    outbox = unit.folder / "state/outbox.db"
    wait_for(lambda: "without_mask ended" in unit.log, "a whole visit without a broker")
    assert outbox.exists()
    broker.start()
    collector = collect()
    wire.open = True
    wait_for(lambda: len(collector.firsts()) >= 2, "the waiting events")
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0
    wait_for(lambda: collector.availability[-1:] == ["stopped"], "stopped")
    got = collector.firsts()
    assert [e["seq"] for e in got] == list(range(1, len(got) + 1))
    assert [e["type"] for e in got[:2]] == ["started", "ended"]


def test_broker_killed_and_back(broker, daemon, collect, health, wire, visit_video):
    broker.start()
    collector = collect()
    mqtt = {"host": "127.0.0.1", "port": wire.port}
    unit = daemon(visit_video, camera={"loop": True}, mqtt=mqtt).start().ready()
    wait_for(lambda: collector.events, "the first event")
    wire.open = False
    broker.kill()
    told = unit.log.count("without_mask")
    wait_for(lambda: unit.log.count("without_mask") > told, "an event without a broker")
    wait_for(lambda: "fault broker_lost" in unit.log, "the fault")
    wait_for(lambda: not collector.connected, "the subscriber to notice")
    broker.start()
    wait_for(lambda: collector.connected, "the subscriber")  # the broker keeps nothing for it
    wire.open = True
    wait_for(lambda: len(collector.firsts()) > told, "all events")
    wait_for(lambda: health() and "broker_lost" not in codes(health()), "health without the fault")
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0
    wait_for(lambda: collector.availability[-1:] == ["stopped"], "stopped")
    seqs = [e["seq"] for e in collector.firsts()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert "cleared broker_lost" in unit.log


def test_killed_and_started_again_nothing_is_missing(broker, daemon, collect, visit_video):
    unit = daemon(visit_video, camera={"loop": True}).start().ready()
    wait_for(lambda: "without_mask started" in unit.log, "a violation")
    wal = unit.folder / "state/outbox.db-wal"
    wait_for(lambda: wal.exists() and b"without_mask" in wal.read_bytes(), "its way to the disk")
    unit.kill()
    broker.start()
    collector = collect()
    unit.start().ready()
    wait_for(lambda: len(collector.firsts()) >= 2, "the event from before and one from after")
    first = collector.firsts()[0]
    assert (first["type"], first["seq"]) == ("started", 1)
    unit.kill()
    wait_for(lambda: collector.availability[-1:] == ["offline"], "the will")


def test_sigterm_ends_cleanly_and_in_time(broker, daemon, collect, visit_video, killed_after):
    broker.start()
    collector = collect()
    unit = daemon(visit_video, camera={"loop": True}).start().ready()
    wait_for(lambda: any(e["type"] == "started" for e in collector.events), "a violation")
    begin = time.monotonic()
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0
    assert time.monotonic() - begin < killed_after
    wait_for(lambda: collector.availability == ["online", "stopped"], "stopped")
    assert collector.events[-1]["type"] == "ended"  # who is in view is not left open
    assert unit.notified("STOPPING=1")


def test_a_changed_configuration_is_taken_over_and_a_wrong_one_refused(
    broker, daemon, health, visit_video
):
    broker.start()
    unit = daemon(visit_video, camera={"loop": True}).start().ready()
    wait_for(lambda: health().get("camera", {}).get("name") == "entrance", "the first health")
    unit.configure({**unit.settings, "verdict": {"min_fac": 3}})
    wait_for(lambda: "config_refused" in codes(health()), "the fault")
    (fault,) = [f for f in health()["faults"] if f["code"] == "config_refused"]
    assert "verdict.min_fac: unknown key; did you mean `min_face`?" in fault["message"]
    assert f"{unit.config}:" in fault["message"]
    mistyped = {**unit.settings["camera"], "source": "picamra"}
    unit.configure({**unit.settings, "camera": mistyped})
    wait_for(lambda: "did you mean picamera?" in json.dumps(health()["faults"]), "the other fault")
    unit.configure({**unit.settings, "name": "side door"})
    wait_for(lambda: health()["camera"]["name"] == "side door", "the new name")
    assert "config_refused" not in codes(health())
    unit.config.write_text(yaml.safe_dump({**unit.settings, "name": "back door"}))
    unit.send(signal.SIGHUP)
    wait_for(lambda: health()["camera"]["name"] == "back door", "the reload by signal")
    assert unit.process.poll() is None


def test_an_area_to_ignore_is_taken_over_and_nobody_in_it_is_told(
    broker, daemon, collect, health, visit_video
):
    broker.start()
    collector = collect()
    unit = daemon(visit_video, camera={"loop": True}).start().ready()
    wait_for(collector.firsts, "a violation")
    unit.configure({**unit.settings, "tracker": {"ignore": [[0, 0, 1, 1]]}})
    wait_for(lambda: "new configuration in force" in unit.log, "the reload")
    wait_for(lambda: collector.firsts()[-1]["type"] == "ended", "the end of who was in view")
    known, before = len(collector.firsts()), health()["counters"]
    wait_for(lambda: health()["counters"]["frames"] > before["frames"] + 150, "more visits")
    assert len(collector.firsts()) == known
    after = health()["counters"]
    looked, frames = (after[name] - before[name] for name in ("frames_looked", "frames"))
    assert looked < frames / 4  # what moves there wakes nothing


@pytest.mark.parametrize("change", ["mqtt", "camera", "detector"])
def test_every_section_can_change_while_it_runs(broker, daemon, collect, visit_video, change):
    broker.start()
    collector = collect()
    unit = daemon(visit_video, camera={"loop": True}).start().ready()
    wait_for(lambda: collector.availability == ["online"], "online")
    settings = json.loads(json.dumps(unit.settings))
    settings[change] = {
        "mqtt": {**settings["mqtt"], "keepalive": 20},
        "camera": {**settings["camera"], "rotate": 0, "fps": 9},
        "detector": {"threshold": 0.45},
    }[change]
    unit.configure(settings)
    wait_for(lambda: "new configuration in force" in unit.log, "the new configuration")
    before = len(collector.events)
    wait_for(lambda: len(collector.events) >= before + 2, "events after the change")
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0


def test_a_camera_that_looks_elsewhere_ends_what_was_open(daemon, broker, collect, camera):
    broker.start()
    collector = collect()
    unit = daemon(camera.url, verdict={"leave_after": 3600}).start().ready()
    wait_for(collector.firsts, "a violation")
    unit.configure({**unit.settings, "camera": {**unit.settings["camera"], "rotate": 180}})
    wait_for(lambda: collector.firsts()[-1]["type"] == "ended", "its end")


def test_what_ailed_a_cameras_picture_is_over_with_the_camera(
    broker, daemon, health, camera, visit_video
):
    broker.start()
    camera.frames = [jpeg(np.zeros((480, 640, 3), np.uint8))]
    unit = daemon(camera.url).start().ready()
    wait_for(lambda: "picture_black" in codes(health()), "the fault")
    recording = {"source": str(visit_video), "loop": True}  # in which black is no fault
    unit.configure({**unit.settings, "camera": recording})
    wait_for(lambda: health()["camera"]["source"] == str(visit_video), "the recording")
    wait_for(lambda: "cleared picture_black" in unit.log, "its end")
    assert unit.process.poll() is None


def test_systemd_hears_of_work_and_nothing_when_it_stops(broker, daemon, visit_video):
    broker.start()
    unit = daemon(visit_video, camera={"loop": True})
    unit.start(WATCHDOG_USEC="1000000").ready()
    wait_for(lambda: unit.notified("WATCHDOG=1"), "a ping")
    wait_for(lambda: unit.notified("WATCHDOG=1"), "another ping")
    unit.send(signal.SIGSTOP)  # as if a stage hung
    unit.notified("WATCHDOG=1")
    time.sleep(2)
    assert not unit.notified("WATCHDOG=1")
    unit.send(signal.SIGCONT)
    wait_for(lambda: unit.notified("WATCHDOG=1"), "work again")


def test_detection_goes_on_while_the_state_folder_is_gone(broker, daemon, collect, visit_video):
    broker.start()
    collector = collect()
    unit = daemon(visit_video, camera={"loop": True}, outbox={"path": "/proc/nowhere/outbox.db"})
    unit.start().ready()
    wait_for(lambda: len(collector.events) >= 2, "events without a disk")
    assert "fault outbox_unwritable" in unit.log


def test_no_picture_is_written_anywhere(broker, daemon, visit_video):
    broker.start()
    unit = daemon(visit_video)
    before = set(unit.folder.rglob("*"))
    assert unit.start(HOME=str(unit.folder)).wait() == 0
    written = {str(p.relative_to(unit.folder)) for p in set(unit.folder.rglob("*")) - before}
    allowed = {"daemon.log", "state"} | {f"state/{n}" for n in STATE}
    assert written <= allowed, written
    outbox = unit.folder / "state/outbox.db"
    assert not outbox.exists() or outbox.stat().st_size < 100_000
