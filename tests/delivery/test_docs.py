"""What docs/mqtt.md shows is true: its example is valid, its ACL does what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
from mosquitto import PATIENCE, wait_for

from maskedge import events

TEXT = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text(encoding="utf-8")


def block(beginning):
    (found,) = [b for b in re.findall(r"```\w*\n(.*?)```", TEXT, re.DOTALL) if beginning in b]
    return found


def test_the_example_is_valid():
    event = json.loads(block('"maskedge.violation/1"'))
    jsonschema.Draft202012Validator(events.schema("violation-1")).validate(event)


def test_every_member_is_explained():
    for member in events.schema("violation-1")["properties"]:
        assert f"`{member}`" in TEXT, member


def test_the_acl_lets_a_unit_write_its_own_topics_only(mosquitto, outbox, publish, collect, make):
    broker = mosquitto(anonymous=False)
    acl = broker.file("acl", block("pattern write maskedge"))
    users = {"door": "d", "gate": "g", "alarm-desk": "a"}
    broker.configure(f"acl_file {acl}", f"password_file {broker.passwords(**users)}")
    broker.start()
    file = broker.file("desk-password", "a\n")
    collector = collect(broker.client(username="alarm-desk", password_file=file))
    intruder = publish(
        broker.client(username="gate", client_id="gate"), environ={"MASKEDGE_MQTT_PASSWORD": "g"}
    )
    outbox.put(*make(3))
    wait_for(lambda: intruder.status().code == "broker-denied", "the refusal")
    assert not intruder.close(2.0)
    assert collector.notices == []
    unit = publish(broker.client(username="door"), environ={"MASKEDGE_MQTT_PASSWORD": "d"})
    assert unit.wait_idle(PATIENCE)
    wait_for(lambda: len(collector.events) == 3, "3 events")
