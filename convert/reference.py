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

    import numpy as np
    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.health.visits import Values
    from maskedge.vision.base import Face


def look_at(
    frame: Frame, faces: Sequence[Face], scores: Iterable[NDArray[np.float32]]
) -> list[Values]:
    """What the daemon would note of a picture's faces: of the clear ones, as it would see them.

    Args:
        frame: the picture.
        faces: those found in it.
        scores: what the classifier says of each, a row (3,) in the order of ``LABELS``.
    """
    from maskedge.vision.quality import assess

    verdict = VerdictConfig()
    looks = []
    for face, row in zip(faces, scores, strict=True):
        if face.box.size < verdict.min_face:
            continue
        quality = assess(frame, face.box)
        weight = look_weight(quality, face.score, verdict)
        if weight > 0:
            look = Look(0, face.box, face.score, quality, weight, tuple(row.tolist()))
            looks.append(look_values(look))
    return looks


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
