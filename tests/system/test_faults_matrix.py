"""Faults that only the whole daemon can show: camera, Edge TPU, clock, reload, load, endings.

What one part alone can show is tested with that part; docs/faults.md has the table of both.
"""

import json
import signal
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from live_camera import jpeg, visits
from mosquitto import PATIENCE, wait_for

from maskedge import clock, events
from maskedge import daemon as daemon_module
from maskedge.camera import fake
from maskedge.camera.guard import CameraGuard
from maskedge.delivery.outbox import Outbox
from maskedge.delivery.store import EventStore
from maskedge.errors import AcceleratorError, OutboxError
from maskedge.geometry import Box
from maskedge.inference.fake_tpu import FakeTpu, Fault
from maskedge.scene import portrait


def codes(health):
    return {fault["code"] for fault in health.get("faults", [])}


def until(condition, what, timeout=PATIENCE):
    begin = time.monotonic()
    wait_for(condition, what, timeout)
    return time.monotonic() - begin


# camera


def test_a_hanging_camera_is_reported_and_comes_back(
    broker, daemon, collect, health, camera, report
):
    broker.start()
    collector = collect()
    unit = daemon(camera.url, camera={"read_timeout": 1.5, "reopen_delay_max": 1.0})
    unit.start(WATCHDOG_USEC="2000000").ready()
    wait_for(lambda: collector.events, "an event")
    camera.hanging = True
    report("hang until camera_lost", until(lambda: "camera_lost" in codes(health()), "the fault"))
    assert health()["status"] == "failed"
    unit.notified("WATCHDOG=1")
    wait_for(lambda: unit.notified("WATCHDOG=1"), "systemd hears that it is being cured")
    wait_for(lambda: collector.events[-1]["type"] == "ended", "nobody is left open unseen")
    seen = len(collector.events)
    camera.hanging = False
    report("frames until cleared", until(lambda: "camera_lost" not in codes(health()), "its end"))
    wait_for(lambda: len(collector.events) > seen, "an event after it")
    assert unit.log.count("fault camera_lost") == unit.log.count("cleared camera_lost") == 1
    assert unit.process.poll() is None


STANDING = visits()[60:61]
"""Somebody bare-faced in the middle of the picture, who doesn't move."""


def in_view(broker):
    """How many people the retained ``state`` tells of."""
    payload = broker.retained("maskedge/door/state").get("maskedge/door/state", b"{}")
    return sum(json.loads(payload).get("people", {}).values())


def test_nobody_is_in_view_of_a_lost_camera(broker, daemon, collect, health, camera):
    broker.start()
    collector = collect()
    camera.frames = STANDING
    daemon(camera.url, camera={"give_up_after": 0}, publish={"interval": 3600}).start().ready()
    wait_for(lambda: collector.events, "a violation")
    assert in_view(broker) == 1
    camera.refusing = True
    wait_for(lambda: "camera_lost" in codes(health()), "the fault")
    wait_for(lambda: collector.events[-1]["type"] == "ended", "its end")
    wait_for(lambda: in_view(broker) == 0, "a state without anybody")
    assert collector.events[-1]["ended_at"] <= health()["camera"]["since"]


def test_nobody_is_in_view_after_a_clean_end(broker, daemon, collect, camera):
    broker.start()
    collector = collect()
    camera.frames = STANDING
    unit = daemon(camera.url).start().ready()
    wait_for(lambda: collector.events, "a violation")
    assert in_view(broker) == 1
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0
    assert in_view(broker) == 0


def test_a_camera_lost_for_good_ends_in_a_clean_exit_with_69(
    broker, daemon, collect, camera, report
):
    broker.start()
    collector = collect()
    reopening = {"give_up_after": 3, "reopen_delay": 0.2, "reopen_delay_max": 0.4}
    unit = daemon(camera.url, camera={"read_timeout": 2.0, **reopening}).start().ready()
    wait_for(lambda: collector.events, "an event")
    camera.refusing = True
    begin = time.monotonic()
    assert unit.wait() == 69, unit.log
    report("loss until exit 69 after 3 reopenings", time.monotonic() - begin)
    (line,) = [line for line in unit.log.splitlines() if line.startswith("maskedge:")]
    assert "gave up after 3 failed attempts" in line
    assert "Traceback" not in unit.log
    wait_for(lambda: collector.availability[-1:] == ["stopped"], "stopped")
    assert collector.events[-1]["type"] == "ended"
    said = json.loads(broker.retained("maskedge/door/health")["maskedge/door/health"])
    assert "camera_lost" in codes(said)


def test_a_camera_that_stays_lost_feeds_the_watchdog_only_within_its_limit(
    broker, running, camera, health, monkeypatch
):
    monkeypatch.setattr(daemon_module, "CURE_LIMIT", 6.0)
    broker.start()
    _, unit = running(
        camera.url,
        watchdog=2.0,
        camera={"read_timeout": 1.0, "give_up_after": 0, "reopen_delay_max": 0.5},
    )
    wait_for(lambda: health().get("camera", {}).get("state") == "streaming", "work")
    camera.refusing = True
    wait_for(lambda: "camera_lost" in codes(health()), "the fault")
    raised = time.monotonic()
    unit.notified("WATCHDOG=1")
    wait_for(lambda: unit.notified("WATCHDOG=1"), "a ping while it is cured")
    last = time.monotonic()
    while time.monotonic() - last < 3.0:
        if unit.notified("WATCHDOG=1"):
            last = time.monotonic()
        assert last - raised < 20.0, "it goes on for ever"
        time.sleep(0.05)


def test_a_hung_stage_starves_the_watchdog(broker, running, camera, monkeypatch):
    broker.start()
    inside, unit = running(camera.url, watchdog=1.0)
    wait_for(lambda: unit.notified("WATCHDOG=1"), "work")
    hang = threading.Event()
    process = inside.daemon._pipeline.process

    def stuck(*args):
        hang.wait(PATIENCE)
        return process(*args)

    monkeypatch.setattr(inside.daemon._pipeline, "process", stuck)
    frames = inside.daemon._guard.status.frames
    wait_for(lambda: inside.daemon._guard.status.frames > frames + 10, "frames go on coming")
    unit.notified("WATCHDOG=1")
    time.sleep(2.0)
    assert not unit.notified("WATCHDOG=1")
    hang.set()
    wait_for(lambda: unit.notified("WATCHDOG=1"), "work again")


def test_frames_that_are_all_lost_starve_the_watchdog(broker, running, camera, monkeypatch):
    broker.start()
    camera.fps = 2.0  # so that the loop waits for each
    inside, unit = running(camera.url, watchdog=1.0)
    wait_for(lambda: unit.notified("WATCHDOG=1"), "work")

    def fail(*_):
        raise AcceleratorError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(inside.daemon._pipeline, "process", fail)
        frames = inside.daemon._guard.status.frames
        wait_for(lambda: inside.daemon._guard.status.frames > frames + 2, "frames go on coming")
        unit.notified("WATCHDOG=1")
        time.sleep(2.0)
        assert not unit.notified("WATCHDOG=1")
    wait_for(lambda: unit.notified("WATCHDOG=1"), "work again")


def test_a_camera_may_take_longer_than_the_watchdog(broker, running, camera):
    broker.start()
    inside, unit = running(camera.url, watchdog=1.0, camera={"read_timeout": 15.0})
    guard = inside.daemon._guard
    wait_for(lambda: guard.status.frames, "a frame")
    camera.hanging = True
    time.sleep(2.0)
    unit.notified("WATCHDOG=1")
    frames = guard.status.frames
    wait_for(lambda: unit.notified("WATCHDOG=1"), "a ping")
    wait_for(lambda: unit.notified("WATCHDOG=1"), "another ping")
    assert (guard.status.state, guard.status.frames) == ("streaming", frames)


def still(picture):
    return [jpeg(picture(0, 640, 480))]


def noisy_dark(_number, width, height):
    return np.random.default_rng(_number).integers(0, 6, (height, width, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "frames"),
    [
        ("picture_black", [jpeg(noisy_dark(number, 640, 480)) for number in range(5)]),
        ("lens_covered", still(fake.covered)),
        ("picture_frozen", still(fake.moving)),
    ],
)
def test_a_useless_picture_is_reported_and_cleared(
    broker, daemon, health, camera, report, code, frames
):
    broker.start()
    camera.frames = frames
    unit = daemon(camera.url).start().ready()
    report(f"{code} raised", until(lambda: code in codes(health()), "the fault"))
    assert health()["status"] == "failed"
    assert health()["camera"]["state"] == "streaming"
    camera.frames = visits()
    report(f"{code} cleared", until(lambda: not codes(health()) & {code}, "its end"))
    assert unit.process.poll() is None


# Edge TPU


@pytest.mark.slow
def test_an_edge_tpu_hangs_then_aborts_and_comes_back(
    broker, daemon, collect, health, camera, tmp_path, report
):
    broker.start()
    collector = collect()
    tpu = FakeTpu(tmp_path / "tpu.json")
    unit = daemon(
        camera.url,
        inference={"accelerator": "edgetpu", "device": tpu.device, "timeout": 1.0},
        motion={"enabled": False},
    )
    unit.start(WATCHDOG_USEC="4000000").ready()
    wait_for(lambda: health().get("inference", {}).get("backend") == "edgetpu", "the Edge TPU")
    for fault in (Fault.HANG, Fault.ABORT):
        tpu.fail(fault)
        lost = until(lambda: "accelerator_lost" in codes(health()), f"the fault ({fault})")
        report(f"Edge TPU {fault}: accelerator_lost", lost)
        assert health()["status"] == "degraded"
        seen = len(collector.events)
        wait_for(lambda seen=seen: len(collector.events) > seen, "an event by the CPU")
        tpu.heal()
        back = until(
            lambda: (
                "accelerator_lost" not in codes(health())
                and health()["inference"]["backend"] == "edgetpu"
            ),
            "the Edge TPU again",
            3 * PATIENCE,
        )
        report(f"Edge TPU {fault}: in use again", back)
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0
    assert "a frame was lost" not in unit.log
    # A try that finds it still broken is told, too; these tries come ever more seldom.
    assert 2 <= unit.log.count("fault accelerator_lost") <= 8
    assert unit.log.count("fault accelerator_lost") == unit.log.count("cleared accelerator_lost")
    seqs = [event["seq"] for event in collector.firsts()]
    assert seqs == list(range(1, len(seqs) + 1))


# endings


@pytest.mark.parametrize(
    "state",
    ["camera hangs", "camera lost", "broker frozen", "broker absent", "tpu slow", "tpu hangs"],
)
def test_sigterm_in_every_state(broker, daemon, camera, tmp_path, report, state, killed_after):
    if state != "broker absent":
        broker.start()
    sections = {}
    if state.startswith("tpu"):
        tpu = FakeTpu(tmp_path / "tpu.json")
        sections["inference"] = {"accelerator": "edgetpu", "device": tpu.device, "timeout": 10.0}
        sections["motion"] = {"enabled": False}
    unit = daemon(camera.url, **sections).start().ready()
    wait_for(lambda: "without_mask started" in unit.log, "an event")
    if state == "camera hangs":
        camera.hanging = True
        time.sleep(1.0)
    elif state == "camera lost":
        camera.refusing = True
        wait_for(lambda: "fault camera_lost" in unit.log, "the fault")
    elif state == "broker frozen":
        broker.freeze()
    elif state == "tpu slow":
        tpu.fail(Fault.SLOW, seconds=1.0)
        time.sleep(1.0)
    elif state == "tpu hangs":
        tpu.fail(Fault.HANG)
        time.sleep(1.0)
    begin = time.monotonic()
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0, unit.log
    took = time.monotonic() - begin
    report(f"SIGTERM while {state}", took)
    assert took < killed_after
    if state.startswith("broker"):
        outbox = Outbox(unit.folder / "state/outbox.db")
        assert outbox.status().pending  # whole, and nothing thrown away
        assert outbox.status().recovered is None
        outbox.close()
    else:
        assert broker.retained("maskedge/door/#")["maskedge/door/availability"] == b"stopped"


def test_a_camera_that_hangs_is_waited_for_when_the_broker_knows_of_the_stop(
    broker, running, camera, monkeypatch
):
    broker.start()
    inside, _ = running(camera.url)
    wait_for(lambda: inside.daemon._publisher.status().connected, "the broker")
    wait_for(lambda: inside.daemon._teller.standing, "a violation")
    known, close = [], CameraGuard.close

    def noted(guard, *args):
        known.append(broker.retained("maskedge/door/#")["maskedge/door/availability"])
        close(guard, *args)

    monkeypatch.setattr(CameraGuard, "close", noted)
    camera.hanging = True
    time.sleep(1.0)
    inside.stop()
    assert known == [b"stopped"]


def test_sigterm_while_an_edge_tpu_hangs_at_the_start(
    broker, daemon, camera, tmp_path, report, killed_after
):
    broker.start()
    tpu = FakeTpu(tmp_path / "tpu.json")
    tpu.fail(Fault.HANG_AT_OPEN)
    unit = daemon(camera.url, inference={"accelerator": "edgetpu", "device": tpu.device}).start()
    pid = unit.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_for(lambda: children.read_text().strip(), "the worker")
    time.sleep(0.5)
    begin = time.monotonic()
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0, unit.log
    report("SIGTERM while starting", time.monotonic() - begin)
    assert time.monotonic() - begin < killed_after
    assert "Traceback" not in unit.log


def test_it_ends_in_time_while_camera_broker_and_disk_all_hang(
    broker, running, camera, monkeypatch, report, killed_after
):
    broker.start()
    inside, _ = running(camera.url)
    wait_for(lambda: inside.daemon._publisher.status().connected, "the broker")
    wait_for(lambda: inside.daemon._teller.standing, "a violation")
    hang = threading.Event()

    def never(*_args, **_more):
        hang.wait(PATIENCE)
        raise OutboxError("the disk answers again")

    monkeypatch.setattr(EventStore, "write", never)
    monkeypatch.setattr(EventStore, "pending", never)
    broker.freeze()
    camera.hanging = True
    time.sleep(1.0)
    took = inside.stop()
    hang.set()
    broker.thaw()
    publisher, outbox = inside.daemon._publisher, inside.daemon._outbox
    publisher._thread.join(PATIENCE)
    publisher.close(1.0)
    outbox._writer.join(PATIENCE)
    outbox.close()
    report("stop while all hangs", took)
    assert took < killed_after


# clock


@pytest.mark.slow
def test_steps_of_the_clock_during_a_visit(broker, running, collect, health, camera, monkeypatch):
    step, synced = [0.0], [False]

    class SteppingTime:
        """The wall clock steps; the steady one doesn't."""

        def __getattr__(self, name):
            return getattr(time, name)

        def time(self):
            return time.time() + step[0]

        def time_ns(self):
            return time.time_ns() + int(step[0] * 1e9)

    stepping = SteppingTime()
    monkeypatch.setattr(clock, "time", stepping)
    monkeypatch.setattr(clock.WallClock.__init__, "__defaults__", (time.monotonic, stepping.time))
    monkeypatch.setattr(events, "clock_synced", lambda: synced[0])
    broker.start()
    collector = collect()
    camera.frames = visits(seconds=6.0, pause=6.0)
    inside, _ = running(camera.url)
    wait_for(lambda: "clock_unsynced" in codes(health()), "the fault")
    for days in (1, -1, 0):
        have = len(collector.events)
        wait_for(lambda have=have: len(collector.events) == have + 1, "a visit begins")
        step[0] = days * 86_400.0
        synced[0] = True
        wait_for(lambda have=have: len(collector.events) == have + 2, "a visit ends")
    wait_for(lambda: "clock_unsynced" not in codes(health()), "its end")
    inside.stop()
    got = collector.events
    assert [event["type"] for event in got] == ["started", "ended"] * 3
    assert [event["seq"] for event in got] == list(range(1, 7))
    assert [event["clock_synced"] for event in got] == [False] + [True] * 5
    assert {event["boot_id"] for event in got} == {events.boot_id()}
    assert sorted(event["event_id"] for event in got) == [event["event_id"] for event in got]
    for event in got:
        moments = [event["first_seen"], event["decided_at"], event["ended_at"]]
        moments = [moment for moment in moments if moment]
        assert moments == sorted(moments)
        days = {moment[:10] for moment in moments}
        assert len(days) == 1 or moments[-1][11:13] == "00"  # all by one reading of the clock


# configuration


def rename(path, text):
    fresh = path.with_suffix(".tmp")
    fresh.write_text(text)
    fresh.replace(path)


def truncate(path, text):
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(0.1)
        file.write(text[len(text) // 2 :])


def backup(path, text):
    path.rename(f"{path}~")
    time.sleep(0.3)
    path.write_text(text)


@pytest.mark.slow
def test_whichever_way_an_editor_writes_nobody_in_view_is_lost(
    broker, daemon, collect, camera, report
):
    broker.start()
    collector = collect()
    camera.frames = visits(seconds=16.0, pause=8.0)
    unit = daemon(camera.url).start().ready()
    wait_for(lambda: collector.events, "a violation")
    for number, write in enumerate((rename, truncate, backup), 1):
        settings = {**unit.settings, "verdict": {"min_evidence": 2.0 + number / 10}}
        begin = time.monotonic()
        write(unit.config, yaml.safe_dump(settings))
        wait_for(lambda n=number: unit.log.count("new configuration in force") == n, write.__name__)
        report(f"reload after {write.__name__}", time.monotonic() - begin)
    wait_for(lambda: len(collector.events) >= 2, "the end of the visit")
    started, ended = collector.events[:2]
    assert (started["type"], ended["type"]) == ("started", "ended")
    assert ended["violation_id"] == started["event_id"]
    assert ended["track_id"] == started["track_id"]
    assert "refused" not in unit.log


# load


def resident(pid):
    """Megabytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def crowd(number):
    """32 faces in a picture of 4K, never twice the same."""
    face = cv2.resize(portrait()[30:230, 120:320], (400, 400))
    picture = np.full((2160, 3840, 3), 120, np.uint8)
    for index in range(32):
        y, x = 40 + index // 8 * 530, 40 + index % 8 * 470 + 3 * number
        picture[y : y + 400, x : x + 400] = face
    return picture


@pytest.mark.slow
def test_32_faces_in_4k_at_60_frames_a_second(broker, daemon, health, camera, report):
    broker.start()
    camera.frames = [jpeg(crowd(number)) for number in range(6)]
    camera.fps = 60.0
    unit = daemon(camera.url, detector={"input": 640})
    unit.start(WATCHDOG_USEC="20000000").ready()
    wait_for(lambda: health().get("counters", {}).get("frames", 0) >= 60, "work")
    before = resident(unit.process.pid)
    begun = health()["counters"]
    unit.notified("WATCHDOG=1")
    wait_for(lambda: health()["counters"]["frames"] >= begun["frames"] + 60, "60 more frames")
    counters = health()["counters"]
    after = resident(unit.process.pid)
    looked = counters["frames_looked"] - begun["frames_looked"]
    report("4K load: RSS before", before, "MB")
    report("4K load: RSS after", after, "MB")
    report("4K load", (counters["faces"] - begun["faces"]) / max(looked, 1), "faces a look")
    wait_for(lambda: unit.notified("WATCHDOG=1"), "work is told")
    assert after < 512  # MemoryMax of the unit
    assert after - before < 96
    judged = counters["faces_classified"] - begun["faces_classified"]
    assert judged <= 8 * looked  # classifier.budget


def violation(builder, number):
    return builder.started(
        label="without_mask",
        confidence=0.9,
        votes=events.Votes(9, 8),
        track_id=number,
        box=Box(0.1, 0.2, 0.3, 0.4),
        first_seen=1.0,
        decided_at=2.0,
    )


@pytest.mark.slow
def test_ten_thousand_waiting_events_hold_up_nothing(
    broker, daemon, collect, health, camera, report
):
    unit = daemon(camera.url)
    builder = events.EventBuilder("door", "entrance", events.Models("0" * 12, "1" * 12))
    outbox = Outbox(unit.folder / "state/outbox.db")
    assert outbox.put(*(violation(builder, number) for number in range(1, 10_001)))
    outbox.close()
    broker.start()
    collector = collect()
    unit.start(WATCHDOG_USEC="4000000").ready()
    before = resident(unit.process.pid)
    took = until(lambda: len(collector.events) >= 10_000, "ten thousand", 2 * PATIENCE)
    report("10,000 waiting events delivered", took)
    wait_for(lambda: len(collector.firsts()) > 10_000, "a new one after them")
    seqs = [event["seq"] for event in collector.firsts()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert unit.notified("WATCHDOG=1")
    report("10,000 waiting events: RSS grows", resident(unit.process.pid) - before, "MB")
    assert resident(unit.process.pid) < 512
    wait_for(lambda: health()["outbox"]["pending"] < 5, "an empty outbox")


# secrets


def test_no_secret_is_told_anywhere(tmp_path, daemon, collect, camera, broker):
    broker.configure(
        f"password_file {broker.passwords(door='r1ght-horse')}", "allow_anonymous true"
    )
    broker.start()
    collector = collect()
    secret = tmp_path / "password"
    secret.write_text("wr0ng-battery\n")
    unit = daemon(
        camera.url.replace("//", "//joe:st4ple-pass@"),
        mqtt={
            "host": "127.0.0.1",
            "port": broker.port,
            "username": "door",
            "password_file": str(secret),
        },
    )
    environ = {"MASKEDGE_MQTT_PASSWORD": "env-s3cret", "MASKEDGE_WEB_TOKEN": "t0ken-s3cret-0123"}
    unit.start("--verbose", **environ).ready()
    hidden = camera.url.replace("//", "//joe:***@")
    assert f"STATUS=watching {hidden}" in unit.told_systemd
    wait_for(lambda: "fault broker_lost" in unit.log, "the refusal")
    assert "password" in unit.log.split("fault broker_lost")[1].split("\n")[0]
    camera.refusing = True
    wait_for(lambda: "fault camera_lost" in unit.log, "a camera error with its address")
    camera.refusing = False
    secret.write_text("r1ght-horse\n")
    other = {"source": f"{unit.settings['camera']['source']}?other"}
    unit.configure({**unit.settings, "name": "side", "camera": other})
    wait_for(lambda: "new configuration in force" in unit.log, "the reload")
    wait_for(lambda: unit.notified(f"STATUS=watching {hidden}?other"), "the other status")
    wait_for(lambda: len(collector.events) >= 1, "an event")
    retained = b" ".join(broker.retained("maskedge/door/#").values())
    assert b"***" in retained  # the camera's address is told, its password isn't
    told = [
        unit.log.encode(),
        retained,
        Path(f"/proc/{unit.process.pid}/cmdline").read_bytes(),
        json.dumps(collector.events).encode(),
        "\n".join(unit.told_systemd).encode(),
        *(path.read_bytes() for path in (unit.folder / "state").rglob("*") if path.is_file()),
    ]
    for word in (b"r1ght-horse", b"wr0ng-battery", b"st4ple-pass", b"s3cret"):
        assert not any(word in text for text in told), word
