"""What a reload changes on the way to the broker is in force afterwards."""

import json
import logging
import shutil
import signal
from pathlib import Path

import pytest
from mosquitto import free_port, wait_for
from pki import make_pki

from maskedge import events
from maskedge.geometry import Box
from maskedge.vision.system import Vision


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def tls_port(broker, pki):
    """Of a second listener, with TLS; the first serves the test."""
    port = free_port()
    broker.configure(
        f"listener {port} 127.0.0.1",
        f"cafile {pki / 'ca.pem'}",
        f"certfile {pki / 'broker.pem'}",
        f"keyfile {pki / 'broker.key'}",
    )
    broker.start()
    return port


def tls(port, ca):
    return {"host": "127.0.0.1", "port": port, "tls": {"enabled": True, "ca_file": str(ca)}}


def test_a_renewed_certificate_under_the_same_path_is_taken_over(
    tmp_path, pki, tls_port, health, daemon
):
    ca = tmp_path / "ca.pem"
    shutil.copy(pki / "other-ca.pem", ca)
    unit = daemon("fake", mqtt=tls(tls_port, ca)).start().ready()
    wait_for(lambda: "certificate verify failed" in unit.log, "the refusal")
    shutil.copy(pki / "ca.pem", ca)
    unit.send(signal.SIGHUP)
    wait_for(health, "a connection")
    connects = unit.log.count("connected to")
    unit.send(signal.SIGHUP)
    wait_for(lambda: unit.log.count("new configuration in force") == 2, "another reload")
    assert unit.log.count("connected to") == connects  # nothing was changed


def test_a_file_that_goes_while_networks_open_leaves_no_unit_without_delivery(
    tmp_path, pki, tls_port, health, running, monkeypatch
):
    first, second = (Path(shutil.copy(pki / "ca.pem", tmp_path / name)) for name in ("a", "b"))
    inside, unit = running("fake", mqtt=tls(tls_port, first))
    wait_for(health, "a connection")
    opening = Vision.open

    def open_slowly(*words):
        vision = opening(*words)
        second.unlink()
        return vision

    monkeypatch.setattr(Vision, "open", open_slowly)
    changed = {"mqtt": tls(tls_port, second), "detector": {"input": 480}, "name": "side door"}
    unit.configure({**unit.settings, **changed})
    wait_for(lambda: health()["camera"]["name"] == "side door", "the new name, by the new login")
    assert not second.exists()
    assert inside.daemon._config_error is None


def violations(number):
    """So many, each of a person of its own."""
    builder = events.EventBuilder("door", "entrance", events.Models("0" * 12, "1" * 12))
    return [
        builder.started(
            label="without_mask",
            confidence=0.9,
            votes=events.Votes(9, 8),
            track_id=track,
            box=Box(0.1, 0.2, 0.3, 0.4),
            first_seen=1.0,
            decided_at=2.0,
        )
        for track in range(number)
    ]


def test_another_bound_of_the_outbox_is_in_force_and_another_path_at_the_next_start(
    running, caplog
):
    caplog.set_level(logging.INFO)
    inside, unit = running("fake", outbox={"max_events": 100})  # the broker was never started
    outbox = inside.daemon._outbox
    outbox.put(*violations(100))
    other = unit.folder / "other.db"
    unit.configure({**unit.settings, "outbox": {"max_events": 200, "path": str(other)}})
    wait_for(lambda: "new configuration in force" in caplog.text, "the reload")
    outbox.put(*violations(50))
    assert outbox.status().pending == 150
    assert outbox.status().dropped == 0
    assert "outbox.path is taken over only at the next start" in caplog.text
    assert not other.exists()


def test_what_waits_across_a_rename_goes_below_the_new_name_and_tells_the_old(
    broker, wire, running, collect
):
    """The user of a broker with access control may write below its own name alone."""
    broker.start()
    heard = collect()
    wire.open = False
    inside, unit = running("fake", mqtt={"host": "127.0.0.1", "port": wire.port})
    inside.daemon._outbox.put(*violations(3))
    unit.configure({**unit.settings, "device": "gate"})
    wait_for(lambda: inside.daemon._config.device == "gate", "the reload")
    wire.open = True
    wait_for(lambda: len(heard.events) == 3, "the events")
    assert {notice.device for notice in heard.notices} == {"gate"}
    assert {event["device"] for event in heard.events} == {"door"}


def test_another_interval_is_announced_to_home_assistant(broker, daemon):
    def expiry():
        told = broker.retained("homeassistant/#")
        (announced,) = [json.loads(payload) for payload in told.values()] or [None]
        return announced and announced["components"]["status"]["expire_after"]

    broker.start()
    unit = daemon("fake").start().ready()
    wait_for(lambda: expiry() == 33, "the announcement")
    unit.configure({**unit.settings, "publish": {"interval": 60}})
    unit.send(signal.SIGHUP)
    wait_for(lambda: expiry() == 210, "the new interval")
