"""Everything that can be wrong while the daemon runs, one small class each.

A fault looks at a :class:`Situation` and says in one sentence what is wrong, or nothing. The
board keeps since when it has been wrong, and logs each fault once when it is raised and once when
it is cleared. ``help`` is the anchor in docs/faults.md.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

HELP_ROOT = "docs/faults.md"


@dataclass(frozen=True, slots=True)
class Situation:
    """What the faults look at, as the daemon sees it at one moment.

    Attributes:
        camera_error: why the camera gives no frames, None while it does.
        scene: conditions that the picture shows: ``black``, ``covered``, ``frozen``.
        accelerator_fault: why the Edge TPU isn't used although wanted.
        broker_error: why the broker isn't connected.
        outbox_error: why events can't be written.
        outbox_note: what happened to an earlier outbox file (set aside), or None.
        outbox_dropped: events that the outbox has lost.
        outbox_unwritten: of these, lost from memory while the disk took none.
        outbox_damaged: of these, so damaged that they couldn't be sent.
        config_error: why the last reload was refused.
        review_error: why uncertain faces can't be kept.
        models_error: why the networks that were installed aren't in use.
        throttled: what the firmware says of power and heat, or None.
        clock_synced: whether the wall clock has been set.
        behind: share of camera frames not processed, 0..1.
        gpio_error: why an output can't be switched.
        command_error: what is wrong with the command for events.
        drift: what has moved away from where the networks are right, or None.
        snapshot_error: why pictures of violations can't be made, kept or sent.
    """

    camera_error: str | None = None
    scene: frozenset[str] = frozenset()
    accelerator_fault: str | None = None
    broker_error: str | None = None
    outbox_error: str | None = None
    outbox_note: str | None = None
    outbox_dropped: int = 0
    outbox_unwritten: int = 0
    outbox_damaged: int = 0
    config_error: str | None = None
    review_error: str | None = None
    models_error: str | None = None
    throttled: str | None = None
    clock_synced: bool = True
    behind: float = 0.0
    gpio_error: str | None = None
    command_error: str | None = None
    drift: str | None = None
    snapshot_error: str | None = None


class Fault:
    """One thing that can be wrong."""

    code: ClassVar[str]
    failed: ClassVar[bool] = False
    """True: while it lasts no violation can be seen at all."""

    def check(self, situation: Situation) -> str | None:
        """Say what is wrong and how to cure it, or None."""
        raise NotImplementedError


class CameraLost(Fault):
    """No frames come."""

    code = "camera_lost"
    failed = True

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.camera_error


class PictureBlack(Fault):
    """Frames come, all black."""

    code = "picture_black"
    failed = True

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        if "black" in situation.scene:
            return "the picture is all black: switch on the light or take off the lens cap"
        return None


class LensCovered(Fault):
    """Frames come, without any detail."""

    code = "lens_covered"
    failed = True

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        if "covered" in situation.scene:
            return "the picture shows no detail: clean or uncover the lens"
        return None


class PictureFrozen(Fault):
    """The same frame again and again."""

    code = "picture_frozen"
    failed = True

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        if "frozen" in situation.scene:
            return "the camera repeats the same picture: restart the camera or its server"
        return None


class AcceleratorLost(Fault):
    """The Edge TPU is wanted, the CPU does its work."""

    code = "accelerator_lost"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.accelerator_fault


class BrokerLost(Fault):
    """Events wait in the outbox."""

    code = "broker_lost"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.broker_error


class OutboxUnwritable(Fault):
    """Events wait in RAM and would not survive a power cut."""

    code = "outbox_unwritable"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.outbox_error


class OutboxSetAside(Fault):
    """An outbox file couldn't be read and was set aside."""

    code = "outbox_set_aside"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.outbox_note


class OutboxOverflow(Fault):
    """Events are lost: the broker or the disk was away for too long, or they were damaged."""

    code = "outbox_overflow"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        unwritten, damaged = situation.outbox_unwritten, situation.outbox_damaged
        causes = {
            "oldest events were dropped at outbox.max_events: bring the broker back or raise "
            "the bound": situation.outbox_dropped - unwritten - damaged,
            "oldest events were dropped from memory, which bounds what waits for the disk: free "
            "space or mend the disk": unwritten,
            "events were damaged on disk and could not be sent: look after the disk": damaged,
        }
        return "; ".join(f"{count} {why}" for why, count in causes.items() if count) or None


class ConfigRefused(Fault):
    """The file was changed, but not to something valid."""

    code = "config_refused"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.config_error


class ReviewUnwritable(Fault):
    """Uncertain faces should be kept for a person, and can't be; nothing else suffers."""

    code = "review_unwritable"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.review_error


class ModelsRefused(Fault):
    """Other networks were installed, but can't be used."""

    code = "models_refused"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        if situation.models_error is None:
            return None
        return (
            f"the installed networks are refused, others serve: {situation.models_error}, "
            "or: maskedge models rollback"
        )


class Throttled(Fault):
    """The SoC is too hot or its power supply too weak."""

    code = "throttled"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.throttled


class ClockUnsynced(Fault):
    """Times in events may be wrong."""

    code = "clock_unsynced"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        if situation.clock_synced:
            return None
        return "the clock isn't set by NTP: times in events may be wrong; check the network"


class FallingBehind(Fault):
    """Frames come faster than they can be looked at."""

    code = "falling_behind"
    limit: ClassVar[float] = 0.5

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        if situation.behind <= self.limit:
            return None
        return (
            f"{situation.behind:.0%} of the frames are dropped: lower camera.fps, or "
            "detector.input, or add a Coral"
        )


class GpioFailed(Fault):
    """A lamp, buzzer or relay can't be switched."""

    code = "gpio_failed"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.gpio_error


class CommandFailed(Fault):
    """The program that is started for events doesn't do its work."""

    code = "command_failed"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.command_error


class ModelDrift(Fault):
    """What the networks see, or say, is no longer what it was."""

    code = "model_drift"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.drift


class SnapshotFailed(Fault):
    """Pictures of violations are wanted, and can't be made, kept or sent."""

    code = "snapshot_failed"

    def check(self, situation: Situation) -> str | None:  # noqa: D102
        return situation.snapshot_error


FAULTS: tuple[type[Fault], ...] = (
    CameraLost,
    PictureBlack,
    LensCovered,
    PictureFrozen,
    AcceleratorLost,
    BrokerLost,
    OutboxUnwritable,
    OutboxSetAside,
    OutboxOverflow,
    ConfigRefused,
    ReviewUnwritable,
    ModelsRefused,
    Throttled,
    ClockUnsynced,
    FallingBehind,
    GpioFailed,
    CommandFailed,
    ModelDrift,
    SnapshotFailed,
)


@dataclass(slots=True)
class Raised:
    """A fault that is there now."""

    fault: Fault
    since: float
    message: str


@dataclass
class FaultBoard:
    """Which faults are raised; changed by the daemon's loop only.

    Attributes:
        describe_time: turns a monotonic time into what ``health`` shows.
    """

    describe_time: Callable[[float], str]
    faults: Iterable[Fault] = field(default_factory=lambda: [kind() for kind in FAULTS])
    raised: dict[str, Raised] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.faults = list(self.faults)

    def update(self, situation: Situation, now: float) -> bool:
        """Raise and clear; returns whether any fault came or went (not: was reworded)."""
        changed = False
        for fault in self.faults:
            message = fault.check(situation)
            before = self.raised.get(fault.code)
            if message is None and before is not None:
                del self.raised[fault.code]
                log.warning("cleared %s after %.0f s", fault.code, now - before.since)
                changed = True
            elif message is not None and before is None:
                self.raised[fault.code] = Raised(fault, now, message)
                level = logging.ERROR if fault.failed else logging.WARNING
                log.log(level, "fault %s: %s", fault.code, message)
                changed = True
            elif message is not None and before is not None:
                before.message = message
        return changed

    @property
    def status(self) -> str:
        """``ok``, ``degraded`` or ``failed``."""
        if any(raised.fault.failed for raised in self.raised.values()):
            return "failed"
        return "degraded" if self.raised else "ok"

    def as_json(self) -> list[dict[str, str]]:
        """``[{code, since, message, help}]``, oldest first."""
        return [
            {
                "code": code,
                "since": self.describe_time(raised.since),
                "message": raised.message,
                "help": f"{HELP_ROOT}#{code}",
            }
            for code, raised in sorted(self.raised.items(), key=lambda item: item[1].since)
        ]
