"""One frame through vision and people: faces, persons, decisions.

No input or output, no threads and no clock: whoever calls hands in frames and their times, and
may hand in a timer for the stages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from maskedge.config.vision import MOST_FACES
from maskedge.people.tracker import Tracker
from maskedge.people.verdict import Decision, Judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.camera.frame import Frame
    from maskedge.config import Config, VerdictConfig
    from maskedge.geometry import Box
    from maskedge.people.rules import Rule
    from maskedge.people.tracker import Track
    from maskedge.vision.base import Face, FaceDetector, MaskClassifier

INSIDE = 0.7
"""Least part of a face inside the picture that is judged."""
CLEAR_SIZE = 1.25
"""A face this many times ``min_face`` counts fully."""
CLEAR_SHARPNESS = 5.0
"""A face this many times ``min_sharpness`` counts fully."""
CLEAR_SCORE = 0.75
"""Detector score from which a face counts fully."""
GATE_PACE = 0.5
"""Seconds between frames that the motion gate is shown while somebody is watched anyway: enough
for it to know the scene when they are gone."""


class Gate(Protocol):
    """Says whether a frame is worth looking at (:class:`maskedge.vision.motion.MotionGate`)."""

    def moved(self, frame: Frame, now: float) -> bool:
        """Compare with the frames before."""

    def keep(self, now: float) -> None:
        """Look on for a while: somebody is in view."""


class Quality(Protocol):
    """How clearly a face is seen (:class:`maskedge.vision.quality.FaceQuality`)."""

    @property
    def size(self) -> float:
        """Longer edge, pixels."""

    @property
    def sharpness(self) -> float:
        """In the unit of ``verdict.min_sharpness``."""

    @property
    def brightness(self) -> float:
        """Mean grey level, 0..255."""

    @property
    def warmth(self) -> float:
        """Red by blue, in powers of two."""

    @property
    def inside(self) -> float:
        """The part of the box within the picture, 0..1."""


@dataclass(frozen=True, slots=True)
class PersonView:
    """A confirmed person as of this frame.

    Attributes:
        track_id: which track.
        box: pixels; the detection when seen, else where the person should be.
        label: decided label or ``unsure``.
        confidence: mean probability of the label; 0 when unsure.
        seen: whether this frame showed the person.
        violation: key of the open violation, if any.
    """

    track_id: int
    box: Box
    label: str
    confidence: float
    seen: bool
    violation: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """A person's face that was measured in this frame, and judged if it was clear enough.

    Attributes:
        track_id: whose it is.
        box: as detected, pixels.
        score: the detector's, 0..1.
        quality: how clearly it was seen.
        weight: what the look weighed, 0..1; see :func:`look_weight`. 0: it wasn't judged.
        scores: calibrated probabilities in the order of ``LABELS``; empty if it wasn't judged.
    """

    track_id: int
    box: Box
    score: float
    quality: Quality
    weight: float
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What one frame brought.

    Attributes:
        faces: as detected, pixels; those in areas that are ignored come last.
        persons: everybody confirmed, pixels.
        decisions: with boxes relative to the picture, 0..1.
        looked: whether the detector ran.
        timings: seconds by stage; empty without a timer.
        looks: the faces that the classifier judged.
        unclear: those that were measured, and found too unclear to be judged.
    """

    faces: tuple[Face, ...] = ()
    persons: tuple[PersonView, ...] = ()
    decisions: tuple[Decision, ...] = ()
    looked: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    looks: tuple[Look, ...] = ()
    unclear: tuple[Look, ...] = ()

    @property
    def classified(self) -> int:
        """How many faces the classifier judged."""
        return len(self.looks)


def look_weight(quality: Quality, score: float, config: VerdictConfig) -> float:
    """What a look at a face of this quality weighs: 0 (not judged at all) .. 1 (clear).

    Args:
        quality: of the face in the frame.
        score: the detector's, 0..1.
        config: the limits.
    """
    if (
        quality.size < config.min_face
        or quality.sharpness < config.min_sharpness
        or quality.inside < INSIDE
    ):
        return 0.0
    size = min(1.0, quality.size / (CLEAR_SIZE * config.min_face))
    clear = CLEAR_SHARPNESS * config.min_sharpness
    focus = math.sqrt(min(1.0, quality.sharpness / clear)) if clear else 1.0
    return size * focus * quality.inside * min(1.0, score / CLEAR_SCORE)


class _SteadyTime:
    """Time that never runs back, whatever the caller's does: a step back takes no time."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._offset = 0.0

    def read(self, now: float) -> float:
        """The steady time at ``now``."""
        if self._last is not None and now < self._last:
            self._offset += self._last - now
        self._last = now
        return now + self._offset

    def original(self, time: float) -> float:
        """A steady time on the caller's present time line."""
        return time - self._offset


class _Laps:
    """Seconds by stage, each from the end of the one before; none without a timer."""

    def __init__(self, timer: Callable[[], float] | None) -> None:
        self.timings: dict[str, float] = {}
        self._timer = timer
        self._last = 0.0 if timer is None else timer()

    def end(self, stage: str) -> None:
        """Note the time of a stage that is over."""
        if self._timer is not None:
            now = self._timer()
            self.timings[stage] = now - self._last
            self._last = now


class Pipeline:
    """Sees, follows and judges the persons before one camera. Not thread-safe."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        detector: FaceDetector,
        classifier: MaskClassifier,
        assess: Callable[[Frame, Box], Quality],
        gate: Gate | None,
        config: Config,
        *,
        timer: Callable[[], float] | None = None,
        rule: Rule | None = None,
    ) -> None:
        """Join the parts.

        Args:
            detector: finds faces.
            classifier: judges masks.
            assess: measures a face's quality.
            gate: spares the detector still scenes; None: looks at every frame.
            config: limits and thresholds; see :meth:`reconfigure`.
            timer: seconds for stage timings, such as ``time.perf_counter``.
            rule: decides instead of the configuration's thresholds.
        """
        self._detector = detector
        self._classifier = classifier
        self._assess = assess
        self._gate = gate
        self._timer = timer
        self._time = _SteadyTime()
        self._view: tuple[int, int] | None = None
        self._gate_due = -math.inf
        self._tracker = Tracker(config.tracker)
        self._judge = Judge(config.verdict, rule)
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Take new thresholds between frames; persons and open violations stay."""
        self._config = config
        self._set_detector()
        self._tracker.config = config.tracker
        self._judge.reconfigure(config.verdict)

    def replace_vision(
        self, detector: FaceDetector, classifier: MaskClassifier, gate: Gate | None
    ) -> None:
        """Look with other networks from the next frame on; persons and violations stay."""
        self._detector = detector
        self._set_detector()
        self._classifier = classifier
        self._gate = gate

    @property
    def open_violations(self) -> tuple[Decision, ...]:
        """The ``started`` of every violation that hasn't ended; boxes in pixels."""
        return self._judge.open

    def process(self, frame: Frame, now: float) -> FrameResult:
        """Take one frame through all stages.

        Args:
            frame: the picture; in one of another size, everybody is expected where they stood.
            now: its time, monotonic seconds.

        Raises:
            AcceleratorError: a network failed; the frame is lost, persons are not.
        """
        now = self._time.read(now)
        view = self._look_at(frame)
        laps = _Laps(self._timer)
        looked = self._worth_looking(frame, now)
        laps.end("motion")
        faces: list[Face] = []
        if looked:
            faces = self._detector.detect(frame)
            laps.end("detect")
        heeded, ignored = self._heeded(faces, view)
        tracks = self._tracker.update(
            [face.box for face in heeded], [face.score for face in heeded], now, view
        )
        laps.end("track")
        chosen, unclear = self._choose_looks(frame, tracks, now)
        laps.end("quality")
        looks = self._classify(frame, chosen, now)
        laps.end("classify")
        decisions = self._judge.update(tracks, now, view)
        laps.end("decide")
        if self._gate is not None and self._watched():
            self._gate.keep(now)
        return FrameResult(
            faces=(*heeded, *ignored),
            persons=tuple(self._person(track) for track in tracks if track.confirmed),
            decisions=tuple(self._outward(decision) for decision in decisions),
            looked=looked,
            timings=laps.timings,
            looks=looks,
            unclear=tuple(unclear),
        )

    def flush(self, now: float) -> tuple[Decision, ...]:
        """End every open violation, because nobody watches any more, and forget everybody."""
        now = self._time.read(now)
        self._tracker.tracks.clear()
        return tuple(self._outward(decision) for decision in self._judge.flush(now))

    def _look_at(self, frame: Frame) -> tuple[int, int]:
        """The picture's width and height; with another size, persons go over to it."""
        view, old = (frame.width, frame.height), self._view
        if old is not None and view != old:
            across, down = view[0] / old[0], view[1] / old[1]
            for track in self._tracker.tracks:
                track.scale(across, down)
            self._judge.scale(across, down)
        self._view = view
        return view

    def _worth_looking(self, frame: Frame, now: float) -> bool:
        """Whether anything moved or anybody is there."""
        watched = self._watched()
        if self._gate is None or (watched and now < self._gate_due):
            return True
        self._gate_due = now + GATE_PACE
        # Of the picture that the detector needs anyway; nobody may keep it, see there.
        moved = self._gate.moved(self._detector.shrunk(frame), now)
        return moved or watched

    def _set_detector(self) -> None:
        """Tell it what is asked for; faces that are to be ignored shall take nobody's place."""
        config = self._config
        self._detector.min_face = config.verdict.min_face
        self._detector.max_faces = (
            MOST_FACES if config.tracker.ignore else config.detector.max_faces
        )

    def _heeded(self, faces: list[Face], view: tuple[int, int]) -> tuple[list[Face], list[Face]]:
        """Those to follow, and those whose middle lies in an area that is to be ignored."""
        areas = [area.scaled(*view) for area in self._config.tracker.ignore]
        heeded: list[Face] = []
        ignored: list[Face] = []
        for face in faces:
            side = ignored if any(a.holds(*face.box.centre) for a in areas) else heeded
            side.append(face)
        return heeded[: self._config.detector.max_faces], ignored

    def _watched(self) -> bool:
        return bool(self._tracker.tracks or self._judge.open)

    def _choose_looks(
        self, frame: Frame, tracks: list[Track], now: float
    ) -> tuple[list[tuple[Track, Quality, float]], list[Look]]:
        """The most urgent tracks that can be judged, with weights, within the budget.

        And the looks at those that turned out too unclear.
        """
        urgent = [
            (urgency, track)
            for track in tracks
            if track.confirmed
            and track.seen
            and track.detection.size >= self._config.verdict.min_face
            and (urgency := self._judge.needs_look(track, now)) is not None
        ]
        urgent.sort(key=lambda pair: (-pair[0], -pair[1].detection.size))
        looks: list[tuple[Track, Quality, float]] = []
        unclear = []
        for _, track in urgent:
            if len(looks) >= self._config.classifier.budget:
                break
            quality = self._assess(frame, track.detection)
            weight = look_weight(quality, track.score, self._config.verdict)
            if weight > 0:
                looks.append((track, quality, weight))
            else:
                unclear.append(Look(track.id, track.detection, track.score, quality, 0.0))
        return looks, unclear

    def _classify(
        self, frame: Frame, chosen: list[tuple[Track, Quality, float]], now: float
    ) -> tuple[Look, ...]:
        if not chosen:
            return ()
        rows = self._classifier.classify(frame, [track.detection for track, _, _ in chosen])
        looks = []
        for (track, quality, weight), row in zip(chosen, rows, strict=True):
            scores = tuple(row.tolist())
            self._judge.observe(track, scores, weight, now)
            looks.append(Look(track.id, track.detection, track.score, quality, weight, scores))
        return tuple(looks)

    def _person(self, track: Track) -> PersonView:
        label, confidence, violation = self._judge.state(track)
        box = track.detection if track.seen else track.box
        return PersonView(track.id, box, label, confidence, track.seen, violation)

    def _outward(self, decision: Decision) -> Decision:
        """Box relative to the picture, times on the caller's time line."""
        width, height = self._view or (1, 1)
        ended_at = decision.ended_at
        return replace(
            decision,
            box=decision.box.relative(width, height),
            first_seen=self._time.original(decision.first_seen),
            decided_at=self._time.original(decision.decided_at),
            ended_at=None if ended_at is None else self._time.original(ended_at),
        )
