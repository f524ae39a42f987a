"""Persons walking past a camera, with known truth, seen through networks that err.

What a tracker and a verdict are worth can be counted only where the truth is known: scripted or
random visits become faces per frame with misses, false boxes, jitter and occlusion, and mask
scores whose errors last, as real ones do (the same beard is misread frame after frame).
:class:`SimulatedVision` speaks the protocols of :mod:`maskedge.vision.base`, so that the whole
pipeline runs on a scene. Everything follows from the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.geometry import Box
from maskedge.vision.base import LABELS, Face

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Knots = tuple[tuple[float, float, float, float], ...]
"""Time, centre x, centre y and face height at the turns of a way; seconds and pixels."""

FACE_ASPECT = 0.8
"""Width of a face by its height."""
VISIBLE = 0.6
"""Least part of a face inside the picture that a detector still finds."""
COVERED = 0.4
"""Part of a face behind a nearer one from which it can't be seen."""


@dataclass(frozen=True)
class Visit:
    """One person from coming into view to leaving it.

    Attributes:
        path: two or more turns, time ascending; straight lines between.
        wears: (from when, label) in time order; the first holds from the beginning.
        sway: how far the head swings while walking, face heights.
    """

    path: Knots
    wears: tuple[tuple[float, str], ...]
    sway: float = 0.05

    @property
    def start(self) -> float:
        """When the person appears."""
        return self.path[0][0]

    @property
    def end(self) -> float:
        """When the person is gone."""
        return self.path[-1][0]

    def box(self, time: float) -> Box | None:
        """Where the face truly is, perhaps outside the picture; None before and after."""
        if not self.start <= time <= self.end:
            return None
        knots = np.array(self.path)
        x, y, size = (float(np.interp(time, knots[:, 0], knots[:, i])) for i in (1, 2, 3))
        phase = 2 * math.pi * (time - self.start)
        x += self.sway * size * math.sin(0.9 * phase + self.start)
        y += self.sway * size * math.sin(1.8 * phase)
        half = FACE_ASPECT * size / 2
        return Box(x - half, y - size / 2, x + half, y + size / 2)

    def label(self, time: float) -> str:
        """How the mask is truly worn."""
        worn = [label for since, label in self.wears if since <= time]
        return worn[-1] if worn else self.wears[0][1]


@dataclass(frozen=True)
class Noise:
    """How much the networks err. Rates per second, spreads in face sizes or logits.

    The defaults give a classifier that is right in about 93 % of looks, and wrong for whole
    seconds or whole visits where it is wrong.
    """

    miss: float = 0.06
    miss_lasts: float = 0.25
    jitter: float = 0.04
    false_rate: float = 0.1
    false_lasts: float = 0.3
    margin: float = 4.0
    visit_bias: float = 1.0
    drift: float = 1.2
    drift_lasts: float = 0.5
    grain: float = 0.7

    @classmethod
    def none(cls) -> Noise:
        """Perfect networks."""
        return cls(0.0, 0.25, 0.0, 0.0, 0.3, 6.0, 0.0, 0.0, 0.5, 0.0)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A face as the networks will report it; ``visit`` indexes the truth, None: a false box."""

    face: Face
    scores: tuple[float, ...]
    visit: int | None


@dataclass(frozen=True)
class Scene:
    """Visits before a camera.

    Attributes:
        visits: everybody who comes by.
        fps: frames per second.
        view: width and height of the picture, pixels.
        noise: how the networks err.
        seed: of everything random.
        unsteady: spread of the intervals, as a share.
        tail: seconds that the scene goes on after the last visit.
    """

    visits: tuple[Visit, ...]
    fps: float = 10.0
    view: tuple[int, int] = (640, 480)
    noise: Noise = field(default_factory=Noise)
    seed: int = 0
    unsteady: float = 0.15
    tail: float = 1.0

    def times(self) -> NDArray[np.float64]:
        """Times of all frames, float64 (F,), ascending."""
        rng = np.random.default_rng([self.seed, 1])
        end = max((visit.end for visit in self.visits), default=0.0) + self.tail
        count = math.ceil(end * self.fps) + 1
        steps = rng.uniform(1 - self.unsteady, 1 + self.unsteady, count) / self.fps
        return np.cumsum(steps)

    def frames(self) -> Iterator[tuple[Frame, list[Sighting]]]:
        """All frames (black) with what the networks will say of each, best score first."""
        rng = np.random.default_rng([self.seed, 2])
        pixels = np.zeros((self.view[1], self.view[0], 3), np.uint8)
        minds = [_Perception(self.noise, rng) for _ in self.visits]
        ghosts: list[_Ghost] = []
        before = 0.0
        for number, time in enumerate(self.times()):
            step, before = float(time) - before, float(time)
            sightings = self._faces(before, step, minds)
            ghosts = [ghost for ghost in ghosts if ghost.until > before]
            if rng.random() < self.noise.false_rate * step:
                ghosts.append(_Ghost(self.noise, rng, before, self.view))
            sightings += [ghost.sighting(self.noise.jitter) for ghost in ghosts]
            sightings.sort(key=lambda sighting: -sighting.face.score)
            yield Frame(pixels, ChannelOrder.RGB, before, number), sightings

    def _faces(self, time: float, step: float, minds: list[_Perception]) -> list[Sighting]:
        boxes = [visit.box(time) for visit in self.visits]
        sightings = []
        for index, (visit, truth, mind) in enumerate(zip(self.visits, boxes, minds, strict=True)):
            if truth is None:
                continue
            mind.step(step)
            shown = truth.clipped(*self.view)
            covered = max(
                (_overlap(truth, b) for b in boxes if b and b is not truth and b.size > truth.size),
                default=0.0,
            )
            if shown.area < VISIBLE * truth.area or covered > COVERED or mind.missing:
                continue
            face = Face(mind.jittered(truth, self.noise.jitter).clipped(*self.view), mind.score())
            if face.box.area > 0:
                sightings.append(Sighting(face, mind.judge(visit.label(time)), index))
        return sightings


def _overlap(face: Box, cover: Box) -> float:
    """The part of ``face`` behind ``cover``."""
    width = min(face.x2, cover.x2) - max(face.x1, cover.x1)
    height = min(face.y2, cover.y2) - max(face.y1, cover.y1)
    return max(0.0, width) * max(0.0, height) / face.area


class _Perception:
    """How the networks see one person: errors that last for moments and for the whole visit."""

    def __init__(self, noise: Noise, rng: np.random.Generator) -> None:
        self._noise, self._rng = noise, rng
        self._bias = rng.normal(0, noise.visit_bias, len(LABELS))
        self._drift = rng.normal(0, noise.drift, len(LABELS))
        self.missing = False

    def step(self, dt: float) -> None:
        """Let ``dt`` seconds pass: an AR(1) drift, and misses in runs of mean ``miss_lasts``."""
        keep = math.exp(-dt / self._noise.drift_lasts)
        fresh = self._rng.normal(0, self._noise.drift, len(LABELS))
        self._drift = keep * self._drift + math.sqrt(1 - keep * keep) * fresh
        if self._rng.random() < 1 - math.exp(-dt / self._noise.miss_lasts):
            self.missing = self._rng.random() < self._noise.miss

    def jittered(self, box: Box, share: float) -> Box:
        dx, dy, grow, stretch = self._rng.normal(0, share, 4)
        (x, y), half_width, half_height = box.centre, box.width / 2, box.height / 2
        x, y = x + dx * box.width, y + dy * box.height
        half_width, half_height = half_width * math.exp(grow), half_height * math.exp(stretch)
        return Box(x - half_width, y - half_height, x + half_width, y + half_height)

    def score(self) -> float:
        """The detector's: mostly sure."""
        return float(np.clip(self._rng.normal(0.85, 0.08), 0.5, 0.99))

    def judge(self, label: str) -> tuple[float, ...]:
        """The classifier's probabilities."""
        grain = self._rng.normal(0, self._noise.grain, len(LABELS))
        logits = self._bias + self._drift + grain
        logits[LABELS.index(label)] += self._noise.margin
        return _softmax(logits)


class _Ghost:
    """A false face: stays for a moment, and looks like anything."""

    def __init__(
        self, noise: Noise, rng: np.random.Generator, now: float, view: tuple[int, int]
    ) -> None:
        size = rng.uniform(30, 90)
        x, y = rng.uniform(0, view[0] - size), rng.uniform(0, view[1] - size)
        self._box = Box(x, y, x + FACE_ASPECT * size, y + size)
        self._mind = _Perception(noise, rng)
        self._rng = rng
        self._logits = rng.normal(0, 1.5, len(LABELS))
        self.until = now + float(rng.exponential(noise.false_lasts))

    def sighting(self, jitter: float) -> Sighting:
        score = float(self._rng.uniform(0.5, 0.75))
        face = Face(self._mind.jittered(self._box, jitter), score)
        return Sighting(face, _softmax(self._logits + self._rng.normal(0, 0.5, len(LABELS))), None)


def _softmax(logits: NDArray[np.float64]) -> tuple[float, ...]:
    exponents = np.exp(logits - logits.max())
    return tuple(float(p) for p in exponents / exponents.sum())


class SimulatedVision:
    """Detector and classifier at once: they report what :meth:`show` was given."""

    min_face = 0.0
    max_faces = 0

    def __init__(self) -> None:
        self._sightings: list[Sighting] = []

    def show(self, sightings: list[Sighting]) -> None:
        """Set what the next frame holds."""
        self._sightings = sightings

    def shrunk(self, frame: Frame) -> Frame:
        """The frame as it is."""
        return frame

    def detect(self, frame: Frame) -> list[Face]:  # noqa: ARG002 - the protocol's
        """The faces shown."""
        return [sighting.face for sighting in self._sightings]

    def classify(self, frame: Frame, boxes: Sequence[Box]) -> NDArray[np.float32]:  # noqa: ARG002
        """The scores of the faces shown at ``boxes``."""
        known = {sighting.face.box: sighting.scores for sighting in self._sightings}
        scores = [known[box] for box in boxes]
        return np.array(scores, dtype=np.float32).reshape(-1, len(LABELS))
