"""Augmentation of one stored face: what a camera at an entrance and our own detector do to it.

Order as in the world: the face turns and the box wanders (one warp), light falls, the lens blurs,
a small face has few pixels, the sensor adds noise, JPEG its blocks; then the runtime's own resize.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from convert.classifier.data import FACE_OF_STORED
from maskedge.vision.masks import DEFAULT_PADDING

if TYPE_CHECKING:
    from numpy.random import Generator

    from convert.classifier.data import Pixels

SMALLEST_FACE = 18.0
MOST_BLUR = 0.06
"""Sigma of the worst focus, a share of the crop's side: 8 % of the face."""
HALF = 0.5


def augment(
    rng: Generator,
    square: Pixels,
    size: int,
    padding: float = DEFAULT_PADDING,
    smallest: float = SMALLEST_FACE,
) -> Pixels:
    """A training crop from a stored square.

    Args:
        rng: decides everything.
        square: BGR uint8 (side, side, 3); the face is its middle half.
        size: edge of the result.
        padding: as at run time.
        smallest: pixels down to which faces are shrunk.

    Returns:
        RGB uint8 (size, size, 3).
    """
    small = _geometry(rng, square, size, padding, smallest)
    small = _colour(rng, small)
    small = _sensor(rng, small)
    if rng.random() < 0.15:
        _patch(rng, small)
    method = cv2.INTER_AREA if small.shape[0] > size else cv2.INTER_LINEAR
    resized = cv2.resize(small, (size, size), interpolation=method)
    return np.ascontiguousarray(resized[..., ::-1])


def plain(square: Pixels, size: int, padding: float = DEFAULT_PADDING) -> Pixels:
    """The crop that the runtime would make of a stored square; RGB uint8 (size, size, 3)."""
    side = square.shape[0]
    wanted = max(2, round(side * FACE_OF_STORED * (1 + 2 * padding)))
    start = (side - wanted) // 2
    view = square[start : start + wanted, start : start + wanted]
    method = cv2.INTER_AREA if wanted > size else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(view, (size, size), interpolation=method)[..., ::-1])


def _geometry(rng: Generator, square: Pixels, size: int, padding: float, smallest: float) -> Pixels:
    """Flip, rotation, zoom, shift, aspect and lower resolution in one warp."""
    side = square.shape[0]
    face = side * FACE_OF_STORED
    seen = min(face, size / (1 + 2 * padding))
    if rng.random() < 0.6 and seen > smallest:
        seen = math.exp(rng.uniform(math.log(smallest), math.log(seen)))
    out = max(12, round(seen * (1 + 2 * padding)))
    zoom = math.exp(rng.normal(0, 0.09))
    stretch = math.exp(rng.normal(0, 0.07))
    scale = out / (face * (1 + 2 * padding) * zoom)
    source = square
    if scale < HALF:  # average first: a warp alone would alias
        shrink = round(side * scale * 1.3)
        source = cv2.resize(square, (shrink, shrink), interpolation=cv2.INTER_AREA)
        scale *= side / shrink
    angle = rng.normal(0, 12) if rng.random() < 0.85 else rng.uniform(-40, 40)
    cos, sin = math.cos(math.radians(angle)) * scale, math.sin(math.radians(angle)) * scale
    mirror = -1.0 if rng.random() < HALF else 1.0
    matrix = np.array([[cos * mirror * stretch, -sin, 0], [sin * mirror, cos / stretch, 0]])
    middle = source.shape[0] / 2 + rng.normal(0, 0.06, 2) * source.shape[0] * FACE_OF_STORED
    matrix[:, 2] = out / 2 - matrix[:, :2] @ middle
    border = cv2.BORDER_REPLICATE if rng.random() < 0.8 else cv2.BORDER_REFLECT
    warped: Pixels = cv2.warpAffine(
        source, matrix, (out, out), flags=cv2.INTER_LINEAR, borderMode=border
    )
    return warped


def _colour(rng: Generator, crop: Pixels) -> Pixels:
    """Light, contrast, gamma, saturation, white balance, grey, and a side in shadow."""
    values: Pixels = crop.astype(np.float32)
    if rng.random() < 0.1:
        values[:] = values @ np.array([0.114, 0.587, 0.299], np.float32)[:, None]
    else:
        grey = values @ np.array([0.114, 0.587, 0.299], np.float32)[:, None]
        values = grey + (values - grey) * rng.uniform(0.5, 1.4)
        values *= np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    if rng.random() < 0.2:
        ramp = np.linspace(
            rng.uniform(0.4, 1.0), rng.uniform(0.8, 1.5), crop.shape[0], dtype=np.float32
        )
        values *= ramp[:, None, None] if rng.random() < HALF else ramp[None, :, None]
    if rng.random() < 0.08:  # a dark hall, under-exposed
        values *= rng.uniform(0.3, 0.7)
    mean = values.mean()
    values = (values - mean) * rng.uniform(0.6, 1.35) + mean * math.exp(rng.normal(0, 0.22))
    gamma = math.exp(rng.normal(0, 0.2))
    unit: Pixels = np.clip(values / 255, 0, 1)
    return np.asarray(unit**gamma * 255, np.uint8)


def _sensor(rng: Generator, crop: Pixels) -> Pixels:
    """Focus and motion blur, noise, JPEG."""
    side = crop.shape[0]
    chance = rng.random()
    if chance < 0.25:
        sigma = 0.3 + MOST_BLUR * side * rng.random() ** 2  # most only a little
        crop = cv2.GaussianBlur(crop, (0, 0), sigma)
    elif chance < 0.35:
        length = max(2, round(rng.uniform(0.02, 0.12) * side))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, math.pi)
        reach = (length - 1) / 2
        ends = [
            (round(reach + s * reach * math.cos(angle)), round(reach + s * reach * math.sin(angle)))
            for s in (-1, 1)
        ]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        crop = cv2.filter2D(crop, -1, kernel / kernel.sum())
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(1, 12), crop.shape).astype(np.float32)
        crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        _, coded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 92))])
        crop = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return crop


def _patch(rng: Generator, crop: Pixels) -> None:
    """Something in front of a small part of the face, in place: a colour, or another part of it."""
    side = crop.shape[0]
    width, height = (max(1, round(rng.uniform(0.08, 0.3) * side)) for _ in range(2))
    x, y = int(rng.integers(0, side - width)), int(rng.integers(0, side - height))
    if rng.random() < HALF:
        crop[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    else:
        u, v = int(rng.integers(0, side - width)), int(rng.integers(0, side - height))
        crop[y : y + height, x : x + width] = crop[v : v + height, u : u + width].copy()
