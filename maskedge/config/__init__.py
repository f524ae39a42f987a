"""The validated configuration: what ``config.yaml`` may say, with its defaults and limits.

Models are frozen: a reload makes a new tree and swaps it. Reading and explaining errors lives in
:mod:`maskedge.configfile`; this package knows only values.
"""

from __future__ import annotations

import re
import socket

from pydantic import Field, field_validator

from maskedge.config.base import MQTT_RESERVED, Section, topic_level
from maskedge.config.delivery import (
    HomeAssistantConfig,
    MqttConfig,
    OutboxConfig,
    PublishConfig,
    TlsConfig,
)
from maskedge.config.drift import DriftConfig
from maskedge.config.review import ReviewConfig
from maskedge.config.signals import CommandConfig, GpioConfig, SignalsConfig
from maskedge.config.snapshot import SnapshotConfig
from maskedge.config.vision import (
    CameraConfig,
    ClassifierConfig,
    DetectorConfig,
    InferenceConfig,
    MotionConfig,
    TrackerConfig,
    VerdictConfig,
)
from maskedge.config.web import WebConfig

__all__ = [
    "MQTT_RESERVED",
    "CameraConfig",
    "ClassifierConfig",
    "CommandConfig",
    "Config",
    "DetectorConfig",
    "DriftConfig",
    "GpioConfig",
    "HomeAssistantConfig",
    "InferenceConfig",
    "MotionConfig",
    "MqttConfig",
    "OutboxConfig",
    "PublishConfig",
    "ReviewConfig",
    "SignalsConfig",
    "SnapshotConfig",
    "TlsConfig",
    "TrackerConfig",
    "VerdictConfig",
    "WebConfig",
    "default_device",
]


def default_device() -> str:
    """The host's name, with what MQTT reserves replaced by ``-``."""
    return re.sub(f"[{re.escape(MQTT_RESERVED)}]", "-", socket.gethostname()) or "maskedge"


class Config(Section):
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
    signals: SignalsConfig = SignalsConfig()
    snapshot: SnapshotConfig = SnapshotConfig()
    web: WebConfig = WebConfig()
    review: ReviewConfig = ReviewConfig()
    drift: DriftConfig = DriftConfig()

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        return topic_level(value, "device")

    @property
    def topic_root(self) -> str:
        """``<prefix>/<device>``, without a slash at the end."""
        return f"{self.mqtt.prefix}/{self.device}"
