"""Where the daemon's loop leaves what the page shows, and the web's thread finds it.

The loop only stores references: it never waits, encodes, or knows who watches. Every topic has a
version; a client is sent the newest one when it is ready for it, so nothing queues up for a slow
one.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from maskedge.camera.urls import redact
from maskedge.config import Config
from maskedge.events import rfc3339
from maskedge.web.history import SLOTS, SPAN, DayHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maskedge.camera.frame import Frame
    from maskedge.configfile import LoadedConfig
    from maskedge.events import HealthPayload, StatePayload, Violation
    from maskedge.health.monitor import Parts
    from maskedge.pipeline import FrameResult
    from maskedge.web.driftview import DriftView

WATCH = 3.0
"""Seconds for which one request for a picture keeps pictures coming."""
WANT = 30.0
"""Seconds for which one request for the overview keeps it coming; scrapers come more often."""
FRESH = 2.5
"""Seconds up to which an overview tells how things are; there is a look every second."""
VIOLATIONS = 30
"""Violations shown."""
RELOADS = 10
"""Reloads shown."""


class View(NamedTuple):
    """The newest frame with what was found in it."""

    number: int
    frame: Frame
    result: FrameResult


class Topic(NamedTuple):
    """One kind of news for the page."""

    version: object
    """Differs from the version before when the content does."""
    content: Callable[[], Any]
    """Makes what JSON can say; called only for those who haven't seen this version."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The daemon as of its last look, once a second."""

    state: StatePayload
    health: HealthPayload
    parts: Parts
    drift: DriftView | None = None


class Hub:
    """Filled by the daemon's loop, read by the web's thread.

    Args:
        loaded: the configuration in force.
        clock: seconds; measures how long ago something was.
        wall: seconds since the epoch; dates what happens.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._watched_until = float("-inf")
        self._wanted_until = float("-inf")
        self._looked_at: float | None = None
        self._overview_at = float("-inf")
        self._view: View | None = None
        self._count = 0
        self._overview: Overview | None = None
        self._violations: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._told = 0
        self._day = DayHistory()
        self._reloads: list[dict[str, Any]] = []
        self._loaded = loaded
        self._configurations = 0

    # What the daemon's loop calls.

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """A frame has crossed the pipeline; it is kept only while somebody watches."""
        if result.persons:
            with self._lock:
                self._day.note(((p.track_id, p.label) for p in result.persons), self._wall())
        if self.clock() < self._watched_until:
            self._count += 1
            self._view = View(self._count, frame, result)
        else:
            self._view = None

    def told(self, events: Iterable[Violation]) -> None:
        """Violations have started or ended."""
        with self._lock:
            for event in events:
                if event.type == "ended" and event.violation_id not in self._violations:
                    continue  # it began before those that are shown
                self._violations[event.violation_id] = event.as_dict()
                self._told += 1
            while len(self._violations) > VIOLATIONS:
                self._violations.popitem(last=False)

    def looked(self) -> bool:
        """The monitor has had its look; returns whether somebody wants to know what it saw."""
        self._looked_at = self.clock()
        if self._looked_at >= self._watched_until:
            self._view = None  # no next frame may come to do that
        return self._looked_at < self._wanted_until

    def tell(self, overview: Overview) -> None:
        """What the look showed."""
        self._overview, self._overview_at = overview, self.clock()

    def reloaded(self, loaded: LoadedConfig, refused: str | None = None) -> None:
        """A changed configuration came into force, or was refused and why.

        Args:
            loaded: the configuration in force from now on.
            refused: why the changed one isn't; None: it is.
        """
        with self._lock:
            self._loaded = loaded
            self._configurations += 1
            self._reloads.append({"at": rfc3339(self._wall()), "refused": refused})
            del self._reloads[:-RELOADS]

    # What the web's thread calls.

    def watch(self) -> View | None:
        """Ask for pictures for the next :data:`WATCH` seconds; returns the newest there is."""
        self._watched_until = self.clock() + WATCH
        return self._view

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._loaded.config

    @property
    def overview(self) -> Overview | None:
        """As of the last look that somebody wanted; None before the first."""
        return self._overview

    def fresh(self) -> bool:
        """Ask for overviews for the next :data:`WANT` seconds; returns whether this one is new."""
        self._wanted_until = self.clock() + WANT
        return self.clock() - self._overview_at < FRESH

    def look_age(self) -> float | None:
        """Seconds since the last look, wanted or not; None before the first."""
        return None if self._looked_at is None else self.clock() - self._looked_at

    def topics(self) -> dict[str, Topic]:
        """All that the page shows but the picture."""
        overview = self._overview
        slot = int(self._wall() // SPAN)
        topics = {
            "config": Topic(self._configurations, self._configuration),
            "violations": Topic(self._told, self._last_violations),
            "day": Topic((self._day.version, slot), self._last_day),
        }
        if overview is not None:
            topics["overview"] = Topic(self._overview_at, lambda: self._describe(overview))
            drift = overview.drift
            if drift is not None:
                topics["drift"] = Topic(drift.version, lambda: drift.content)
        return topics

    def _describe(self, overview: Overview) -> dict[str, Any]:
        broker = overview.parts.broker
        return {
            "age": self.clock() - self._overview_at,
            "state": overview.state,
            "health": overview.health,
            "broker": {
                "connected": broker.connected,
                "error": broker.last_error,
                "sent": broker.sent,
                "acknowledged": broker.acknowledged,
                "resent": broker.resent,
            },
        }

    def _last_violations(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(reversed(self._violations.values()))

    def _last_day(self) -> dict[str, Any]:
        with self._lock:
            return {"span": SPAN, "slots": self._day.slots(self._wall()), "count": SLOTS}

    def _configuration(self) -> dict[str, Any]:
        with self._lock:
            loaded, reloads = self._loaded, list(reversed(self._reloads))
        return {
            "file": None if loaded.path is None else str(loaded.path.resolve()),
            "values": _values(loaded.config),
            "reloads": reloads,
            "min_face": loaded.config.verdict.min_face,
            "picture": loaded.config.web.picture,
        }


def _values(config: Config) -> list[dict[str, Any]]:
    """Every setting: key, value, and whether it is the default."""
    defaults = dict(_flat(Config().model_dump(mode="json")))
    return [
        {"key": key, "value": _shown(value), "default": value == defaults.get(key)}
        for key, value in _flat(config.model_dump(mode="json"))
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    """As it would stand in the file, without any password."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return redact(str(value))
