"""How many events a second go durably through the outbox to a real mosquitto, and what one costs.

    python benchmarks/outbox.py [--events 20000] [--batch 100] [--folder DIR] [--json]

Every event is on disk before it is sent and deleted after its PUBACK. ``--folder`` chooses the
disk. Writes to the device are read from /proc/self/io; a page that is written twice counts twice.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from broker import PLAIN, running_broker
from commandline import Parser, count, existing, run

from maskedge.config import MqttConfig
from maskedge.delivery.mqtt import Publisher
from maskedge.delivery.outbox import Outbox
from maskedge.events import EventBuilder, Models, Violation, Votes
from maskedge.geometry import Box


def events(count: int) -> list[Violation]:
    """New violations."""
    builder = EventBuilder("bench", "bench", Models("0" * 12, "1" * 12))
    return [
        builder.started(
            label="without_mask",
            confidence=0.9,
            votes=Votes(9, 8),
            track_id=number,
            box=Box(0.1, 0.2, 0.3, 0.4),
            first_seen=1.0,
            decided_at=2.0,
        )
        for number in range(count)
    ]


def written() -> int:
    """Bytes that this process has sent to storage."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def through(folder: Path, port: int, count: int, batch: int) -> dict[str, float]:
    """From ``put`` to the PUBACK of the last, storing and sending at the same time."""
    outbox = Outbox(folder / "through.db", max_events=count + 1)
    publisher = Publisher(MqttConfig(host="127.0.0.1", port=port), "maskedge/bench", outbox)
    publisher.start()
    while not publisher.status().connected:
        time.sleep(0.01)
    made, before, cpu, begun = events(count), written(), time.process_time(), time.perf_counter()
    for start in range(0, count, batch):
        assert outbox.put(*made[start : start + batch])
    stored = time.perf_counter() - begun
    assert publisher.wait_idle(600)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    publisher.close()
    outbox.close()
    assert publisher.status().acknowledged == count
    return {
        "stored_per_s": count / stored,
        "delivered_per_s": count / seconds,
        "cpu_us_per_event": cpu / count * 1e6,
        "kib_per_event": (written() - before) / count / 1024,
    }


def one_by_one(folder: Path, count: int = 200) -> dict[str, float]:
    """A single alert: stored, and deleted by itself, as it is when persons come seldom."""
    outbox = Outbox(folder / "single.db")
    before, waits = written(), []
    for event in events(count):
        begun = time.perf_counter()
        assert outbox.put(event)
        waits.append(time.perf_counter() - begun)
        outbox.delete(outbox.pending(1))
        while outbox.status().pending:
            time.sleep(0.001)
        time.sleep(0.11)  # the deletion is a write of its own
    outbox.close()
    waits.sort()
    return {
        "put_ms_p50": waits[count // 2] * 1e3,
        "put_ms_p95": waits[count * 95 // 100] * 1e3,
        "kib_per_event": (written() - before) / count / 1024,
    }


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=count, default=20_000)
    parser.add_argument("--batch", type=count, default=100, help="events stored in one transaction")
    parser.add_argument("--folder", type=existing, help="where the outbox lies; default: temporary")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        with running_broker(folder, *PLAIN, quiet=True) as broker:
            result = {
                "through": through(folder, broker.port, options.events, options.batch),
                "single": one_by_one(folder),
            }
    if options.json:
        print(json.dumps(result))
        return
    for part, figures in result.items():
        for name, value in figures.items():
            print(f"{part:8} {name:18} {value:10.2f}")


if __name__ == "__main__":
    run(main)
