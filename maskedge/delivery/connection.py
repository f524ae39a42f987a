"""One connection to the broker, from CONNECT to its loss, driven by the thread that owns it.

paho encodes, decodes and pings; it gets no thread and no second life. Each connection has a
fresh client and a clean session, so that nothing is resent but what the owner resends, and every
failure comes up as one :class:`ConnectionProblem` with its cause and cure
(docs/decisions/0011-own-mqtt-loop.md).
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
import traceback
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from paho.mqtt import MQTTException
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from maskedge.delivery import problems
from maskedge.delivery.problems import ConnectionProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from maskedge.config import MqttConfig

CONNECT_TIMEOUT = 3.0
"""Seconds for TCP and TLS, each; below the five in which the process must be able to end."""

_NOT_MQTT = (MQTTException, struct.error, IndexError, KeyError, ValueError, TypeError)


class Ack(NamedTuple):
    """The broker's PUBACK: what came of a publication."""

    mid: int
    code: int
    reason: str


class Incoming(NamedTuple):
    """A publication for us."""

    topic: str
    payload: bytes
    retained: bool


class Connection:
    """See the module. Not thread-safe, but for :meth:`Waker.wake` of the waker handed in.

    Args:
        config: where and how.
        client_id: ours.
        password: or None.
        tls: or None.
        will: topic and payload that the broker publishes, retained, when we vanish.
        waker: ends :meth:`step` early.

    Attributes:
        acks: PUBACKs not yet looked at.
        messages: publications not yet looked at.
        receive_maximum: how many unacknowledged publications the broker takes.
    """

    def __init__(  # noqa: PLR0913 - all of them say how to connect
        self,
        config: MqttConfig,
        client_id: str,
        *,
        password: str | None,
        tls: ssl.SSLContext | None,
        will: tuple[str, str] | None = None,
        waker: Waker | None = None,
    ) -> None:
        self.acks: deque[Ack] = deque()
        self.messages: deque[Incoming] = deque()
        self.receive_maximum = 65_535
        self._config = config
        self._client_id = client_id
        self._waker = waker
        self._answer: ReasonCode | None = None
        self._goodbye: ReasonCode | None = None
        self._granted: list[ReasonCode] = []
        v5 = config.version == "5"
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if v5 else True,
            protocol=MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.max_inflight_messages = 0  # no limit: the owner keeps the window
        client.username_pw_set(config.username, password)
        if tls is not None:
            client.tls_set_context(tls)
        if will is not None:
            client.will_set(*will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def open(self, timeout: float, aborted: Callable[[], bool] = lambda: False) -> None:
        """Connect and wait for the broker's welcome.

        Args:
            timeout: seconds for the welcome, after TCP and TLS.
            aborted: asked often; True ends the waiting.

        Raises:
            ConnectionProblem: there is no connection.
        """
        config = self._config
        try:
            self._client.connect(config.host, config.effective_port, config.keepalive)
        except (OSError, UnicodeError, ValueError) as error:
            _close_leftovers(error)
            raise problems.of_error(self._config, error) from error
        deadline = time.monotonic() + timeout
        while self._answer is None:
            left = deadline - time.monotonic()
            if left <= 0 or aborted():
                self.drop()
                raise problems.silent(self._config, timeout)
            self.step(min(left, 1.0))

    def step(self, timeout: float) -> None:
        """Send and receive what there is; wait for something to happen at most ``timeout`` s.

        Raises:
            ConnectionProblem: the connection is lost.
        """
        client = self._client
        sock: Any = client.socket()
        if sock is None:
            raise self._lost()
        poller = select.poll()
        poller.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        if self._waker is not None:
            poller.register(self._waker, select.POLLIN)
        buffered = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        ready = dict(poller.poll(0 if buffered else max(0.0, timeout) * 1000))
        if self._waker is not None:
            self._waker.clear()
        happened = ready.get(sock.fileno(), 0)
        try:
            if happened & ~select.POLLOUT or buffered:
                client.loop_read()
            if happened & select.POLLOUT:
                client.loop_write()
            client.loop_misc()
        except _NOT_MQTT as error:
            self.drop()
            raise problems.not_mqtt(self._config) from error
        except OSError as error:
            self.drop()
            raise problems.of_error(self._config, error) from error
        if client.socket() is None:
            raise self._lost()

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> int:
        """Hand over a publication at QoS 1 and return its packet id, to be found in ``acks``.

        Raises:
            ConnectionProblem: the connection is lost.
        """
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._lost()
        return info.mid

    def subscribe(self, topics: Sequence[str], timeout: float) -> None:
        """Subscribe at QoS 1 and wait for the broker's consent.

        Raises:
            ConnectionProblem: it refuses, doesn't answer, or the connection is lost.
        """
        self._granted = []
        self._client.subscribe([(topic, 1) for topic in topics])
        deadline = time.monotonic() + timeout
        while not self._granted:
            left = deadline - time.monotonic()
            if left <= 0:
                raise problems.silent(self._config, timeout)
            self.step(min(left, 1.0))
        if any(code.is_failure for code in self._granted):
            raise problems.denied(self._config, topics)

    def request(self, topic: str) -> None:
        """Subscribe at QoS 1 without waiting: where the broker refuses, nothing comes."""
        self._client.subscribe(topic, 1)

    def close(self, timeout: float = 1.0) -> None:
        """Say goodbye, so that the broker forgets the will; never raises."""
        deadline = time.monotonic() + timeout
        with suppress(ConnectionProblem):
            self._client.disconnect()
            while (left := deadline - time.monotonic()) > 0:
                self.step(left)
        self.drop()

    def drop(self) -> None:
        """Hang up without goodbye: the broker publishes the will; never raises."""
        sock: Any = self._client.socket()
        self._client.on_disconnect = None
        if sock is not None:
            with suppress(OSError):
                sock.close()

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, properties: Any) -> None:
        self._answer = reason
        self.receive_maximum = getattr(properties, "ReceiveMaximum", self.receive_maximum)

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, _p: Any) -> None:
        self._goodbye = self._goodbye or reason

    def _on_publish(self, _c: Any, _u: Any, mid: int, reason: ReasonCode, _p: Any) -> None:
        self.acks.append(Ack(mid, reason.value, str(reason)))

    def _on_subscribe(self, _c: Any, _u: Any, _m: int, codes: list[ReasonCode], _p: Any) -> None:
        self._granted = codes

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        with suppress(UnicodeDecodeError):
            self.messages.append(
                Incoming(message.topic, bytes(message.payload), bool(message.retain))
            )

    def _lost(self) -> ConnectionProblem:
        """Why the socket is gone."""
        return problems.of_loss(self._config, self._client_id, self._answer, self._goodbye)


def _close_leftovers(error: Exception) -> None:
    """Close the socket of a failed TLS handshake, which paho leaves to the garbage collector."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        leftover = frame.f_locals.get("ssl_sock")
        if isinstance(leftover, ssl.SSLSocket):
            leftover.close()


class Waker:
    """Ends a wait for the network from another thread."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)

    def fileno(self) -> int:
        """For poll()."""
        return self._read.fileno()

    def wake(self) -> None:
        """End the wait, or the next one; any thread, any time."""
        with suppress(OSError):  # full: it is awake already; closed: nobody waits
            self._write.send(b".")

    def wait(self, timeout: float) -> None:
        """Sleep until woken, at most ``timeout`` seconds."""
        poller = select.poll()
        poller.register(self, select.POLLIN)
        poller.poll(max(0.0, timeout) * 1000)
        self.clear()

    def clear(self) -> None:
        """Forget wake-ups of the past."""
        with suppress(OSError):
            while self._read.recv(4096):
                pass

    def close(self) -> None:
        """Free the sockets."""
        self._read.close()
        self._write.close()
