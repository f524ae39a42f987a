"""A thousand units at one broker: latency, throughput, and how they come back after a restart.

    python benchmarks/fleet.py [--devices 1000] [--processes 4] [--rate 50] [--seconds 20]
                               [--outage 10] [--json]

Every unit is the daemon's own outbox (SQLite) and publisher with a connection of its own; only
camera and networks are left out. One subscriber with a durable session counts what arrives. The
broker is a real mosquitto that is stopped and started again in the middle. Needs some 8 open files
a unit in each process.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import paho.mqtt.client as mqtt
from broker import Mosquitto, running_broker
from commandline import Parser, amount, count, run
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from maskedge.config import MqttConfig
from maskedge.delivery.mqtt import Publisher
from maskedge.delivery.outbox import Outbox
from maskedge.errors import UsageError
from maskedge.events import EventBuilder, Models, Votes
from maskedge.geometry import Box

BURST = 20  # events of each unit at once, for the throughput
FILES, SPARE_FILES = 8, 100  # open in a unit, and besides; the broker has one for each unit


class Unit:
    """One door: the daemon's delivery, and events at random moments."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.made: list[str] = []
        self._builder = EventBuilder(name, "door", Models("0" * 12, "1" * 12))
        self.outbox = Outbox(folder / f"{name}.db")
        config = MqttConfig(host="127.0.0.1", port=port)
        self.publisher = Publisher(config, f"maskedge/{name}", self.outbox)
        self.publisher.start()

    def alert(self, count: int = 1) -> None:
        """Decide on somebody, now."""
        now = time.monotonic()
        events = [
            self._builder.started(
                label="without_mask",
                confidence=0.9,
                votes=Votes(9, 8),
                track_id=number,
                box=Box(0.1, 0.2, 0.3, 0.4),
                first_seen=now,
                decided_at=now,
            )
            for number in range(count)
        ]
        self.outbox.put(*events)
        self.made += [event.event_id for event in events]

    def close(self) -> None:
        """Deliver what waits, and end."""
        self.publisher.wait_idle(60)
        self.publisher.close(2.0)
        self.outbox.close()


def work(first: int, count: int, port: int, rate: float, folder: Path) -> None:
    """Be some of the units; obeys ``alerts``, ``burst``, ``quiet`` and ``end`` on stdin."""
    logging.disable(logging.WARNING)
    units = [Unit(f"door{n:04}", port, folder) for n in range(first, first + count)]
    while not all(unit.publisher.status().connected for unit in units):
        time.sleep(0.1)
    print("connected", flush=True)
    dice, busy = random.Random(first), False
    poll = select.poll()
    poll.register(sys.stdin, 1)
    while True:
        if poll.poll(1000 * dice.expovariate(rate) if busy else None):
            word = sys.stdin.readline().strip()
            if word == "burst":
                for unit in units:
                    unit.alert(BURST)
            if not word:
                return  # nobody asks any more
            if word == "end":
                break
            busy = word == "alerts"
        elif busy:
            dice.choice(units).alert()
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(Unit.close, units))
    print(json.dumps([event_id for unit in units for event_id in unit.made]), flush=True)


def welcomed(log: str, since: float) -> Counter[int]:
    """Units that the broker says it has welcomed, by whole second since the epoch."""
    found = re.findall(r"^(\d+): New client connected .* as maskedge-door", log, re.MULTILINE)
    return Counter(int(second) for second in found if int(second) >= int(since))


class Collector:
    """A consumer as docs/fleet.md wants it: durable session, QoS 1, ids counted once."""

    def __init__(self, port: int) -> None:
        self.arrivals: list[tuple[float, bytes]] = []
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="collector", protocol=mqtt.MQTTv5
        )
        self.client.on_message = lambda _c, _u, m: self.arrivals.append((time.time(), m.payload))
        self.client.on_connect = lambda c, *_: c.subscribe("maskedge/+/violation", qos=1)
        self.client.reconnect_delay_set(1, 1)
        lasting = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
        self.client.loop_start()

    def latencies(self, begun: float, ended: float) -> list[float]:
        """Seconds from decision to arrival, sorted, of what arrived between two moments."""
        taken = []
        for moment, payload in self.arrivals:
            if begun <= moment <= ended:
                decided = json.loads(payload)["decided_at"]
                taken.append(moment - datetime.fromisoformat(decided).timestamp())
        return sorted(taken)


def tell(workers: list[subprocess.Popen[str]], word: str) -> None:
    """The same to all workers."""
    for worker in workers:
        stdin: IO[str] = worker.stdin  # type: ignore[assignment]
        stdin.write(word + "\n")
        stdin.flush()


def measure(arguments: argparse.Namespace, folder: Path, broker: Mosquitto) -> dict[str, Any]:
    """The whole run."""
    collector = Collector(broker.port)
    share = arguments.devices // arguments.processes
    begun = time.time()
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--work"]
            + [str(w) for w in (n * share, share, broker.port)]
            + [str(arguments.rate / arguments.processes), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(arguments.processes)
    ]
    assert all(w.stdout and w.stdout.readline() == "connected\n" for w in workers)
    report: dict[str, Any] = {"devices": share * arguments.processes}
    report["all_connected_s"] = round(time.time() - begun, 1)

    begun = time.time()
    tell(workers, "alerts")
    time.sleep(arguments.seconds)
    quiet = collector.latencies(begun, time.time())
    if not quiet:
        raise UsageError(f"no event came in {arguments.seconds:g} s: more --seconds or --rate")
    report["steady"] = {
        "events_per_s": round(len(quiet) / arguments.seconds, 1),
        "p50_ms": round(1000 * quiet[len(quiet) // 2], 1),
        "p99_ms": round(1000 * quiet[int(len(quiet) * 0.99)], 1),
    }
    broker.stop()
    time.sleep(arguments.outage)
    back = time.time()
    broker.start()
    while (came := welcomed(broker.log(), back)).total() < report["devices"]:
        if time.time() - back > 120:
            sys.exit(f"only {came.total()} units came back")
        time.sleep(0.5)
    report["restart"] = {
        "outage_s": arguments.outage,
        "back_by_second": [came[s] for s in range(min(came), max(came) + 1)],
        "all_back_s": max(came) - int(back),
    }
    tell(workers, "quiet")
    while time.time() - collector.arrivals[-1][0] < 2:
        time.sleep(0.1)
    begun, before = time.time(), len(collector.arrivals)
    tell(workers, "burst")
    while len(collector.arrivals) < before + BURST * report["devices"]:
        if time.time() - begun > 120:
            sys.exit(f"only {len(collector.arrivals) - before} events of the burst arrived")
        time.sleep(0.05)
    seconds = collector.arrivals[-1][0] - begun
    report["burst"] = {"events_per_s": round(BURST * report["devices"] / seconds)}
    tell(workers, "end")
    made = {i for w in workers if w.stdout for i in json.loads(w.stdout.readline())}
    ids = [json.loads(payload)["event_id"] for _, payload in collector.arrivals]
    report["made"] = len(made)
    report["arrived_once"] = len(made & set(ids))
    report["repeated"] = len(ids) - len(set(ids))
    for worker in workers:
        worker.wait()
    collector.client.disconnect()
    return report


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=count, default=1000)
    parser.add_argument("--processes", type=count, default=4)
    parser.add_argument("--rate", type=amount, default=50, help="events a second, of all together")
    parser.add_argument("--seconds", type=amount, default=20)
    parser.add_argument("--outage", type=amount, default=10, help="seconds without a broker")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.devices < arguments.processes:
        parser.error(f"--devices {arguments.devices} is less than --processes")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if arguments.work:
        first, units, port, rate, folder = arguments.work
        work(int(first), int(units), int(port), float(rate), Path(folder))
        return
    files = FILES * max(arguments.devices // arguments.processes, arguments.devices // FILES)
    if resource.RLIM_INFINITY != most < files + SPARE_FILES:
        parser.error(
            f"needs {files + SPARE_FILES} open files a process, {most} are allowed: raise "
            "ulimit -Hn, or take fewer --devices"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keeping = ("persistence true", f"persistence_location {folder}/")
        with running_broker(folder, *keeping) as broker:
            report = measure(arguments, folder, broker)
    if arguments.json:
        print(json.dumps(report))
        return
    steady, restart = report["steady"], report["restart"]
    print(f"{report['devices']} units connected in {report['all_connected_s']} s")
    print(
        f"{steady['events_per_s']} events/s: {steady['p50_ms']} ms in the middle, "
        f"99 % within {steady['p99_ms']} ms, from decision to subscriber"
    )
    print(
        f"broker back after {restart['outage_s']:.0f} s: all units back in "
        f"{restart['all_back_s']} s, by second {restart['back_by_second']}"
    )
    print(f"{BURST} events of every unit at once: {report['burst']['events_per_s']} events/s")
    print(
        f"{report['made']} events made, {report['arrived_once']} arrived, "
        f"{report['repeated']} repeated"
    )


if __name__ == "__main__":
    run(main)
