"""The retained ``state`` and ``health`` messages, built from what the daemon's parts say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from maskedge import __version__, events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskedge.health.faults import FaultBoard
    from maskedge.health.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Identity:
    """What names this unit in every message."""

    device: str
    camera: str
    started_at: str


def state(
    who: Identity,
    labels: Iterable[str],
    compliance: tuple[float | None, int],
    window: float,
    updated_at: str,
) -> events.StatePayload:
    """Who is in view, and how the last window went.

    Args:
        who: this unit.
        labels: the label of each person in view.
        compliance: (share 0..1 or None, persons counted).
        window: seconds that it covers.
        updated_at: RFC 3339.
    """
    counted = Counter(labels)
    rate, persons = compliance
    return {
        "schema": events.STATE,
        "device": who.device,
        "camera": who.camera,
        "people": {
            "with_mask": counted["with_mask"],
            "without_mask": counted["without_mask"],
            "incorrect_mask": counted["incorrect_mask"],
            "unsure": counted["unsure"],
        },
        "compliance": {
            "window_s": window,
            "persons": persons,
            "rate": None if rate is None else round(rate, 4),
        },
        "updated_at": updated_at,
    }


@dataclass(frozen=True, slots=True)
class Vitals:
    """What ``health`` shows besides faults, counters and timings.

    Attributes:
        camera: source, state, fps, width, height.
        backend: what each network runs on, by role.
        models: fingerprint of each network, by role.
        drift: what :meth:`maskedge.health.drift.Drift.figures` says; None: it isn't watched.
        fps: frames processed per second.
        outbox_pending: events that the broker doesn't have yet.
        outbox_oldest: RFC 3339 time of the oldest of them.
        temperature: of the SoC, degrees Celsius.
        throttled: whether the firmware limits it; None where it doesn't say.
        clock_synced: whether something sets the wall clock.
    """

    camera: dict[str, Any] = field(default_factory=dict)
    backend: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    drift: dict[str, Any] | None = None
    fps: float = 0.0
    outbox_pending: int = 0
    outbox_oldest: str | None = None
    temperature: float | None = None
    throttled: bool | None = None
    clock_synced: bool = True


def health(
    who: Identity, board: FaultBoard, vitals: Vitals, metrics: Metrics, updated_at: str
) -> events.HealthPayload:
    """How the daemon is, as the ``health`` message."""
    stages = metrics.stage_ms()
    frame = stages.get("frame", {"p50": None, "p95": None})
    return {
        "schema": events.HEALTH,
        "device": who.device,
        "version": __version__,
        "status": cast("Any", board.status),
        "faults": cast("list[events.FaultPayload]", board.as_json()),
        "camera": {"name": who.camera, **vitals.camera},
        "inference": {
            "backend": "+".join(sorted(set(vitals.backend.values()))) or None,
            "backends": vitals.backend,
            "models": vitals.models,
            "p50_ms": frame["p50"],
            "p95_ms": frame["p95"],
            "fps": round(vitals.fps, 2),
            "stage_ms": stages,
            "drift": vitals.drift,
        },
        "outbox": {"pending": vitals.outbox_pending, "oldest": vitals.outbox_oldest},
        "soc": {"temperature_c": vitals.temperature, "throttled": vitals.throttled},
        "counters": metrics.counters(),
        "started_at": who.started_at,
        "updated_at": updated_at,
        "boot_id": events.boot_id(),
        "clock_synced": vitals.clock_synced,
    }
