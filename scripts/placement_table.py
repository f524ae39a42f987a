#!/usr/bin/env python3
"""How far away a person may be, from the lens's angle and the picture's size.

    scripts/placement_table.py                                  the table of docs/placement.md
    scripts/placement_table.py --angle 78 --width 1280 --height 720

A face of height F at distance d, in a picture of W pixels whose angle is a, is
``F * W / (2 * d * tan(a / 2))`` pixels high: a pinhole camera, in the middle of its picture.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from maskedge.config import Config
from maskedge.vision.inputs import SIDES, side_for

FACE = 0.18
"""Metres from hairline to chin: about 0.19 of men, 0.17 of women (Farkas, Anthropometry of the
Head and Face, 1994)."""
SEEN = 20
"""Pixels that a face must keep in what the detector sees: benchmarks/smallest_face.py found all of
these, and fewer of smaller ones."""
MIN_FACE = Config().verdict.min_face


@dataclass(frozen=True)
class Lens:
    """A camera's whole horizontal angle, degrees, and its sensor's width to height."""

    name: str
    angle: float
    aspect: float

    def half_width(self, width: int, height: int) -> float:
        """Half of what is seen at 1 m, metres; a narrower picture is cut out of the middle."""
        return math.tan(math.radians(self.angle) / 2) * min(1.0, width / height / self.aspect)


LENSES = (
    Lens("Camera Module 1", 53.5, 4 / 3),
    Lens("Camera Module 2", 62.2, 4 / 3),
    Lens("Camera Module 3", 66, 16 / 9),
    Lens("Camera Module 3 Wide", 102, 16 / 9),
)
"""Angles by Raspberry Pi's documentation of its camera modules."""
SETTINGS = tuple(
    (width, height, side_for((height, width), MIN_FACE, SIDES))
    for width, height in ((640, 480), (1280, 720), (1280, 960), (1920, 1080))
)
"""With the input that detector.input: auto takes."""


def distance(
    lens: Lens, width: int, height: int, long_side: int, min_face: int = MIN_FACE
) -> tuple[float, float]:
    """The farthest a face may be to be judged, and how wide the view is there; metres."""
    needed = max(min_face, SEEN * max(width, height) / long_side)
    half = lens.half_width(width, height)
    farthest = FACE * width / (2 * half * needed)
    return farthest, 2 * half * farthest


def table() -> str:
    """All lenses and settings, as Markdown."""
    heads = [f"{w}×{h}, input {i}" for w, h, i in SETTINGS]  # noqa: RUF001
    lines = [f"| lens | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for lens in LENSES:
        cells = ["{:.1f} m, {:.1f} m wide".format(*distance(lens, *s)) for s in SETTINGS]
        lines.append(f"| {lens.name} ({lens.angle:g}°) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or one line for a lens of your own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--angle", type=float, help="horizontal angle of view, degrees")
    parser.add_argument("--aspect", type=float, default=16 / 9, help="sensor's width to height")
    parser.add_argument("--width", type=int, default=640, help="camera.width")
    parser.add_argument("--height", type=int, default=480, help="camera.height")
    parser.add_argument("--input", type=int, help="detector.input; without it: auto")
    parser.add_argument("--min-face", type=int, default=MIN_FACE, help="verdict.min_face")
    asked = parser.parse_args()
    if asked.angle is None:
        print(table(), end="")
        return
    lens = Lens("yours", asked.angle, asked.aspect)
    long_side = asked.input or side_for((asked.height, asked.width), asked.min_face, SIDES)
    far, wide = distance(lens, asked.width, asked.height, long_side, asked.min_face)
    print(f"judged up to {far:.1f} m, where the picture is {wide:.1f} m wide")


if __name__ == "__main__":
    main()
