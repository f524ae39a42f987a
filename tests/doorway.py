"""A door without pixels: who comes, and how they are seen; for tests of drift."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from maskedge.health.features import FEATURES


@dataclass
class Network:
    """All that drift asks of a network's file."""

    fingerprint: str = "0123456789ab"
    card: dict = field(default_factory=dict)


@dataclass
class Door:
    """Who comes to a door, and how they are seen. Lengths in pixels, light in grey levels."""

    light: float = 130.0
    size: float = 110.0
    sure: float = 5.0
    masked: float = 0.7
    unsure: float = 0.03
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def visit(self):
        """One visit's values."""
        rng = self.rng
        first = 1 / (1 + np.exp(-rng.normal(self.sure, 1.0)))
        values = {
            "confidence": first,
            "margin": 2 * first - 1,
            "score": float(np.clip(rng.normal(0.9, 0.05), 0.5, 0.99)),
            "brightness": rng.normal(self.light, 22.0),
            "sharpness": float(np.exp(rng.normal(4.0, 0.4))),
            "warmth": rng.normal(0.6, 0.2),
            "size": rng.normal(self.size, 18.0),
            "flips": float(rng.choice([0.0, 0.0, 0.0, 0.15, 0.25])),
            "unsure": float(rng.random() < self.unsure),
        }
        if not values["unsure"]:
            values["label"] = float(rng.random() >= self.masked)
        return values


def card(network, door, visits=1500):
    """The JSON beside a network that was measured on such visits."""
    rows = [door.visit() for _ in range(visits)]
    features = {}
    for feature in FEATURES:
        if feature.network == network:
            counts = np.bincount(
                [feature.bin(row[feature.name]) for row in rows], minlength=feature.bins
            )
            features[feature.name] = {"edges": list(feature.edges), "counts": counts.tolist()}
    return {"reference": {"faces": visits, "features": features}}
