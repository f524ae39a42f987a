"""Home Assistant's discovery: its form, its templates, its manners on the broker; and, where
$HOME_ASSISTANT_PYTHON names a Python that has it, a real Home Assistant core."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import threading
import time
import types
from pathlib import Path

import jinja2.sandbox
import pytest
import yaml
from mosquitto import PATIENCE, free_port, wait_for

from maskedge import events
from maskedge.config import Config
from maskedge.delivery import announcer, homeassistant
from maskedge.delivery.announcer import Announcer, Memory
from maskedge.delivery.connection import Connection
from maskedge.delivery.homeassistant import PROBLEMS
from maskedge.health import report
from maskedge.health.faults import FAULTS, FaultBoard, Situation
from maskedge.health.metrics import Metrics

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
TOPIC = "homeassistant/device/maskedge_door/config"
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


def config(broker=None, device="door", **settings):
    mqtt = {} if broker is None else broker.client().model_dump()
    return Config.model_validate({"device": device, "mqtt": mqtt, **settings})


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


# On the broker.


class Brother:
    """Everything published under a topic, as it comes, by a connection of its own."""

    def __init__(self, mqtt, topic):
        self.messages = []
        self._connection = Connection(mqtt, f"brother-{id(self)}", password=None, tls=None)
        self._connection.open(PATIENCE)
        self._connection.subscribe([topic], PATIENCE)
        self._stop = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while not self._stop:
            self._connection.step(0.1)
            while self._connection.messages:
                self.messages.append(self._connection.messages.popleft())

    def count(self, topic=TOPIC):
        return sum(message.topic == topic for message in list(self.messages))

    def close(self):
        self._stop = True
        self._thread.join(PATIENCE)
        self._connection.drop()


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


def announce_and_leave(announce, broker, settings):
    publisher = announce(settings)
    wait_for(lambda: homeassistant.topic(settings) in broker.retained(), "the announcement")
    assert publisher.close()


def say(broker, topic, word, *options):
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-t", topic, "-m", word, *options],
        check=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_announced_once_and_retained(broker, announce, brother, version):
    listener = brother(broker)
    settings = config(broker, mqtt={**broker.client(version=version).model_dump()})
    announce(settings)
    wait_for(lambda: listener.count() == 1, "the announcement")
    assert json.loads(listener.messages[0].payload) == homeassistant.discovery(settings)
    assert set(broker.retained("homeassistant/#")) == {TOPIC}


def test_announced_again_when_home_assistant_is_born_and_for_nothing_else(
    broker, announce, brother
):
    listener = brother(broker)
    announce(config(broker))
    wait_for(lambda: listener.count() == 1, "the announcement")
    for topic, word in (
        ("homeassistant/status", "offline"),
        ("homeassistant/status", "online "),
        ("homeassistant/status", ""),
        ("homeassistant/statu", "online"),
        ("maskedge/door/set", "online"),
    ):
        say(broker, topic, word)
    time.sleep(4 * announcer._PAUSE)
    assert listener.count() == 1
    say(broker, "homeassistant/status", "online")
    wait_for(lambda: listener.count() == 2, "the second announcement")


def test_a_birth_of_the_past_is_no_news(broker, announce, brother):
    say(broker, "homeassistant/status", "online", "-r")
    listener = brother(broker)
    announce(config(broker))
    wait_for(lambda: listener.count() == 1, "the announcement")
    time.sleep(4 * announcer._PAUSE)
    assert listener.count() == 1


def test_events_under_way_go_first(tmp_path):
    published = []

    def note(topic, *_, **__):
        published.append(topic)
        return len(published)

    wire = types.SimpleNamespace(messages=collections.deque(), request=note)
    session = types.SimpleNamespace(free=False, publish_besides=note)
    guest = Announcer(config(), tmp_path / "homeassistant.json")
    guest.turn(wire, session)
    assert published == []
    session.free = True
    guest.turn(wire, session)
    assert published == ["homeassistant/status", TOPIC]


def test_a_flood_of_births_is_no_flood_of_announcements(broker, announce, brother):
    listener = brother(broker)
    announce(config(broker))
    wait_for(lambda: listener.count() == 1, "the announcement")
    began = time.monotonic()
    births = "online\n" * 300
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-t", "homeassistant/status", "-l"],
        input=births, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    wait_for(lambda: listener.count("homeassistant/status") == 300, "the flood")
    wait_for(lambda: listener.count() >= 2, "an announcement")
    assert listener.count() <= 2 + (time.monotonic() - began) / announcer._PAUSE


def test_a_broker_that_forgot_everything_is_told_again(broker, announce):
    publisher = announce(config(broker))
    wait_for(lambda: broker.retained("homeassistant/#"), "the announcement")
    broker.kill()
    wait_for(lambda: not publisher.status().connected, "the loss")
    broker.start()
    wait_for(lambda: broker.retained("homeassistant/#"), "the announcement again")


def test_a_rename_clears_the_old_name_once(broker, announce, brother):
    announce_and_leave(announce, broker, config(broker))
    listener = brother(broker)
    renamed = config(broker, device="gate", homeassistant={"prefix": "ha"})
    announce(renamed)
    wait_for(lambda: not broker.retained("homeassistant/#"), "the old name cleared")
    wait_for(lambda: set(broker.retained("ha/#")) == {homeassistant.topic(renamed)}, "the new one")
    wait_for(lambda: listener.count() == 2, "what was retained, and its clearing")
    # Another unit may take the old name: it isn't ours any more to clear.
    say(broker, TOPIC, "{}", "-r")
    announce_and_leave(announce, broker, config(broker, device="porch"))
    assert TOPIC in broker.retained("homeassistant/#")
    wait_for(lambda: listener.count() == 3, "the other unit's announcement")
    time.sleep(0.5)
    assert listener.count() == 3


def test_turned_off_it_clears_and_says_nothing(broker, announce, tmp_path):
    announce_and_leave(announce, broker, config(broker))
    off = config(broker, homeassistant={"enabled": False})
    publisher = announce(off)
    wait_for(lambda: not broker.retained("homeassistant/#"), "the announcement cleared")
    publisher.close()
    (tmp_path / "state/homeassistant.json").unlink()
    publisher = announce(off)
    wait_for(lambda: publisher.status().connected, "a connection")
    assert publisher.close()
    assert not (tmp_path / "state/homeassistant.json").exists()
    assert not broker.retained("homeassistant/#")


def test_a_broker_that_refuses_is_left_in_peace(mosquitto, announce, outbox, collect, make, caplog):
    broker = mosquitto()
    acl = broker.file("acl", "topic readwrite maskedge/#\n")
    broker.configure(f"acl_file {acl}")
    broker.start()
    collector = collect(broker.client())
    publisher = announce(config(broker))
    wait_for(lambda: "not announced to Home Assistant" in caplog.text, "the word")
    assert "homeassistant.enabled" in caplog.text
    sent = make(5)
    outbox.put(*sent)
    wait_for(lambda: len(collector.firsts()) == 5, "the events")
    wait_for(lambda: publisher.status().connected, "a connection")
    assert publisher.status().code is None
    assert caplog.text.count("not announced") == 1


def test_a_broker_that_lets_us_announce_after_all_is_told(mosquitto, announce, caplog, monkeypatch):
    monkeypatch.setattr(announcer, "_AGAIN", 0.5)
    caplog.set_level("INFO")
    broker = mosquitto()
    allowed = "topic readwrite maskedge/#\n"
    broker.configure(f"acl_file {broker.file('acl', allowed)}")
    broker.start()
    announce(config(broker))
    wait_for(lambda: broker.log().count("Denied PUBLISH from maskedge-door") > 1, "two refusals")
    broker.file("acl", f"{allowed}topic readwrite homeassistant/#\n")
    broker.reload()
    wait_for(lambda: "announced to Home Assistant" in caplog.messages, "the word")
    assert TOPIC in broker.retained("homeassistant/#")
    assert caplog.text.count("not announced") == 1


def test_an_announcement_that_another_unit_has_cleared_comes_back(
    broker, announce, publish, tmp_path, monkeypatch
):
    """Two that swap their names: the second clears its old one, which is the first's by now."""
    monkeypatch.setattr(announcer, "_AGAIN", 0.5)
    announce(config(broker))
    wait_for(lambda: broker.retained("homeassistant/#"), "the announcement")
    late = config(broker, device="gate")
    memory = tmp_path / "gate.json"
    Memory(memory).add(f"127.0.0.1:{broker.port}", TOPIC)
    publish(late.mqtt, root=late.topic_root, guests=[Announcer(late, memory)])
    wait_for(lambda: not Memory(memory).topics(f"127.0.0.1:{broker.port}")[1:], "the clearing")
    both = {TOPIC, homeassistant.topic(late)}
    wait_for(lambda: set(broker.retained("homeassistant/#")) == both, "both units")


def test_an_old_name_that_may_not_be_cleared_is_given_up(mosquitto, announce, tmp_path, caplog):
    broker = mosquitto()
    acl = "topic readwrite maskedge/#\ntopic readwrite homeassistant/device/maskedge_gate/config\n"
    broker.configure(f"acl_file {broker.file('acl', acl)}")
    broker.start()
    renamed, place = config(broker, device="gate"), f"127.0.0.1:{broker.port}"
    memory = tmp_path / "state/homeassistant.json"
    Memory(memory).add(place, TOPIC)
    publisher = announce(renamed)
    wait_for(lambda: f"mosquitto_pub -r -n -t {TOPIC}" in caplog.text, "the word")
    wait_for(lambda: Memory(memory).topics(place) == [homeassistant.topic(renamed)], "the memory")
    assert "not announced" not in caplog.text
    wait_for(lambda: publisher.status().connected, "a connection")


def test_a_broker_that_hangs_up_on_the_announcement_still_gets_every_event(
    broker, announce, outbox, collect, make, relay, monkeypatch, caplog
):
    wire = relay(broker.port)
    request = Connection.request

    def cut(self, topic):  # AWS IoT ends the connection of who asks for what it mustn't
        request(self, topic)
        wire.cut()

    monkeypatch.setattr(Connection, "request", cut)
    collector = collect(broker.client())
    mqtt = {**broker.client().model_dump(), "port": wire.port}
    sent = make(3)
    outbox.put(*sent)
    publisher = announce(config(mqtt=mqtt))
    wait_for(lambda: "the connection ends whenever we announce" in caplog.text, "the insight")
    outbox.put(*make(2))
    wait_for(lambda: len(collector.firsts()) == 5, "all events")
    wait_for(lambda: publisher.status().connected, "a lasting connection")
    assert not broker.retained("homeassistant/#")


# What it remembers.


def test_a_damaged_memory_is_begun_anew(tmp_path, caplog):
    path = tmp_path / "homeassistant.json"
    for text in ("", "[]", '{"announced": 3}', '{"announced": [{"topic": 3}]}', "\0"):
        path.write_text(text)
        memory = Memory(path)
        assert memory.topics("b:1") == []
        memory.add("b:1", TOPIC)
        assert Memory(path).topics("b:1") == [TOPIC]
        assert Memory(path).topics("other:1") == []
    assert "begun anew" in caplog.text


def test_topics_that_are_no_announcements_are_never_cleared(tmp_path):
    path = tmp_path / "homeassistant.json"
    foreign = ["maskedge/door/health", "homeassistant/#", "homeassistant/sensor/x/config"]
    entries = [{"broker": "b:1", "topic": topic} for topic in (*foreign, TOPIC)]
    path.write_text(json.dumps({"announced": entries}))
    assert Memory(path).topics("b:1") == [TOPIC]


def test_a_disk_that_cannot_be_written_costs_no_announcement(broker, publish, tmp_path):
    (tmp_path / "file").write_text("in the way")
    guest = Announcer(config(broker), tmp_path / "file/homeassistant.json")
    publish(broker.client(), guests=[guest])
    wait_for(lambda: broker.retained("homeassistant/#"), "the announcement")


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
@pytest.mark.timeout(600)
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
    # The examples watch entities that weren't there yet, and say so; nothing else may be said.
    complaints = core.ask("states")["complaints"]
    assert [line for line in complaints if "unknown entity" not in line] == []
