"""A subscriber that shows violations and faults: ``maskedge listen``, and for programs.

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
from maskedge.events import HEALTH, VIOLATION, to_json
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


class FaultNews(NamedTuple):
    """A fault that was raised, or is over.

    Attributes:
        code: as in docs/faults.md.
        message: what is wrong; None: it is over.
    """

    code: str
    message: str | None


class Notice(NamedTuple):
    """Something that a unit told.

    Attributes:
        device: the unit's topic level.
        event: a violation as of ``schema/violation-1.json``, not validated beyond its
            ``schema`` and ``event_id``; None: this is about something else.
        availability: ``online``, ``offline`` or ``stopped``; None: the same.
        repeated: the same ``event_id`` came before.
        fault: of ``health``; None: the same.
    """

    device: str
    event: dict[str, Any] | None = None
    availability: str | None = None
    repeated: bool = False
    fault: FaultNews | None = None


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
        faults: tell of faults, too, where the broker lets us read ``health``.
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
        faults: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._config = config
        root = f"{config.prefix}/{device or '+'}"
        self._topics = [f"{root}/{leaf}" for leaf in ("violation", "availability")]
        self._health = f"{root}/health" if faults else None
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
        self._faults: dict[str, set[str]] = {}

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
            if self._health is not None:  # after availability: what a unit left behind is old
                connection.request(self._health)
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
                yield from self._read(connection.messages.popleft())

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

    def _read(self, message: Incoming) -> Iterator[Notice]:
        path, leaf = message.topic.rsplit("/", 1)
        device = path.removeprefix(f"{self._config.prefix}/")
        if leaf == "availability":
            yield from self._read_availability(device, message.payload)
            return
        if leaf == "health":
            yield from self._read_health(device, message.payload)
            return
        event = _parse(message.payload, VIOLATION)
        if event is None or not isinstance(event.get("event_id"), str):
            where, what = printable(message.topic), ascii(message.payload[:80])
            log.warning("%s: not a violation: %s", where, what)
            return
        new = self._seen.add(event["event_id"])
        if new or not self._unique:
            yield Notice(device, event=event, repeated=not new)

    def _read_availability(self, device: str, payload: bytes) -> Iterator[Notice]:
        """Changes only: a reconnect brings the retained value again."""
        word = payload.decode("utf-8", "replace")
        if self._availability.get(device) == word:
            return
        self._availability[device] = word
        if word != "online":
            self._faults.pop(device, None)
        if word:  # empty: whoever took the unit out of service has cleared what was retained
            yield Notice(device, availability=word)

    def _read_health(self, device: str, payload: bytes) -> Iterator[Notice]:
        """Faults that came or went; nothing of a unit that isn't there."""
        health = _parse(payload, HEALTH)
        if health is None or self._availability.get(device, "online") != "online":
            return
        now = _faults(health)
        before = self._faults.get(device, set())
        self._faults[device] = set(now)
        for code, message in now.items():
            if code not in before:
                yield Notice(device, fault=FaultNews(code, message))
        for code in sorted(before - set(now)):
            yield Notice(device, fault=FaultNews(code, None))


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
            changes of availability and faults too.
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
        with Subscriber(
            config, device, unique=unique, faults=not as_json, environ=environ
        ) as subscriber:
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
        return printable(f"{now}  {notice.device}  {_said(notice)}")
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


def _said(notice: Notice) -> str:
    fault = notice.fault
    if fault is None:
        return f"is {notice.availability}"
    return f"{fault.code} is over" if fault.message is None else f"{fault.code}: {fault.message}"


def _json_line(notice: Notice) -> str | None:
    return None if notice.event is None else to_json(notice.event)


def _parse(payload: bytes, schema: str) -> dict[str, Any] | None:
    try:
        content = json.loads(payload)
        to_json(content).encode()  # Python reads NaN and half characters, which are no JSON
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("schema") == schema else None


def _faults(health: dict[str, Any]) -> dict[str, str]:
    """Message by code; what a stranger wrote may be anything."""
    listed = health.get("faults")
    faults = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {str(fault.get("code")): str(fault.get("message")) for fault in faults}


def _local(moment: object) -> str:
    try:
        return datetime.fromisoformat(str(moment)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return str(moment)


def _percent(confidence: object) -> str:
    try:
        return f"{confidence:.0%}" if isinstance(confidence, int | float) else ""
    except OverflowError:  # an integer beyond all floats
        return ""


def _left(end: float | None) -> float:
    return 3600.0 if end is None else end - time.monotonic()
