"""Votes over time become one decision per person: a violation starts, a violation ends.

A violation belongs to a person and a visit, not to a track: when a track is lost and the person is
found again nearby, the violation goes on silently. What a label change, a gap or a wavering
classifier may cause is written at each method; ``docs/decisions`` says why.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from maskedge.people.presence import Presence, same_person, took_place
from maskedge.people.rules import Ballot, Rule, Tally, agreement, confidence, evidence
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maskedge.config import VerdictConfig
    from maskedge.geometry import Box
    from maskedge.people.tracker import Track

UNSURE = "unsure"
"""Label of a person about whom nothing is decided; never alerts."""

Reason = Literal["mask_on", "label_changed", "left", "reconfigured", "shutdown"]

_keys = itertools.count(1)

SPACING = 0.3
"""Seconds between looks that count as independent of each other."""
LOOK_GAP = 0.06
"""Shortest time between looks at one person: closer ones would add next to nothing."""
SLACK = 0.15
"""How far agreement and confidence may fall below the thresholds before a label is given up."""
DOUBT = 0.4
"""Share of votes still for the violation's label that ends the doubt about it."""
GRACE = 2.0
"""Seconds by which leaving is reported later while a newcomer may prove to be the same person."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A violation started or ended. Times are monotonic seconds.

    Attributes:
        type: what happened.
        key: the violation; unique in this process, the same in ``started`` and ``ended``.
        label: what is worn wrongly.
        confidence: mean calibrated probability of the label when it was decided.
        frames: looks that it was decided on.
        agree: how many of them voted for the label.
        track_id: the track at the start.
        box: last sighting, pixels (the pipeline makes it relative, 0..1).
        first_seen: of the person.
        decided_at: when the violation started.
        ended_at: when it was over, as far as one can tell: the first look with the mask on, or
            the last sighting; None in ``started``.
        reason: why it ended; None in ``started``.
    """

    type: Literal["started", "ended"]
    key: int
    label: str
    confidence: float
    frames: int
    agree: int
    track_id: int
    box: Box
    first_seen: float
    decided_at: float
    ended_at: float | None = None
    reason: Reason | None = None


@dataclass(slots=True)
class _Person:
    presence: Presence
    seen: bool = True
    ballot: Ballot = field(default_factory=Ballot)
    label: str = UNSURE
    confidence: float = 0.0
    violation: Decision | None = None
    doubt_since: float | None = None
    quiet_until: float = float("-inf")

    @property
    def settled(self) -> bool:
        """Whether nothing about this person is in question."""
        last = self.ballot.last
        return (
            self.label != UNSURE
            and self.doubt_since is None
            and last is not None
            and last.label == self.label
        )


class Judge:
    """Gathers looks at persons and decides. One per camera; knows no pixels."""

    def __init__(self, config: VerdictConfig, rule: Rule | None = None) -> None:
        """Judge by ``rule`` instead of the configuration's three thresholds, if given."""
        self._own_rule = rule
        self._persons: dict[int, _Person] = {}
        self._lost: list[_Person] = []
        self.reconfigure(config)

    def reconfigure(self, config: VerdictConfig) -> None:
        """Take new thresholds; persons, votes and open violations stay."""
        self.config = config
        self._rule = self._own_rule or (
            evidence(config.min_evidence)
            & agreement(config.min_agreement)
            & confidence(config.min_confidence)
        )
        self._hold = agreement(config.min_agreement - SLACK) & confidence(
            config.min_confidence - SLACK
        )

    @property
    def open(self) -> tuple[Decision, ...]:
        """The ``started`` of every violation that hasn't ended, oldest first."""
        everyone = itertools.chain(self._lost, self._persons.values())
        return tuple(sorted((p.violation for p in everyone if p.violation), key=lambda v: v.key))

    def state(self, track: Track) -> tuple[str, float, int | None]:
        """Label (or ``unsure``), its confidence, and the open violation's key for a track."""
        person = self._persons.get(track.id)
        if person is None:
            return UNSURE, 0.0, None
        violation = person.violation
        return person.label, person.confidence, violation.key if violation else None

    def needs_look(self, track: Track, now: float) -> float | None:
        """How urgently to classify this track, higher first; None: not now.

        Somebody undecided is due in every frame, somebody decided every ``reclassify`` seconds;
        lateness against what is due ranks them, so that nobody starves in a crowd.
        """
        person = self._persons.get(track.id)
        last = person.ballot.last if person else None
        if person is None or last is None:
            return float("inf")
        due = self.config.reclassify if person.settled else LOOK_GAP
        waited = now - last.time
        return waited / due if waited >= due - 1e-6 else None

    def observe(self, track: Track, scores: Sequence[float], quality: float, now: float) -> None:
        """Count a look at a confirmed track.

        Args:
            track: who was looked at.
            scores: calibrated probabilities in the order of ``LABELS``.
            quality: 0..1; how much a look of this quality weighs.
            now: seconds.
        """
        self._person(track).ballot.cast(
            scores, quality, now, spacing=SPACING, half_life=self.config.half_life
        )

    def update(
        self, tracks: Iterable[Track], now: float, view: tuple[float, float] | None = None
    ) -> list[Decision]:
        """Decide, once per frame after its looks; also when nobody is in view.

        Args:
            tracks: all living ones; unconfirmed ones don't count.
            now: seconds.
            view: width and height of the picture in pixels, to know who left over its edge.

        Returns:
            What started and ended. For any violation, ``started`` comes once and before its one
            ``ended``.
        """
        self._follow([track for track in tracks if track.confirmed])
        decisions: list[Decision] = []
        for person in self._persons.values():
            last = person.ballot.last
            if person.violation and person.violation.label not in self.config.alert_on:
                decisions.append(self._end(person, "reconfigured", now, now))
            if last is not None and last.time == now:
                decide = self._reconsider if person.violation else self._consider
                decisions += decide(person, now, view)
        decisions += self._leave(now, view)
        return decisions

    def scale(self, across: float, down: float) -> None:
        """Go over to a picture this many times as wide and high, as the tracks do."""
        for person in (*self._lost, *self._persons.values()):
            person.presence.scale(across, down)
            if person.violation:
                box = person.violation.box.scaled(across, down)
                person.violation = replace(person.violation, box=box)

    def flush(self, now: float) -> list[Decision]:
        """End every open violation and forget everybody: nobody is watched from now on."""
        everyone = [*self._lost, *self._persons.values()]
        ended = [
            self._end(person, "shutdown", person.presence.last_seen, now)
            for person in everyone
            if person.violation
        ]
        self._persons.clear()
        self._lost.clear()
        return sorted(ended, key=lambda decision: decision.key)

    def _person(self, track: Track) -> _Person:
        person = self._persons.get(track.id)
        if person is None:
            person = self._persons[track.id] = _Person(Presence.of(track))
        return person

    def _follow(self, tracks: list[Track]) -> None:
        living = {track.id for track in tracks}
        for gone in self._persons.keys() - living:
            person = self._persons.pop(gone)
            person.seen = False
            self._lost.append(person)
        for track in tracks:
            person = self._person(track)
            person.seen = track.seen
            person.presence.follow(track)

    def _consider(
        self, person: _Person, now: float, view: tuple[float, float] | None
    ) -> list[Decision]:
        """Somebody without a violation: settle the label, perhaps start one.

        The labels that alert are decided together, and the more probable one is named: whether
        the nose is out or the whole mask off may be in doubt, that something is wrong is not.
        """
        tally = person.ballot.tally(now, self.config.half_life)
        decided = self._decided(tally)
        if decided is not None:
            person.label = decided
        elif person.label != UNSURE and not self._hold(tally, *self._group(person.label)):
            person.label = UNSURE
        person.confidence = tally.means.get(person.label, 0.0)
        if decided not in self.config.alert_on or now < person.quiet_until:
            return []
        if self._resume(person, now, view):
            return []
        return [self._start(person, tally, person.label, now)]

    def _group(self, label: str) -> tuple[str, ...]:
        """The labels that are decided together with this one."""
        return self.config.alert_on if label in self.config.alert_on else (label,)

    def _decided(self, tally: Tally) -> str | None:
        group = max(map(self._group, LABELS), key=tally.mean)
        return tally.leader(group) if self._rule(tally, *group) else None

    def _resume(self, person: _Person, now: float, view: tuple[float, float] | None) -> bool:
        """Take over the violation of somebody lost nearby who must be the same person.

        If it has ended meanwhile, it isn't repeated until ``cooldown`` is over.
        """
        before = [
            other
            for other in (*self._lost, *self._persons.values())
            if not other.seen
            and (other.violation or now < other.quiet_until)
            and (
                same_person(other.presence, person.presence, view)
                or (other.violation and took_place(other.presence, person.presence, now))
            )
        ]
        if not before:
            return False
        other = max(before, key=lambda o: (o.violation is not None, o.presence.last_seen))
        person.violation, other.violation = other.violation, None
        person.quiet_until, other.quiet_until = other.quiet_until, float("-inf")
        if person.violation:
            person.label = person.violation.label
        return True

    def _reconsider(
        self, person: _Person, now: float, _view: tuple[float, float] | None
    ) -> list[Decision]:
        """Somebody with an open violation: end it when looks have spoken against it long enough.

        Only looks since the first contrary one count, so that a minute without a mask doesn't
        outvote the mask that is on now. Another violating label replaces this one (``ended``,
        then ``started``) only after ``cooldown``, so that a face between two labels doesn't
        flap.
        """
        violation, last = person.violation, person.ballot.last
        assert violation is not None  # noqa: S101 - callers checked; for the type checker
        assert last is not None  # noqa: S101
        if person.doubt_since is None:
            if last.label == violation.label:
                return []
            person.doubt_since = now
        tally = person.ballot.tally(now, self.config.half_life, since=person.doubt_since)
        if tally.shares[violation.label] > DOUBT:
            person.doubt_since = None if last.label == violation.label else now
            return []
        if now - person.doubt_since < self.config.clear_after:
            return []
        watched = self.config.alert_on
        share, mean = 1 - tally.share(watched), 1 - tally.mean(watched)
        leader = tally.leader()
        if share >= self.config.min_agreement and mean >= self.config.min_confidence - SLACK:
            reason: Reason = "mask_on" if leader == "with_mask" else "label_changed"
            ended = self._end(person, reason, person.doubt_since, now)
            person.label, person.confidence = leader, tally.means[leader]
            return [ended]
        flapping = now < violation.decided_at + self.config.cooldown
        if leader in watched and self._rule(tally, leader) and not flapping:
            ended = self._end(person, "label_changed", person.doubt_since, now)
            return [ended, self._start(person, tally, leader, now)]
        return []

    def _leave(self, now: float, view: tuple[float, float] | None) -> list[Decision]:
        """End the violations of those unseen for ``leave_after``; forget who can't come back."""
        decisions = []
        for person in [*self._lost, *self._persons.values()]:
            unseen = now - person.presence.last_seen
            if not person.violation or unseen < self.config.leave_after:
                continue
            if unseen >= self.config.leave_after + GRACE or not self._returning(person, view):
                decisions.append(self._end(person, "left", person.presence.last_seen, now))
        self._lost = [p for p in self._lost if p.violation or now < p.quiet_until]
        return decisions

    def _returning(self, person: _Person, view: tuple[float, float] | None) -> bool:
        """Whether somebody in view, not judged yet, may be this person."""
        return any(
            other.seen
            and other.label == UNSURE
            and same_person(person.presence, other.presence, view)
            for other in self._persons.values()
        )

    def _start(self, person: _Person, tally: Tally, label: str, now: float) -> Decision:
        presence = person.presence
        person.violation = Decision(
            type="started",
            key=next(_keys),
            label=label,
            confidence=min(1.0, tally.means[label]),
            frames=tally.frames,
            agree=tally.agree[label],
            track_id=presence.track_id,
            box=presence.box,
            first_seen=presence.first_seen,
            decided_at=now,
        )
        person.label, person.confidence = label, tally.means[label]
        person.doubt_since = None
        return person.violation

    def _end(self, person: _Person, reason: Reason, ended_at: float, now: float) -> Decision:
        violation = person.violation
        assert violation is not None  # noqa: S101 - callers checked; for the type checker
        person.violation, person.doubt_since = None, None
        if reason != "left":
            person.ballot.forget(ended_at)
            person.label = UNSURE
        since = person.presence.last_seen if reason == "left" else now
        person.quiet_until = since + self.config.cooldown
        return replace(
            violation,
            type="ended",
            box=person.presence.box,
            ended_at=max(ended_at, violation.decided_at),
            reason=reason,
        )
