"""The event contract: the exact JSON object that tells the world of a violation.

A decision is measured on a steady time line and told in wall time. Both meet in one place: when
an event is built, one offset is read from the ``WallClock`` and used for every moment in it, so a
step of the wall clock can't put a person's end before their beginning.

``seq``, ``sent_at`` and ``delayed`` are filled in later (:func:`seal`): the number by the outbox
that stores the event, the others when it is handed to the broker.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from maskedge.clock import WallClock, boot_id, clock_synced, rfc3339, uuid7

if TYPE_CHECKING:
    from maskedge.geometry import Box

__all__ = [
    "DELAYED_AFTER",
    "HEALTH",
    "STATE",
    "VIOLATION",
    "Compliance",
    "EventBuilder",
    "FaultPayload",
    "HealthPayload",
    "Models",
    "People",
    "StatePayload",
    "Violation",
    "Votes",
    "WallClock",
    "boot_id",
    "clock_synced",
    "rfc3339",
    "schema",
    "seal",
    "to_json",
    "uuid7",
]

VIOLATION = "maskedge.violation/1"
STATE = "maskedge.state/1"
HEALTH = "maskedge.health/1"

DELAYED_AFTER = 10.0
"""Seconds from decision to sending above which an event calls itself delayed."""


class Votes(NamedTuple):
    """How many frames were judged, and how many of them agree with the label."""

    frames: int
    agree: int


class Models(NamedTuple):
    """The networks that made an event: first 12 hex digits of each file's SHA-256."""

    detector: str
    classifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One event. Moments are seconds on the steady time line; ``offset`` makes them wall time.

    Attributes:
        event_id: UUIDv7, one per event.
        violation_id: ``event_id`` of the ``started`` that this event is or belongs to.
        box: relative, 0..1 of the picture.
        created: ``time.monotonic()`` when it was built; says how late it is sent.
    """

    event_id: str
    violation_id: str
    type: Literal["started", "ended"]
    device: str
    camera: str
    label: str
    confidence: float
    votes: Votes
    track_id: int
    box: Box
    first_seen: float
    decided_at: float
    ended_at: float | None
    offset: float
    clock_synced: bool
    models: Models
    snapshot: str | None = None
    created: float = field(default_factory=time.monotonic)

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the contract, not yet numbered nor sent."""
        return {
            "schema": VIOLATION,
            "event_id": self.event_id,
            "violation_id": self.violation_id,
            "type": self.type,
            "device": self.device,
            "camera": self.camera,
            "label": self.label,
            "confidence": round(self.confidence, 4),
            "votes": self.votes._asdict(),
            "track_id": self.track_id,
            "box": [round(edge, 4) for edge in self.box.clipped(1.0, 1.0)],
            "first_seen": rfc3339(self.first_seen + self.offset),
            "decided_at": rfc3339(self.decided_at + self.offset),
            "ended_at": None if self.ended_at is None else rfc3339(self.ended_at + self.offset),
            "seq": None,
            "boot_id": boot_id(),
            "clock_synced": self.clock_synced,
            "sent_at": None,
            "delayed": False,
            "model": self.models._asdict(),
            "snapshot": self.snapshot,
        }

    def to_json(self) -> str:
        """:meth:`as_dict` as compact JSON, as the outbox stores it."""
        return to_json(self.as_dict())


class EventBuilder:
    """Makes events of one camera's decisions.

    Args:
        device: the unit's topic level.
        camera: the camera's name.
        models: what judged.
        clock: maps the moments given to the methods below to wall time.
        snapshot_root: topic under which pictures are published; None: no picture is.
    """

    def __init__(
        self,
        device: str,
        camera: str,
        models: Models,
        clock: WallClock | None = None,
        snapshot_root: str | None = None,
    ) -> None:
        self._device = device
        self._camera = camera
        self._models = models
        self._clock = clock or WallClock()
        self._snapshot_root = snapshot_root

    def started(  # noqa: PLR0913 - the facts of a decision
        self,
        *,
        label: str,
        confidence: float,
        votes: Votes,
        track_id: int,
        box: Box,
        first_seen: float,
        decided_at: float,
    ) -> Violation:
        """A person was found to wear no mask, or wear it wrongly.

        Args:
            label: ``without_mask`` or ``incorrect_mask``.
            confidence: calibrated probability, 0..1.
            votes: frames judged and agreeing.
            track_id: the person, by the tracker's count.
            box: relative, 0..1.
            first_seen: when the person appeared, on the clock's steady time line, seconds.
            decided_at: when the verdict was sure, the same.
        """
        event_id = str(uuid7())
        root = self._snapshot_root
        return Violation(
            event_id=event_id,
            violation_id=event_id,
            type="started",
            device=self._device,
            camera=self._camera,
            label=label,
            confidence=confidence,
            votes=votes,
            track_id=track_id,
            box=box,
            first_seen=first_seen,
            decided_at=decided_at,
            ended_at=None,
            offset=self._clock.offset(),
            clock_synced=clock_synced(),
            models=self._models,
            snapshot=None if root is None else f"{root}/{event_id}",
        )

    def ended(self, started: Violation, ended_at: float, box: Box | None = None) -> Violation:
        """The mask went on, or the person left.

        Args:
            started: the event that this one ends.
            ended_at: when, on the steady time line, seconds.
            box: where the person was last, relative; None: as in ``started``.
        """
        return Violation(
            event_id=str(uuid7()),
            violation_id=started.event_id,
            type="ended",
            device=self._device,
            camera=self._camera,
            label=started.label,
            confidence=started.confidence,
            votes=started.votes,
            track_id=started.track_id,
            box=box or started.box,
            first_seen=started.first_seen,
            decided_at=started.decided_at,
            ended_at=ended_at,
            offset=self._clock.offset(),
            clock_synced=clock_synced(),
            models=self._models,
        )


def seal(payload: str, *, seq: int | None, created: float, sent_at: float | None = None) -> bytes:
    """What goes to the broker: a stored event with its number and the time of sending.

    Args:
        payload: :meth:`Violation.to_json`.
        seq: the outbox's number; None: the disk couldn't be written, so it has none.
        created: ``time.monotonic()`` when the event was built; means something only within
            the boot that the event names.
        sent_at: seconds since the epoch; None: now.
    """
    event = json.loads(payload)
    late = time.monotonic() - created > DELAYED_AFTER
    event["seq"] = seq
    event["sent_at"] = rfc3339(time.time() if sent_at is None else sent_at)
    event["delayed"] = late or event["boot_id"] != boot_id()
    return to_json(event).encode()


def to_json(value: Any) -> str:
    """Compact JSON; refuses what JSON can't say (NaN, infinity)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@cache
def schema(name: str) -> dict[str, Any]:
    """A JSON Schema shipped with the package: ``violation-1``, ``state-1`` or ``health-1``."""
    text = (resources.files("maskedge") / "schema" / f"{name}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


class People(TypedDict):
    """Persons in view, by label."""

    with_mask: int
    without_mask: int
    incorrect_mask: int
    unsure: int


class Compliance(TypedDict):
    """How the persons of the last window wore their masks."""

    window_s: float
    persons: int
    rate: float | None
    """Share of ``persons`` with a mask worn well, 0..1; None: there were none."""


class StatePayload(TypedDict):
    """Retained under ``state``; see ``schema/state-1.json``."""

    schema: str
    device: str
    camera: str
    people: People
    compliance: Compliance
    updated_at: str


class FaultPayload(TypedDict):
    """One fault that stands now."""

    code: str
    since: str
    message: str
    help: str


class HealthPayload(TypedDict):
    """Retained under ``health``; see ``schema/health-1.json``."""

    schema: str
    device: str
    version: str
    status: Literal["ok", "degraded", "failed"]
    faults: list[FaultPayload]
    camera: dict[str, Any]
    inference: dict[str, Any]
    outbox: dict[str, Any]
    soc: dict[str, Any]
    counters: dict[str, int]
    started_at: str
    updated_at: str
    boot_id: str
    clock_synced: bool
