"""The publisher against a real mosquitto: what arrives, in which order, and what it says."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time

import jsonschema
import pytest
from mosquitto import PATIENCE, wait_for

from maskedge import events
from maskedge.config import MqttConfig
from maskedge.delivery.backoff import Backoff
from maskedge.delivery.outbox import Outbox

VALID = jsonschema.Draft202012Validator(events.schema("violation-1"))


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_events_arrive_once_in_order_and_by_the_contract(
    broker, outbox, publish, collect, make, version
):
    collector = collect(broker.client())
    publisher = publish(broker.client(version=version))
    sent = make(50)
    outbox.put(*sent)
    assert publisher.wait_idle(PATIENCE)
    wait_for(lambda: len(collector.events) >= 50, "50 events")
    for event in collector.events:
        VALID.validate(event)
        assert event["delayed"] is False
    assert [e["event_id"] for e in collector.events] == [e.event_id for e in sent]
    assert [e["seq"] for e in collector.events] == list(range(1, 51))
    wait_for(lambda: outbox.status().pending == 0, "an empty outbox")
    status = publisher.status()
    assert (status.connected, status.sent, status.acknowledged, status.resent) == (True, 50, 50, 0)


def test_broker_absent_at_start_then_there(mosquitto, outbox, publish, collect, make, relay, timed):
    broker = mosquitto()
    wire = relay(broker.port)
    publisher = publish(wire.client())
    sent = make(30)
    for event in sent:
        assert outbox.put(event)
    wait_for(lambda: publisher.status().last_error, "an error")
    assert not publisher.status().connected
    wire.open = False
    broker.start()
    collector = collect(broker.client())
    wire.open = True
    with timed("broker absent at start: there until 30 events arrived"):
        wait_for(lambda: len(collector.events) >= 30, "30 events")
    assert [e["event_id"] for e in collector.firsts()] == [e.event_id for e in sent]
    wait_for(lambda: publisher.status().last_error is None, "no error any more")


def test_refused_connection_says_so_with_the_cure(publish):
    publisher = publish(MqttConfig(host="127.0.0.1", port=1))
    wait_for(lambda: publisher.status().code, "a fault")
    assert publisher.status().code == "broker-unreachable"
    assert "connection refused; is the broker running" in publisher.status().last_error


def test_unknown_host_says_so(publish):
    publisher = publish(MqttConfig(host="no-such-host.invalid"))
    wait_for(lambda: publisher.status().code, "a fault")
    assert "no-such-host.invalid: name not known" in publisher.status().last_error


def test_availability_online_stopped_and_offline_by_will(broker, publish, collect, relay):
    wire = relay(broker.port)
    collector = collect(broker.client())
    publisher = publish(wire.client())
    wait_for(lambda: collector.availability == ["online"], "online")
    wire.cut()
    wait_for(lambda: collector.availability == ["online", "offline", "online"], "will and return")
    assert publisher.close()
    wait_for(lambda: collector.availability[-1] == "stopped", "stopped")


def test_close_delivers_what_waits_before_it_says_stopped(
    broker, outbox, publish, collect, make, monkeypatch
):
    flush = outbox._flush
    monkeypatch.setattr(outbox, "_flush", lambda: time.sleep(0.5) or flush())  # a slow disk
    collector = collect(broker.client())
    publisher = publish(broker.client())
    wait_for(lambda: publisher.status().connected, "a connection")
    outbox.submit(*make(200))
    assert publisher.close(PATIENCE)
    assert not publisher.status().connected
    wait_for(lambda: collector.availability[-1:] == ["stopped"], "stopped")
    assert len(collector.events) == 200


def test_state_and_health_newest_wins_and_survive_a_forgetful_broker(broker, publish, timed):
    publisher = publish(broker.client())
    publisher.publish_state({"number": 1})
    assert publisher.wait_idle(PATIENCE)
    broker.kill()
    wait_for(lambda: not publisher.status().connected, "the loss")
    for number in range(2, 500):
        publisher.publish_state({"number": number})
    publisher.publish_health({"well": True})
    broker.start()
    wait_for(lambda: publisher.status().connected, "a connection")
    assert publisher.wait_idle(PATIENCE)
    assert broker.retained() == {
        "maskedge/door/availability": b"online",
        "maskedge/door/state": b'{"number":499}',
        "maskedge/door/health": b'{"well":true}',
    }
    broker.kill()
    broker.start()
    with timed("forgetful broker: back until it has the retained values"):
        wait_for(lambda: len(broker.retained()) == 3, "the retained values again")


def test_broker_killed_while_1000_events_flow(broker, outbox, publish, collect, make, relay, timed):
    wire = relay(broker.port)
    collector = collect(broker.client())
    publisher = publish(wire.client())
    sent = make(1000)
    for begin in range(0, 1000, 50):
        outbox.put(*sent[begin : begin + 50])
        if begin in (200, 600):
            wait_for(lambda: publisher.status().connected, "a connection")
            wait_for(lambda: collector.events, "a first event")
            wire.open = False  # what is published before we listen again is the broker's to keep
            broker.freeze()
            collector.drain()  # as is what it had acknowledged and not yet handed on
            broker.kill()
            wait_for(lambda: not collector.connected, "the subscriber's loss")
            wait_for(lambda: not publisher.status().connected, "the unit's loss")
            broker.start()
            wait_for(lambda: collector.connected, "the subscriber's return")
            wire.open = True
    with timed("broker killed twice: back until the last of 1,000 events was acknowledged"):
        assert publisher.wait_idle(PATIENCE)
    ids = [e.event_id for e in sent]
    wait_for(lambda: len(collector.firsts()) == 1000, "all events")
    assert [e["event_id"] for e in collector.firsts()] == ids
    assert {e["event_id"] for e in collector.events} == set(ids)
    assert publisher.status().connects == 3


def test_frozen_broker_is_noticed_and_nothing_is_lost(
    broker, outbox, publish, collect, make, timed
):
    collector = collect(broker.client())
    publisher = publish(broker.client(), ack_timeout=1.0)
    wait_for(lambda: publisher.status().connected, "a connection")
    broker.freeze()
    sent = make(40)
    outbox.put(*sent)
    with timed("frozen broker: an event until it is noticed (limit 1 s; by default 10 s)"):
        wait_for(lambda: publisher.status().code == "broker-silent", "the freeze noticed")
    broker.thaw()
    with timed("frozen broker: thawed until all events arrived"):
        wait_for(lambda: len(collector.firsts()) == 40, "all events")
    assert publisher.wait_idle(PATIENCE)
    assert [e["event_id"] for e in collector.firsts()] == [e.event_id for e in sent]


@pytest.mark.parametrize(
    ("flaps", "pause"), [(4, 0.7), pytest.param(15, 2.0, marks=pytest.mark.slow)]
)
def test_flapping_broker_loses_nothing(
    broker, outbox, publish, collect, make, relay, timed, flaps, pause
):
    wire = relay(broker.port)
    collector = collect(broker.client())
    publisher = publish(wire.client(), backoff=Backoff())
    sent = make(flaps * 40)
    for flap in range(flaps):
        outbox.put(*sent[flap * 40 : flap * 40 + 40])
        wire.open = True
        time.sleep(pause)
        wire.open = False
        wire.cut()
        time.sleep(pause)
    wire.open = True
    with timed(f"flapping broker, {flaps} times {pause} s: steady until all events arrived"):
        wait_for(lambda: len(collector.firsts()) == len(sent), "all events")
    assert [e["event_id"] for e in collector.firsts()] == [e.event_id for e in sent]
    assert publisher.wait_idle(PATIENCE)


def test_slow_broker_is_given_time(broker, outbox, publish, collect, make, relay, timed):
    wire = relay(broker.port)
    wire.delay = 1.5  # for the welcome, too
    collector = collect(broker.client())
    publisher = publish(wire.client(), ack_timeout=1.0)
    for event in make(3):
        outbox.put(event)
        with timed("slow broker (1.5 s each way): an event until it is acknowledged"):
            wait_for(lambda: outbox.status().pending == 0, "the acknowledgement")
    assert publisher.wait_idle(PATIENCE)
    assert len(collector.firsts()) == 3
    # The patience grew; it doesn't fall back to drop the connection for each event.
    assert publisher.status().connects <= 3


def test_close_is_quick_in_every_state(mosquitto, outbox, publish, make):
    absent = mosquitto()
    frozen = mosquitto().start()
    publishers = {
        "absent": publish(absent.client()),
        "frozen": publish(frozen.client(client_id="frozen")),
        "unknown host": publish(MqttConfig(host="no-such-host.invalid")),
    }
    wait_for(lambda: publishers["frozen"].status().connected, "a connection")
    frozen.freeze()
    outbox.put(*make(5))
    for state, publisher in publishers.items():
        begun = time.monotonic()
        assert not publisher.close(3.0), state
        assert time.monotonic() - begun < 30, state  # not for ever
    frozen.thaw()
    assert outbox.status().pending == 5


def test_client_id_taken_over_makes_no_storm(broker, publish, timed):
    first = publish(broker.client(client_id="same"))
    wait_for(lambda: first.status().connected, "a connection")
    publish(broker.client(client_id="same"), root="maskedge/other")
    with timed("client id taken over: until it is told"):
        wait_for(lambda: first.status().code == "broker-taken-over", "the fault")
    assert "another client use our client id 'same'" in first.status().last_error
    connects = first.status().connects
    time.sleep(2.0)
    assert first.status().connects == connects


def test_broker_that_denies_publishing_keeps_the_event(
    mosquitto, outbox, publish, collect, make, timed
):
    broker = mosquitto()
    acl = broker.file("acl", "topic read #\ntopic write maskedge/door/availability\n")
    broker.configure(f"acl_file {acl}")
    broker.start()
    publisher = publish(broker.client())
    sent = make(30)
    outbox.put(*sent)
    wait_for(lambda: publisher.status().code == "broker-denied", "the fault")
    assert "refuses maskedge/door/violation: not authorized" in publisher.status().last_error
    assert outbox.status().pending == 30
    collector = collect(broker.client())
    broker.file("acl", "topic read #\ntopic write maskedge/door/#\n")
    broker.reload()
    with timed("ACL put right: until 30 waiting events arrived"):
        wait_for(lambda: len(collector.firsts()) == 30, "all events")
    assert [e["event_id"] for e in collector.firsts()] == [e.event_id for e in sent]
    wait_for(lambda: publisher.status().code is None, "no fault any more")


def test_a_denied_state_costs_no_events(mosquitto, outbox, publish, collect, make):
    """mosquitto 2.0 ends the connection after each refusal: repeating it would be for ever."""
    broker = mosquitto()
    acl = "topic read #\ntopic write maskedge/door/violation\n"
    broker.configure(f"acl_file {broker.file('acl', acl)}")
    broker.start()
    collector = collect(broker.client())
    publisher = publish(broker.client())
    publisher.publish_state({"people": 0})
    publisher.publish_health({"well": True})
    wait_for(lambda: publisher.status().code == "broker-denied", "the refusal")
    for event in make(30):
        outbox.put(event)
        time.sleep(0.05)
    wait_for(lambda: len(collector.firsts()) == 30, "30 events")


def test_bad_password_then_right_one(mosquitto, publish, timed):
    broker = mosquitto(anonymous=False)
    broker.configure(f"password_file {broker.passwords(door='secret')}")
    broker.start()
    publisher = publish(broker.client(username="door"), environ={"MASKEDGE_MQTT_PASSWORD": "wrong"})
    wait_for(lambda: publisher.status().code, "the fault")
    assert publisher.status().code == "broker-refused"
    assert "bad user name or password" in publisher.status().last_error
    assert "wrong" not in publisher.status().last_error
    broker.passwords(door="wrong")
    broker.reload()
    with timed("password put right: until connected"):
        wait_for(lambda: publisher.status().connected, "a connection")


def test_something_else_than_a_broker(publish):
    def greet():
        visitor, _ = server.accept()
        visitor.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        visitor.recv(1024)
        visitor.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=greet, daemon=True).start()
        publisher = publish(MqttConfig(host="127.0.0.1", port=server.getsockname()[1]))
        wait_for(lambda: publisher.status().code, "the fault")
        assert publisher.status().code == "broker-lost"


def test_events_in_memory_are_sent_while_the_disk_is_bad(broker, publish, collect, make, tmp_path):
    (tmp_path / "file").write_text("in the way")
    outbox = Outbox(tmp_path / "file" / "outbox.db")
    collector = collect(broker.client())
    publisher = publish(broker.client(), source=outbox)
    assert not outbox.put(*make(3))
    assert publisher.wait_idle(PATIENCE)
    wait_for(lambda: len(collector.events) == 3, "3 events")
    assert [e["seq"] for e in collector.events] == [None, None, None]
    for event in collector.events:
        VALID.validate(event)
    assert outbox.status().pending == 0
    assert outbox.status().error
    assert outbox.close() == 0


@pytest.mark.parametrize("payload", ["no JSON", "[1]", "{}", "\x00", '"text"', "null"])
def test_a_damaged_row_does_not_hold_up_the_others(
    broker, publish, collect, make, tmp_path, payload
):
    path = tmp_path / "outbox.db"
    outbox, sent = Outbox(path), make(3)
    outbox.put(*sent)
    outbox.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE events SET payload = ? WHERE seq = 1", (payload,))
    database.close()
    outbox = Outbox(path)
    assert outbox.status().pending == 3
    collector = collect(broker.client())
    publisher = publish(broker.client(), source=outbox)
    assert publisher.wait_idle(PATIENCE)
    wait_for(lambda: len(collector.events) == 2, "the others")
    assert [e["event_id"] for e in collector.events] == [e.event_id for e in sent[1:]]
    assert outbox.status().dropped == outbox.status().damaged == 1
    publisher.close()
    outbox.close()
