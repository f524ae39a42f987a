"""Looks after everything once a second and publishes ``state`` and ``health``.

What changes slowly (temperature, clock, faults) is asked here and nowhere else, so the frame loop
stays free of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from maskedge import events
from maskedge.health import report, soc
from maskedge.health.faults import FaultBoard, Situation
from maskedge.health.metrics import Metrics
from maskedge.people.compliance import Compliance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskedge.camera.guard import CameraStatus
    from maskedge.config import Config
    from maskedge.delivery.mqtt import PublisherStatus
    from maskedge.delivery.outbox import OutboxStatus
    from maskedge.health.drift import Drift
    from maskedge.people.verdict import Decision
    from maskedge.pipeline import FrameResult
    from maskedge.signals.local import SignalsStatus

EVERY = 1.0
"""Seconds between two looks."""
SPEED_WINDOW = 10.0
"""Seconds over which frames per second and dropped frames are measured."""
STARTING = 5.0
"""Seconds after the start in which a broker that isn't connected yet is no fault."""


class Publishes(Protocol):
    """What the monitor needs of the publisher."""

    def publish_state(self, payload: events.StatePayload) -> None:
        """Retained ``state``; the newest wins."""

    def publish_health(self, payload: events.HealthPayload) -> None:
        """Retained ``health``; the newest wins."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the parts say of themselves at one moment."""

    camera: CameraStatus
    broker: PublisherStatus
    outbox: OutboxStatus
    backend: dict[str, str]
    models: dict[str, str]
    accelerator_fault: str | None
    scene: frozenset[str]
    config_error: str | None
    signals: SignalsStatus
    review_error: str | None = None
    models_error: str | None = None
    snapshot_error: str | None = None


class Monitor:
    """Owned by the daemon's loop; not thread-safe but for :attr:`metrics`."""

    def __init__(
        self,
        config: Config,
        publisher: Publishes,
        started: float,
        drift: Drift | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Watch from ``started`` (monotonic seconds) on.

        Args:
            config: in force.
            publisher: where messages go.
            started: monotonic seconds.
            drift: watches the networks.
            metrics: others add to them, too; None: nobody does.
        """
        self.metrics = metrics or Metrics()
        self.drift = drift
        self._publisher = publisher
        self._clock = events.WallClock()
        self._board = FaultBoard(self._moment)
        self._started = started
        self._began = self._moment(started)
        self._next_look = started
        self._next_message = started
        self._seen = Situation()
        self._labels: tuple[str, ...] = ()
        self._speed: deque[tuple[float, int, int]] = deque()
        self._compliance = Compliance(config.publish.compliance_window)
        self.reconfigure(config, publisher)

    def reconfigure(self, config: Config, publisher: Publishes) -> None:
        """Take a new configuration; counters and faults stay."""
        self._config = config
        self._publisher = publisher
        self._compliance.window = config.publish.compliance_window
        self._who = report.Identity(config.device, config.name, self._began)
        self._next_message = self._next_look

    def frame(self, result: FrameResult, seconds: float, now: float) -> None:
        """Note a frame that crossed the pipeline in ``seconds``."""
        metrics = self.metrics
        metrics.count("frames")
        metrics.count("frames_looked", int(result.looked))
        metrics.count("faces", len(result.faces))
        metrics.count("faces_classified", result.classified)
        if result.looked:
            metrics.observe({**result.timings, "frame": seconds})
        self._compliance.note(((p.track_id, p.label) for p in result.persons), now)
        if self.drift is not None:
            self.drift.frame(result, now)
        self._in_view(tuple(sorted(person.label for person in result.persons)), now)

    def nobody(self, now: float) -> None:
        """Note that nobody can be seen any more."""
        self._in_view((), now)

    def _in_view(self, labels: tuple[str, ...], now: float) -> None:
        if labels != self._labels:
            self._labels = labels
            self._publisher.publish_state(self.state(now))

    def told(self, decisions: Iterable[Decision]) -> None:
        """Count what became events, also when somebody's violation ends without a frame."""
        for decision in decisions:
            self.metrics.count(f"violations_{decision.type}")

    def look(self, parts: Parts, now: float, *, force: bool = False) -> bool:
        """Once a second: faults; when they change or the interval is over: messages.

        Returns:
            Whether the second was over, so that it has looked.
        """
        if now < self._next_look and not force:
            return False
        self._next_look = now + EVERY
        processed = self.metrics.counters().get("frames", 0)
        self._speed.append((now, processed, parts.camera.dropped))
        while now - self._speed[0][0] > SPEED_WINDOW:
            self._speed.popleft()
        self._seen = situation = self._situation(parts, now)
        changed = self._board.update(situation, now)
        if changed or force or now >= self._next_message:
            self._next_message = now + self._config.publish.interval
            self._publisher.publish_health(self.health(parts, now))
            self._publisher.publish_state(self.state(now))
        return True

    def health(self, parts: Parts, now: float) -> events.HealthPayload:
        """The message ``health`` as of the last look."""
        vitals = self._vitals(parts, self._seen)
        return report.health(self._who, self._board, vitals, self.metrics, self._moment(now))

    def state(self, now: float) -> events.StatePayload:
        """The message ``state``."""
        return report.state(
            self._who,
            self._labels,
            self._compliance.share(now),
            self._compliance.window,
            self._moment(now),
        )

    def camera_reported_lost_since(self) -> float | None:
        """Since when a published fault says that the camera is lost; None: it isn't."""
        raised = self._board.raised.get("camera_lost")
        return None if raised is None else raised.since

    def _situation(self, parts: Parts, now: float) -> Situation:
        broker = parts.broker
        starting = now - self._started < STARTING and broker.last_error is None
        return Situation(
            camera_error=self._camera_error(parts.camera),
            scene=parts.scene,
            accelerator_fault=parts.accelerator_fault,
            broker_error=None
            if starting or (broker.connected and broker.last_error is None)
            else broker.last_error or f"no answer yet from {self._config.mqtt.host}",
            outbox_error=parts.outbox.error,
            outbox_note=parts.outbox.recovered,
            outbox_dropped=parts.outbox.dropped,
            outbox_unwritten=parts.outbox.unwritten,
            outbox_damaged=parts.outbox.damaged,
            config_error=parts.config_error,
            review_error=parts.review_error,
            models_error=parts.models_error,
            throttled=soc.throttling(),
            clock_synced=events.clock_synced(),
            behind=self._behind(),
            gpio_error=parts.signals.gpio_error,
            command_error=parts.signals.command_error,
            drift=None if self.drift is None else self.drift.message,
            snapshot_error=parts.snapshot_error,
        )

    def _camera_error(self, camera: CameraStatus) -> str | None:
        if camera.state != "lost":
            return None
        return camera.error or "no frames"

    def _behind(self) -> float:
        since, processed, dropped = self._speed[0]
        now, processed_now, dropped_now = self._speed[-1]
        if now - since < SPEED_WINDOW / 2:  # a stream begins with a burst of what was buffered
            return 0.0
        lost = dropped_now - dropped
        total = processed_now - processed + lost
        return lost / total if total > 0 else 0.0

    def _fps(self) -> float:
        since, before, _ = self._speed[0]
        now, processed, _ = self._speed[-1]
        return (processed - before) / (now - since) if now > since else 0.0

    def _vitals(self, parts: Parts, situation: Situation) -> report.Vitals:
        camera = asdict(parts.camera)
        camera["source"] = camera.pop("name")
        camera["since"] = self._moment(parts.camera.since)
        return report.Vitals(
            camera=camera,
            backend=parts.backend,
            models=parts.models,
            drift=None if self.drift is None else self.drift.figures(),
            fps=self._fps(),
            outbox_pending=parts.outbox.pending,
            outbox_oldest=parts.outbox.oldest,
            temperature=soc.temperature(),
            throttled=soc.throttled(),
            clock_synced=situation.clock_synced,
        )

    def _moment(self, monotonic: float) -> str:
        return events.rfc3339(monotonic + self._clock.offset())
