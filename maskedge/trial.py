"""A pipeline on trial: simulated scenes in, decisions out, counted against the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from maskedge.people.simulate import SimulatedVision
from maskedge.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.camera.frame import Frame
    from maskedge.config import Config
    from maskedge.geometry import Box
    from maskedge.people.rules import Rule
    from maskedge.people.simulate import Scene, Sighting, Visit
    from maskedge.people.verdict import Decision
    from maskedge.pipeline import FrameResult

CLEAR_SIZE = 60.0
"""Face height in pixels from which a face counts as clearly in view."""
CLEAR_PART = 0.9
"""Part of a face inside the picture from which it counts as clearly in view."""
CLEAR_TIME = 1.0
"""Seconds in clear view after which a bare face must have been found."""


class ClearQuality(NamedTuple):
    """A face without blur, for scenes that have no pixels."""

    size: float
    sharpness: float = 1000.0
    brightness: float = 128.0
    warmth: float = 0.0
    inside: float = 1.0


def clear(frame: Frame, box: Box) -> ClearQuality:
    """Quality of a simulated face: its size and how much of it is in the picture."""
    shown = box.clipped(frame.width, frame.height)
    return ClearQuality(box.size, inside=shown.area / box.area)


@dataclass
class Outcome:
    """Decisions counted against the truth. Outcomes of several scenes add up with ``+``.

    Attributes:
        visits: by label worn (at first).
        clear: violating visits that were in clear view long enough.
        found: of these, how many were alerted.
        wrong_label: alerted, but as the other violation.
        false_alerts: alerts about a person who wore the mask well.
        ghosts: alerts about nobody.
        repeated: further alerts about the same violation.
        delays: seconds in clear view until the alert.
        switches: times that a track went over to another person.
        fragments: further tracks of the same person.
        looks: faces classified.
        frames: frames seen.
    """

    visits: Counter[str] = field(default_factory=Counter)
    clear: int = 0
    found: int = 0
    wrong_label: int = 0
    false_alerts: int = 0
    ghosts: int = 0
    repeated: int = 0
    delays: list[float] = field(default_factory=list)
    switches: int = 0
    fragments: int = 0
    looks: int = 0
    frames: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    @property
    def false_per_1000(self) -> float:
        """False alerts per 1,000 visits of persons who wear the mask well."""
        return 1000 * self.false_alerts / max(1, self.visits["with_mask"])

    @property
    def found_share(self) -> float:
        """Share of the violations in clear view that were alerted."""
        return self.found / max(1, self.clear)

    def delay(self, quantile: float) -> float:
        """Seconds from clear view to alert that this share of alerts stayed below."""
        return float(np.quantile(self.delays, quantile)) if self.delays else float("nan")


def play(
    scene: Scene,
    config: Config,
    *,
    rule: Rule | None = None,
    watch: Callable[[Frame, list[Sighting], FrameResult], None] | None = None,
) -> tuple[list[tuple[float, Decision]], Outcome]:
    """Run a pipeline over a scene, and flush it at the end.

    Args:
        scene: what happens.
        config: of the pipeline.
        rule: instead of the configuration's thresholds.
        watch: called after each frame.

    Returns:
        All decisions with the time they were made at, and their score.
    """
    vision = SimulatedVision()
    pipeline = Pipeline(vision, vision, clear, None, config, rule=rule)
    outcome = Outcome(visits=Counter(visit.wears[0][1] for visit in scene.visits))
    decisions: list[tuple[float, Decision]] = []
    held: dict[int, int] = {}
    owner: dict[int, int] = {}
    last = 0.0
    for frame, sightings in scene.frames():
        vision.show(sightings)
        result = pipeline.process(frame, frame.time)
        last = frame.time
        decisions += [(last, decision) for decision in result.decisions]
        outcome.frames += 1
        outcome.looks += result.classified
        shown = {sighting.face.box: sighting.visit for sighting in sightings}
        for person in result.persons:
            visit = shown.get(person.box) if person.seen else None
            if visit is None:
                continue
            outcome.switches += owner.get(person.track_id, visit) != visit
            outcome.fragments += held.get(visit, person.track_id) != person.track_id
            owner[person.track_id], held[visit] = visit, person.track_id
        if watch is not None:
            watch(frame, sightings, result)
    decisions += [(last, decision) for decision in pipeline.flush(last)]
    _score(scene, decisions, outcome)
    return decisions, outcome


def _score(scene: Scene, decisions: list[tuple[float, Decision]], outcome: Outcome) -> None:
    alerted: dict[int, list[tuple[float, str]]] = {}
    for time, decision in decisions:
        if decision.type == "ended":
            continue
        index = who(scene, time, decision)
        if index is None:
            outcome.ghosts += 1
        elif (
            scene.visits[index].label(time - CLEAR_TIME)
            == scene.visits[index].label(time)
            == "with_mask"
        ):
            outcome.false_alerts += 1
        else:
            alerted.setdefault(index, []).append((time, decision.label))
    for index, visit in enumerate(scene.visits):
        alerts = alerted.get(index, [])
        outcome.repeated += max(0, len(alerts) - 1)
        since = clear_since(scene, visit)
        if since is None or visit.wears[0][1] == "with_mask":
            continue
        outcome.clear += 1
        if alerts:
            time, label = alerts[0]
            outcome.found += 1
            outcome.wrong_label += label != visit.wears[0][1]
            outcome.delays.append(max(0.0, time - since))


def who(scene: Scene, time: float, decision: Decision) -> int | None:
    """Index of the visit that a decision is about; None: nobody is there."""
    box = decision.box.scaled(*scene.view)
    best, least = None, 1.0
    for index, visit in enumerate(scene.visits):
        truth = visit.box(time)
        if truth is None:
            continue
        (x, y), (tx, ty) = box.centre, truth.centre
        off = (abs(x - tx) + abs(y - ty)) / truth.size + abs(np.log(box.size / truth.size))
        if off < least:
            best, least = index, off
    return best


def clear_since(scene: Scene, visit: Visit) -> float | None:
    """When the visit's first spell of clear view began that lasts ``CLEAR_TIME``; None: never."""
    step, since = 0.05, None
    for time in np.arange(visit.start, visit.end, step):
        box = visit.box(float(time))
        shown = box.clipped(*scene.view).area if box else 0.0
        if box is None or box.size < CLEAR_SIZE or shown < CLEAR_PART * box.area:
            since = None
        elif since is None:
            since = float(time)
        elif time - since >= CLEAR_TIME:
            return since
    return None
