"""docs/fleet.md: the bridge and the counting program, with repetitions and a restart."""

import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from mosquitto import PATIENCE, Mosquitto, wait_for

GUIDE = Path(__file__).parents[2] / "docs/fleet.md"
EXAMPLES = GUIDE.parent / "examples"


@pytest.fixture
def centre(tmp_path):
    folder = tmp_path / "centre"
    folder.mkdir()
    broker = Mosquitto(folder).start()
    yield broker
    broker.kill()


def bridged_to(centre):
    """The example's lines, but on this machine and without TLS."""
    lines = (EXAMPLES / "bridge.conf").read_text().splitlines()
    return [
        line.replace("central.example.org:8883", f"127.0.0.1:{centre.port}")
        for line in lines
        if line and not line.startswith(("#", "bridge_cafile", "bridge_certfile", "bridge_keyfile"))
        and line != "persistence true"
    ]  # fmt: skip


@pytest.fixture
def site(mosquitto, centre):
    """A broker bridged as the example says."""
    broker = mosquitto()
    broker.configure(*bridged_to(centre))
    broker.start()
    return broker


@pytest.fixture
def count(centre, tmp_path):
    database = tmp_path / "violations.db"
    running = []

    def start(*options):
        words = [sys.executable, EXAMPLES / "count_violations.py", "127.0.0.1", str(centre.port)]
        running.append(subprocess.Popen([*words, "--database", database, *options]))
        said = "Sending SUBACK to count-"
        wait_for(lambda: centre.log().count(said) == len(running), "the subscription")
        return running[-1]

    def counted():
        with sqlite3.connect(database) as connection:
            rows = connection.execute("SELECT event_id FROM events").fetchall()
        connection.close()
        return sorted(row[0] for row in rows)

    start.result = counted
    yield start
    for process in running:
        process.terminate()
        process.wait(PATIENCE)


def test_every_violation_is_counted_once(site, centre, count, publish, outbox, make):
    counting = count()
    publish(site.client())
    events = make(40)
    outbox.put(*events[:20])
    wait_for(lambda: len(count.result()) == 20, "the first half")
    counting.kill()  # in the middle of its work
    counting.wait()
    again = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)  # a bridge or a unit that repeats
    again.connect("127.0.0.1", centre.port)
    again.loop_start()
    event = json.loads(events[0].to_json()) | {"event_id": "bad"}
    bad = [event | one for one in ({"event_id": {}}, {"seq": 2**70}, {"label": "\ud800"})]
    for payload in (b"no JSON", "[" * 5000, *map(json.dumps, bad)):
        again.publish("maskedge/door/violation", payload, qos=1).wait_for_publish(PATIENCE)
    outbox.put(*events[20:])
    wait_for(lambda: outbox.status().pending == 0, "the unit's outbox empty")
    for event in events[15:25]:
        said = again.publish("maskedge/door/violation", event.to_json(), qos=1)
        said.wait_for_publish(PATIENCE)
    again.disconnect()
    again.loop_stop()
    assert len(count.result()) < 40
    count()
    wait_for(lambda: len(count.result()) == 40, "all events")
    assert count.result() == sorted(event.event_id for event in events)


def test_the_acl_of_the_centre_lets_a_bridge_through(mosquitto, collect, publish, outbox, make):
    (acl,) = re.findall(r"```\n(# acl: .*?)```", GUIDE.read_text(), re.DOTALL)
    centre, site = mosquitto(anonymous=False), mosquitto()
    users = centre.passwords(**{"alarm-desk": "a", "site-north": "s"})
    centre.configure(f"acl_file {centre.file('acl', acl)}", f"password_file {users}")
    centre.start()
    site.configure(*bridged_to(centre), "remote_username site-north", "remote_password s")
    site.start()
    password = centre.file("desk-password", "a\n")
    collector = collect(centre.client(username="alarm-desk", password_file=password))
    unit = publish(site.client())
    outbox.put(*make(3))
    assert unit.wait_idle(PATIENCE)
    wait_for(lambda: len(collector.events) == 3, "3 events")


@pytest.mark.parametrize("where", ["fleet.md", "mqtt.md", "examples/bridge.conf"])
def test_a_broker_that_keeps_sessions_has_a_queue_for_more_than_a_thousand(where):
    text = (GUIDE.parent / where).read_text()
    (broker,) = re.findall(r"^persistence true\n(?:.+\n)*", text, re.MULTILINE)
    assert "\nmax_queued_messages 100000\n" in broker


def test_the_counting_program_waits_for_its_broker_and_says_who_refuses_it(mosquitto, tmp_path):
    broker = mosquitto(anonymous=False)
    database = tmp_path / "violations.db"
    words = [EXAMPLES / "count_violations.py", "127.0.0.1", str(broker.port)]
    with subprocess.Popen(
        [sys.executable, *words, "--database", database], stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(database.exists, "the program")
        time.sleep(0.5)
        broker.start()
        assert process.stderr.readline() == "127.0.0.1 refuses us: Not authorized\n"
        process.terminate()
    assert process.returncode == 0


def test_programs_that_share_a_subscription_divide_the_events(centre, publish, outbox, make):
    topic = re.search(r"`(\$share/[^`]+)`", GUIDE.read_text())[1]
    heard, counters = [[], []], []
    for number, mine in enumerate(heard):
        counter = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=f"counter-{number}", protocol=mqtt.MQTTv5
        )
        counter.on_message = lambda _c, _u, said, mine=mine: mine.append(said.payload)
        counter.connect("127.0.0.1", centre.port)
        counter.subscribe(topic, qos=1)
        counter.loop_start()
        counters.append(counter)
    wait_for(lambda: centre.log().count("Sending SUBACK") == 2, "both subscriptions")
    publish(centre.client())
    events = make(20)
    outbox.put(*events)
    wait_for(lambda: sum(map(len, heard)) == len(events), "all events")
    for counter in counters:
        counter.disconnect()
        counter.loop_stop()
    ids = [json.loads(payload)["event_id"] for mine in heard for payload in mine]
    assert sorted(ids) == sorted(event.event_id for event in events)
    assert all(heard)
