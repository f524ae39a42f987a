"""Announces this unit to Home Assistant, as a guest on the publisher's connection.

Nothing here may cost a violation: events under way go first, and a broker that refuses the
announcement is left in peace for an hour, then for longer and longer. The only message ever taken
from the broker is Home Assistant's birth, ``online`` on ``<prefix>/status``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from typing import TYPE_CHECKING

from maskedge.delivery import homeassistant
from maskedge.delivery.backoff import Backoff
from maskedge.delivery.problems import FAILURE
from maskedge.events import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from maskedge.config import Config
    from maskedge.delivery.connection import Ack, Connection, Incoming
    from maskedge.delivery.session import Session

log = logging.getLogger(__name__)

_BIRTH = b"online"
_PAUSE = 1.0  # seconds between two announcements, however often somebody asks
_AGAIN = 3600.0  # seconds until we announce unasked: a unit that had our name may have cleared it
_PATIENCE = 2  # connections in a row lost over something unanswered until we keep quiet
_REMEMBERED = 50
_OURS = re.compile(r"[^+#\0]+/device/[a-zA-Z0-9_-]+/config")


class Memory:
    """Which announcements brokers may still hold: a small file beside the outbox.

    A rename would otherwise leave a dead device in Home Assistant for ever.

    Args:
        path: the file; a disk that can't be written only costs the clearing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = self._read()

    def topics(self, broker: str) -> list[str]:
        """What this broker may hold."""
        return [topic for at, topic in self._entries if at == broker]

    def add(self, broker: str, topic: str) -> None:
        """Note before publishing."""
        if (broker, topic) not in self._entries:
            self._write([*self._entries, (broker, topic)][-_REMEMBERED:])

    def remove(self, broker: str, topic: str) -> None:
        """The broker has forgotten it."""
        self._write([entry for entry in self._entries if entry != (broker, topic)])

    def _read(self) -> list[tuple[str, str]]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))["announced"]
            return [(str(e["broker"]), e["topic"]) for e in entries if _OURS.fullmatch(e["topic"])]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s can't be read (%s): it is begun anew", self._path, error)
            return []

    def _write(self, entries: list[tuple[str, str]]) -> None:
        self._entries = entries
        announced = [{"broker": broker, "topic": topic} for broker, topic in entries]
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps({"announced": announced}) + "\n", encoding="utf-8")
            new.chmod(0o600)
            os.replace(new, self._path)  # noqa: PTH105 - the atomic one
        except OSError as error:
            log.info("%s can't be written: %s", self._path, error.strerror)


class Announcer:
    """Announces, announces again when Home Assistant is born, and clears what went before.

    A :class:`~maskedge.delivery.mqtt.Guest`, one per publisher.

    Args:
        config: with ``homeassistant.enabled`` false, former announcements are only cleared.
        memory: the file of :class:`Memory`.
    """

    def __init__(self, config: Config, memory: Path) -> None:
        self._topic = homeassistant.topic(config)
        self._payload = (
            to_json(homeassistant.discovery(config)) if config.homeassistant.enabled else None
        )
        self._status = f"{config.homeassistant.prefix}/status"
        self._broker = f"{config.mqtt.host}:{config.mqtt.effective_port}"
        self._memory = Memory(memory)
        self._under_way: dict[int, str] = {}  # packet id: topic
        self._stale: list[str] = []  # what this broker may hold and shouldn't
        self._begun = False
        self._born = False
        self._announced_at = float("-inf")
        self._losses = 0
        self._quiet_until = float("-inf")
        self._quiet = Backoff(first=_AGAIN, longest=24 * _AGAIN)
        self._told = False  # that we keep quiet

    def answered(self, ack: Ack) -> None:
        """The broker has taken an announcement, or refuses it."""
        self._settle(self._under_way.pop(ack.mid, None), ack.code, ack.reason)

    def turn(self, connection: Connection, session: Session) -> None:
        """Announce, or clear one topic; see :class:`~maskedge.delivery.mqtt.Guest`."""
        while connection.messages:
            self._born |= self._is_birth(connection.messages.popleft())
        now = time.monotonic()
        if now < self._quiet_until or self._under_way or not session.free:
            return
        if not self._begun:
            self._begin(connection)
        due = now - self._announced_at >= (_PAUSE if self._born else _AGAIN)
        if due and self._payload is not None:
            self._announce(session, self._payload)
        elif self._stale:
            self._publish(session, self._stale.pop(0), "")

    def lost(self) -> None:
        """Begin anew on the next connection, unless it is the announcement that costs it."""
        self._losses = self._losses + 1 if self._under_way else 0
        if self._losses >= _PATIENCE:
            self._keep_quiet("the connection ends whenever we announce")
        self._under_way.clear()
        self._begun = self._born = False

    def _begin(self, connection: Connection) -> None:
        self._begun = True
        self._stale = self._memory.topics(self._broker)
        if self._payload is not None:
            connection.request(self._status)
            self._born, self._announced_at = True, float("-inf")
            self._stale = [former for former in self._stale if former != self._topic]

    def _announce(self, session: Session, payload: str) -> None:
        self._born = False
        self._announced_at = time.monotonic()
        self._memory.add(self._broker, self._topic)
        self._publish(session, self._topic, payload)

    def _publish(self, session: Session, where: str, payload: str) -> None:
        self._under_way[session.publish_besides(where, payload, retain=True)] = where

    def _settle(self, where: str | None, code: int, reason: str) -> None:
        if where is None:
            return
        refused = code >= FAILURE
        if where == self._topic and self._payload is not None:
            if refused:
                self._keep_quiet(f"the broker refuses {where}: {reason.lower()}")
                return
            if self._told:
                self._told = False
                log.info("announced to Home Assistant")
        else:
            self._memory.remove(self._broker, where)
            if refused:
                log.warning(
                    "the broker refuses to clear the announcement %s: %s; where Home Assistant "
                    "still shows it: mosquitto_pub -r -n -t %s",
                    where,
                    reason.lower(),
                    where,
                )
            else:
                log.info("cleared the announcement %s", where)

    def _keep_quiet(self, why: str) -> None:
        self._quiet_until = time.monotonic() + self._quiet.next()
        if self._told:
            return
        self._told = True
        log.warning(
            "not announced to Home Assistant: %s; let the broker's ACL allow %s and %s (a restart "
            "tries at once, else it takes an hour or more), or set homeassistant.enabled to false",
            why,
            self._topic,
            self._status,
        )

    def _is_birth(self, message: Incoming) -> bool:
        """Whether Home Assistant has just come up; a retained word is older than our announcing."""
        return message.topic == self._status and message.payload == _BIRTH and not message.retained
