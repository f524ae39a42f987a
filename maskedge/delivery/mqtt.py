"""Sends what the outbox holds, in order, and deletes it when the broker has acknowledged it.

One thread connects, delivers and connects again. After a loss it begins with the oldest event
that has no PUBACK, so an event may arrive twice, with the same ``event_id``, but none is missing
and no newer one arrives first. At most 20 are in flight; the rest stays on disk.

What is retained (availability, state, health) isn't queued: the newest value waits and is
published again after every connect, for a broker without persistence has lost it.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from maskedge.delivery import problems
from maskedge.delivery.backoff import Backoff
from maskedge.delivery.connection import Connection, Waker
from maskedge.delivery.credentials import Login
from maskedge.delivery.problems import ConnectionProblem
from maskedge.delivery.retained import Retained
from maskedge.delivery.session import Progress, Session
from maskedge.events import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maskedge.config import MqttConfig
    from maskedge.delivery.connection import Ack
    from maskedge.delivery.outbox import Outbox

log = logging.getLogger(__name__)

ACK_TIMEOUT = 10.0
"""Seconds without any PUBACK while something is in flight until the broker counts as frozen."""

STABLE_AFTER = 10.0
"""Seconds that a connection must last for the next wait to be short again."""

_SUSPICIOUS = 3  # short connections in a row that look like a client id used twice
_LAST_WORD = 1.0  # seconds of the closing time kept for ``stopped``


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """What health tells of the broker.

    Attributes:
        connected: the broker has welcomed us.
        since: ``time.monotonic()`` of the last change of ``connected``.
        code: of the fault that stands: ``broker-unreachable``, ``broker-tls``,
            ``broker-refused``, ``broker-silent``, ``broker-lost``, ``broker-taken-over``,
            ``broker-denied`` (it won't let us publish); None: all is well, or not yet tried.
        last_error: the same in words, with the cure.
        in_flight: publications without an acknowledgement.
        sent: events handed to a broker, repetitions included.
        acknowledged: events that a broker has taken over.
        resent: of ``sent``, repetitions.
        connects: how often a broker has welcomed us.
    """

    connected: bool
    since: float
    code: str | None
    last_error: str | None
    in_flight: int
    sent: int
    acknowledged: int
    resent: int
    connects: int


class Guest(Protocol):
    """Uses the connection besides, for what isn't delivery; called in the delivery thread."""

    def answered(self, ack: Ack) -> None:
        """A publication by ``session.publish_besides`` was acknowledged: this guest's or not."""

    def turn(self, connection: Connection, session: Session) -> None:
        """Look after each turn, and publish one thing if ``session.free``."""

    def lost(self) -> None:
        """The connection is gone; what wasn't acknowledged may not have arrived."""


class Publisher:
    """Delivers to one broker. :meth:`start` once, :meth:`close` once; the rest any thread.

    Args:
        config: the broker.
        root: ``<prefix>/<device>``.
        outbox: where events come from; its ``listener`` becomes ours.
        backoff: waits between connections; None: 0.5 to 15 s.
        ack_timeout: see :data:`ACK_TIMEOUT`; grows by itself for a slow broker.
        login: password and TLS; None: read now.
        guests: who else uses the connection.

    Raises:
        ConfigError: without ``login``: the password or a certificate can't be read.
    """

    def __init__(  # noqa: PLR0913 - three to work with, three to test with, one to be polite to
        self,
        config: MqttConfig,
        root: str,
        outbox: Outbox,
        *,
        backoff: Backoff | None = None,
        ack_timeout: float = ACK_TIMEOUT,
        login: Login | None = None,
        guests: Sequence[Guest] = (),
    ) -> None:
        self._config = config
        self._guests = guests
        self._root = root
        self._availability = f"{root}/availability"
        self._outbox = outbox
        self._backoff = backoff or Backoff()
        self._login = login or Login.read(config)
        self._client_id = config.client_id or f"maskedge-{root.rsplit('/', 1)[-1]}"
        self._waker = Waker()
        self._progress = Progress(ack_timeout)
        self._retained = Retained()
        self._retained.set(self._availability, "online")
        self._session: Session | None = None
        self._since = time.monotonic()
        self._problem: ConnectionProblem | None = None
        self._told: str | None = None  # the problem last logged
        self._short_lives = 0  # connections in a row that ended soon, without a word
        self._idle = threading.Condition()
        self._is_idle = False
        self._closing = threading.Event()
        self._close_by = 0.0
        self._said_stopped = False
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        outbox.listener = self._notice

    def start(self) -> None:
        """Begin to connect and deliver; returns at once, broker or no broker."""
        self._thread.start()

    def publish_state(self, state: Mapping[str, Any]) -> None:
        """Publish what is retained under ``state``; newest wins; never waits."""
        self.publish_retained(f"{self._root}/state", to_json(state))

    def publish_health(self, health: Mapping[str, Any]) -> None:
        """Publish what is retained under ``health``; newest wins; never waits."""
        self.publish_retained(f"{self._root}/health", to_json(health))

    def publish_retained(self, topic: str, payload: str) -> None:
        """Publish a retained value now, or when there is a connection, and after each connect.

        Args:
            topic: in full.
            payload: replaces any value not yet sent.
        """
        self._retained.set(topic, payload)
        self._notice(news=False)

    def status(self) -> PublisherStatus:
        """How delivery stands; never waits."""
        session, problem, progress = self._session, self._problem, self._progress
        code = problem.code if problem is not None else None
        words = str(problem) if problem is not None else None
        if progress.denied is not None and code in (None, "broker-lost"):
            code, words = "broker-denied", progress.denied
        return PublisherStatus(
            connected=session is not None,
            since=self._since,
            code=code,
            last_error=words,
            in_flight=0 if session is None else session.in_flight,
            sent=progress.sent,
            acknowledged=progress.acknowledged,
            resent=progress.resent,
            connects=progress.connects,
        )

    def wake(self) -> None:
        """A guest has something to say; any thread."""
        self._waker.wake()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until the broker has acknowledged everything.

        Args:
            timeout: most seconds.

        Returns:
            False: something is still on its way, or there is no connection.
        """
        end = time.monotonic() + timeout
        self._outbox.flush(timeout)
        self._notice()
        with self._idle:
            return self._idle.wait_for(lambda: self._is_idle, end - time.monotonic())

    def close(self, deadline: float = 4.0) -> bool:
        """Deliver what can be, say ``stopped``, end the connection and the thread.

        Args:
            deadline: most seconds spent, in every state.

        Returns:
            True: the broker knows that we stopped. False: there is none, or it didn't answer
            (its will then says ``offline``); what it didn't take stays in the outbox.
        """
        self._close_by = time.monotonic() + deadline
        self._outbox.flush(deadline / 4)
        self._closing.set()
        self._outbox.listener = _nobody
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join(self._close_by - time.monotonic())
        if not self._thread.is_alive():
            self._waker.close()
        return self._said_stopped

    def _notice(self, *, news: bool = True) -> None:
        """Something to send may be there: wake the delivery thread."""
        with self._idle:
            self._is_idle = False
            if news:
                self._progress.news.set()
        self._waker.wake()

    # From here on everything runs in the delivery thread.

    def _run(self) -> None:
        while not self._closing.is_set():
            begun = time.monotonic()
            try:
                self._deliver()
            except ConnectionProblem as problem:
                self._lose(problem, begun)
            except Exception:
                # A bug must not end delivery for good: tell it, and begin anew.
                log.exception("delivery failed")
                bug = ConnectionProblem("broker-lost", "delivery failed; see the log", 5.0)
                self._lose(bug, begun)

    def _deliver(self) -> None:
        """One connection's life; returns when closing, raises when it is lost."""
        connection = Connection(
            self._config,
            self._client_id,
            password=self._login.password,
            tls=self._login.tls,
            will=(self._availability, "offline"),
            waker=self._waker,
        )
        connection.open(self._progress.patience, self._closing.is_set)
        try:
            session = Session(connection, self._root, self._outbox, self._retained, self._progress)
            self._session, self._since, self._problem = session, time.monotonic(), None
            log.info("connected to %s:%d", self._config.host, self._config.effective_port)
            while not self._closing.is_set():
                session.pump()
                self._tell_idle(session)
                self._attend(connection, session)
            self._say_goodbye(session, connection)
            self._pass_on(session)
            self._leave()
        finally:
            connection.drop()

    def _pass_on(self, session: Session) -> None:
        while session.others:
            ack = session.others.popleft()
            for guest in self._guests:
                guest.answered(ack)

    def _attend(self, connection: Connection, session: Session) -> None:
        self._pass_on(session)
        for guest in self._guests:
            guest.turn(connection, session)

    def _say_goodbye(self, session: Session, connection: Connection) -> None:
        """Deliver the rest, then ``stopped``, as long as there is time."""
        self._progress.news.set()
        session.pump(0.0)
        while not session.idle and not session.refused:
            left = self._close_by - _LAST_WORD - time.monotonic()
            if left <= 0:
                break
            session.pump(min(left, 1.0))
        self._attend(connection, session)  # what they say now, the broker has before our last word
        stopped: int | None = None
        while (left := self._close_by - 0.2 - time.monotonic()) > 0:
            if stopped is None and session.room > 0:
                stopped = session.publish_retained(self._availability, "stopped")
            if stopped in session.pump(min(left, 1.0)):
                self._said_stopped = True
                connection.close()
                return

    def _leave(self) -> None:
        """Note that there is no connection any more."""
        if self._session is not None:
            self._session.end()
            self._session, self._since = None, time.monotonic()
            for guest in self._guests:
                guest.lost()

    def _lose(self, problem: ConnectionProblem, begun: float) -> None:
        """Note what happened, tell it once, and wait before the next try."""
        stable = time.monotonic() - begun > STABLE_AFTER
        welcomed = self._session is not None
        self._leave()
        with self._idle:
            self._is_idle = False
        if problem.code == "broker-silent":
            self._progress.wait_longer()
        if stable:
            self._backoff.reset()
            self._told = None
        wordless = problem.code == "broker-lost" and self._progress.denied is None
        self._short_lives = self._short_lives + 1 if welcomed and wordless and not stable else 0
        self._progress.wary = self._short_lives > 0
        if self._short_lives >= _SUSPICIOUS and not problem.at_least:  # else it is known why
            problem = problems.suspect_taken_over(self._config, self._client_id)
        self._problem = problem
        if str(problem) != self._told and not self._closing.is_set():
            log.warning("%s (events wait in the outbox)", problem)
            self._told = str(problem)
        again = time.monotonic() + self._backoff.next(problem.at_least)
        while not self._closing.is_set() and (left := again - time.monotonic()) > 0:
            self._waker.wait(left)

    def _tell_idle(self, session: Session) -> None:
        with self._idle:
            self._is_idle = session.idle
            if self._is_idle:
                self._idle.notify_all()


def _nobody() -> None:
    """Listens to nothing."""
