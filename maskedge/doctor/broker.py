"""The MQTT broker: as the daemon reaches it, with a message there and back."""

from __future__ import annotations

import secrets
import socket
import time
from typing import TYPE_CHECKING

from maskedge import paths
from maskedge.doctor.finding import Check, Finding, Place, split
from maskedge.errors import ConfigError
from maskedge.health.faults import BrokerLost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maskedge.delivery.connection import Connection

ANSWER = 5.0
"""Seconds that the broker may take for one answer."""


class Broker(Check):
    """Name, connection, TLS, login, and a message there and back."""

    name = "broker"
    deadline = 40.0
    settings = True
    fault = BrokerLost
    stops = frozenset({BrokerLost})
    crash = "check mqtt.host, DNS and the network"

    def run(self, place: Place) -> Iterable[Finding]:  # noqa: D102
        from maskedge.delivery import credentials
        from maskedge.delivery.connection import Connection
        from maskedge.delivery.problems import ConnectionProblem

        config = place.config.mqtt
        try:
            password = credentials.password(config, place.environ_with(credentials.CREDENTIAL))
            tls = credentials.tls_context(config.tls)
        except ConfigError as error:
            unreadable = (
                str(error),
                "correct the path; if only root may read it: sudo maskedge doctor",
            )
            yield self.fail(*(unreadable if "can't be read" in str(error) else split(str(error))))
            return
        if config.username is not None and password is None:
            yield self.warn(
                f"mqtt.username is {config.username!r}, but there is no password for it",
                "give mqtt.password_file, or write it to "
                f"/{paths.CONFIGURATION}/{credentials.CREDENTIAL}; only root may read it: "
                "sudo maskedge doctor",
            )
        if config.tls.enabled and not config.tls.verify:
            yield self.warn(
                "mqtt.tls.verify is false: anybody can pose as the broker",
                "give mqtt.tls.ca_file and set mqtt.tls.verify to true",
            )
        began = time.monotonic()
        client_id = f"maskedge-doctor-{secrets.token_hex(4)}"
        connection = Connection(config, client_id, password=password, tls=tls)
        try:
            connection.open(ANSWER)
            took = (time.monotonic() - began) * 1000
            yield from self._there_and_back(connection, place.config.topic_root)
        except ConnectionProblem as problem:
            yield self.judge(BrokerLost, broker_error=str(problem))
            return
        finally:
            connection.close()
        who = "anonymous" if config.username is None else f"as {config.username!r}"
        how = "TLS" if config.tls.enabled else "no TLS"
        yield self.ok(
            f"{config.host}:{config.effective_port}{_address(config.host)}, {how}, "
            f"MQTT {config.version}, {who}: connected in {took:.0f} ms"
        )

    def _there_and_back(self, connection: Connection, root: str) -> Iterator[Finding]:
        from maskedge.delivery.problems import FAILURE, ConnectionProblem

        topic, word = f"{root}/doctor", secrets.token_hex(8).encode()
        acl = f"let the broker's ACL allow {root}/#"
        try:
            connection.subscribe([topic], ANSWER)
        except ConnectionProblem as problem:
            if problem.code != "broker-denied":
                raise
            yield self.warn(f"may not read {topic}, so nothing can come back", acl)
        began = time.monotonic()
        connection.publish(topic, word)
        code: int | None = None
        while (left := began + ANSWER - time.monotonic()) > 0:
            connection.step(left)
            code = connection.acks.popleft().code if connection.acks else code
            if code is not None and code >= FAILURE:
                yield self.fail(f"may not write {topic}", acl, BrokerLost)
                return
            if code is not None and any(m.payload == word for m in connection.messages):
                took = (time.monotonic() - began) * 1000
                yield self.ok(f"a message to {topic} came back in {took:.0f} ms")
                return
        if code is None:
            yield self.fail("the broker acknowledges nothing", "restart the broker", BrokerLost)
        else:
            yield self.warn(f"a message to {topic} was taken, but didn't come back", acl)


def _address(host: str) -> str:
    """`` (192.168.1.5)``, or nothing where the host is given by its address."""
    try:
        address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return ""
    return "" if address == host else f" ({address})"
