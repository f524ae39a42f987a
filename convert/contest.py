"""Champion against challenger on the same faces: is the new network worse anywhere that matters?

Each criterion is a difference of two paired figures with a 95 % interval by bootstrap over groups
(near-duplicates, frames of one clip: faces of one group stand or fall together; Efron and
Tibshirani, 1993, ch. 8). A criterion is *worse* when the difference is beyond its margin, and by
more than one face, or when the whole interval lies below zero. Of few groups all samples are nearly
alike, so that intervals of theirs decide nothing. The calibration error of some hundred faces is
mostly chance: it must besides be larger than what swapping the networks' answers makes of it
(permutation test; docs/decisions/0091). McNemar's exact test (1947), of groups by most of
their faces, says whether all together show a difference.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.metrics import ECE_BINS
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RESAMPLES = 2000
LEAST = 20
"""Faces below which a slice is shown but its point difference decides nothing."""
LEAST_GROUPS = 10
"""Groups below which the interval of a slice is shown but decides nothing."""
SIGNIFICANT = 0.05
MARGIN_ALL, MARGIN_PART, MARGIN_ECE = 0.005, 0.02, 0.01
"""What may be lost of accuracy on all faces, of a figure on a part of them, of calibration."""
SMALL_FACE = 32.0


@dataclass(frozen=True)
class Answers:
    """What both networks said of the test faces.

    Attributes:
        truth: class indices (N,).
        groups: of near-duplicates (N,).
        own: whether a face is of the user's own pictures (N,).
        size: longer edge of each face in its picture, pixels (N,).
        champion: probabilities (N, 3) of the network in use.
        challenger: probabilities (N, 3) of the new one.
        champion_small: probabilities (N, 3) of the same faces shrunk to a door's 28 pixels.
        challenger_small: likewise.
    """

    truth: NDArray[np.int64]
    groups: NDArray[np.int64]
    own: NDArray[np.bool_]
    size: NDArray[np.float32]
    champion: NDArray[np.float32]
    challenger: NDArray[np.float32]
    champion_small: NDArray[np.float32]
    challenger_small: NDArray[np.float32]


@dataclass(frozen=True)
class Criterion:
    """One figure of both networks; ``difference`` above zero means that the challenger is better.

    Attributes:
        name: what is compared.
        faces: on how many faces.
        groups: of how many groups.
        champion: its figure.
        challenger: its figure.
        difference: in the direction of better.
        low: lower end of its 95 % interval.
        high: upper end.
        margin: what may be lost.
        verdict: ``better``, ``worse``, ``as good``, ``may be chance``, ``too few faces`` or ``too
            few groups``.
    """

    name: str
    faces: int
    groups: int
    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    margin: float
    verdict: str


def mcnemar(champion_only: int, challenger_only: int) -> float:
    """Two-sided exact p value that either network alone is right equally often.

    McNemar (1947) with the binomial distribution instead of its approximation.

    Args:
        champion_only: how often the champion alone is right, each time independent of the others.
        challenger_only: how often the challenger is.
    """
    number, fewer = champion_only + challenger_only, min(champion_only, challenger_only)
    tail = sum(math.comb(number, k) for k in range(fewer + 1))
    return float(min(1.0, 2 * tail / 2**number))


class Bootstrap:
    """Differences of paired figures, with intervals from drawing whole groups with replacement.

    Args:
        groups: of the faces (N,).
        seed: of the draws.
    """

    def __init__(self, groups: NDArray[np.int64], seed: int = 1) -> None:
        self._group = np.unique(groups, return_inverse=True)[1]
        number = int(self._group.max()) + 1
        drawn = np.random.default_rng(seed).multinomial(number, [1 / number] * number, RESAMPLES)
        self._drawn = drawn.astype(np.float64)
        self._seed = seed

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sums of values (N, ...) over the faces of each bootstrap sample: (RESAMPLES, ...)."""
        return self._drawn @ self._by_group(values)

    def _by_group(self, values: NDArray[Any]) -> NDArray[np.float64]:
        sums = np.zeros((self._drawn.shape[1], *values.shape[1:]))
        np.add.at(sums, self._group, values)
        return sums

    def share(
        self,
        name: str,
        hits: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        chosen: NDArray[np.bool_],
        margin: float,
        sign: int = 1,
    ) -> Criterion:
        """Compare how often each network does something on some of the faces.

        Args:
            name: of the criterion.
            hits: whether champion and challenger do it, per face (N,).
            chosen: on which faces (N,), at least one.
            margin: what may be lost.
            sign: -1 where less is better.
        """
        old, new = (h & chosen for h in hits)
        with np.errstate(invalid="ignore", divide="ignore"):  # a sample may hold none of them
            differences = self.sums(sign * (new.astype(float) - old)) / self.sums(chosen)
        values = float(old.sum() / chosen.sum()), float(new.sum() / chosen.sum())
        difference = sign * (values[1] - values[0])
        number = int(chosen.sum()), len(np.unique(self._group[chosen]))
        return _criterion(name, number, values, (difference, differences), margin)

    def calibration(self, test: Answers) -> Criterion:
        """Compare expected calibration errors, 15 equal bins."""
        errors, samples, every = [], [], []
        for scores in (test.champion, test.challenger):
            confidence, right = scores.max(1), scores.argmax(1) == test.truth
            bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
            gaps = np.zeros((len(right), ECE_BINS))
            gaps[np.arange(len(right)), bins] = right - confidence
            errors.append(float(np.abs(gaps.sum(0)).sum() / len(right)))
            samples.append(np.abs(self.sums(gaps)).sum(1) / self.sums(np.ones(len(right))))
            every.append(gaps)
        name, differences = "calibration error (ECE)", samples[0] - samples[1]
        both, difference = (errors[0], errors[1]), errors[0] - errors[1]
        number = len(test.truth), self._drawn.shape[1]
        chance = self._by_chance(*every) <= difference
        p = (1 + int(chance.sum())) / (1 + RESAMPLES)
        change = difference, differences
        return _criterion(name, number, both, change, MARGIN_ECE, told=p < SIGNIFICANT)

    def _by_chance(
        self, champion: NDArray[np.float64], challenger: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Differences of calibration errors where each group's answers are whose they may be.

        Args:
            champion: how much oftener each face is right than said, in its bin (N, ECE_BINS).
            challenger: likewise.
        """
        old, new = self._by_group(champion), self._by_group(challenger)
        coins = np.random.default_rng(self._seed).integers(0, 2, (RESAMPLES, len(old)))
        first = coins @ (old - new) + new.sum(0)
        second = old.sum(0) + new.sum(0) - first
        return np.asarray((np.abs(first) - np.abs(second)).sum(1) / len(champion))


def _criterion(  # noqa: PLR0913 - what a criterion is made of
    name: str,
    number: tuple[int, int],
    values: tuple[float, float],
    change: tuple[float, NDArray[np.float64]],
    margin: float,
    *,
    told: bool = True,
) -> Criterion:
    """A criterion with its verdict; ``told``: a loss is more than chance explains."""
    difference, samples = change
    faces, groups = number
    low, high = np.quantile(samples[np.isfinite(samples)], [0.025, 0.975])
    if high < 0 and groups >= LEAST_GROUPS:
        verdict = "worse"
    elif faces < LEAST:
        verdict = "too few faces"
    elif difference < -max(margin, 1.5 / faces):
        verdict = "worse" if told or groups < LEAST_GROUPS else "may be chance"
    elif groups < LEAST_GROUPS:
        verdict = "too few groups"
    else:
        verdict = "better" if low > 0 else "as good"
    champion, challenger = (round(v, 4) for v in values)
    interval = round(float(low), 4), round(float(high), 4)
    return Criterion(
        name, *number, champion, challenger, round(difference, 4) + 0.0, *interval, margin, verdict
    )


def criteria(test: Answers) -> Iterator[Criterion]:
    """Everything that must not get worse, as far as there are faces to show it."""
    truth, bootstrap = test.truth, Bootstrap(test.groups)
    called = test.champion.argmax(1), test.challenger.argmax(1)
    right = called[0] == truth, called[1] == truth
    everything = np.ones(len(truth), bool)
    yield bootstrap.share("accuracy", right, everything, MARGIN_ALL)
    parts = {"accuracy, own pictures": test.own, "accuracy, other pictures": ~test.own}
    parts |= {f"recall of {label}": truth == i for i, label in enumerate(LABELS)}
    parts[f"accuracy, faces below {SMALL_FACE:.0f} px"] = test.size < SMALL_FACE
    for name, chosen in parts.items():
        if chosen.any() and not chosen.all():
            yield bootstrap.share(name, right, chosen, MARGIN_PART)
    small = test.champion_small.argmax(1) == truth, test.challenger_small.argmax(1) == truth
    yield bootstrap.share("accuracy, faces shrunk to 28 px", small, everything, MARGIN_PART)
    wrong = truth == LABELS.index("incorrect_mask")
    if wrong.any():
        masked = called[0] == 0, called[1] == 0
        name = "incorrect_mask called with_mask"
        yield bootstrap.share(name, masked, wrong, MARGIN_PART, sign=-1)
    yield bootstrap.calibration(test)


def _by_group(test: Answers, right: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> tuple[int, int]:
    """How many groups the challenger loses and wins: on more of their faces than the other way."""
    group = np.unique(test.groups, return_inverse=True)[1]
    balance = np.bincount(group, right[1].astype(float) - right[0])
    return int((balance < 0).sum()), int((balance > 0).sum())


def judge(test: Answers) -> dict[str, Any]:
    """The contest's outcome, ready for JSON.

    Returns:
        ``accepted``; ``reasons``: sentences, why or why not; ``criteria``; ``mcnemar``: faces that
        one network alone judges right, groups that the new one loses and wins by that, and p of
        these; ``faces``, ``groups``.
    """
    rows = list(criteria(test))
    right = test.champion.argmax(1) == test.truth, test.challenger.argmax(1) == test.truth
    lost, won = _by_group(test, right)
    p = mcnemar(lost, won)
    against = [
        f"{r.name}: {r.champion:.3f} became {r.challenger:.3f} on {r.faces} faces, worse by "
        f"{-r.difference:.3f} (95 % interval {-r.high:.3f} to {-r.low:.3f}, {r.margin:g} allowed)"
        for r in rows
        if r.verdict == "worse"
    ]
    if p < SIGNIFICANT and lost > won:
        against.append(f"McNemar: {lost} groups lost, {won} won, p = {p:.4f}")
    better = [r.name for r in rows if r.verdict == "better"]
    if p < SIGNIFICANT and won > lost:
        better.append(f"all groups by McNemar's test ({won} won, {lost} lost, p = {p:.4f})")
    groups = len(np.unique(test.groups))
    few = f": {groups} groups are too few" if groups < LEAST_GROUPS else ""
    shown = f"proven better: {'; '.join(better)}" if better else f"nowhere proven better{few}"
    return {
        "accepted": not against,
        "reasons": against or [f"worse in none of {len(rows)} criteria; {shown}"],
        "criteria": [asdict(r) for r in rows],
        "mcnemar": {
            "champion_only": int((right[0] & ~right[1]).sum()),
            "challenger_only": int((right[1] & ~right[0]).sum()),
            "groups_lost": lost,
            "groups_won": won,
            "p": round(p, 4),
        },
        "faces": len(test.truth),
        "groups": groups,
    }
