"""A subscriber that shows violations as they come: ``maskedge listen``, and for programs.

It shows what is published while it is connected, over a clean session. A subscriber that must
not miss anything wants a session of its own that the broker keeps: docs/mqtt.md.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import threading
import time
from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from maskedge.delivery import credentials
from maskedge.delivery.backoff import Backoff
from maskedge.delivery.connection import Connection, Incoming, Waker
from maskedge.delivery.problems import ConnectionProblem
from maskedge.errors import EX_OK, BrokerError
from maskedge.events import VIOLATION, to_json
from maskedge.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

    from maskedge.config import MqttConfig

log = logging.getLogger(__name__)

ANSWER_WITHIN = 10.0
"""Seconds for the broker to answer."""

_REMEMBERED = 100_000


class Seen:
    """Remembers the newest ids, to drop what comes twice.

    Args:
        most: ids remembered; the oldest are forgotten.
    """

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def add(self, event_id: str) -> bool:
        """Note an id; True if it is new."""
        new = event_id not in self._ids
        self._ids[event_id] = None
        self._ids.move_to_end(event_id)
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
        return new


class Notice(NamedTuple):
    """Something that a unit told.

    Attributes:
        device: the unit's topic level.
        event: a violation as of ``schema/violation-1.json``, not validated beyond its
            ``schema`` and ``event_id``; None: this is about availability.
        availability: ``online``, ``offline`` or ``stopped``; None: this is a violation.
        repeated: the same ``event_id`` came before.
    """

    device: str
    event: dict[str, Any] | None = None
    availability: str | None = None
    repeated: bool = False


class Subscriber:
    """Receives from one broker; used by one thread, but for :meth:`stop`.

    ::

        with Subscriber(config.mqtt, unique=True) as subscriber:
            for notice in subscriber.notices(timeout=60):
                ...

    Args:
        config: the broker.
        device: the unit to listen to; None: all.
        unique: drop repeated ``event_id``.
        environ: where the password may be; None: this process's environment.

    Raises:
        ConfigError: the password or a certificate can't be read.
    """

    def __init__(
        self,
        config: MqttConfig,
        device: str | None = None,
        *,
        unique: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._config = config
        self._topics = [
            f"{config.prefix}/{device or '+'}/{leaf}" for leaf in ("violation", "availability")
        ]
        self._unique = unique
        self._password = credentials.password(config, environ)
        self._tls = credentials.tls_context(config.tls)
        self._client_id = f"maskedge-listen-{secrets.token_hex(4)}"
        self._connection: Connection | None = None
        self._backoff = Backoff(longest=5.0)
        self._waker = Waker()
        self._stopped = threading.Event()
        self._seen = Seen()
        self._availability: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect and subscribe; what is published from here on is received.

        Raises:
            BrokerError: no broker, or it refuses us.
        """
        connection = Connection(
            self._config,
            self._client_id,
            password=self._password,
            tls=self._tls,
            waker=self._waker,
        )
        try:
            connection.open(ANSWER_WITHIN, self._stopped.is_set)
            connection.subscribe(self._topics, ANSWER_WITHIN)
        except BaseException:
            connection.drop()
            raise
        self._connection = connection
        self._backoff.reset()

    def notices(self, timeout: float | None = None) -> Iterator[Notice]:
        """What comes, for ``timeout`` seconds (None: until :meth:`stop`); reconnects by itself."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._stopped.is_set() and (left := _left(end)) > 0:
            connection = self._connection
            try:
                if connection is None:
                    self.connect()
                    continue
                connection.step(min(left, 1.0))
            except ConnectionProblem as problem:
                self._lose(problem)
                self._waker.wait(min(_left(end), self._backoff.next(problem.at_least)))
                continue
            while connection.messages:
                notice = self._read(connection.messages.popleft())
                if notice is not None:
                    yield notice

    def stop(self) -> None:
        """End :meth:`notices`; from any thread."""
        self._stopped.set()
        self._waker.wake()

    def close(self) -> None:
        """Disconnect; never raises."""
        self._stopped.set()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._waker.close()

    def _lose(self, problem: ConnectionProblem) -> None:
        if self._connection is not None:
            self._connection.drop()
            self._connection = None
        if not self._stopped.is_set():
            log.warning("%s; trying again", problem)

    def _read(self, message: Incoming) -> Notice | None:
        path, leaf = message.topic.rsplit("/", 1)
        device = path.removeprefix(f"{self._config.prefix}/")
        if leaf == "availability":
            return self._read_availability(device, message.payload)
        event = _parse(message.payload)
        if event is None:
            log.warning("%s: not a violation: %s", message.topic, ascii(message.payload[:80]))
            return None
        new = self._seen.add(event["event_id"])
        if self._unique and not new:
            return None
        return Notice(device, event=event, repeated=not new)

    def _read_availability(self, device: str, payload: bytes) -> Notice | None:
        """Changes only: a reconnect brings the retained value again."""
        word = payload.decode("utf-8", "replace")
        if self._availability.get(device) == word:
            return None
        self._availability[device] = word
        return Notice(device, availability=word)


def listen(  # noqa: PLR0913 - the command's options
    config: MqttConfig,
    *,
    device: str | None = None,
    as_json: bool = False,
    unique: bool = False,
    count: int | None = None,
    timeout: float | None = None,
    environ: Mapping[str, str] | None = None,
    out: TextIO | None = None,
) -> int:
    """Print what comes until Ctrl-C, ``count`` violations or ``timeout`` seconds.

    Args:
        config: the broker.
        device: the unit to listen to; None: all.
        as_json: one JSON object per line, violations only; else a line for people, and
            changes of availability too.
        unique: drop repeated ``event_id``.
        count: end after so many violations.
        timeout: end after so many seconds.
        environ: where the password may be; None: this process's environment.
        out: where to; None: standard output.

    Returns:
        0.

    Raises:
        BrokerError: no broker, it refuses us, or ``count`` violations didn't come in time.
        ConfigError: the password or a certificate can't be read.
    """
    out = sys.stdout if out is None else out
    shown = 0
    try:
        with Subscriber(config, device, unique=unique, environ=environ) as subscriber:
            for notice in subscriber.notices(timeout):
                line = _json_line(notice) if as_json else pretty(notice)
                if line is not None:
                    out.write(line + "\n")
                    out.flush()
                shown += notice.event is not None
                if count is not None and shown >= count:
                    return EX_OK
    except (KeyboardInterrupt, BrokenPipeError):
        return EX_OK
    if count is not None:
        raise BrokerError(f"only {shown} of {count} violations came within {timeout:g} s")
    return EX_OK


def pretty(notice: Notice) -> str:
    """One line for people: when (local time), where, what, how sure, who."""
    event = notice.event
    if event is None:
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return printable(f"{now}  {notice.device}  is {notice.availability}")
    ended = event.get("type") == "ended"
    moment = event.get("ended_at" if ended else "decided_at")
    votes = event.get("votes")
    fields = [
        _local(moment),
        f"{notice.device}/{event.get('camera')}",
        f"{event.get('type')}",
        f"{event.get('label')}",
        _percent(event.get("confidence")),
        f"{votes.get('agree')}/{votes.get('frames')} votes" if isinstance(votes, dict) else "",
        f"person {event.get('track_id')}",
        "(late)" if event.get("delayed") else "",
        "(repeated)" if notice.repeated else "",
    ]
    return printable("  ".join(field for field in fields if field))


def _json_line(notice: Notice) -> str | None:
    return None if notice.event is None else to_json(notice.event)


def _parse(payload: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("schema") != VIOLATION:
        return None
    return event if isinstance(event.get("event_id"), str) else None


def _local(moment: object) -> str:
    try:
        return datetime.fromisoformat(str(moment)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return str(moment)


def _percent(confidence: object) -> str:
    return f"{confidence:.0%}" if isinstance(confidence, int | float) else ""


def _left(end: float | None) -> float:
    return 3600.0 if end is None else end - time.monotonic()
