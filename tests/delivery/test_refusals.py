"""What no real broker does on demand: answers by script, to see order and window kept."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time

import pytest
from mosquitto import PATIENCE, wait_for

from maskedge.config import MqttConfig

QUOTA_EXCEEDED = 0x97


class ScriptedBroker:
    """Speaks enough MQTT 5 to welcome a client and to answer its publications.

    ``answer(number, topic)`` gives the reason code of the PUBACK to the n-th publication of
    all, or None for no PUBACK at all.
    """

    def __init__(self, answer, welcome=b"\x20\x03\x00\x00\x00"):
        self.received = []  # (topic, payload), as they came
        self.taken = []  # payloads of violations that were acknowledged with success
        self._answer, self._welcome = answer, welcome
        self._server = socket.create_server(("127.0.0.1", 0))
        self.config = MqttConfig(host="127.0.0.1", port=self._server.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                try:
                    self._talk(client, stream)
                except (OSError, IndexError):
                    continue

    def _talk(self, client, stream):
        while True:
            kind = stream.read(1)[0]
            length = shift = 0
            while True:
                byte = stream.read(1)[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            body = stream.read(length)
            if kind >> 4 == 1:
                client.sendall(self._welcome)
            elif kind >> 4 == 12:
                client.sendall(b"\xd0\x00")
            elif kind >> 4 == 3:
                self._take(client, body)

    def _take(self, client, body):
        (size,) = struct.unpack_from("!H", body)
        topic, packet = body[2 : 2 + size].decode(), body[2 + size : 4 + size]
        payload = body[5 + size :]  # no properties
        self.received.append((topic, payload))
        code = self._answer(len(self.received), topic)
        if code is None:
            return
        if code < 0x80 and topic.endswith("/violation"):
            self.taken.append(json.loads(payload)["seq"])
        client.sendall(b"\x40\x03" + packet + bytes([code]))

    def close(self):
        self._server.close()


@pytest.fixture
def scripted():
    made = []

    def build(*args, **kwargs):
        made.append(ScriptedBroker(*args, **kwargs))
        return made[-1]

    yield build
    for broker in made:
        broker.close()


def test_a_refused_event_is_not_overtaken_by_later_ones(scripted, outbox, publish, make):
    refusing = threading.Event()
    refusing.set()

    def answer(_number, topic):
        return QUOTA_EXCEEDED if topic.endswith("/violation") and refusing.is_set() else 0

    broker = scripted(answer)
    publisher = publish(broker.config)
    outbox.put(*make(100))
    wait_for(lambda: publisher.status().code == "broker-denied", "the refusal")
    assert "quota exceeded" in publisher.status().last_error
    wait_for(lambda: publisher.status().in_flight == 0, "the end of the first window")
    first = len(broker.received)  # one window; availability counts in it until its PUBACK
    assert first in {20, 21}
    wait_for(lambda: len(broker.received) > first, "another try")
    time.sleep(0.5)
    assert len(broker.received) == first + 1  # with one event alone
    refusing.clear()
    assert publisher.wait_idle(PATIENCE)
    assert broker.taken == list(range(1, 101))
    assert publisher.status().code is None
    assert publisher.status().connects == 1
    wait_for(lambda: outbox.status().pending == 0, "an empty outbox")


def test_one_refusal_among_many_is_made_good(scripted, outbox, publish, make):
    """The others of its window are taken: it alone comes late, and once."""
    broker = scripted(lambda number, _: QUOTA_EXCEEDED if number == 5 else 0)
    publisher = publish(broker.config)
    outbox.put(*make(60))
    assert publisher.wait_idle(PATIENCE)
    assert sorted(broker.taken) == list(range(1, 61))
    assert publisher.status().acknowledged == 60


class ResettingBroker(ScriptedBroker):
    """Ends the connection after a refusal, as mosquitto 2.0 does.

    With publications that it hasn't read, its system sends RST, and the client's throws away the
    refusal that came before it.
    """

    def _talk(self, client, stream):
        self._stream = stream
        super()._talk(client, stream)

    def _take(self, client, body):
        if b"/violation" not in body:
            super()._take(client, body)
            return
        client.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            self._stream.peek(1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise ConnectionError("more is unread: the answer gets lost")
        super()._take(client, body)
        raise ConnectionError("nobody who was refused stays")


def test_a_refusal_that_ends_the_connection_is_heard(publish, outbox, make):
    """Not taken for a second client with our id."""
    broker = ResettingBroker(lambda _, topic: 0x87 if topic.endswith("/violation") else 0)
    outbox.put(*make(30))
    publisher = publish(broker.config)
    wait_for(lambda: publisher.status().code == "broker-denied", "the refusal")
    assert "not authorized" in publisher.status().last_error
    assert outbox.status().pending == 30
    broker.close()


def test_a_refused_state_does_not_hold_up_events(scripted, outbox, publish, make):
    broker = scripted(lambda _, topic: 0x87 if topic.endswith("/state") else 0)
    publisher = publish(broker.config)
    publisher.publish_state({"people": 0})
    wait_for(lambda: publisher.status().code == "broker-denied", "the refusal")
    outbox.put(*make(30))
    wait_for(lambda: len(broker.taken) == 30, "30 events")
    assert sum(topic.endswith("/state") for topic, _ in broker.received) <= 3


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_in_flight_than_the_broker_takes(scripted, outbox, publish, make, limit):
    """Receive Maximum, property 0x21 of CONNACK."""
    welcome = b"\x20\x06\x00\x00\x03\x21" + struct.pack("!H", limit)
    broker = scripted(lambda *_: None, welcome)
    publisher = publish(broker.config)
    outbox.put(*make(30))
    wait_for(lambda: len(broker.received) == limit, "a full window")
    time.sleep(0.5)
    assert len(broker.received) == limit
    assert publisher.status().in_flight == limit


def test_at_most_20_in_flight(scripted, outbox, publish, make):
    broker = scripted(lambda *_: None)
    publish(broker.config)
    outbox.put(*make(100))
    wait_for(lambda: len(broker.received) == 20, "a full window")
    time.sleep(0.5)
    assert len(broker.received) == 20


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x20\x03\x00\x84\x00", "it does not speak MQTT 5; set mqtt.version"),
        (b"\x20\x02\x00\x01", "it does not speak MQTT 5; set mqtt.version"),
        (b"\x20\x03\x00\x85\x00", "it does not take the client id 'maskedge-door'"),
        (b"\x20\x03\x00\x86\x00", "bad user name or password, for nobody (mqtt.username is not"),
        (b"\x20\x03\x00\x88\x00", "refuses us: server unavailable"),
        (b"\x20\xff\xff\xff\xff\xff", "closed the connection before it answered"),
    ],
)
def test_refused_welcomes_say_why(scripted, publish, answer, said):
    broker = scripted(lambda *_: 0, answer)
    publisher = publish(broker.config)
    wait_for(lambda: publisher.status().code, "the fault")
    assert said in publisher.status().last_error
    assert not publisher.status().connected
