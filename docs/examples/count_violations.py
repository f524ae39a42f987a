"""Counts each violation of all units once, whatever is delivered twice.

Needs nothing but paho-mqtt.

    python count_violations.py BROKER [PORT] [--database violations.db]

A durable session keeps what comes while this program is away; the primary key drops repetitions;
the broker hears "taken" (PUBACK) only when the event is on disk.
"""

import argparse
import json
import signal
import socket
import sqlite3
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

TABLE = """
CREATE TABLE IF NOT EXISTS events (
  event_id TEXT PRIMARY KEY, violation_id TEXT, type TEXT, device TEXT, label TEXT,
  decided_at TEXT, seq INTEGER, clock_synced INTEGER
)
"""
UNSUITABLE = (sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""A value that no column takes, a list for example."""


def take(database: sqlite3.Connection, payload: bytes) -> None:
    """Store one event, once."""
    try:
        event = json.loads(payload)
        columns = [
            event[name]
            for name in ("event_id", "violation_id", "type", "device", "label", "decided_at", "seq")
        ]
        with database:
            database.execute(
                "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*columns, event.get("clock_synced")),
            )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, *UNSUITABLE):
        return  # not ours: never let one bad message stop the queue


def main() -> None:
    """Count until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("broker")
    parser.add_argument("port", nargs="?", type=int, default=1883)
    parser.add_argument("--database", default="violations.db")
    arguments = parser.parse_args()

    database = sqlite3.connect(arguments.database, timeout=30, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(TABLE)

    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=f"count-{socket.gethostname()}",
        protocol=mqtt.MQTTv5,
        manual_ack=True,
    )

    def on_message(client: mqtt.Client, _: object, message: mqtt.MQTTMessage) -> None:
        take(database, message.payload)
        client.ack(message.mid, message.qos)

    def on_connect(
        client: mqtt.Client, _u: object, _f: object, reason: ReasonCode, _p: object
    ) -> None:
        if reason.is_failure:
            print(f"{arguments.broker} refuses us: {reason}", file=sys.stderr)
        else:
            client.subscribe("maskedge/+/violation", qos=1)

    client.on_message = on_message
    client.on_connect = on_connect
    lasting = Properties(PacketTypes.CONNECT)
    lasting.SessionExpiryInterval = 7 * 24 * 3600
    # As the broker wants it: client.username_pw_set(...), client.tls_set(...)
    client.connect_async(arguments.broker, arguments.port, clean_start=False, properties=lasting)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: client.disconnect())
    client.loop_forever(retry_first_connection=True)


if __name__ == "__main__":
    main()
