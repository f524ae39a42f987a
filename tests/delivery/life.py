"""A unit's life, ended by SIGKILL at random moments: run by test_kill.py as a program.

``life.py OUTBOX PORT LOG ROUNDS SEED``: forks a unit that stores and publishes as fast as it can,
kills it, and again, ROUNDS times; then lets a last one deliver the rest. LOG gets the id of each
event for which ``put`` has returned.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from maskedge.config import MqttConfig
from maskedge.delivery.backoff import Backoff
from maskedge.delivery.mqtt import Publisher
from maskedge.delivery.outbox import Outbox
from maskedge.events import EventBuilder, Models, Votes
from maskedge.geometry import Box

LONGEST = 0.4  # seconds of a life


def live(path, port, log, chance, *, last=False):
    outbox = Outbox(path)
    config = MqttConfig(host="127.0.0.1", port=port)
    publisher = Publisher(config, "maskedge/door", outbox, backoff=Backoff(0.01, 0.1))
    publisher.start()
    if last:
        delivered = publisher.wait_idle(60)
        publisher.close()
        outbox.close()
        return delivered
    builder = EventBuilder("door", "entrance", Models("0" * 12, "1" * 12))
    number = 0
    while True:
        events = [
            builder.started(
                label="without_mask",
                confidence=0.9,
                votes=Votes(5, 5),
                track_id=number + extra,
                box=Box(0, 0, 1, 1),
                first_seen=1.0,
                decided_at=2.0,
            )
            for extra in range(chance.randint(1, 4))
        ]
        number += len(events)
        if outbox.put(*events):
            os.write(log, "".join(f"{event.event_id}\n" for event in events).encode())
        time.sleep(chance.uniform(0, 0.02))


def main():
    path, port, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
    log = os.open(sys.argv[3], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    chance = random.Random(int(sys.argv[5]))
    for number in range(rounds):
        child = os.fork()
        if not child:
            live(path, port, log, random.Random(number))
        time.sleep(chance.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    sys.exit(0 if live(path, port, log, chance, last=True) else 1)


main()
