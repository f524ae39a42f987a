"""Lamp and command by a whole daemon: without a broker, and without what they need."""

import csv
import signal
import sys

from mosquitto import PATIENCE, wait_for

WRITER = """\
import csv, json, sys
event = json.load(sys.stdin)
with open("violations.csv", "a", newline="") as file:
    csv.writer(file).writerow([event["type"], event["label"], event["decided_at"]])
"""


def codes(health):
    return {fault["code"] for fault in health.get("faults", [])}


def test_lamp_and_command_follow_a_visit_without_a_broker(header, running, visit_video):
    signals = {
        "gpio": [{"pin": 17}],
        "command": {"run": [sys.executable, "-c", WRITER], "events": ["started", "ended"]},
    }
    inside, unit = running(visit_video, signals=signals)  # the broker was never started
    pin = header.pin(17)
    wait_for(lambda: pin.state == 1, "the lamp on")
    assert inside.daemon._teller.standing
    wait_for(lambda: inside.daemon._guard.ended, "the end of the recording")
    inside._thread.join(PATIENCE)
    assert inside.code == 0
    assert [bool(state.state) for state in pin.states] == [False, True, False]
    rows = list(csv.reader((unit.folder / "state/violations.csv").read_text().splitlines()))
    assert [row[:2] for row in rows] == [["started", "without_mask"], ["ended", "without_mask"]]


def test_what_is_missing_is_a_fault_and_the_events_come(
    broker, daemon, collect, health, visit_video, tmp_path
):
    broker.start()
    collector = collect()
    program = tmp_path / "signal"
    signals = {"gpio": [{"pin": 17}], "command": {"run": [str(program)]}}
    unit = daemon(visit_video, camera={"loop": True}, signals=signals).start().ready()
    wait_for(lambda: codes(health()) >= {"gpio_failed", "command_failed"}, "both faults")
    said = {fault["code"]: fault["message"] for fault in health()["faults"]}
    assert said["gpio_failed"].startswith("pin 17: ")
    assert said["command_failed"] == f"{program}: no such file; correct signals.command.run"
    wait_for(lambda: collector.events, "an event all the same")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    wait_for(lambda: "command_failed" not in codes(health()), "the next event clears it")
    unit.configure({**unit.settings, "signals": {}})
    wait_for(lambda: "gpio_failed" not in codes(health()), "the reload clears it")
    unit.send(signal.SIGTERM)
    assert unit.wait() == 0
    assert "Traceback" not in unit.log
    assert unit.log.count("fault gpio_failed") == 1


def test_a_reload_leaves_the_lamp_on_and_moves_it(header, running, visit_video):
    _, unit = running(visit_video, camera={"loop": True}, signals={"gpio": [{"pin": 17}]})
    wait_for(lambda: header.pin(17).state == 1, "the lamp on")
    unit.configure({**unit.settings, "signals": {"gpio": [{"pin": 5}]}})
    wait_for(lambda: header.pin(5).function == "output" and header.pin(5).state, "the other lamp")
    assert header.pin(17).function == "input"
