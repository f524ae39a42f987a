"""Masks drawn onto bare faces, worn right and wrong: training data for what is rarely photographed.

A mask is a closed outline in a frame of the face's own: x along the line of the eyes, y from the
middle of the eyes (0) to the middle of the mouth (1). The nose's sideways offset tells how far the
head is turned, so the mask's centre line follows it and its far side shortens. How low the upper
edge sits decides the label: above the tip of the nose it is worn right; between nose and mouth the
nose is out; below the mouth both are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from convert.classifier.data import Pixels

COLOURS = (
    ((214, 178, 120), 12),  # surgical blue, B G R and how much it varies
    ((226, 205, 160), 12),
    ((200, 190, 110), 14),  # surgical green
    ((238, 238, 238), 10),  # white, N95
    ((246, 240, 236), 6),
    ((40, 38, 38), 14),  # black
    ((25, 24, 26), 8),
    ((120, 116, 112), 25),  # grey
    ((90, 60, 40), 20),  # navy
    ((190, 170, 235), 18),  # pink
    ((60, 50, 170), 30),  # red
    ((150, 180, 205), 18),  # skin-like, beige
)
OVERSAMPLE = 2


@dataclass(frozen=True)
class FaceFrame:
    """Where a face's own coordinates lie in the picture.

    Attributes:
        origin: middle of the eyes, pixels.
        across: pixels of one unit along the eyes, to the picture's right.
        down: pixels of one unit from the eyes to the mouth.
        nose: the tip of the nose in units of this frame (x to the side, y down).
    """

    origin: NDArray[np.float32]
    across: NDArray[np.float32]
    down: NDArray[np.float32]
    nose: tuple[float, float]

    @classmethod
    def of(cls, landmarks: NDArray[np.float32]) -> FaceFrame | None:
        """From five landmarks in pixels; None where they are no usable face (a full profile)."""
        eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
        down = mouth - eyes
        length = float(np.hypot(*down))
        eye_line = landmarks[1] - landmarks[0]
        width = float(np.hypot(*eye_line))
        if not np.isfinite(length) or length < 4 or width < 0.45 * length:
            return None
        across = eye_line / width * length
        to_nose = landmarks[2] - eyes
        x, y = np.linalg.solve(np.stack([across, down], axis=1), to_nose)
        if abs(x) > 0.45 or not 0.25 < y < 0.85:
            return None
        return cls(eyes, across, down, (float(x), float(y)))

    def pixels(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (N, 2) of this frame in picture pixels."""
        mapped = self.origin + points[:, :1] * self.across + points[:, 1:] * self.down
        return np.asarray(mapped, np.float32)


def _curve(points: list[tuple[float, float]], steps: int = 8) -> NDArray[np.float32]:
    """A closed Catmull-Rom curve through the points."""
    p = np.asarray(points, np.float32)
    before, after, second = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[None, :, None]
    a, b, c, d = before[:, None], p[:, None], after[:, None], second[:, None]
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return np.asarray(curve.reshape(-1, 2), np.float32)


def _outline(
    rng: Generator, nose: tuple[float, float], top: float, bottom: float, *, chin: bool
) -> NDArray[np.float32]:
    """The mask's edge in face coordinates, clockwise from the upper left corner."""
    turn = nose[0]
    left = -0.92 + rng.uniform(-0.1, 0.06) + 1.5 * max(0.0, -turn)
    right = 0.92 + rng.uniform(-0.06, 0.1) - 1.5 * max(0.0, turn)
    middle = float(np.clip(turn, 0.7 * left, 0.7 * right))
    sag = rng.uniform(0.02, 0.3) * (0.5 if chin else 1.0)
    corner = top + sag + rng.uniform(-0.05, 0.05)
    tilt = rng.normal(0, 0.035)
    jaw = rng.uniform(0.5, 0.72)
    peak = rng.uniform(0.15, 0.33)  # half-width of the upper edge's flat part
    dents = [middle + share * (end - middle) for end in (left, right) for share in (2 * peak, peak)]
    dip = rng.uniform(-0.03, 0.06)
    low_corner = min(corner + rng.uniform(0.35, 0.6), bottom - 0.12)
    return _curve(
        [
            (left, corner + tilt),
            (dents[0], top + 0.3 * sag + tilt / 2),
            (dents[1], top + dip),
            (middle, top),
            (dents[3], top + dip),
            (dents[2], top + 0.3 * sag - tilt / 2),
            (right, corner - tilt),
            (right * 0.93 + 0.07 * middle, low_corner - tilt),
            (middle + jaw * (right - middle), bottom - 0.13),
            (middle * 0.8, bottom),
            (middle + jaw * (left - middle), bottom - 0.13),
            (left * 0.93 + 0.07 * middle, low_corner + tilt),
        ]
    )


def _texture(rng: Generator, side: int) -> NDArray[np.float32]:
    """The cloth: float32 (side, side, 3), BGR 0..255."""
    base, spread = COLOURS[rng.integers(len(COLOURS))]
    colour = np.asarray(base, np.float32) + rng.normal(0, spread, 3)
    if rng.random() < 0.12:
        colour = rng.uniform(0, 255, 3)
    cloth = np.empty((side, side, 3), np.float32)
    cloth[:] = colour
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    pattern = rng.random()
    other = rng.uniform(0, 255, 3).astype(np.float32)
    if pattern < 0.1:
        wave = np.sin((x * rng.normal(0, 1) + y * rng.normal(0, 1)) * rng.uniform(20, 90))
        if rng.random() < 0.5:
            wave = np.maximum(wave, np.sin((x - y) * rng.uniform(20, 90)))
        cloth += (other - cloth) * (wave[..., None] > 0.3) * rng.uniform(0.3, 1)
    elif pattern < 0.25:
        cells = int(rng.integers(6, 24))
        noise = cv2.resize(rng.random((cells, cells, 3), np.float32), (side, side))
        cloth += (other - cloth) * (noise > rng.uniform(0.4, 0.65))
    elif pattern < 0.6:
        pleats = np.sin(y * rng.uniform(45, 80) + 0.6 * np.sin(x * 6))
        cloth *= (1 + rng.uniform(0.02, 0.1) * pleats)[..., None]
    grain = rng.normal(0, rng.uniform(0.5, 5), (side // 2 + 1, side // 2 + 1, 1))
    cloth += cv2.resize(grain.astype(np.float32), (side, side))[..., None]
    return cloth


def _light(rng: Generator, face: Pixels, shape: NDArray[np.float32]) -> NDArray[np.float32]:
    """How bright the cloth is at each pixel: the face's own light, folds, and a rounded form."""
    side = face.shape[0]
    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(np.float32)
    soft = cv2.GaussianBlur(grey, (0, 0), side / 14)
    level = max(20.0, float((soft * shape).sum() / max(shape.sum(), 1.0)))
    scene = np.clip(level / 130, 0.35, 1.25) ** rng.uniform(0.3, 0.9)
    relief = np.clip(soft / level, 0.5, 1.5) ** rng.uniform(0.3, 1.0)
    folds = cv2.resize(
        rng.normal(0, 1, (7, 7)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    rounded = cv2.GaussianBlur(shape, (0, 0), side / rng.uniform(12, 30))
    return np.asarray(
        scene * relief * (1 + rng.uniform(0.01, 0.07) * folds) * (0.72 + 0.33 * rounded), np.float32
    )


def _straps(
    rng: Generator,
    canvas: NDArray[np.float32],
    frame: FaceFrame,
    edge: NDArray[np.float32],
    colour: NDArray[np.float32],
) -> None:
    """Ear loops: from both corners of each side towards the ear, in place."""
    width = max(1, round(float(np.hypot(*frame.down)) * rng.uniform(0.01, 0.03)))
    for corner, sign in ((edge[0], -1), (edge[6 * 8], 1)):
        ear_x = corner[0] + sign * rng.uniform(0.05, 0.2)
        for drop, ear_y in ((0.0, rng.uniform(0.05, 0.35)), (0.4, rng.uniform(0.5, 0.8))):
            ends = np.array([[corner[0] - 0.02 * sign, corner[1] + drop], [ear_x, ear_y]])
            (x1, y1), (x2, y2) = frame.pixels(ends)
            cv2.line(
                canvas, (round(float(x1)), round(float(y1))), (round(float(x2)), round(float(y2))),
                colour.tolist(), width, cv2.LINE_AA,
            )  # fmt: skip


def draw_mask(
    rng: Generator, square: Pixels, landmarks: NDArray[np.float32], *, worn_right: bool
) -> Pixels | None:
    """A copy of a bare face with a mask on.

    Args:
        rng: decides everything.
        square: BGR uint8 (side, side, 3), a stored square.
        landmarks: float32 (5, 2) relative to the square.
        worn_right: over nose and mouth; else the nose, or nose and mouth, stay out.

    Returns:
        BGR uint8 of the same shape, or None where the landmarks don't carry a mask.
    """
    side = square.shape[0]
    frame = FaceFrame.of(landmarks * side)
    if frame is None:
        return None
    nose_y = frame.nose[1]
    chin = False
    if worn_right:
        top, bottom = rng.uniform(0.12, nose_y - 0.2), rng.uniform(1.5, 1.85)
    elif rng.random() < 0.6:
        top, bottom = rng.uniform(nose_y + 0.1, max(nose_y + 0.14, 0.86)), rng.uniform(1.6, 2.0)
    else:
        chin = True
        top, bottom = rng.uniform(1.18, 1.5), rng.uniform(1.85, 2.3)
    edge = _outline(rng, frame.nose, top, bottom, chin=chin)
    shape = np.zeros((side * OVERSAMPLE, side * OVERSAMPLE), np.uint8)
    cv2.fillPoly(shape, [np.round(frame.pixels(edge) * OVERSAMPLE).astype(np.int32)], 255)
    alpha = cv2.resize(shape, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha /= 255
    cloth = _texture(rng, side)
    light = _light(rng, square, alpha)[..., None]
    result = square.astype(np.float32)
    if rng.random() < 0.5 and abs(frame.nose[0]) < 0.2:
        strap = np.asarray(cloth[side // 2, side // 2] * rng.uniform(0.7, 1.0), np.float32)
        _straps(rng, result, frame, edge, strap)
    shadow = np.roll(cv2.GaussianBlur(alpha, (0, 0), side / 60), side // 60, axis=0)[..., None]
    result *= 1 - rng.uniform(0, 0.3) * shadow
    result += alpha[..., None] * (cloth * light - result)
    return np.clip(result, 0, 255).astype(np.uint8)
