"""What went wrong with the broker, told with the cure."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from maskedge.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from maskedge.config import MqttConfig

FAILURE = 128
"""Reason codes from here on mean no (MQTT 5.0, section 2.4)."""

NOT_AUTHORISED = 135
_BAD_PROTOCOL, _BAD_CLIENT_ID, _BAD_PASSWORD = 132, 133, 134
_KEEPALIVE, _TAKEN_OVER, _TOO_MANY = 141, 142, 147
_CREDENTIALS = "check mqtt.username and the password"
_HOLD = 5.0  # seconds to leave a broker alone that said no


class ConnectionProblem(BrokerError):
    """No connection, or none any more.

    Attributes:
        code: ``broker-unreachable``, ``broker-tls``, ``broker-refused``, ``broker-silent``,
            ``broker-lost``, ``broker-denied`` or ``broker-taken-over``.
        at_least: seconds to leave the broker alone; 0: the usual back-off.
    """

    def __init__(self, code: str, message: str, at_least: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.at_least = at_least


def of_error(config: MqttConfig, error: Exception) -> ConnectionProblem:
    """Why TCP or TLS failed."""
    place = _place(config)
    if isinstance(error, ssl.SSLError):
        return _of_tls_error(place, error)
    if isinstance(error, socket.gaierror | UnicodeError):
        return ConnectionProblem(
            "broker-unreachable", f"{config.host}: name not known; check mqtt.host and the network"
        )
    if isinstance(error, ConnectionRefusedError):
        return ConnectionProblem(
            "broker-unreachable",
            f"{place}: connection refused; is the broker running, is mqtt.port right?",
        )
    if config.tls.enabled and isinstance(error, ConnectionError):
        return ConnectionProblem(
            "broker-tls", f"{place}: closed during the TLS handshake: is this a TLS port?", _HOLD
        )
    if isinstance(error, TimeoutError):
        return ConnectionProblem(
            "broker-unreachable", f"{place}: no answer; is it on, does a firewall keep us out?"
        )
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return ConnectionProblem(
        "broker-unreachable", f"{place}: {why}; check the network and mqtt.host"
    )


def _of_tls_error(place: str, error: ssl.SSLError) -> ConnectionProblem:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectionProblem(
            "broker-tls",
            f"{place}: certificate verify failed: {error.verify_message.rstrip('.')}; "
            "check mqtt.host, mqtt.tls.ca_file and this unit's clock",
            _HOLD,
        )
    why = (error.reason or str(error)).replace("_", " ").lower()
    return ConnectionProblem(
        "broker-tls", f"{place}: TLS failed ({why}): is this a TLS port?", _HOLD
    )


def of_loss(
    config: MqttConfig, client_id: str, answer: ReasonCode | None, goodbye: ReasonCode | None
) -> ConnectionProblem:
    """Why the broker, or paho, closed the connection.

    Args:
        config: the broker.
        client_id: ours.
        answer: CONNACK's reason; None: there was none.
        goodbye: DISCONNECT's reason, or paho's; None: there was none.
    """
    place = _place(config)
    if answer is None:
        return ConnectionProblem(
            "broker-lost",
            f"{place} closed the connection before it answered: is it a broker that speaks "
            f"MQTT {config.version}, and is mqtt.tls set as it wants?",
        )
    if answer.is_failure:
        return ConnectionProblem("broker-refused", _refusal(config, client_id, answer), _HOLD)
    if goodbye is not None and goodbye.value == _TAKEN_OVER:
        return ConnectionProblem(
            "broker-taken-over",
            f"{place}: another client uses our client id {client_id!r}; give each unit its own "
            "device name or mqtt.client_id",
            at_least=30.0,
        )
    if goodbye is not None and goodbye.value == _KEEPALIVE:
        return ConnectionProblem(
            "broker-silent", f"{place} does not answer any more; does it hang?"
        )
    if goodbye is not None and goodbye.value == _TOO_MANY:
        return ConnectionProblem(
            "broker-lost",
            f"{place} hung up: more publications were under way than it takes at once (Receive "
            "Maximum); raise that limit",
            _HOLD,
        )
    said = f": {goodbye}" if goodbye is not None and goodbye.value > FAILURE else ""
    return ConnectionProblem(
        "broker-lost",
        f"{place}: the connection was lost{said}; the broker's log may say why",
    )


def suspect_taken_over(config: MqttConfig, client_id: str) -> ConnectionProblem:
    """Brokers before MQTT 5, and mosquitto up to 2.0.11, take an id over without a word."""
    return ConnectionProblem(
        "broker-taken-over",
        f"{_place(config)}: the connection is lost again and again right after it is made: does "
        f"another client use our client id {client_id!r}? Give each unit its own device name or "
        "mqtt.client_id",
        at_least=15.0,
    )


def silent(config: MqttConfig, waited: float) -> ConnectionProblem:
    """The broker took the connection and says nothing."""
    return ConnectionProblem(
        "broker-silent",
        f"{_place(config)} took the connection, but did not answer within {waited:.0f} s: "
        f"does the broker hang, want TLS, or speak another MQTT than {config.version}?",
    )


def frozen(waited: float) -> ConnectionProblem:
    """The broker took publications and acknowledges none."""
    return ConnectionProblem(
        "broker-silent",
        f"the broker has acknowledged nothing for {waited:.0f} s: does it hang?",
    )


def denied(config: MqttConfig, topics: Sequence[str]) -> ConnectionProblem:
    """The broker refuses a subscription."""
    return ConnectionProblem(
        "broker-denied",
        f"{_place(config)} does not let us subscribe to {', '.join(topics)}: "
        "let the broker's ACL allow it",
        _HOLD,
    )


def not_mqtt(config: MqttConfig) -> ConnectionProblem:
    """Something else listens there."""
    return ConnectionProblem(
        "broker-lost", f"{_place(config)} sent what isn't MQTT: is it a broker's port?", _HOLD
    )


def _refusal(config: MqttConfig, client_id: str, answer: ReasonCode) -> str:
    who = "nobody (mqtt.username is not set)" if config.username is None else repr(config.username)
    cures = {
        _BAD_PROTOCOL: f"it does not speak MQTT {config.version}; set mqtt.version",
        _BAD_CLIENT_ID: f"it does not take the client id {client_id!r}; set mqtt.client_id",
        _BAD_PASSWORD: f"bad user name or password, for {who}; {_CREDENTIALS}",
        NOT_AUTHORISED: "bad user name or password, or not allowed to connect, for "
        f"{who}; {_CREDENTIALS}",
    }
    why = cures.get(answer.value, f"{str(answer).lower()}; the broker's log may say more")
    return f"{_place(config)} refuses us: {why}"


def _place(config: MqttConfig) -> str:
    return f"{config.host}:{config.effective_port}"
