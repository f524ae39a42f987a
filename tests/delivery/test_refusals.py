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

from maskedge.config import Config, MqttConfig
from maskedge.delivery import mqtt as delivery
from maskedge.delivery import problems
from maskedge.delivery.announcer import Announcer, Memory
from maskedge.snapshots.sender import SnapshotSender

QUOTA_EXCEEDED = 0x97
WELCOME_LIMITED = b"\x20\x06\x00\x00\x03\x21"  # Receive Maximum follows, in two bytes
TAKES_ONE = WELCOME_LIMITED + b"\x00\x01"


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

    @property
    def sent(self):
        """The numbers of all violations that came, taken or not."""
        return [json.loads(word)["seq"] for topic, word in [*self.received] if "violation" in topic]

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
    wait_for(lambda: broker.sent.count(1) > 1, "another try")
    time.sleep(0.5)
    sent = broker.sent
    window = max(sent)
    assert window in {19, 20}  # availability counts in it until its PUBACK
    assert sent == [*range(1, window + 1), *[1] * (len(sent) - window)]  # then one event alone
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


def test_a_value_that_was_refused_is_sent_when_the_broker_takes_it(scripted, publish):
    """On the same connection, which mosquitto 2.0 would end."""
    broker = scripted(lambda number, _: 0x87 if number <= 2 else 0)
    publisher = publish(broker.config)
    publisher.publish_state({"people": 0})
    wait_for(lambda: publisher.status().code == "broker-denied", "the refusal")
    wait_for(lambda: len(broker.received) == 4, "both again")
    assert set(broker.received[:2]) == set(broker.received[2:])
    wait_for(lambda: publisher.status().code is None, "no fault any more")
    assert publisher.status().connects == 1


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_in_flight_than_the_broker_takes(scripted, outbox, publish, make, limit):
    """Receive Maximum, property 0x21 of CONNACK."""
    broker = scripted(lambda *_: None, WELCOME_LIMITED + struct.pack("!H", limit))
    publisher = publish(broker.config)
    outbox.put(*make(30))
    wait_for(lambda: len(broker.received) == limit, "a full window")
    time.sleep(0.5)
    assert len(broker.received) == limit
    assert publisher.status().in_flight == limit


class StrictBroker(ScriptedBroker):
    """Answers late, and hangs up over one publication more than ``most`` [MQTT-3.3.4-9]."""

    def __init__(self, most):
        super().__init__(lambda *_: 0, WELCOME_LIMITED + struct.pack("!H", most))
        self.hung_up = 0
        self.most, self._unanswered = most, []
        threading.Thread(target=self._answer_late, daemon=True).start()

    def _talk(self, client, stream):
        self._unanswered.clear()
        super()._talk(client, stream)

    def _take(self, client, body):
        if len(self._unanswered) >= self.most:
            self.hung_up += 1
            client.sendall(b"\xe0\x02\x93\x00")
            raise ConnectionError("Receive Maximum exceeded")
        self._unanswered.append((client, body))

    def _answer_late(self):
        while self._server.fileno() != -1:
            time.sleep(0.02)
            with contextlib.suppress(IndexError, OSError):
                super()._take(*self._unanswered.pop(0))


@pytest.mark.parametrize("most", [1, 2, 5])
def test_values_events_and_guests_share_what_the_broker_takes(
    outbox, publish, make, tmp_path, most, monkeypatch
):
    monkeypatch.setattr(delivery, "_LAST_WORD", PATIENCE)
    broker = StrictBroker(most)
    config = Config(device="door", mqtt=broker.config)
    stale = [f"homeassistant/device/maskedge_{old}/config" for old in ("gate", "porch", "hall")]
    memory, place = tmp_path / "announced.json", f"127.0.0.1:{broker.config.port}"
    for topic in stale:
        Memory(memory).add(place, topic)
    pictures = SnapshotSender(lambda _: None)
    publisher = publish(broker.config, guests=[Announcer(config, memory), pictures])
    publisher.publish_state({"people": 0})
    publisher.publish_health({"well": True})
    for _ in range(3):
        pictures.put("maskedge/door/snapshot", b"picture")
    outbox.put(*make(10))
    wait_for(lambda: len(Memory(memory).topics(place)) == 1, "the old announcements cleared")
    wait_for(lambda: sum(word == b"picture" for _, word in broker.received) == 3, "the pictures")
    assert {"maskedge/door/state", "maskedge/door/health", *stale} <= dict(broker.received).keys()
    outbox.put(*make(200))
    publisher.publish_state({"people": 1})
    assert publisher.close(PATIENCE + 1.0)  # a second for the events, the rest for the last word
    assert broker.received[-1] == ("maskedge/door/availability", b"stopped")
    assert broker.taken == list(range(1, len(broker.taken) + 1))
    assert broker.hung_up == 0
    broker.close()


def test_the_last_word_waits_for_room(scripted, outbox, publish, make):
    broker = scripted(lambda _, topic: None if topic.endswith("/violation") else 0, TAKES_ONE)
    publisher = publish(broker.config)
    outbox.put(*make())
    wait_for(lambda: broker.received[1:], "the event")
    assert not publisher.close(1.3)
    assert [topic for topic, _ in broker.received[1:]] == ["maskedge/door/violation"]


def test_a_broker_that_never_answers_a_guest_is_frozen(scripted, outbox, publish, make):
    """Where it takes one publication at a time, events would wait for ever."""
    broker = scripted(lambda _, topic: None if topic.endswith("/snapshot") else 0, TAKES_ONE)
    pictures = SnapshotSender(lambda _: None)
    pictures.put("maskedge/door/snapshot", b"picture")
    publisher = publish(broker.config, guests=[pictures], ack_timeout=0.5)
    wait_for(lambda: any("snapshot" in topic for topic, _ in broker.received), "the picture")
    outbox.put(*make(3))
    wait_for(lambda: {*broker.taken} == {1, 2, 3}, "the events")
    assert publisher.status().connects > 1


class OffendedBroker(ScriptedBroker):
    """Takes an announcement, but hangs up over an old one that is cleared, as AWS IoT may."""

    def _take(self, client, body):
        if b"maskedge_gate" in body:
            raise ConnectionError("not allowed")
        super()._take(client, body)


def test_an_old_announcement_costs_no_more_than_two_connections(publish, tmp_path, caplog):
    broker = OffendedBroker(lambda *_: 0)
    config = Config(device="door", mqtt=broker.config)
    memory = tmp_path / "announced.json"
    stale = "homeassistant/device/maskedge_gate/config"
    Memory(memory).add(f"127.0.0.1:{broker.config.port}", stale)
    publisher = publish(broker.config, guests=[Announcer(config, memory)])
    wait_for(lambda: "the connection ends whenever we announce" in caplog.text, "the insight")
    wait_for(lambda: publisher.status().connects == 3, "a lasting connection")
    broker.close()


class MiscountingBroker(ScriptedBroker):
    """Takes nothing but the availability, and says that it is too much."""

    def _take(self, client, body):
        if b"/violation" in body:
            client.sendall(b"\xe0\x02\x93\x00")
            raise ConnectionError("Receive Maximum exceeded")
        super()._take(client, body)


def test_a_broker_that_hangs_up_over_too_many_says_so(publish, outbox, make, monkeypatch):
    """Not taken for a second client with our id."""
    monkeypatch.setattr(problems, "_HOLD", 0.1)
    broker = MiscountingBroker(lambda *_: 0)
    outbox.put(*make())
    publisher = publish(broker.config)
    wait_for(lambda: publisher.status().connects >= 5, "five connections")
    said = wait_for(lambda: publisher.status().last_error, "the loss")
    assert "Receive Maximum); raise that limit" in said
    broker.close()


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
