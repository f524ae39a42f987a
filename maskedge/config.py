"""The validated configuration: what ``config.yaml`` may say, with its defaults and limits.

Models are frozen: a reload makes a new tree and swaps it. Reading and explaining errors lives in
:mod:`maskedge.configfile`; this module knows only values.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

MQTT_RESERVED = "+#/\0$"
"""Characters that a topic level of ours must not hold (MQTT 5.0, section 4.7)."""


def _beside_file(value: Path, info: ValidationInfo) -> Path:
    """A relative path means: seen from the folder of the configuration file."""
    base = (info.context or {}).get("folder")
    return value if base is None else Path(base) / value.expanduser()


FilePath = Annotated[Path, AfterValidator(_beside_file)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0, le=86_400.0)]
PositiveSeconds = Annotated[float, Field(gt=0.0, le=86_400.0)]


class _Section(BaseModel):
    """Common rules: unknown keys are errors, values can't change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _topic_level(value: str, what: str) -> str:
    if not value:
        raise ValueError(f"{what} must not be empty")
    bad = sorted({c for c in value if c in MQTT_RESERVED or ord(c) < 32})  # noqa: PLR2004 - controls
    if bad:
        shown = " ".join(repr(c) for c in bad)
        raise ValueError(f"{what} must not contain {shown}: MQTT reserves it in topics")
    return value


def _topic_levels(value: str, what: str) -> str:
    for level in value.split("/"):
        _topic_level(level, what)
    return value


class CameraConfig(_Section):
    """Where frames come from."""

    source: str = Field("auto", min_length=1, description="auto, picamera, a device, URL or path")
    width: int = Field(640, ge=64, le=7680, description="asked of a live camera, pixels")
    height: int = Field(480, ge=64, le=4320, description="asked of a live camera, pixels")
    fps: float = Field(10.0, gt=0.0, le=240.0, description="asked of a live camera")
    rotate: Literal[0, 90, 180, 270] = Field(0, description="clockwise, before anything else")
    read_timeout: float = Field(
        5.0, gt=0.1, le=120.0, description="seconds without a frame until it is reopened"
    )
    reopen_delay: PositiveSeconds = Field(0.5, description="first wait before reopening; doubles")
    reopen_delay_max: PositiveSeconds = Field(3.0, description="longest wait before reopening")
    give_up_after: int = Field(
        20, ge=0, le=100_000, description="failed reopens until the process exits; 0: never"
    )
    loop: bool = Field(False, description="start a file again at its end")

    @field_validator("source", mode="before")
    @classmethod
    def _index(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class DetectorConfig(_Section):
    """Which network finds faces."""

    kind: Literal["builtin", "yunet", "ssd"] = Field("builtin", description="which decoder")
    model: FilePath | None = Field(None, description="file; unset: the one shipped")
    input: Literal[320, 640] = Field(320, description="long side that the network sees, pixels")
    threshold: Probability = Field(0.5, description="least score of a face: P(it is one)")
    nms_iou: Probability = Field(0.45, description="overlap above which two boxes are one face")
    max_faces: int = Field(32, ge=1, le=256, description="most faces taken from a frame")


class ClassifierConfig(_Section):
    """Which network judges masks."""

    model: FilePath | None = Field(None, description="file; unset: the one shipped")
    budget: int = Field(8, ge=1, le=64, description="most faces classified per frame")


class InferenceConfig(_Section):
    """What the networks run on."""

    accelerator: Literal["auto", "cpu", "edgetpu"] = Field("auto", description="where")
    device: str | None = Field(None, description="libedgetpu device string: usb, pci:0 ...")
    threads: int = Field(2, ge=1, le=16, description="CPU threads per network")
    timeout: float = Field(2.0, gt=0.0, le=60.0, description="seconds an Edge TPU call may take")


class MotionConfig(_Section):
    """The gate that spares the networks a still scene."""

    enabled: bool = Field(True, description="look for faces only where something moves")
    threshold: Probability = Field(0.004, description="share of changed cells that counts")
    pixel_delta: int = Field(12, ge=1, le=255, description="grey levels that count as change")
    hold: Seconds = Field(2.0, description="seconds of looking on after the last change")
    refresh: PositiveSeconds = Field(2.0, description="longest time between looks at a still scene")


class TrackerConfig(_Section):
    """How boxes become persons."""

    max_age: PositiveSeconds = Field(2.0, description="seconds a person may go unseen")
    min_hits: int = Field(2, ge=1, le=30, description="sightings until a person counts")
    gate: float = Field(
        4.0, ge=1.0, le=20.0, description="how unlikely a box may be for a person, in deviations"
    )
    start_score: Probability = Field(
        0.6, description="least score that begins a person; weaker faces only continue one"
    )


class VerdictConfig(_Section):
    """When scores become a decision about a person."""

    min_face: int = Field(48, ge=8, le=2000, description="smallest face judged, pixels")
    min_sharpness: float = Field(
        4.0, ge=0.0, le=10_000.0, description="least sharpness judged; in focus is 20 and more"
    )
    min_evidence: float = Field(3.0, gt=0.0, le=100.0, description="weight of votes needed")
    min_agreement: Probability = Field(0.7, description="share of votes for the same decision")
    min_confidence: Probability = Field(0.8, description="mean probability of that decision")
    half_life: PositiveSeconds = Field(2.0, description="seconds until a vote counts half")
    clear_after: PositiveSeconds = Field(1.5, description="seconds of mask on until it ends")
    leave_after: PositiveSeconds = Field(5.0, description="seconds unseen until it ends")
    cooldown: Seconds = Field(10.0, description="seconds in which the same place is not repeated")
    alert_on: tuple[Literal["without_mask", "incorrect_mask"], ...] = Field(
        ("without_mask", "incorrect_mask"), description="labels that are violations"
    )
    reclassify: PositiveSeconds = Field(1.0, description="seconds between looks at a sure person")


class TlsConfig(_Section):
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


class MqttConfig(_Section):
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
        return _topic_levels(value, "prefix")

    @property
    def effective_port(self) -> int:
        """The port in force."""
        return self.port or (8883 if self.tls.enabled else 1883)


class HomeAssistantConfig(_Section):
    """Whether Home Assistant shows this unit by itself."""

    enabled: bool = Field(True, description="announce this unit to Home Assistant")
    prefix: str = Field("homeassistant", description="its discovery prefix")

    @field_validator("prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        return _topic_levels(value, "prefix")


class OutboxConfig(_Section):
    """Where events wait until the broker has them."""

    path: FilePath | None = Field(None, description="file; unset: outbox.db in the state folder")
    max_events: int = Field(100_000, ge=100, le=10_000_000, description="most events kept")


class PublishConfig(_Section):
    """What is published besides violations."""

    interval: float = Field(30.0, ge=1.0, le=3600.0, description="seconds between health and state")
    compliance_window: PositiveSeconds = Field(3600.0, description="seconds that compliance covers")


def default_device() -> str:
    """The host's name, with what MQTT reserves replaced by ``-``."""
    return re.sub(r"[+#/$\x00-\x1f]", "-", socket.gethostname()) or "maskedge"


class WebConfig(_Section):
    """The status page and the metrics."""

    enabled: bool = Field(False, description="serve them; false: no socket listens")
    host: str = Field("127.0.0.1", description="address to listen at; beyond this machine: a token")
    port: int = Field(8620, ge=1, le=65_535, description="TCP port")
    token_file: FilePath | None = Field(
        None, description="file with the token; or MASKEDGE_WEB_TOKEN, or a credential"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="further names that browsers may ask for; a proxy's, for example"
    )
    picture: bool = Field(True, description="show the live picture")
    picture_fps: float = Field(5.0, ge=0.2, le=30.0, description="most pictures shown per second")
    picture_width: int = Field(640, ge=160, le=3840, description="widest picture shown, pixels")

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if value == "localhost":
            return "127.0.0.1"
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            raise ValueError(
                f"host must be an address of this machine (127.0.0.1, 0.0.0.0, ::), got {value!r}"
            ) from None

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


class Config(_Section):
    """Everything."""

    device: str = Field(default_factory=default_device, description="topic level of this unit")
    name: str = Field(
        "entrance", min_length=1, max_length=64, description="camera's name in events"
    )
    camera: CameraConfig = CameraConfig()
    detector: DetectorConfig = DetectorConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    inference: InferenceConfig = InferenceConfig()
    motion: MotionConfig = MotionConfig()
    tracker: TrackerConfig = TrackerConfig()
    verdict: VerdictConfig = VerdictConfig()
    mqtt: MqttConfig = MqttConfig()
    homeassistant: HomeAssistantConfig = HomeAssistantConfig()
    outbox: OutboxConfig = OutboxConfig()
    publish: PublishConfig = PublishConfig()
    web: WebConfig = WebConfig()

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        return _topic_level(value, "device")

    @property
    def topic_root(self) -> str:
        """``<prefix>/<device>``, without a slash at the end."""
        return f"{self.mqtt.prefix}/{self.device}"
