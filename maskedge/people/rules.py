"""Votes about one person, and small rules over them that compose with ``&``, ``|`` and ``~``.

``evidence(3.0) & agreement(0.7) & confidence(0.75)`` reads as it decides. Frames that follow each
other closely show the same face in the same pose: their errors are alike, and multiplying their
probabilities as if independent makes any classifier sure of anything within a second. So a vote
weighs by the time since the last one, and the weighed *mean* of the probabilities decides, which
more looks make steadier but never surer than the looks were.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Labels = tuple[str, ...]

MEMORY = 4.0
"""Half-lives after which a vote (then a sixteenth) is dropped."""


class Vote(NamedTuple):
    """One look at a person.

    Attributes:
        time: when, seconds.
        weight: how much it weighs.
        scores: the probability of each label.
        label: the most probable.
    """

    time: float
    weight: float
    scores: tuple[float, ...]
    label: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes added up, older ones weighing less.

    Attributes:
        weight: how many independent clear looks the votes are worth.
        shares: by label, the share of the weight that voted for it.
        means: by label, the weighed mean of its probability.
        frames: looks counted.
        agree: by label, looks that voted for it.
    """

    weight: float
    shares: dict[str, float]
    means: dict[str, float]
    frames: int
    agree: dict[str, int]

    def share(self, labels: Iterable[str]) -> float:
        """Share of the weight that voted for any of the labels."""
        return sum(self.shares[label] for label in labels)

    def mean(self, labels: Iterable[str]) -> float:
        """Mean probability that one of the labels is true."""
        return sum(self.means[label] for label in labels)

    def leader(self, labels: Iterable[str] = LABELS) -> str:
        """The most probable of the labels."""
        return max(labels, key=self.means.__getitem__)

    @classmethod
    def of(cls, votes: Iterable[Vote], now: float, half_life: float) -> Tally:
        """Add up ``votes``; ``half_life`` in seconds."""
        total, frames = 0.0, 0
        shares = dict.fromkeys(LABELS, 0.0)
        sums = [0.0] * len(LABELS)
        agree = dict.fromkeys(LABELS, 0)
        for time, weight, scores, label in votes:
            now_weight = weight * 0.5 ** (max(0.0, now - time) / half_life)
            total += now_weight
            frames += 1
            shares[label] += now_weight
            agree[label] += 1
            for index, score in enumerate(scores):
                sums[index] += now_weight * score
        means = dict(zip(LABELS, sums, strict=True))
        if total > 0:
            shares = {label: share / total for label, share in shares.items()}
            means = {label: mean / total for label, mean in means.items()}
        return cls(total, shares, means, frames, agree)


class Ballot:
    """The votes about one person, bounded by forgetting."""

    def __init__(self) -> None:
        self._votes: deque[Vote] = deque()

    def __len__(self) -> int:
        return len(self._votes)

    @property
    def last(self) -> Vote | None:
        """The latest vote."""
        return self._votes[-1] if self._votes else None

    def cast(
        self,
        scores: Sequence[float],
        quality: float,
        now: float,
        *,
        spacing: float,
        half_life: float,
    ) -> None:
        """Add a look.

        Args:
            scores: probability of each label, in the order of ``LABELS``.
            quality: 0..1, how clearly the face was seen.
            now: seconds.
            spacing: seconds between looks that count as independent; closer ones count in part.
            half_life: seconds until a vote counts half.
        """
        last = self.last
        fresh = 1.0 if last is None else min(1.0, max(0.0, now - last.time) / spacing)
        values = tuple(map(float, scores))
        label = LABELS[values.index(max(values))]
        self._votes.append(Vote(now, quality * fresh, values, label))
        self.forget(now - MEMORY * half_life)

    def forget(self, before: float) -> None:
        """Drop votes older than the time ``before``."""
        while self._votes and self._votes[0].time < before:
            self._votes.popleft()

    def tally(self, now: float, half_life: float, since: float = float("-inf")) -> Tally:
        """Add up the votes cast at or after ``since``."""
        return Tally.of((v for v in self._votes if v.time >= since), now, half_life)


class Rule:
    """A condition on a tally, for one label or for several taken together."""

    def __init__(self, holds: Callable[[Tally, Labels], bool]) -> None:
        self._holds = holds

    def __call__(self, tally: Tally, *labels: str) -> bool:
        """Whether the condition holds for the labels taken together."""
        return self._holds(tally, labels)

    def __and__(self, other: Rule) -> Rule:
        return Rule(lambda tally, labels: self(tally, *labels) and other(tally, *labels))

    def __or__(self, other: Rule) -> Rule:
        return Rule(lambda tally, labels: self(tally, *labels) or other(tally, *labels))

    def __invert__(self) -> Rule:
        return Rule(lambda tally, labels: not self(tally, *labels))


def evidence(least: float) -> Rule:
    """Votes worth at least ``least`` independent clear looks."""
    return Rule(lambda tally, _: tally.weight >= least)


def attempts(least: int) -> Rule:
    """At least ``least`` looks, however close together."""
    return Rule(lambda tally, _: tally.frames >= least)


def agreement(least: float) -> Rule:
    """At least this share of the weight voted for the labels."""
    return Rule(lambda tally, labels: tally.share(labels) >= least)


def confidence(least: float) -> Rule:
    """The mean probability of the labels together is at least this."""
    return Rule(lambda tally, labels: tally.mean(labels) >= least)
