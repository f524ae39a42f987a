"""What the page shows of drift: each feature's distribution beside what it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from maskedge.health.drift import REFERENCES
from maskedge.health.features import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskedge.config import DriftConfig
    from maskedge.health.drift import Drift
    from maskedge.health.features import Feature


class DriftView(NamedTuple):
    """A copy, for the web's thread."""

    version: tuple[object, ...]
    content: dict[str, Any]


def view(drift: Drift, config: DriftConfig) -> DriftView:
    """As of now; called by the daemon's loop."""
    figures = drift.figures()
    content = {
        **figures,
        "least": config.min_visits,
        "days": config.baseline_days,
        "features": [_feature(drift, feature, config, figures) for feature in FEATURES],
    }
    raised = tuple((c.feature.name, c.against) for c in drift.moved)
    return DriftView((*(figures[n] for n in ("state", "visits", "learnt_visits")), raised), content)


def _feature(
    drift: Drift, feature: Feature, config: DriftConfig, figures: dict[str, Any]
) -> dict[str, Any]:
    compared = figures["features"].get(feature.name, {})
    references = {against: drift.reference(feature, against) for against in REFERENCES}
    return {
        "name": feature.name,
        "title": feature.title,
        "names": list(feature.names),
        "ignored": feature.name in config.ignore,
        "now": _distribution(feature, drift.window.day(feature, config.min_visits)),
        "references": {
            against: {**_distribution(feature, counts), **compared.get(against, {})}
            for against, counts in references.items()
            if counts is not None
        },
    }


def _distribution(feature: Feature, counts: NDArray[Any]) -> dict[str, Any]:
    total = int(counts.sum())
    return {
        "visits": total,
        "shares": [round(count / max(1, total), 4) for count in counts.tolist()],
        "text": feature.describe(counts) if total else "",
    }
