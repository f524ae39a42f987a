"""The event contract: exact members, true times, rising ids."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskedge import clock, events
from maskedge.geometry import Box

DAY = 86_400.0


class Clocks:
    """A wall clock that steps, and a steady one that doesn't."""

    def __init__(self):
        self.steady = 100.0
        self.wall = 1_700_000_000.0

    def advance(self, seconds):
        self.steady += seconds
        self.wall += seconds

    def wall_clock(self):
        return clock.WallClock(lambda: self.steady, lambda: self.wall)


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def builder(clocks):
    models = events.Models("0123456789ab", "ba9876543210")
    return events.EventBuilder("door", "entrance", models, clocks.wall_clock())


def started(builder, clocks, **changes):
    facts = {
        "label": "without_mask",
        "confidence": 0.91234567,
        "votes": events.Votes(8, 7),
        "track_id": 3,
        "box": Box(0.25, 0.125, 0.5, 1.25),
        "first_seen": clocks.steady - 1.0,
        "decided_at": clocks.steady,
    }
    return builder.started(**(facts | changes))


def sealed(event, seq=1):
    return json.loads(events.seal(event.to_json(), seq=seq, created=event.created))


def check(name, payload):
    jsonschema.Draft202012Validator(events.schema(name)).validate(payload)


def test_started_is_the_object_of_the_contract(builder, clocks):
    event = sealed(started(builder, clocks), seq=7)
    check("violation-1", event)
    assert list(event) == [
        "schema", "event_id", "violation_id", "type", "device", "camera", "label", "confidence",
        "votes", "track_id", "box", "first_seen", "decided_at", "ended_at", "seq", "boot_id",
        "clock_synced", "sent_at", "delayed", "model", "snapshot",
    ]  # fmt: skip
    assert event["box"] == [0.25, 0.125, 0.5, 1.0]
    assert event["confidence"] == 0.9123
    assert event["votes"] == {"frames": 8, "agree": 7}
    assert event["model"] == {"detector": "0123456789ab", "classifier": "ba9876543210"}
    assert event["first_seen"] == "2023-11-14T22:13:19.000Z"
    assert event["decided_at"] == "2023-11-14T22:13:20.000Z"
    assert (event["seq"], event["ended_at"], event["snapshot"]) == (7, None, None)
    assert event["violation_id"] == event["event_id"]


def test_ended_names_its_start_and_has_an_id_of_its_own(builder, clocks):
    begin = started(builder, clocks)
    clocks.advance(4.0)
    end = sealed(builder.ended(begin, clocks.steady, Box(0.5, 0.5, 0.75, 0.75)))
    check("violation-1", end)
    assert end["type"] == "ended"
    assert end["violation_id"] == begin.event_id
    assert end["event_id"] != begin.event_id
    assert end["ended_at"] == "2023-11-14T22:13:24.000Z"
    assert end["box"] == [0.5, 0.5, 0.75, 0.75]


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_step_of_the_wall_clock_disorders_nothing(builder, clocks, step):
    begin = started(builder, clocks)
    clocks.advance(2.0)
    clocks.wall += step
    end = sealed(builder.ended(begin, clocks.steady))
    assert end["first_seen"] < end["decided_at"] < end["ended_at"]
    # The newer event tells all its times by the newer clock.
    assert end["decided_at"][:10] != sealed(begin)["decided_at"][:10]


def test_a_file_tells_media_time_as_wall_time(clocks):
    models = events.Models("0" * 12, "1" * 12)
    media = clock.WallClock(lambda: 12.0, lambda: 1_700_000_000.0)
    event = started(
        events.EventBuilder("door", "film", models, media), clocks, first_seen=10.0, decided_at=12.0
    )
    assert sealed(event)["first_seen"] == "2023-11-14T22:13:18.000Z"


def test_snapshot_names_its_topic(clocks):
    builder = events.EventBuilder(
        "door", "entrance", events.Models("0" * 12, "1" * 12), snapshot_root="m/door/snapshot"
    )
    event = started(builder, clocks)
    assert event.snapshot == f"m/door/snapshot/{event.event_id}"
    check("violation-1", sealed(event))


def test_delayed_when_old_or_of_another_boot(builder, clocks):
    event = started(builder, clocks)
    assert sealed(event)["delayed"] is False
    payload = event.to_json()
    late = events.seal(payload, seq=1, created=event.created - events.DELAYED_AFTER - 1)
    assert json.loads(late)["delayed"] is True
    other = payload.replace(clock.boot_id(), "00000000-0000-0000-0000-000000000000")
    assert json.loads(events.seal(other, seq=1, created=event.created))["delayed"] is True


def test_nan_is_refused(builder, clocks):
    with pytest.raises(ValueError, match="not JSON compliant"):
        started(builder, clocks, confidence=float("nan")).to_json()


@pytest.mark.parametrize(
    "damage",
    [
        {"extra": 1},
        {"label": "with_mask"},
        {"event_id": "0190b0a0-0000-4000-8000-000000000000"},
        {"decided_at": "2023-11-14 22:13:20"},
        {"box": [0, 0, 1]},
        {"ended_at": "2023-11-14T22:13:24.000Z"},
        {"seq": 0},
    ],
)
def test_schema_is_strict(builder, clocks, damage):
    with pytest.raises(jsonschema.ValidationError):
        check("violation-1", sealed(started(builder, clocks)) | damage)


def test_schemas_are_schemas():
    for name in ("violation-1", "state-1", "health-1"):
        jsonschema.Draft202012Validator.check_schema(events.schema(name))


def test_state_and_health_examples():
    now = clock.rfc3339(1_700_000_000.0)
    state: events.StatePayload = {
        "schema": events.STATE,
        "device": "door",
        "camera": "entrance",
        "people": {"with_mask": 1, "without_mask": 0, "incorrect_mask": 0, "unsure": 2},
        "compliance": {"window_s": 3600.0, "persons": 0, "rate": None},
        "updated_at": now,
    }
    check("state-1", state)
    health: events.HealthPayload = {
        "schema": events.HEALTH,
        "device": "door",
        "version": "0.1.0",
        "status": "degraded",
        "faults": [{"code": "broker_lost", "since": now, "message": "gone", "help": "docs"}],
        "camera": {"state": "ok"},
        "inference": {"backend": "litert", "p50_ms": 4.0, "p95_ms": 6.0, "fps": 10.0},
        "outbox": {"pending": 2, "oldest": now},
        "soc": {"temperature_c": None, "throttled": None},
        "counters": {"frames": 12},
        "started_at": now,
        "updated_at": now,
        "boot_id": clock.boot_id(),
        "clock_synced": False,
    }
    check("health-1", health)


def test_uuid7_has_version_variant_and_time(monkeypatch):
    monkeypatch.setattr(clock.time, "time_ns", lambda: 0x17F22E279B0 * 1_000_000)
    made = clock._Uuid7()()
    assert str(made).startswith("017f22e2-79b0-7")
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_uuid7_rises_when_the_clock_stands_or_steps_back(monkeypatch):
    now = [2_000_000_000_000_000_000]
    monkeypatch.setattr(clock.time, "time_ns", lambda: now[0])
    make = clock._Uuid7()
    ids = [make() for _ in range(10_000)]  # more than the counter's 4096
    now[0] -= 86_400_000_000_000
    ids += [make() for _ in range(100)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_uuid7_is_unique_over_threads():
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: [clock.uuid7() for _ in range(500)], range(4)))
    assert all(batch == sorted(batch) for batch in batches)
    assert len({one for batch in batches for one in batch}) == 2000


@given(st.floats(min_value=-1e9, max_value=4e9))
def test_rfc3339_is_always_of_the_schema(seconds):
    text = clock.rfc3339(seconds)
    pattern = events.schema("violation-1")["$defs"]["moment"]
    jsonschema.validate(text, pattern)


def test_boot_id_is_the_kernels_and_clock_synced_a_bool(tmp_path, monkeypatch):
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        assert clock.boot_id() == file.read().strip()
    assert isinstance(clock.clock_synced(), bool)
    monkeypatch.setattr(clock, "_adjtimex", lambda: lambda _: -1)  # forbidden by a sandbox
    monkeypatch.setattr(clock, "_TIMESYNCD", tmp_path / "synchronized")
    assert clock.clock_synced() is False
    (tmp_path / "synchronized").touch()
    assert clock.clock_synced() is True


@pytest.mark.parametrize(("answer", "synced"), [(0, True), (5, False)])
def test_clock_synced_believes_the_kernel(answer, synced, monkeypatch, tmp_path):
    monkeypatch.setattr(clock, "_adjtimex", lambda: lambda _: answer)
    monkeypatch.setattr(clock, "_TIMESYNCD", tmp_path / "absent")
    assert clock.clock_synced() is synced
