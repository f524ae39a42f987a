"""A broker, an outbox, a publisher and events, each closed at the end of the test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from announced import Brother
from mosquitto import Collector, Mosquitto, Relay

from maskedge.delivery.announcer import Announcer
from maskedge.delivery.backoff import Backoff
from maskedge.delivery.credentials import Login
from maskedge.delivery.mqtt import Publisher
from maskedge.delivery.outbox import Outbox
from maskedge.events import EventBuilder, Models, Votes
from maskedge.geometry import Box

ROOT = "maskedge/door"


@pytest.fixture
def builder():
    return EventBuilder("door", "entrance", Models("0123456789ab", "ba9876543210"))


@pytest.fixture
def make(builder):
    """``make(3)``: three new violations."""

    def make(count=1):
        return [
            builder.started(
                label="without_mask",
                confidence=0.9,
                votes=Votes(5, 5),
                track_id=number,
                box=Box(0.1, 0.2, 0.3, 0.4),
                first_seen=1.0,
                decided_at=2.0,
            )
            for number in range(count)
        ]

    return make


@pytest.fixture
def broker(tmp_path):
    """A running mosquitto that anyone may use."""
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.kill()


@pytest.fixture
def mosquitto(tmp_path):
    """``mosquitto("option value", anonymous=False)``: one to configure, not yet started."""
    made = []

    def build(*lines, anonymous=True):
        folder = tmp_path / f"broker-{len(made)}"
        folder.mkdir()
        made.append(Mosquitto(folder, *lines, anonymous=anonymous))
        return made[-1]

    yield build
    for broker in made:
        broker.kill()


@pytest.fixture
def relay():
    made = []

    def build(port):
        made.append(Relay(port))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def outbox(tmp_path):
    outbox = Outbox(tmp_path / "state" / "outbox.db")
    yield outbox
    outbox.close()


@pytest.fixture
def publish(outbox):
    """``publish(config, environ={"MASKEDGE_MQTT_PASSWORD": "x"})``: a started publisher."""
    made = []

    def build(config, *, root=ROOT, source=outbox, environ=None, **options):
        options.setdefault("backoff", Backoff(0.1, 0.5))
        options["login"] = Login.read(config, environ or {})
        publisher = Publisher(config, root, source, **options)
        publisher.start()
        made.append(publisher)
        return publisher

    yield build
    for publisher in made:
        publisher.close(2.0)


@pytest.fixture
def collect():
    made = []

    def build(config, device=None):
        made.append(Collector(config, device))
        return made[-1]

    yield build
    for collector in made:
        collector.close()


@pytest.fixture
def brother():
    made = []

    def build(broker, topic="homeassistant/#"):
        made.append(Brother(broker.client(), topic))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def announce(publish, tmp_path):
    """``announce(config)``: a publisher that announces by this configuration."""

    def build(settings, **options):
        guest = Announcer(settings, tmp_path / "state/homeassistant.json")
        return publish(settings.mqtt, root=settings.topic_root, guests=[guest], **options)

    return build
