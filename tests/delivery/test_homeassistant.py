"""Home Assistant's discovery: its form, its templates, its manners on the broker; and, where
$HOME_ASSISTANT_PYTHON names a Python that has it, a real Home Assistant core."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import jinja2.sandbox
import pytest
import yaml
from announced import TOPIC, config, say
from mosquitto import PATIENCE, free_port, wait_for

from maskedge import events
from maskedge.delivery import announcer, homeassistant
from maskedge.delivery.homeassistant import PROBLEMS
from maskedge.health import report
from maskedge.health.faults import FAULTS, FaultBoard, Situation
from maskedge.health.metrics import Metrics

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
WHO = report.Identity("door", "entrance", events.rfc3339(0))

# Home Assistant's rules as its source has them (components/mqtt/schemas.py, sensor.py,
# binary_sensor.py, event.py of 2025.1, the same in 2026): the keys that it takes.
DEVICE = {
    "identifiers", "connections", "manufacturer", "model", "model_id", "name", "hw_version",
    "serial_number", "sw_version", "via_device", "suggested_area", "configuration_url",
}  # fmt: skip
COMMON = {
    "platform", "unique_id", "name", "icon", "entity_category", "enabled_by_default", "qos",
    "json_attributes_topic", "json_attributes_template", "state_topic", "value_template",
}  # fmt: skip
OWN = {
    "event": {"device_class", "event_types"},
    "sensor": {
        "device_class", "state_class", "unit_of_measurement", "options", "expire_after",
        "force_update", "suggested_display_precision", "last_reset_value_template",
    },
    "binary_sensor": {
        "device_class", "payload_on", "payload_off", "expire_after", "force_update", "off_delay",
    },
}  # fmt: skip
UNITS = {"temperature": {"°C", "°F", "K"}, "duration": {"d", "h", "min", "s", "ms", "µs"}}


def render(template, payload, last=None):
    environment = jinja2.sandbox.SandboxedEnvironment()
    environment.filters["to_json"] = json.dumps
    said = environment.from_string(template).render(
        value=payload, value_json=payload, this={"attributes": last or {}}
    )
    return said.strip()


def health(situation=None, **vitals):
    board = FaultBoard(events.rfc3339)
    board.update(situation or Situation(), 0.0)
    metrics = Metrics()
    metrics.observe({"frame": 0.0421})
    return report.health(WHO, board, report.Vitals(**vitals), metrics, events.rfc3339(1))


# The announcement.


def test_the_announcement_keeps_home_assistants_rules():
    announced = homeassistant.discovery(config())
    assert set(announced) == {"device", "origin", "availability", "qos", "components"}
    assert set(announced["device"]) <= DEVICE
    assert announced["device"]["identifiers"]
    assert set(announced["origin"]) <= {"name", "sw_version", "support_url"}
    (availability,) = announced["availability"]
    assert set(availability) <= {
        "topic", "payload_available", "payload_not_available", "value_template"
    }  # fmt: skip
    for component in announced["components"].values():
        own = OWN[component["platform"]]
        assert set(component) <= COMMON | own
        assert component["state_topic"].startswith("maskedge/door/")
        assert component.get("entity_category", "diagnostic") == "diagnostic"
        if component["platform"] != "sensor":
            continue
        device_class = component.get("device_class")
        assert (device_class == "enum") == ("options" in component)
        if "options" in component:
            assert "state_class" not in component
            assert "unit_of_measurement" not in component
        if device_class in UNITS:
            assert component["unit_of_measurement"] in UNITS[device_class]
    ids = [component["unique_id"] for component in announced["components"].values()]
    assert len(set(ids)) == len(ids)
    assert len(events.to_json(announced).encode()) < 16_384


def test_values_expire_when_three_messages_are_missing():
    """Whoever hears nothing more shall not show it for ever: a broker may die with the unit."""
    announced = homeassistant.discovery(config(publish={"interval": 2.5}))
    for component in announced["components"].values():
        assert component.get("expire_after") == (None if component["platform"] == "event" else 38)


def test_one_device_one_topic_whatever_the_names():
    names = [
        config(),
        config(device="front door"),
        config(device="front_door"),
        config(device="Tür"),
        config(mqtt={"prefix": "site/b"}),
        config(mqtt={"prefix": "site/c"}),
    ]
    topics = [homeassistant.topic(one) for one in names]
    assert len(set(topics)) == len(topics)
    assert topics[0] == TOPIC
    for topic in topics:
        assert announcer._OURS.fullmatch(topic)
    elsewhere = config(homeassistant={"prefix": "ha"})
    assert homeassistant.topic(elsewhere) == "ha/device/maskedge_door/config"


def test_only_online_is_available():
    (availability,) = homeassistant.discovery(config())["availability"]
    assert availability["topic"] == "maskedge/door/availability"
    said = {word: render(availability["value_template"], word) for word in ("online", "stopped")}
    assert said == {"online": "online", "stopped": "offline"}


def test_what_the_sensors_show():
    components = homeassistant.discovery(config())["components"]
    labels = ["with_mask", "with_mask", "incorrect_mask"]
    payloads = {
        "maskedge/door/state": report.state(WHO, labels, (2 / 3, 3), 3600.0, events.rfc3339(0)),
        "maskedge/door/health": health(temperature=51.2, outbox_pending=7),
    }

    def shown(key):
        component = components[key]
        return render(component["value_template"], payloads[component["state_topic"]])

    assert {key: shown(key) for key, c in components.items() if c["platform"] == "sensor"} == {
        "with_mask": "2",
        "without_mask": "0",
        "incorrect_mask": "1",
        "unsure": "0",
        "compliance": "66.7",
        "violations": "0",
        "status": "ok",
        "temperature": "51.2",
        "inference": "42.1",
        "outbox": "7",
    }
    payloads["maskedge/door/state"] = report.state(WHO, [], (None, 0), 3600.0, events.rfc3339(0))
    payloads["maskedge/door/health"] = health()
    assert shown("compliance") == "None"  # Home Assistant's word for unknown
    assert shown("temperature") == "None"


FAULTY = {
    "camera_lost": {"camera_error": "gone"},
    "picture_black": {"scene": frozenset({"black"})},
    "lens_covered": {"scene": frozenset({"covered"})},
    "picture_frozen": {"scene": frozenset({"frozen"})},
    "accelerator_lost": {"accelerator_fault": "gone"},
    "broker_lost": {"broker_error": "denied"},
    "outbox_unwritable": {"outbox_error": "full"},
    "outbox_set_aside": {"outbox_note": "set aside"},
    "outbox_overflow": {"outbox_dropped": 3},
    "config_refused": {"config_error": "wrong"},
    "review_unwritable": {"review_error": "full"},
    "throttled": {"throttled": "hot"},
    "clock_unsynced": {"clock_synced": False},
    "falling_behind": {"behind": 0.9},
    "gpio_failed": {"gpio_error": "busy"},
    "command_failed": {"command_error": "exit code 1"},
    "model_drift": {"drift": "brightness moved"},
    "snapshot_failed": {"snapshot_error": "the disk is full"},
}


@pytest.mark.parametrize("code", sorted(FAULTY))
def test_each_fault_turns_exactly_one_problem_sensor_on(code):
    payload = health(Situation(**FAULTY[code]))
    assert [fault["code"] for fault in payload["faults"]] == [code]
    on = []
    for key, component in homeassistant.discovery(config())["components"].items():
        if component["platform"] == "binary_sensor":
            faults = json.loads(render(component["json_attributes_template"], payload))["faults"]
            state = render(component["value_template"], payload)
            assert (state, faults) in [("OFF", []), ("ON", payload["faults"])]
            on += [key] if state == "ON" else []
    wanted = next((name for name, codes in PROBLEMS.items() if code in codes), "system")
    assert on == [f"{wanted}_problem"]


def test_every_code_that_a_sensor_names_exists():
    assert {code for codes in PROBLEMS.values() for code in codes} <= {f.code for f in FAULTS}


def event_seen(event, last=None):
    template = homeassistant.discovery(config())["components"]["violation"]["value_template"]
    return json.loads(render(template, event, last))


def numbered(violation, seq):
    return json.loads(events.seal(violation.to_json(), seq=seq, created=violation.created))


def test_an_event_keeps_its_contract_and_gains_its_type(make):
    event = numbered(*make(), 1)
    assert event_seen(event) == {**event, "event_type": "started"}


def test_repeated_events_trigger_nothing_and_new_ones_always_do(make):
    first, second, third = (numbered(one, seq) for seq, one in enumerate(make(3), 1))
    assert event_seen(second, last=second) == {}
    assert event_seen(first, last=second) == {}
    assert event_seen(third, last=second)["event_id"] == third["event_id"]
    # Another boot, an outbox begun anew, no number for want of a disk: told, never swallowed.
    assert event_seen({**first, "boot_id": "another"}, last=second)
    assert event_seen({**third, "seq": 1}, last=second)
    assert event_seen({**third, "seq": None}, last=second)
    assert event_seen(third, last={**second, "seq": None})
    # A clock that was set back makes smaller ids; the outbox's number goes on.
    assert event_seen({**third, "event_id": "00000000" + third["event_id"][8:]}, last=second)


# The real one.


class HomeAssistant:
    """A Home Assistant core in a process of its own; see ``home_assistant_core.py``."""

    def __init__(self, python, folder, port, configuration):
        folder.mkdir(exist_ok=True)
        (folder / "configuration.yaml").write_text(yaml.safe_dump(configuration))
        program = Path(__file__).with_name("home_assistant_core.py")
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen(
            [python, "-W", "ignore", program, folder, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        self.version = self._answer()["version"]

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, Path(self._log.name).read_text()[-3000:]
        return json.loads(line)

    def ask(self, command):
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def state(self, entity):
        return self.ask("states")["states"].get(entity, {}).get("state")

    def attributes(self, entity):
        return self.ask("states")["states"][entity]["attributes"]

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


@pytest.fixture
def home_assistant(broker, tmp_path):
    python = os.environ.get("HOME_ASSISTANT_PYTHON")
    if not python:
        pytest.skip("$HOME_ASSISTANT_PYTHON names no Python with Home Assistant")
    folder = tmp_path / "home-assistant"
    blueprints = folder / "blueprints/automation/maskedge"
    blueprints.mkdir(parents=True)
    blueprint = (EXAMPLES / "home-assistant-blueprint.yaml").read_text()
    (blueprints / "alert.yaml").write_text(blueprint)
    alert = {
        "id": "alert",
        "alias": "alert",
        "use_blueprint": {
            "path": "maskedge/alert.yaml",
            "input": {
                "violation": "event.maskedge_door_violation",
                "actions": [
                    {
                        "action": "mqtt.publish",
                        "data": {"topic": "alerts", "payload": "{{ message }}", "qos": 1},
                    }
                ],
            },
        },
    }
    examples = yaml.safe_load((EXAMPLES / "home-assistant-automations.yaml").read_text())
    core = HomeAssistant(
        python,
        folder,
        broker.port,
        {"http": {"server_port": free_port()}, "automation": [alert, *examples]},
    )
    yield core
    core.close()


@pytest.mark.slow
def test_a_real_home_assistant(home_assistant, broker, announce, outbox, make, brother):
    core = home_assistant
    listener = brother(broker, "alerts")
    settings = config(broker)
    assert core.ask(f"validate {events.to_json(homeassistant.discovery(settings))}") == {
        "valid": True
    }
    publisher = announce(settings)
    wait_for(lambda: core.state("event.maskedge_door_violation") == "unknown", "the entities")
    publisher.publish_state(report.state(WHO, ["with_mask"], (1.0, 1), 3600.0, events.rfc3339(0)))
    publisher.publish_health(health(Situation(camera_error="unplugged"), temperature=48.5))
    wait_for(lambda: core.state("sensor.maskedge_door_status") == "failed", "health")
    assert core.state("sensor.maskedge_door_with_mask") == "1"
    assert core.state("sensor.maskedge_door_compliance") == "100.0"
    assert core.state("sensor.maskedge_door_temperature") == "48.5"
    assert core.state("sensor.maskedge_door_inference_time") == "42.1"
    assert core.state("binary_sensor.maskedge_door_camera") == "on"
    assert core.state("binary_sensor.maskedge_door_delivery") == "off"
    (fault,) = core.attributes("binary_sensor.maskedge_door_camera")["faults"]
    assert fault["message"] == "unplugged"

    (violation,) = make()
    outbox.put(violation)
    wait_for(lambda: listener.count("alerts") == 1, "the blueprint's alert")
    assert listener.messages[0].payload == b"door, entrance: without mask (90 %)"
    seen = core.attributes("event.maskedge_door_violation")
    assert (seen["event_type"], seen["label"]) == ("started", "without_mask")
    assert seen["event_id"] == violation.event_id
    repeated = events.seal(violation.to_json(), seq=1, created=violation.created).decode()
    told = core.state("event.maskedge_door_violation")
    say(broker, "maskedge/door/violation", repeated)
    time.sleep(1)
    assert core.state("event.maskedge_door_violation") == told
    assert listener.count("alerts") == 1
    outbox.put(*make(60))
    wait_for(lambda: listener.count("alerts") == 61, "an alert for each of many at once")

    publisher.close()
    wait_for(lambda: core.state("sensor.maskedge_door_status") == "unavailable", "unavailable")
    announce(config(broker, device="gate"))
    wait_for(lambda: core.state("sensor.maskedge_gate_status"), "the new name")
    wait_for(lambda: core.state("sensor.maskedge_door_status") is None, "the old one gone")
    wait_for(lambda: len(core.ask("devices")["devices"]) == 1, "one device")
    (device,) = core.ask("devices")["devices"]
    assert (device["name"], device["sw_version"]) == ("maskedge gate", homeassistant.__version__)
    # The examples watch entities that weren't there yet, and switch a lamp that isn't, and say so;
    # nothing else may be said.
    complaints = core.ask("states")["complaints"]
    expected = ("unknown entity", "light.")
    assert [line for line in complaints if not any(word in line for word in expected)] == []
