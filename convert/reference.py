"""What the networks say of faces where their accuracy is measured: the reference for drift.

The daemon compares with it what they say at a door (:mod:`maskedge.health.drift`). Only what a
network itself puts out is taken: light, sizes and habits belong to the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskedge.config import VerdictConfig
from maskedge.health.features import FEATURES
from maskedge.health.visits import look_values
from maskedge.pipeline import Look, look_weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maskedge.camera.frame import Frame
    from maskedge.health.visits import Values
    from maskedge.vision.base import Face, MaskClassifier


def look_at(frame: Frame, faces: Sequence[Face], classifier: MaskClassifier) -> list[Values]:
    """What the daemon would note of a picture's faces: of the clear ones, as it would see them."""
    from maskedge.vision.quality import assess

    verdict = VerdictConfig()
    clear = []
    for face in faces:
        if face.box.size < verdict.min_face:
            continue
        quality = assess(frame, face.box)
        weight = look_weight(quality, face.score, verdict)
        if weight > 0:
            clear.append((face, quality, weight))
    judged = classifier.classify(frame, [face.box for face, *_ in clear])
    return [
        look_values(Look(0, face.box, face.score, quality, weight, tuple(row.tolist())))
        for (face, quality, weight), row in zip(clear, judged, strict=True)
    ]


def references(looks: Iterable[Values]) -> dict[str, Any]:
    """The part of each network's JSON: ``{network: {"faces", "features": {name: counts}}}``."""
    found: dict[str, Any] = {}
    values = list(looks)
    for feature in FEATURES:
        if feature.network is None:
            continue
        counts = [0] * feature.bins
        for look in values:
            counts[feature.bin(look[feature.name])] += 1
        entry = found.setdefault(feature.network, {"faces": len(values), "features": {}})
        entry["features"][feature.name] = {"edges": list(feature.edges), "counts": counts}
    return found
