"""A unit that announces itself to Home Assistant, and who listens to it."""

from __future__ import annotations

import subprocess
import threading

from mosquitto import PATIENCE

from maskedge.config import Config
from maskedge.delivery.connection import Connection

TOPIC = "homeassistant/device/maskedge_door/config"


def config(broker=None, device="door", **settings):
    mqtt = {} if broker is None else broker.client().model_dump()
    return Config.model_validate({"device": device, "mqtt": mqtt, **settings})


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


def say(broker, topic, word, *options):
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-t", topic, "-m", word, *options],
        check=True,
        timeout=PATIENCE,
    )
