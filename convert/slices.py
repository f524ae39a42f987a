"""Faces by what can be measured of them: size, light, focus, brightness and colour of the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from convert.metrics import summary
from maskedge.camera.frame import ChannelOrder
from maskedge.vision.base import LABELS
from maskedge.vision.quality import assess

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.geometry import Box

SIZES = (
    ("below 20 px", 0, 20),
    ("20-32 px", 20, 32),
    ("32-64 px", 32, 64),
    ("64 px and more", 64, 1e9),
)
DARK, BRIGHT = 60.0, 190.0
"""Mean grey level of a face box below and above which it is a dark or bright one."""
BLURRED, SOFT = 10.0, 20.0
"""Sharpness (:func:`maskedge.vision.quality.sharpness`): 1 face in 100 is below 21; a blur of 3 %
of a face's edge gives 13, of 6 % 4.5."""
CLOTH = (0.25, 0.6, 0.75, 0.92)
"""Where a worn mask is in a face's box: left, top, right, bottom."""
GREY_BELOW = 45
"""Saturation, 0..255, below which a mask is white, grey or black."""
BLUES = (85, 130)
"""Hue in OpenCV's half degrees: turquoise to blue, as surgical masks are."""


class Look(NamedTuple):
    """What was measured of one labelled face.

    Attributes:
        path: the picture.
        box: the face, pixels.
        source: which collection it is of.
        size: longer edge, pixels.
        grey: mean grey level, 0..255.
        sharpness: see :func:`maskedge.vision.quality.sharpness`.
        cloth: median hue, saturation and value (OpenCV's ranges) where a mask is worn.
    """

    path: Path
    box: Box
    source: str
    size: float
    grey: float
    sharpness: float
    cloth: tuple[float, float, float]

    @classmethod
    def at(cls, frame: Frame, path: Path, source: str, box: Box) -> Look:
        """Measure one face of a picture."""
        quality = assess(frame, box)
        cloth = _cloth(frame, box)
        return cls(path, box, source, box.size, quality.brightness, quality.sharpness, cloth)


def _cloth(frame: Frame, box: Box) -> tuple[float, float, float]:
    left, top, right, bottom = CLOTH
    x1, x2 = (int(box.x1 + share * box.width) for share in (left, right))
    y1, y2 = (int(box.y1 + share * box.height) for share in (top, bottom))
    view = frame.pixels[max(y1, 0) : max(y2, y1 + 1, 1), max(x1, 0) : max(x2, x1 + 1, 1)]
    if not view.size:
        return 0.0, 0.0, 0.0
    rgb = frame.order is ChannelOrder.RGB
    hsv = cv2.cvtColor(view, cv2.COLOR_RGB2HSV if rgb else cv2.COLOR_BGR2HSV)
    hue, saturation, value = (float(v) for v in np.median(hsv.reshape(-1, 3), axis=0))
    return hue, saturation, value


def slices(looks: list[Look], truth: NDArray[np.int64]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Which faces belong to which slice, by kind of slice; empty ones are left out.

    A mask's colour and brightness are those of the pixels where it is worn, of faces labelled as
    wearing one: what the camera made of it, not what it is made of.
    """

    def column(name: str) -> NDArray[Any]:
        return np.array([getattr(look, name) for look in looks])

    size, grey, sharpness, source = (column(n) for n in ("size", "grey", "sharpness", "source"))
    hue, saturation, value = column("cloth").reshape(-1, 3).T
    worn = truth != LABELS.index("without_mask")
    third, two_thirds = np.quantile(value[worn], [1 / 3, 2 / 3]) if worn.any() else (0, 0)
    blue = (hue >= BLUES[0]) & (hue < BLUES[1])
    grey_mask = saturation < GREY_BELOW
    found = {
        "by_size": {name: (size >= low) & (size < high) for name, low, high in SIZES},
        "by_light": {
            "dark": grey < DARK,
            "bright": grey > BRIGHT,
            "between": (grey >= DARK) & (grey <= BRIGHT),
        },
        "by_focus": {
            "blurred": sharpness < BLURRED,
            "soft": (sharpness >= BLURRED) & (sharpness < SOFT),
            "sharp": sharpness >= SOFT,
        },
        "by_mask_brightness": {
            "mask: darkest third": worn & (value <= third),
            "mask: middle third": worn & (value > third) & (value <= two_thirds),
            "mask: brightest third": worn & (value > two_thirds),
        },
        "by_mask_colour": {
            "mask: white, grey or black": worn & grey_mask,
            "mask: blue": worn & ~grey_mask & blue,
            "mask: other colour": worn & ~grey_mask & ~blue,
        },
        "by_source": {str(name): source == name for name in np.unique(source)},
    }
    return {kind: {n: c for n, c in members.items() if c.any()} for kind, members in found.items()}


def sliced(
    looks: list[Look], truth: NDArray[np.int64], scores: NDArray[np.float32]
) -> dict[str, dict[str, Any]]:
    """Figures by slice, ready for JSON: ``{kind: {slice: summary}}``."""
    return {
        kind: {name: summary(truth[c], scores[c]) for name, c in members.items()}
        for kind, members in slices(looks, truth).items()
    }
