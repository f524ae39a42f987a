"""What is watched for drift: the features of a visit, their bins, and how far two counts lie apart.

Every feature has fixed fine bins, so that a distribution is a row of counts: it takes in values one
by one, needs the same memory for ten visits as for a million, and adds up. Two such rows are
compared by the Population Stability Index over groups of bins that hold like shares of the
reference (docs/decisions/0072-psi.md says why).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import numpy as np

from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Worse = Literal["lower", "higher", "other"]

GROUPS = (0.025, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.975)
"""Where groups of bins end, in shares of the reference: narrow at the ends, where drift shows."""
SMOOTHING = 0.5
"""Added to each group's count (Jeffreys' prior), so that no logarithm is of zero."""


@dataclass(frozen=True)
class Feature:
    """One thing that is measured of each visit.

    Attributes:
        name: in messages, metrics and files.
        title: for people, as the beginning of a sentence goes on.
        unit: of the values.
        edges: where a bin ends and the next begins, ascending; values beyond are in the outer bins.
        names: of the bins, where they are no ranges but kinds; then a value is a bin's number.
        worse: which change is drift: values getting lower, higher, or any other.
        network: ``detector`` or ``classifier``, where the value is that network's own output for
            one face, which compares with what it was where its accuracy was measured.
        digits: decimals that are told.
    """

    name: str
    title: str
    edges: tuple[float, ...] = ()
    unit: str = ""
    names: tuple[str, ...] = ()
    worse: Worse = "other"
    network: Literal["detector", "classifier"] | None = None
    digits: int = 0

    @property
    def bins(self) -> int:
        """How many."""
        return len(self.names) or len(self.edges) + 1

    def bin(self, value: float) -> int:
        """The bin that a value falls into."""
        return int(value) if self.names else bisect_right(self.edges, value)

    def quantile(self, counts: NDArray[np.int64], share: float) -> float:
        """The value that ``share`` of the counted ones don't exceed, interpolated in its bin."""
        edges = (self.edges[0], *self.edges, self.edges[-1])
        left = share * float(counts.sum())
        for index, count in enumerate(counts.tolist()):
            if left <= count:
                low, high = edges[index], edges[index + 1]
                return low + (high - low) * (left / count if count else 0.0)
            left -= count
        return edges[-1]

    def describe(self, counts: NDArray[np.int64]) -> str:
        """The distribution in a few words: shares of kinds, or the middle half's ends."""
        total = max(1, int(counts.sum()))
        if self.names:
            shares = zip(self.names, counts.tolist(), strict=True)
            return ", ".join(f"{name} {count / total:.0%}" for name, count in shares)
        low, high = (self.quantile(counts, share) for share in (0.25, 0.75))
        return f"{low:.{self.digits}f} to {high:.{self.digits}f}{self.unit}"


def _steps(start: float, stop: float, count: int) -> tuple[float, ...]:
    return tuple(round(start + (stop - start) * i / count, 4) for i in range(count + 1))


def _octaves(start: float, stop: float, count: int) -> tuple[float, ...]:
    """``count`` steps with equal ratios."""
    ends = math.log2(start), math.log2(stop)
    return tuple(round(2**exponent, 3) for exponent in _steps(*ends, count))


_SURE = (0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995,
         0.997, 0.998, 0.999, 0.9995)  # fmt: skip

FEATURES = (
    Feature("confidence", "confidence of the mask classifier", _SURE, "", (), "lower",
            "classifier", 3),
    Feature("margin", "margin between its two likeliest labels", (0.1, 0.2, 0.3, *_SURE), "", (),
            "lower", "classifier", 3),
    Feature("unsure", "visits that stay unsure", names=("decided", "unsure"), worse="higher"),
    Feature("label", "mix of labels", names=LABELS),
    Feature("flips", "changes of mind within a visit", (0.001, 0.1, 0.2, 0.3, 0.4, 0.5), "", (),
            "higher", None, 2),
    Feature("score", "detector score", _steps(0.5, 0.98, 16), "", (), "lower", "detector", 2),
    Feature("size", "face size", _octaves(16, 512, 30), " px"),
    Feature("brightness", "brightness of faces", _steps(6, 246, 40)),
    Feature("sharpness", "sharpness of faces", _octaves(1, 256, 32), "", (), "lower"),
    Feature("warmth", "colour of faces (red by blue)", _steps(-1.5, 2.5, 40), "", (), "other",
            None, 2),
)  # fmt: skip
BY_NAME = {feature.name: feature for feature in FEATURES}
OFFSETS = dict(zip(BY_NAME, accumulate((f.bins for f in FEATURES[:-1]), initial=0), strict=True))
"""Where each feature's bins begin in a row of all features' counts."""
WIDTH = sum(feature.bins for feature in FEATURES)
"""Length of such a row."""


def part(row: NDArray[np.int64], feature: Feature) -> NDArray[np.int64]:
    """The counts of one feature in a row (..., WIDTH) of all: (..., bins)."""
    begin = OFFSETS[feature.name]
    return row[..., begin : begin + feature.bins]


@dataclass(frozen=True, slots=True)
class Distance:
    """How far counts lie from a reference.

    Attributes:
        psi: Population Stability Index less what chance alone makes of samples of these sizes.
        freedom: groups less one.
        scale: 1/n + 1/m of the two samples: without drift ``psi + freedom * scale`` is
            distributed as chi-squared times this (Yurdakul, "Statistical properties of population
            stability index", 2018).
        lower: whether the values are lower than the reference's, by their mean place in it.
    """

    psi: float
    freedom: int
    scale: float
    lower: bool

    def beyond_chance(self, deviations: float) -> bool:
        """Whether chance makes it as rarely as so many standard deviations of a normal."""
        limit = chi_squared(self.freedom, deviations) - self.freedom
        return self.psi > limit * self.scale

    def worsens(self, feature: Feature) -> bool:
        """Whether the change goes into the direction that is drift."""
        return feature.worse == "other" or (feature.worse == "lower") == self.lower


def chi_squared(freedom: int, deviations: float) -> float:
    """Quantile of the chi-squared distribution (Wilson and Hilferty, 1931).

    Args:
        freedom: degrees of freedom, 1 or more.
        deviations: the quantile of a standard normal of the same probability.
    """
    spread = 2 / (9 * freedom)
    return freedom * max(0.0, 1 - spread + deviations * math.sqrt(spread)) ** 3


def grouping(feature: Feature, reference: NDArray[np.int64]) -> NDArray[np.intp]:
    """First bin of each group, ascending from 0: kinds stay apart, ranges share the reference.

    Where the reference begins or ends abruptly, the empty bins beyond are a group of their own.
    """
    if feature.names:
        return np.arange(feature.bins)
    below = np.concatenate([[0.0], np.cumsum(reference)]) / max(1, int(reference.sum()))
    starts = {0}
    for share in GROUPS:
        away = np.abs(below - share)
        nearest = np.flatnonzero(away == away.min())
        starts.add(int(nearest[-1] if share < 0.5 else nearest[0]))  # noqa: PLR2004 - the middle
    return np.array(sorted(starts - {feature.bins}), np.intp)


def distance(
    feature: Feature, counts: NDArray[np.int64], reference: NDArray[np.int64]
) -> Distance | None:
    """Compare counts (bins,) with a reference (bins,); None where either is empty."""
    n, m = int(counts.sum()), int(reference.sum())
    groups = grouping(feature, reference)
    if not n or not m or len(groups) == 1:
        return None
    found, known = (_shares(np.add.reduceat(row, groups)) for row in (counts, reference))
    # The mean place in the reference, as of a rank test: free of outliers and of the bins' widths.
    place = np.cumsum(known) - known / 2
    lower = float(place @ found) < float(place @ known)
    psi = float(((found - known) * np.log(found / known)).sum())
    freedom, scale = len(groups) - 1, 1 / n + 1 / m
    return Distance(psi - freedom * scale, freedom, scale, lower)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = (counts + SMOOTHING) / (counts.sum() + SMOOTHING * len(counts))
    return shares
