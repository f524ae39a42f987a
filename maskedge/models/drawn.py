"""Drawn faces: pictures that every machine can make, with a truth that nobody has to look up.

Networks trained on photographs take them for faces, and for bare, masked and badly masked ones, as
surely as photographs. So they show whether scaling, decoding and the order of labels are right, and
nothing of how good a network is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from maskedge.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

Colour = tuple[float, float, float]

WALL: Final = (196, 200, 204)
CLOTH: Final = (70, 90, 130)
LIPS: Final = (168, 84, 80)
MASK: Final = (150, 195, 220)
WHITE: Final = (236, 234, 230)
DARK: Final = (34, 26, 24)
HALF_WIDTH: Final = 0.37
"""Half of a face's width, in its heights."""
MASK_TOP: Final = {"with_mask": 0.03, "incorrect_mask": 0.20}
"""Where a mask begins, in face heights below the middle of the face; the nose ends at 0.17."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to draw: colours as (red, green, blue), 0..255."""

    skin: Colour
    hair: Colour


PERSONS: Final = (
    Person((212, 168, 140), (58, 42, 34)),
    Person((150, 104, 78), (25, 20, 18)),
    Person((232, 196, 172), (150, 110, 60)),
)


def wall(width: int, height: int) -> NDArray[np.float32]:
    """A wall in the light from above, float32 (height, width, 3), RGB 0..255: nobody is there."""
    light = 1 - 0.2 * np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.asarray(WALL, np.float32) * light + np.zeros((1, width, 1), np.float32)


def face_box(centre: tuple[float, float], size: float) -> Box:
    """The box of a face of that height, pixels."""
    x, y = centre
    return Box(x - HALF_WIDTH * size, y - size / 2, x + HALF_WIDTH * size, y + size / 2)


def portrait(
    person: Person,
    label: str,
    *,
    size: float,
    canvas: tuple[int, int],
    centre: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """A person before a wall.

    Args:
        person: who.
        label: how the mask is worn: ``with_mask``, ``without_mask`` or ``incorrect_mask``, which
            leaves the nose out.
        size: height of the face, pixels.
        canvas: width and height of the picture, pixels.
        centre: of the face, pixels; None: the middle of the picture.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    width, height = canvas
    x, y = centre or (width / 2, height / 2)
    brush = _Brush(wall(width, height), (x, y), size)
    skin, hair = np.asarray(person.skin), np.asarray(person.hair)
    _body(brush, skin, hair)
    _eyes(brush, skin, hair)
    _nose_and_mouth(brush, skin)
    if label in MASK_TOP:
        _mask(brush, MASK_TOP[label])
    return np.asarray(np.clip(np.rint(brush.picture), 0, 255), np.uint8)


class _Brush:
    """Paints shapes that are given in face heights around the middle of a face.

    Attributes:
        u, v: of each pixel: right and down from the middle of the face, float32.
        edge: width of a soft edge: about two pixels.
    """

    def __init__(
        self, picture: NDArray[np.float32], centre: tuple[float, float], size: float
    ) -> None:
        self.picture = picture
        rows, columns = np.indices(picture.shape[:2], dtype=np.float32)
        self.u = (columns + 0.5 - centre[0]) / size
        self.v = (rows + 0.5 - centre[1]) / size
        self.edge = 2.2 / size

    def paint(self, colour: Sequence[float] | Array, opacity: Array) -> None:
        """Mix a colour in, where and as far as opacity (0..1) says."""
        target = np.asarray(colour, np.float32)
        self.picture += (target - self.picture) * opacity[..., None].astype(np.float32)

    def inside(self, distance: Array, softness: float = 1.0) -> Array:
        """Opacity of a shape from the signed distance to its edge."""
        return np.asarray(np.clip(0.5 - distance / (self.edge * softness), 0, 1))

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> Array:
        """Signed distance, roughly."""
        radii = np.hypot((self.u - x) / rx, (self.v - y) / ry)
        return np.asarray((radii - 1) * min(rx, ry))

    def spot(self, x: float, y: float, rx: float, ry: float) -> Array:
        """Opacity of a blurred ellipse."""
        return np.asarray(np.exp(-(((self.u - x) / rx) ** 2) - ((self.v - y) / ry) ** 2))

    @property
    def shading(self) -> Array:
        """Light on the round of a head: darker to the sides and down."""
        round_ = np.clip((self.u / HALF_WIDTH) ** 2, 0, 1) ** 1.5
        down = 1 - 0.1 * np.clip(self.v, 0, 0.5)
        return np.asarray((down - 0.28 * round_) * (1 - 0.1 * self.u))


def _body(brush: _Brush, skin: Array, hair: Array) -> None:
    u, v = brush.u, brush.v
    brush.paint(CLOTH, brush.inside(brush.ellipse(0, 1.25, 0.95, 0.62)))
    brush.paint(hair, brush.inside(brush.ellipse(0, -0.12, 0.46, 0.52)))
    brush.paint(skin * 0.78, brush.inside(np.maximum(abs(u) - 0.19, abs(v - 0.55) - 0.25)))
    for side in (-1, 1):
        brush.paint(skin * 0.85, brush.inside(brush.ellipse(side * 0.375, 0.02, 0.05, 0.11)))
    head = brush.ellipse(0, 0, HALF_WIDTH, 0.5)
    brush.paint(skin * brush.shading[..., None], brush.inside(head))
    fringe = np.maximum(head - 0.02, v + 0.28 - 0.1 * np.cos(4 * u))
    brush.paint(hair, brush.inside(fringe, 3))


def _eyes(brush: _Brush, skin: Array, hair: Array) -> None:
    u, v = brush.u, brush.v
    for x in (-0.165, 0.165):
        brush.paint(skin * 0.6, 0.45 * brush.spot(x, -0.06, 0.1, 0.06))
        lids = brush.ellipse(x, -0.075, 0.082, 0.07), brush.ellipse(x, -0.015, 0.082, 0.07)
        brush.paint(WHITE, brush.inside(np.maximum(*lids)))
        brush.paint(DARK, brush.inside(brush.ellipse(x, -0.045, 0.032, 0.034)))
        lashes = abs(brush.ellipse(x, -0.015, 0.085, 0.075)) - 0.008
        brush.paint(DARK, 0.8 * brush.inside(np.maximum(lashes, v + 0.045)))
        brow = np.maximum(abs(v + 0.135 + 1.5 * (abs(u) - 0.16) ** 2) - 0.016, abs(u - x) - 0.09)
        brush.paint(hair * 0.9, 0.85 * brush.inside(brow, 2))


def _nose_and_mouth(brush: _Brush, skin: Array) -> None:
    u, v = brush.u, brush.v
    brush.paint(skin * 0.72, 0.35 * brush.spot(0.05, 0.04, 0.03, 0.12))
    brush.paint(skin * 0.62, 0.55 * brush.spot(0, 0.168, 0.085, 0.018))
    for x in (-0.04, 0.04):
        brush.paint(skin * 0.35, 0.8 * brush.spot(x, 0.155, 0.018, 0.011))
    brush.paint(LIPS, 0.85 * brush.inside(brush.ellipse(0, 0.285, 0.125, 0.042), 2))
    line = np.maximum(abs(v - 0.282 - 0.12 * u * u) - 0.007, abs(u) - 0.12)
    brush.paint(DARK, 0.8 * brush.inside(line))
    brush.paint(skin * 0.7, 0.4 * brush.spot(0, 0.35, 0.1, 0.018))


def _mask(brush: _Brush, top: float) -> None:
    """A surgical mask with pleats and loops, from ``top`` to under the chin."""
    u, v = brush.u, brush.v
    bridge = 0.03 * np.exp(-((u / 0.07) ** 2)) if top < MASK_TOP["incorrect_mask"] else 0
    rim = top + 0.1 * abs(u) ** 1.5 - bridge
    cloth = np.maximum(np.maximum(rim - v, brush.ellipse(0, 0, HALF_WIDTH, 0.5) - 0.012), v - 0.53)
    pleats = 1 - 0.1 * (np.sin((v - 0.1) * 74) > 0.75)  # noqa: PLR2004 - the crest of a fold
    colour = np.asarray(MASK) * (pleats * brush.shading)[..., None]
    brush.paint(colour, brush.inside(cloth))
    for begin, end in ((top + 0.05, -0.02), (0.3, 0.08)):
        height = begin + (end - begin) * np.clip((abs(u) - 0.3) / 0.08, 0, 1)
        loop = np.maximum(abs(v - height) - 0.006, abs(abs(u) - 0.335) - 0.045)
        brush.paint(WHITE, 0.8 * brush.inside(loop))
