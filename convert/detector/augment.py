"""Changes to training pictures: light, colour, blur, noise, JPEG, and masks drawn on bare faces.

All work in place or on small crops of uint8 RGB, with the random generator handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

MASK_OUTLINE = np.array(
    [
        (0.04, 0.45),
        (0.28, 0.46),
        (0.50, 0.36),
        (0.72, 0.46),
        (0.96, 0.45),
        (0.93, 0.74),
        (0.72, 0.98),
        (0.28, 0.98),
        (0.07, 0.74),
    ]
)
"""A worn mask's corners in its face's box."""
MASK_COLOURS = (
    (225, 235, 240),
    (150, 195, 220),
    (110, 170, 205),
    (25, 25, 28),
    (60, 60, 70),
    (240, 240, 235),
    (190, 70, 80),
    (70, 90, 140),
    (130, 160, 120),
    (210, 180, 150),
)


def draw_mask(picture: Pixels, box: NDArray[np.float32], rng: Generator) -> None:
    """Draw a plain mask over a bare face's nose, mouth and chin.

    Args:
        picture: uint8 (height, width, 3), changed in place.
        box: the face, pixels.
        rng: where colour, outline and folds come from.
    """
    size = box[2:] - box[:2]
    outline = box[:2] + (MASK_OUTLINE + rng.normal(0, 0.025, MASK_OUTLINE.shape)) * size
    x1, y1 = np.maximum(np.floor(outline.min(0)).astype(int), 0)
    x2, y2 = np.ceil(outline.max(0)).astype(int) + 1
    region = picture[y1:y2, x1:x2]
    if min(region.shape[:2]) < 3:  # noqa: PLR2004 - nothing of it would be seen
        return
    colour = np.array(MASK_COLOURS[rng.integers(len(MASK_COLOURS))]) + rng.normal(0, 12, 3)
    light = np.clip(region.mean() / 140, 0.35, 1.25)  # a mask in a dark room is dark
    rows = np.linspace(0, rng.uniform(3, 9) * np.pi, region.shape[0])
    folds = 1 + rng.uniform(0, 0.08) * np.sin(rows)[:, None, None]
    shade = np.linspace(rng.uniform(0.7, 1), rng.uniform(0.7, 1), region.shape[1])[:, None]
    paint = np.clip(colour * light * folds * shade, 0, 255).astype(np.uint8)
    stencil = np.zeros(region.shape[:2], np.uint8)
    corners = np.round((outline - (x1, y1)) * 16).astype(np.int32)
    cv2.fillPoly(stencil, [corners], 255, cv2.LINE_AA, 4)
    alpha = (stencil * np.float32(rng.uniform(0.85, 1) / 255))[..., None]
    region[...] = (region * (1 - alpha) + paint * alpha).astype(np.uint8)


def change_look(picture: Pixels, rng: Generator) -> Pixels:
    """A picture of the same scene by another camera in another light."""
    picture = _light(picture, rng)
    if rng.random() < 0.1:  # noqa: PLR2004
        picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if rng.random() < 0.35:  # noqa: PLR2004
        picture = _blur(picture, rng)
    if rng.random() < 0.15:  # noqa: PLR2004
        noise = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(2, 14))
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:  # noqa: PLR2004
        quality = int(rng.integers(20, 80))
        code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return picture


def _light(picture: Pixels, rng: Generator) -> Pixels:
    """Gamma, contrast, brightness and white balance as one table per channel."""
    if rng.random() < 0.15:  # noqa: PLR2004
        return picture
    tone = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.3))
    tone = 0.5 + (tone - 0.5) * rng.uniform(0.4, 1.3) + rng.normal(0, 0.1)
    balance = np.exp(rng.normal(0, 0.06, 3))
    table = np.clip(tone[:, None] * balance * 255, 0, 255).astype(np.uint8)[None]
    return cv2.LUT(picture, table).astype(np.uint8, copy=False)


def _blur(picture: Pixels, rng: Generator) -> Pixels:
    """Soft as a cheap lens or a stream of few bits, out of focus, or moved along a line."""
    way = rng.random()
    if way < 0.35:  # noqa: PLR2004
        height, width = picture.shape[:2]
        factor = rng.uniform(0.4, 0.8)
        small = (int(width * factor), int(height * factor))
        less = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        soft = cv2.resize(less, (width, height), interpolation=cv2.INTER_LINEAR)
        return soft.astype(np.uint8, copy=False)
    if way < 0.75:  # noqa: PLR2004
        focus = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 1.6)))
        return focus.astype(np.uint8, copy=False)
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    middle = (length - 1) / 2
    start, end = np.round(middle - reach).astype(int), np.round(middle + reach).astype(int)
    cv2.line(kernel, tuple(map(int, start)), tuple(map(int, end)), 1)
    return cv2.filter2D(picture, -1, kernel / kernel.sum()).astype(np.uint8, copy=False)
