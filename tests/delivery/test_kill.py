"""SIGKILL at random moments of the life of events: none lost, ids repeated only, order kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mosquitto import wait_for

KILLS = int(os.environ.get("MASKEDGE_KILLS", "1000"))


def check_kills(broker, port, collect, tmp_path, kills):
    path, log = tmp_path / "state" / "outbox.db", tmp_path / "log"
    collector = collect(broker.client())
    life = Path(__file__).with_name("life.py")
    words = [sys.executable, str(life), str(path), str(port), str(log), str(kills), "1"]
    subprocess.run(words, check=True, timeout=120 + 2 * kills)
    stored = log.read_text().split()
    assert len(stored) > kills / 4, "too few lives were long enough to say anything"

    def arrived():
        return {event["event_id"] for event in collector.firsts()}

    wait_for(lambda: {*stored} <= arrived(), "every event that was stored")
    # On a wire that loses a client's last word, the will follows.
    wait_for(lambda: "stopped" in collector.availability[-2:], "the clean end")
    firsts = collector.firsts()
    # Numbers are given without gaps where events are stored: a gap here is an event lost.
    assert [event["seq"] for event in firsts] == list(range(1, len(firsts) + 1))
    copies = {(event["event_id"], event["seq"]) for event in collector.events}
    assert len(copies) == len(firsts)
    assert not list(path.parent.glob("*.aside-*"))
    return len(firsts), len(collector.events) - len(firsts)


def test_sigkill_at_40_random_moments(broker, collect, tmp_path):
    check_kills(broker, broker.port, collect, tmp_path, 40)


def test_power_cut_at_40_random_moments(broker, relay, collect, tmp_path):
    """As SIGKILL, and what was on its way to the broker is gone, too."""
    wire = relay(broker.port)
    wire.lag = 0.15  # longer than it takes until what is acknowledged goes from the disk
    check_kills(broker, wire.port, collect, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sigkill_at_1000_random_moments(broker, collect, tmp_path, record_property):
    events, repeated = check_kills(broker, broker.port, collect, tmp_path, KILLS)
    record_property("events", events)
    record_property("repeated", repeated)
    print(f"{KILLS} kills, {events} events, 0 lost, {repeated} repeated")  # noqa: T201 - with -s
