"""Sections of what sees and decides: camera, networks, motion, persons, verdicts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from maskedge.config.base import (
    Area,
    FilePath,
    PositiveSeconds,
    Probability,
    Seconds,
    Section,
    ViolationLabel,
)

MOST_FACES = 256
"""Most that ``detector.max_faces`` may be."""


class CameraConfig(Section):
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


class DetectorConfig(Section):
    """Which network finds faces."""

    kind: Literal["builtin", "yunet", "ssd"] = Field("builtin", description="which decoder")
    model: FilePath | None = Field(None, description="file; unset: the one in force")
    input: Literal["auto", 320, 480, 640] = Field(
        "auto", description="long side that the network sees, pixels; auto: by verdict.min_face"
    )
    threshold: Probability = Field(0.5, description="least score of a face: P(it is one)")
    nms_iou: Probability = Field(0.45, description="overlap above which two boxes are one face")
    max_faces: int = Field(32, ge=1, le=MOST_FACES, description="most faces taken from a frame")


class ClassifierConfig(Section):
    """Which network judges masks."""

    model: FilePath | None = Field(None, description="file; unset: the one in force")
    budget: int = Field(8, ge=1, le=64, description="most faces classified per frame")


class InferenceConfig(Section):
    """What the networks run on."""

    accelerator: Literal["auto", "cpu", "edgetpu"] = Field("auto", description="where")
    device: str | None = Field(None, description="libedgetpu device string: usb, pci:0 ...")
    threads: int = Field(2, ge=1, le=16, description="CPU threads per network")
    timeout: float = Field(2.0, gt=0.0, le=10.0, description="seconds an Edge TPU call may take")


class MotionConfig(Section):
    """The gate that spares the networks a still scene."""

    enabled: bool = Field(True, description="look for faces only where something moves")
    threshold: Probability = Field(0.004, description="share of changed cells that counts")
    pixel_delta: int = Field(12, ge=1, le=255, description="grey levels that count as change")
    hold: Seconds = Field(2.0, description="seconds of looking on after the last change")
    refresh: PositiveSeconds = Field(2.0, description="longest time between looks at a still scene")


class TrackerConfig(Section):
    """How boxes become persons."""

    max_age: PositiveSeconds = Field(2.0, description="seconds a person may go unseen")
    min_hits: int = Field(2, ge=1, le=30, description="sightings until a person counts")
    gate: float = Field(
        4.0, ge=1.0, le=20.0, description="how unlikely a box may be for a person, in deviations"
    )
    start_score: Probability = Field(
        0.6, description="least score that begins a person; weaker faces only continue one"
    )
    ignore: tuple[Area, ...] = Field(
        (), max_length=64, description="areas in which nobody is followed: a poster, a screen"
    )


class VerdictConfig(Section):
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
    alert_on: tuple[ViolationLabel, ...] = Field(
        ("without_mask", "incorrect_mask"), description="labels that are violations"
    )
    reclassify: PositiveSeconds = Field(1.0, description="seconds between looks at a sure person")

    @field_validator("alert_on")
    @classmethod
    def _each_once(cls, labels: tuple[ViolationLabel, ...]) -> tuple[ViolationLabel, ...]:
        return tuple(dict.fromkeys(labels))  # their shares are added up
