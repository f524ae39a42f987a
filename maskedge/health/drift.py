"""Notices when the networks stop being right for what they see: other light, masks, aim.

Each visit counts once. The visits of the last day are compared with two references: what the
networks said where their accuracy was measured, and what is normal at this place. What moved is
told when the day as a whole has moved and the last few blocks of visits say so, too, whichever of
them is left out.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.health.baseline import DAY, Baseline, BaselineFile
from maskedge.health.features import BY_NAME, FEATURES, OFFSETS, distance, part
from maskedge.health.visits import Visits, bins
from maskedge.health.window import BLOCK, BLOCKS, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.config import Config, DriftConfig
    from maskedge.health.features import Distance, Feature
    from maskedge.health.visits import Values
    from maskedge.modelfile import ModelFile
    from maskedge.pipeline import FrameResult

log = logging.getLogger(__name__)

SURE = 4.0
"""Deviations by which a day must differ from chance: 1 in 30,000 for a normal."""
LIKELY = 2.0
"""The same for the last blocks, whichever of them is left out: 1 in 44."""
LEARNT = 3
"""Times ``min_visits`` that a baseline has at least."""
UNREST = 1.5
"""A feature must move this many times as far as the days of the baseline lie apart."""
ELSEWHERE = 2.0
"""Times ``threshold`` for the shipped reference: another place is not yet drift."""
SITE, SHIPPED = "site", "shipped"
REFERENCES = (SITE, SHIPPED)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One feature beside one reference.

    Attributes:
        feature: which.
        against: :data:`SITE` or :data:`SHIPPED`.
        distance: how far they lie apart.
        limit: PSI from which it counts.
        counts: of the visits, (bins,).
        reference: what they are compared with, (bins,).
    """

    feature: Feature
    against: str
    distance: Distance
    limit: float
    counts: NDArray[np.int64]
    reference: NDArray[np.int64]

    @property
    def over(self) -> bool:
        """Whether it has moved, for the worse, and not by chance."""
        apart = self.distance
        return apart.psi > self.limit and apart.worsens(self.feature) and apart.beyond_chance(SURE)

    def lasts(self, blocks: list[NDArray[np.int64]]) -> bool:
        """Whether these blocks have moved, too, whichever of them is left out."""
        if len(blocks) < BLOCKS:
            return False
        together: NDArray[np.int64] = np.sum(blocks, axis=0)
        apart = [distance(self.feature, together - block, self.reference) for block in blocks]
        return all(
            d is not None and d.worsens(self.feature) and d.beyond_chance(LIKELY) for d in apart
        )

    def mended(self, blocks: list[NDArray[np.int64]]) -> bool:
        """Whether these blocks, taken together, are as they should be."""
        recent: NDArray[np.int64] = np.sum(blocks, axis=0)
        if len(blocks) < BLOCKS or recent.sum() < BLOCK:
            return False
        apart = distance(self.feature, recent, self.reference)
        return apart is not None and (apart.psi <= self.limit or not apart.worsens(self.feature))

    def describe(self) -> str:
        """What moved, from where to where."""
        was, now = (self.feature.describe(c) for c in (self.reference, self.counts))
        where = "here at first" if self.against == SITE else "where the network was measured"
        return f"{self.feature.title}: {now}, {where} {was} (PSI {self.distance.psi:.2f})"


def shipped_references(*cards: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Counts (bins,) by feature, from the JSON beside each network; without what isn't there."""
    found = {}
    for card in cards:
        for name, stored in card.get("reference", {}).get("features", {}).items():
            feature = BY_NAME.get(name)
            if feature is None or feature.network is None:
                continue
            if tuple(stored["edges"]) != feature.edges or len(stored["counts"]) != feature.bins:
                log.warning("the reference of %s has other bins: measure it again", name)
                continue
            found[name] = np.array(stored["counts"], np.int64)
    return found


def place_key(config: Config, *models: ModelFile) -> str:
    """What a baseline holds for: camera and networks. A digest, since an URL may be secret."""
    camera = config.camera.model_dump(include={"source", "width", "height", "rotate"})
    detector = config.detector.model_dump(include={"kind", "input", "threshold"})
    least = config.verdict.model_dump(include={"min_face", "min_sharpness"})
    told = [camera, detector, least, [model.fingerprint for model in models]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


class Drift:
    """Owned by the daemon's loop; not thread-safe. Its memory is bounded.

    Args:
        config: which camera it is, and ``drift``.
        models: what judges; the JSON beside each has its reference.
        path: where the baseline is kept.
    """

    def __init__(self, config: Config, models: tuple[ModelFile, ...], path: Path) -> None:
        self._file = BaselineFile(path)
        self._key = ""
        self.reconfigure(config, models)

    def reconfigure(self, config: Config, models: tuple[ModelFile, ...]) -> None:
        """Take another configuration; another camera or other networks begin anew."""
        self._config: DriftConfig = config.drift
        self._shipped = shipped_references(*(model.card for model in models))
        self._limits: dict[str, float] | None = None
        key = place_key(config, *models)
        if key != self._key:
            self._key = key
            self._begin(self._file.load(key, config.drift.baseline_days))
        self.baseline.span(config.drift.baseline_days)

    def _begin(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.window = Window()
        self._visits = Visits()
        self._counted: float | None = None
        self._unsaved = False
        self._limits = None
        self.comparisons: dict[tuple[str, str], Comparison] = {}
        self._moved: dict[tuple[str, str], Comparison] = {}

    def frame(self, result: FrameResult, now: float) -> None:
        """Take in a frame that crossed the pipeline.

        Args:
            result: what was seen in it.
            now: its time, seconds on the pipeline's time line.
        """
        if not self._config.enabled:
            self._counted = None  # such time is nothing learnt
            self._visits.forget()
            return
        for values in self._visits.frame(result).values():
            self.visit(values, now)

    def visit(self, values: Values, now: float) -> None:
        """Count a visit that is over, unless another was counted just before.

        Groups come in together and are alike: ``drift.spacing`` thins them.
        """
        elapsed = 0.0 if self._counted is None else max(0.0, now - self._counted)
        if self._counted is not None and elapsed < self._config.spacing:
            return
        if self._file.deleted():
            log.info("%s was deleted: what is normal here is learnt anew", self._file.path)
            self._file.forget()
            self._begin(Baseline.empty(self._key, self._config.baseline_days))
        self._counted = now
        where = np.array([OFFSETS[name] + place for name, place in bins(values)], np.intp)
        self._learn(where, elapsed)
        if self.window.add(where, now):
            self._compare()

    def _learn(self, where: NDArray[np.intp], elapsed: float) -> None:
        baseline = self.baseline
        if baseline.complete:
            return
        learnt = baseline.learn(where, elapsed, LEARNT * self._config.min_visits)
        self._unsaved = True
        if learnt:
            log.info("what is normal here has been learnt from %d visits", baseline.visits)
        if learnt or self._file.due():
            self.save()

    def _compare(self) -> None:
        """Look at every feature beside its references; raise and clear."""
        self.comparisons = {(c.feature.name, c.against): c for c in self._compared()}
        for key, comparison in self.comparisons.items():
            blocks = self.window.blocks(comparison.feature)
            if key not in self._moved:
                if comparison.over and comparison.lasts(blocks):
                    self._moved[key] = comparison
                    log.info("drift: %s", comparison.describe())
            elif comparison.mended(blocks):
                self._mend(key)
            else:
                self._moved[key] = comparison

    def _compared(self) -> Iterator[Comparison]:
        for feature in FEATURES:
            counts = self.window.day(feature, self._config.min_visits)
            if counts.sum() < self._config.min_visits:
                continue
            for against in REFERENCES:
                reference = self.reference(feature, against)
                apart = None if reference is None else distance(feature, counts, reference)
                if apart is not None and reference is not None:
                    limit = self._limit(feature, against)
                    yield Comparison(feature, against, apart, limit, counts, reference)

    def reference(self, feature: Feature, against: str) -> NDArray[np.int64] | None:
        """Counts (bins,) of what a feature is compared with; None: there is none, or not yet."""
        if against == SHIPPED:
            return self._shipped.get(feature.name)
        return part(self.baseline.total, feature) if self.baseline.complete else None

    def _limit(self, feature: Feature, against: str) -> float:
        if against == SHIPPED:
            return ELSEWHERE * self._config.threshold
        if self._limits is None:
            self._limits = {f.name: UNREST * self.baseline.unrest(f) for f in FEATURES}
        return max(self._config.threshold, self._limits[feature.name])

    def _mend(self, key: tuple[str, str]) -> None:
        """Over: what was counted while it lasted doesn't count any more."""
        feature = self._moved.pop(key).feature
        log.info("drift of %s is over", feature.name)
        if all(name != feature.name for name, _ in self._moved):
            self.window.forget(feature)

    def save(self) -> None:
        """Keep what was learnt; doesn't wait for the disk."""
        if self._unsaved:
            self._file.save(self.baseline)
            self._unsaved = False

    def close(self, timeout: float) -> None:
        """Wait for the last write for so many seconds at most."""
        self._file.close(timeout)

    @property
    def moved(self) -> list[Comparison]:
        """What has drifted and isn't ignored, furthest first."""
        if not self._config.enabled:
            return []
        told = [c for c in self._moved.values() if c.feature.name not in self._config.ignore]
        return sorted(told, key=lambda c: -c.distance.psi / c.limit)

    @property
    def message(self) -> str | None:
        """The fault in words, or None."""
        moved = self.moved
        if not moved:
            return None
        first = moved[0]
        others = {c.feature.name: None for c in moved if c.feature is not first.feature}
        also = f"; moved too: {', '.join(others)}" if others else ""
        return f"{first.describe()}{also}; look at the picture, and at docs/drift.md"

    @property
    def state(self) -> str:
        """``off``, ``learning`` what is normal here, or ``watching``."""
        if not self._config.enabled:
            return "off"
        return "watching" if self.baseline.complete else "learning"

    def figures(self) -> dict[str, Any]:
        """What ``health`` tells."""
        moved = {(c.feature.name, c.against) for c in self.moved}
        features: dict[str, dict[str, Any]] = {}
        for (name, against), comparison in self.comparisons.items():
            features.setdefault(name, {})[against] = {
                "psi": round(comparison.distance.psi, 3),
                "limit": round(comparison.limit, 3),
                "moved": (name, against) in moved,
            }
        return {
            "state": self.state,
            "visits": self.window.visits,
            "learnt_visits": self.baseline.visits,
            "learnt_days": round(self.baseline.seconds / DAY, 2),
            "features": features,
        }
