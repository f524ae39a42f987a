"""Sections of what is told, and to whom: broker, Home Assistant, outbox, messages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from maskedge.config.base import FilePath, PositiveSeconds, Section, topic_levels


class TlsConfig(Section):
    """Encryption to the broker; verified unless said otherwise."""

    enabled: bool = Field(False, description="use TLS")
    ca_file: FilePath | None = Field(None, description="CA certificates; unset: the system's")
    cert_file: FilePath | None = Field(None, description="own certificate")
    key_file: FilePath | None = Field(None, description="own key")
    verify: bool = Field(True, description="check the broker's certificate and name")

    @model_validator(mode="after")
    def _pair(self) -> TlsConfig:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: give both or neither")
        return self


class MqttConfig(Section):
    """The broker and how to speak to it."""

    host: str = Field("localhost", min_length=1, max_length=253, description="name or address")
    port: int | None = Field(None, ge=1, le=65_535, description="unset: 1883, with TLS 8883")
    version: Literal["3.1.1", "5"] = Field("5", description="protocol")
    client_id: str | None = Field(
        None, min_length=1, max_length=128, description="unset: from device"
    )
    username: str | None = Field(None, description="user name")
    password_file: FilePath | None = Field(
        None, description="file with the password; or MASKEDGE_MQTT_PASSWORD, or a credential"
    )
    keepalive: int = Field(30, ge=5, le=65_535, description="seconds")
    prefix: str = Field("maskedge", description="first topic level(s)")
    tls: TlsConfig = TlsConfig()

    @field_validator("version", mode="before")
    @classmethod
    def _unquoted(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) else value

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        return topic_levels(value, "prefix")

    @property
    def effective_port(self) -> int:
        """The port in force."""
        return self.port or (8883 if self.tls.enabled else 1883)


class HomeAssistantConfig(Section):
    """Whether Home Assistant shows this unit by itself."""

    enabled: bool = Field(True, description="announce this unit to Home Assistant")
    prefix: str = Field("homeassistant", description="its discovery prefix")

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        return topic_levels(value, "prefix")


class OutboxConfig(Section):
    """Where events wait until the broker has them."""

    path: FilePath | None = Field(None, description="file; unset: outbox.db in the state folder")
    max_events: int = Field(100_000, ge=100, le=10_000_000, description="most events kept")


class PublishConfig(Section):
    """What is published besides violations."""

    interval: float = Field(30.0, ge=1.0, le=3600.0, description="seconds between health and state")
    compliance_window: PositiveSeconds = Field(3600.0, description="seconds that compliance covers")
