"""``listen`` against a real broker, with strangers on the same topics."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time

import pytest
from mosquitto import PATIENCE, Mosquitto, wait_for

from maskedge import cli, paths
from maskedge.config import MqttConfig
from maskedge.delivery.connection import Incoming
from maskedge.errors import EX_OK, EX_UNAVAILABLE, EX_USAGE, BrokerError
from maskedge.events import EventBuilder, Models, Votes, seal
from maskedge.geometry import Box
from maskedge.listen import FaultNews, Notice, Seen, Subscriber, listen, pretty


@pytest.fixture
def broker(tmp_path):
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.kill()


def violation(number=1, device="door"):
    builder = EventBuilder(device, "entrance", Models("0" * 12, "1" * 12))
    event = builder.started(
        label="without_mask",
        confidence=0.97,
        votes=Votes(9, 8),
        track_id=number,
        box=Box(0.1, 0.2, 0.3, 0.4),
        first_seen=time.monotonic() - 1,
        decided_at=time.monotonic(),
    )
    return seal(event.to_json(), seq=number, created=event.created).decode()


def send(broker, *payloads, topic="maskedge/door/violation", retain=False):
    for payload in payloads:
        words = ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", topic, "-m", payload]
        subprocess.run(words + ["-r"] * retain, check=True)


class Screen(io.StringIO):
    """Standard output that can be watched."""

    def lines(self):
        return self.getvalue().splitlines()


def listening(broker, screen, **options):
    """``listen`` in a thread, subscribed."""
    thread = threading.Thread(
        target=listen,
        args=(broker.client(),),
        kwargs={"out": screen, "timeout": PATIENCE} | options,
    )
    thread.start()
    marker = "maskedge/marker/availability"
    send(broker, "online", topic=marker, retain=True)
    if not options.get("as_json"):
        wait_for(lambda: "marker" in screen.getvalue(), "the subscription")
    else:
        wait_for(lambda: "SUBACK to maskedge-listen" in broker.log(), "the subscription")
    return thread


def test_json_lines_are_the_events_as_published(broker):
    screen = Screen()
    thread = listening(broker, screen, as_json=True, count=3)
    sent = [violation(n) for n in range(1, 4)]
    send(broker, *sent)
    thread.join(PATIENCE)
    assert [json.loads(line) for line in screen.lines()] == [json.loads(one) for one in sent]


def test_unique_drops_what_comes_twice(broker):
    screen = Screen()
    thread = listening(broker, screen, as_json=True, unique=True, count=2)
    first, second = violation(1), violation(2)
    send(broker, first, first, second)
    thread.join(PATIENCE)
    assert [json.loads(line)["seq"] for line in screen.lines()] == [1, 2]


def test_pretty_lines_tell_when_where_what_and_who(broker):
    screen = Screen()
    thread = listening(broker, screen, count=2)
    event = violation(7)
    send(broker, event, event)
    send(broker, "offline", topic="maskedge/door/availability")
    thread.join(PATIENCE)
    shown = [line for line in screen.lines() if "entrance" in line]
    assert len(shown) == 2
    for word in ("door/entrance", "started", "without_mask", "97%", "8/9 votes", "person 7"):
        assert word in shown[0]
    assert "(repeated)" not in shown[0]
    assert "(repeated)" in shown[1]


def test_availability_is_shown_when_it_changes(broker):
    screen = Screen()
    send(broker, "online", topic="maskedge/door/availability", retain=True)
    thread = listening(broker, screen, device=None, count=1)
    send(broker, "offline", topic="maskedge/door/availability", retain=True)
    wait_for(lambda: "door  is offline" in screen.getvalue(), "offline")
    send(broker, violation())
    thread.join(PATIENCE)
    assert sum("door  is online" in line for line in screen.lines()) == 1


def test_a_unit_whose_retained_values_are_cleared_says_nothing(broker):
    screen = Screen()
    send(broker, "stopped", topic="maskedge/door/availability", retain=True)
    thread = listening(broker, screen, count=1)
    send(broker, "", topic="maskedge/door/availability", retain=True)
    send(broker, violation())
    thread.join(PATIENCE)
    said = {line.split("  ", 1)[1] for line in screen.lines() if " is " in line}
    assert said == {"door  is stopped", "marker  is online"}


@pytest.mark.parametrize("name", ["#", "+", "a/b", ""])
def test_what_is_no_units_name_is_refused(name, capsys):
    assert cli.run(["listen", "--device", name]) == EX_USAGE
    assert "a unit's name must not" in capsys.readouterr().err


def ailing(**faults):
    """A ``health`` message with these faults: message by code."""
    listed = [{"code": code, "message": message} for code, message in faults.items()]
    return json.dumps({"schema": "maskedge.health/1", "faults": listed})


def test_faults_are_told_once_when_they_come_and_when_they_go(broker):
    screen = Screen()
    send(broker, "online", topic="maskedge/door/availability", retain=True)
    lost = ailing(camera_lost="unplugged", clock_unsynced="not set")
    send(broker, lost, topic="maskedge/door/health", retain=True)
    thread = listening(broker, screen, count=1)
    wait_for(lambda: "door  camera_lost: unplugged" in screen.getvalue(), "a fault from before")
    send(broker, lost, ailing(clock_unsynced="not set"), topic="maskedge/door/health")
    wait_for(lambda: "door  camera_lost is over" in screen.getvalue(), "its end")
    send(broker, violation())
    thread.join(PATIENCE)
    assert screen.getvalue().count("camera_lost") == 2
    assert screen.getvalue().count("clock_unsynced") == 1


def test_faults_of_a_unit_that_is_gone_are_not_told(broker):
    screen = Screen()
    send(broker, "stopped", topic="maskedge/door/availability", retain=True)
    send(broker, ailing(camera_lost="unplugged"), topic="maskedge/door/health", retain=True)
    thread = listening(broker, screen, count=1)
    for word in ("online", "offline", "online"):
        send(broker, word, topic="maskedge/door/availability", retain=True)
        send(broker, ailing(camera_lost="again"), topic="maskedge/door/health")
    send(broker, violation())
    thread.join(PATIENCE)
    assert "unplugged" not in screen.getvalue()
    assert screen.getvalue().count("camera_lost: again") == 2


def test_for_scripts_there_are_violations_only(broker):
    screen = Screen()
    thread = listening(broker, screen, as_json=True, count=1)
    send(broker, ailing(camera_lost="unplugged"), topic="maskedge/door/health")
    send(broker, violation())
    thread.join(PATIENCE)
    (line,) = screen.lines()
    assert json.loads(line)["schema"] == "maskedge.violation/1"


@pytest.mark.parametrize(
    "junk", ["no JSON", "[]", "[" * 5000]
    + [f'{{"schema":"maskedge.health/1","faults":{faults}}}' for faults in ("3", "[3]", "null")],
)  # fmt: skip
def test_junk_is_no_health_and_no_reason_to_stop(broker, junk):
    with Subscriber(broker.client(), faults=True) as subscriber:
        send(broker, junk, topic="maskedge/door/health")
        send(broker, violation())
        assert next(subscriber.notices(PATIENCE)).event["seq"] == 1


def test_one_device_only(broker):
    with Subscriber(broker.client(), "door") as subscriber:
        send(broker, violation(1, "gate"), topic="maskedge/gate/violation")
        send(broker, violation(2))
        notice = next(subscriber.notices(PATIENCE))
    assert (notice.device, notice.event["seq"]) == ("door", 2)


@pytest.mark.parametrize(
    "junk", ["no JSON", "[]", "{}", '{"schema":"maskedge.violation/1"}', "[" * 5000, "1e999"]
)
def test_junk_is_no_event_and_no_reason_to_stop(broker, junk, caplog):
    with Subscriber(broker.client()) as subscriber:
        send(broker, junk, violation())
        assert next(subscriber.notices(PATIENCE)).event["seq"] == 1
    assert "not a violation" in caplog.text


def test_a_stranger_cannot_steer_the_terminal(caplog):
    event = {"type": "\x1b[2J", "label": "a\nb", "decided_at": "\x07", "camera": "\u202e"}
    line = pretty(Notice("door\x1b]0;x", event=event))
    assert line.isprintable()
    assert pretty(Notice("door", availability="\x1b[31m")).isprintable()
    assert pretty(Notice("door", fault=FaultNews("\x1b[31m", "\a"))).isprintable()
    # Mosquitto refuses such a topic, other brokers pass it on.
    junk = Incoming("maskedge/\x1b]0;x\x07/violation", b"\x1b[2J", retained=False)
    subscriber = Subscriber(MqttConfig())
    assert list(subscriber._read(junk)) == []
    subscriber.close()
    assert "not a violation" in caplog.messages[0]
    assert caplog.messages[0].isprintable()


def test_subscriber_comes_back_by_itself(broker):
    got = []
    with Subscriber(broker.client()) as subscriber:

        def gather():
            got.extend(subscriber.notices())

        thread = threading.Thread(target=gather)
        thread.start()
        broker.kill()
        wait_for(lambda: subscriber._connection is None, "the loss")
        broker.start()
        wait_for(lambda: subscriber._connection is not None, "the return")
        send(broker, violation())
        subscriber_end = time.monotonic() + PATIENCE
        while not got and time.monotonic() < subscriber_end:
            time.sleep(0.05)
        subscriber.stop()
        thread.join(PATIENCE)
    assert [n.event["seq"] for n in got] == [1]


def test_first_connect_errors_are_one_clear_sentence(broker, tmp_path):
    broker.kill()
    with pytest.raises(BrokerError, match="connection refused; is the broker running"):
        listen(broker.client())
    with pytest.raises(BrokerError, match=r"name not known; check mqtt\.host"):
        listen(MqttConfig(host="no-such-host.invalid"))
    guarded = Mosquitto(tmp_path, anonymous=False)
    guarded.configure(f"password_file {guarded.passwords(me='secret')}")
    guarded.start()
    try:
        with pytest.raises(BrokerError, match="bad user name or password"):
            listen(guarded.client(username="me"))
    finally:
        guarded.kill()


@pytest.mark.parametrize(("host", "given"), [(None, True), ("localhost", False)])
def test_root_has_the_services_password_but_not_for_another_broker(
    monkeypatch, tmp_path, host, given
):
    (tmp_path / "mqtt-password").write_text("secret\n")
    monkeypatch.setattr(paths, "CONFIGURATION", tmp_path)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    broker = Mosquitto(tmp_path, anonymous=False)
    broker.configure(f"password_file {broker.passwords(me='secret')}")
    broker.start()
    words = ["listen", "--port", str(broker.port), "--set", "mqtt.username=me", "--timeout", "0.2"]
    try:
        code = cli.run(words + ([] if host is None else ["--host", host]))
    finally:
        broker.kill()
    assert code == (EX_OK if given else EX_UNAVAILABLE)


def test_a_count_that_is_not_reached_is_an_error(broker):
    with pytest.raises(BrokerError, match=r"only 0 of 2 violations came within 0\.5 s"):
        listen(broker.client(), count=2, timeout=0.5, out=Screen())
    assert listen(broker.client(), timeout=0.2, out=Screen()) == 0


def test_broken_pipe_ends_quietly(broker):
    class Closed(Screen):
        def write(self, _):
            raise BrokenPipeError

    send(broker, "online", topic="maskedge/door/availability", retain=True)
    assert listen(broker.client(), timeout=PATIENCE, out=Closed()) == 0


def test_ctrl_c_ends_cleanly(broker):
    code = (
        "import sys; from maskedge.config import MqttConfig; from maskedge.listen import listen; "
        f"sys.exit(listen(MqttConfig(host='127.0.0.1', port={broker.port})))"
    )
    send(broker, "online", topic="maskedge/door/availability", retain=True)
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert "door  is online" in child.stdout.readline()
    child.send_signal(2)
    _, errors = child.communicate(timeout=PATIENCE)
    assert (child.returncode, errors) == (0, "")


def test_memory_of_seen_ids_is_bounded():
    seen = Seen(most=3)
    assert [seen.add(x) for x in "abcab"] == [True, True, True, False, False]
    assert seen.add("d")  # forgets c, the one not seen for longest
    assert seen.add("c")
    assert not seen.add("b")
    assert len(seen._ids) == 3
