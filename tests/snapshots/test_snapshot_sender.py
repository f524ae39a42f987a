"""Pictures reach a real broker, wait for it in memory, and never stand in an event's way."""

import time
from collections import Counter

import pytest
from mosquitto import PATIENCE, Eavesdropper, wait_for

from maskedge.delivery.backoff import Backoff
from maskedge.delivery.mqtt import Publisher
from maskedge.delivery.outbox import Outbox
from maskedge.events import EventBuilder, Models, Votes
from maskedge.geometry import Box
from maskedge.snapshots import sender as sender_module
from maskedge.snapshots.sender import MOST, SnapshotSender

ROOT = "maskedge/door"
JPEG = b"\xff\xd8" + bytes(range(256)) * 200 + b"\xff\xd9"


@pytest.fixture
def counted():
    return Counter()


@pytest.fixture
def sender(counted):
    return SnapshotSender(lambda name: counted.update([name]))


@pytest.fixture
def outbox(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


@pytest.fixture
def publish(sender, outbox):
    made = []

    def build(config):
        publisher = Publisher(config, ROOT, outbox, guests=[sender], backoff=Backoff(0.05, 0.2))
        sender.listener = publisher.wake
        publisher.start()
        made.append(publisher)
        return publisher

    yield build
    for one in made:
        one.close(1.0)


def test_a_picture_arrives_whole_at_qos_1_and_is_not_retained(
    mosquitto, publish, sender, counted, tmp_path
):
    broker = mosquitto().start()
    ears = Eavesdropper(broker, tmp_path)
    publish(broker.client())
    sender.put(f"{ROOT}/snapshot/one", JPEG)
    wait_for(lambda: counted["snapshots_sent"], "the acknowledgement")
    wait_for(lambda: any("snapshot" in row[2] for row in ears.rows()), "the picture")
    ears.stop()
    got = [row for row in ears.rows() if "snapshot" in row[2]]
    assert got == [(False, 1, f"{ROOT}/snapshot/one", JPEG)]
    assert f"{ROOT}/snapshot/one" not in broker.retained()
    assert sender.error is None


def test_pictures_wait_for_the_broker_the_newest_of_them(mosquitto, publish, sender, counted):
    broker = mosquitto()
    publish(broker.client())
    for number in range(MOST + 3):
        sender.put(f"{ROOT}/snapshot/{number}", JPEG)
    assert counted == {"snapshots_dropped": 3}
    broker.start()
    wait_for(lambda: counted["snapshots_sent"] == MOST, "all that waited")


def freeze_with_one_under_way(broker, sender, counted):
    """Leave a picture without its acknowledgement; all that came before it has its own."""
    sender.put(f"{ROOT}/snapshot/zero", JPEG)
    wait_for(lambda: counted["snapshots_sent"], "a first picture")
    broker.freeze()
    sender.put(f"{ROOT}/snapshot/one", JPEG)
    wait_for(lambda: sender._under_way, "the publication")


def test_one_under_way_when_the_broker_dies_is_sent_again(mosquitto, publish, sender, counted):
    broker = mosquitto().start()
    publish(broker.client())
    freeze_with_one_under_way(broker, sender, counted)
    broker.kill()
    wait_for(lambda: sender._waiting, "its return")
    broker.start()
    wait_for(lambda: counted["snapshots_sent"] == 2, "the acknowledgement")


def test_the_next_publisher_goes_on_with_what_this_one_had_under_way(
    mosquitto, publish, sender, counted
):
    broker = mosquitto().start()
    first = publish(broker.client())
    freeze_with_one_under_way(broker, sender, counted)
    first.close(1.0)
    first._thread.join(PATIENCE)
    assert counted == {"snapshots_sent": 1}
    broker.thaw()
    publish(broker.client())
    wait_for(lambda: counted["snapshots_sent"] == 2, "the acknowledgement")


def test_a_broker_that_hangs_up_over_it_gets_two_and_the_events_come(
    mosquitto, publish, sender, outbox, counted
):
    broker = mosquitto("max_packet_size 20000").start()
    publish(broker.client())
    sender.put(f"{ROOT}/snapshot/one", JPEG)
    builder = EventBuilder("door", "hall", Models("0123456789ab", "ba9876543210"))
    outbox.submit(
        builder.started(
            label="without_mask",
            confidence=0.9,
            votes=Votes(5, 5),
            track_id=1,
            box=Box(0.1, 0.2, 0.3, 0.4),
            first_seen=1.0,
            decided_at=2.0,
        )
    )
    wait_for(lambda: counted["snapshots_dropped"], "giving up")
    assert "the connection ends whenever a picture of 51204 bytes is sent" in sender.error
    wait_for(lambda: outbox.status().pending == 0, "the event's delivery")
    sender.put(f"{ROOT}/snapshot/two", JPEG[:1000])
    wait_for(lambda: counted["snapshots_sent"], "a smaller one")
    assert sender.error is None


def test_a_broker_that_refuses_pictures_is_told_and_asked_seldom(
    mosquitto, publish, sender, counted, monkeypatch
):
    monkeypatch.setattr(sender_module, "TRIES", 2)
    broker = mosquitto()
    acl = broker.file("acl", "topic readwrite maskedge/+/availability\n")
    broker.configure(f"acl_file {acl}")
    broker.start()
    publish(broker.client())
    begin = time.monotonic()
    sender.put(f"{ROOT}/snapshot/one", JPEG)
    wait_for(lambda: sender.error, "the refusal")
    assert sender.error == (
        f"the broker refuses {ROOT}/snapshot/one: not authorized; let its ACL allow it"
    )
    wait_for(lambda: counted["snapshots_dropped"], "giving up", PATIENCE)
    assert time.monotonic() - begin >= 1.0  # half of the first pause, the least that jitter leaves


def test_who_wants_no_pictures_any_more_sends_none(mosquitto, publish, sender, counted):
    broker = mosquitto()
    publish(broker.client())
    sender.put(f"{ROOT}/snapshot/one", JPEG)
    sender.clear()
    broker.start()
    time.sleep(1.0)
    assert not counted
    assert "snapshot" not in broker.log()


def test_one_under_way_when_pictures_are_switched_off_is_not_sent_again(
    mosquitto, publish, sender, counted
):
    broker = mosquitto().start()
    publisher = publish(broker.client())
    freeze_with_one_under_way(broker, sender, counted)
    sender.clear()
    broker.kill()
    broker.start()
    wait_for(lambda: publisher.status().connects == 2, "the next connection")
    assert not sender._waiting
    assert not sender._under_way
    assert counted == {"snapshots_sent": 1}
