"""The announcement's manners on the broker, and what is remembered of it."""

from __future__ import annotations

import collections
import json
import subprocess
import time
import types

import pytest
from announced import TOPIC, config, say
from mosquitto import PATIENCE, wait_for

from maskedge.delivery import announcer, homeassistant
from maskedge.delivery.announcer import Announcer, Memory
from maskedge.delivery.connection import Connection


def announce_and_leave(announce, broker, settings):
    publisher = announce(settings)
    wait_for(lambda: homeassistant.topic(settings) in broker.retained(), "the announcement")
    assert publisher.close()


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
    ours, place = [homeassistant.topic(late)], f"127.0.0.1:{broker.port}"
    wait_for(lambda: Memory(memory).topics(place) == ours, "the clearing")
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
