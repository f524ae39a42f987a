"""The same faces under hardship: dark, glare, out of focus, few pixels, noise, turned, other light.

Each face is cut out with room around it, changed as a camera or a scene would change it, and judged
by the runtime, so that one change at a time shows. Slices of what a set happens to hold
(``slices.py``) mix all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from convert.judging import label_index, read_frame
from convert.metrics import summary
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.geometry import Box
from maskedge.vision.masks import square_crop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.random import Generator

    from convert.classifier.data import Pixels
    from convert.coco import Picture
    from maskedge.vision.base import MaskClassifier

MOST_SIDE = 384
"""Edge of a cut-out, pixels; its middle half is the face."""
GAMMA = 2.2


def _exposed(stops: float) -> Callable[[Pixels, Generator], Pixels]:
    light = (np.arange(256) / 255) ** GAMMA * 2.0**stops
    table = (255 * np.clip(light, 0, 1) ** (1 / GAMMA)).astype(np.uint8)
    return lambda square, _: np.asarray(cv2.LUT(square, table))


def _balanced(blue: float, red: float) -> Callable[[Pixels, Generator], Pixels]:
    factor = np.array([blue, 1, red])
    return lambda square, _: np.clip(square * factor, 0, 255).astype(np.uint8)


def _defocused(share: float) -> Callable[[Pixels, Generator], Pixels]:
    return lambda square, _: np.asarray(
        cv2.GaussianBlur(square, (0, 0), max(0.3, share * square.shape[0] / 2))
    )


def _moved(share: float) -> Callable[[Pixels, Generator], Pixels]:
    def blur(square: Pixels, _: Generator) -> Pixels:
        length = max(1, round(share * square.shape[0] / 2))
        return np.asarray(cv2.blur(square, (length, 1)))

    return blur


def _shrunk(face: int) -> Callable[[Pixels, Generator], Pixels]:
    def shrink(square: Pixels, _: Generator) -> Pixels:
        side = min(square.shape[0], 2 * face)
        return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA))

    return shrink


def _noisy(sigma: float) -> Callable[[Pixels, Generator], Pixels]:
    return lambda square, rng: np.clip(square + rng.normal(0, sigma, square.shape), 0, 255).astype(
        np.uint8
    )


def _coded(quality: int) -> Callable[[Pixels, Generator], Pixels]:
    def code(square: Pixels, _: Generator) -> Pixels:
        coded = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))

    return code


def _turned(degrees: float) -> Callable[[Pixels, Generator], Pixels]:
    def turn(square: Pixels, _: Generator) -> Pixels:
        side = square.shape[0]
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1)
        return np.asarray(
            cv2.warpAffine(square, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        )

    return turn


def _grey(square: Pixels, _: Generator) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(square, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


HARDSHIPS: dict[str, Callable[[Pixels, Generator], Pixels]] = {
    "as it is": lambda square, _: square,
    "dark: -2 EV": _exposed(-2),
    "darker: -3 EV": _exposed(-3),
    "bright: +1 EV": _exposed(1),
    "glare: +2 EV": _exposed(2),
    "warm light: blue x 0.6, red x 1.2": _balanced(0.6, 1.2),
    "cold light: blue x 1.2, red x 0.6": _balanced(1.2, 0.6),
    "grey: an infrared camera's": _grey,
    "out of focus: sigma 4 % of the face": _defocused(0.04),
    "out of focus: sigma 8 %": _defocused(0.08),
    "moved: 10 % of the face": _moved(0.10),
    "moved: 20 %": _moved(0.20),
    "28 pixels": _shrunk(28),
    "20 pixels": _shrunk(20),
    "noise: sigma 20 of 255": _noisy(20),
    "JPEG quality 15": _coded(15),
    "head turned 20 degrees": _turned(20),
    "head turned 40 degrees": _turned(40),
}


def robustness(
    pictures: Iterable[Picture], classifier: MaskClassifier, seed: int = 1
) -> dict[str, Any]:
    """Figures of the classifier on labelled faces under each of :data:`HARDSHIPS`."""
    rng = np.random.default_rng(seed)
    truth: list[int] = []
    scores: dict[str, list[Any]] = {name: [] for name in HARDSHIPS}
    for picture in pictures:
        known = [(f.box, label_index(f.label)) for f in picture.faces if not f.ignored]
        if all(label is None for _, label in known):
            continue
        pixels = read_frame(picture.path).pixels
        for box, label in known:
            if label is None:
                continue
            truth.append(label)
            square = square_crop(pixels, box, min(MOST_SIDE, max(8, round(2 * box.size))), 0.5)
            for name, change in HARDSHIPS.items():
                changed = np.ascontiguousarray(change(square, rng), np.uint8)
                scores[name].append(classifier.classify(*_framed(changed))[0])
    known_truth = np.array(truth, np.int64)
    return {
        name: summary(known_truth, np.array(rows, np.float32).reshape(-1, 3))
        for name, rows in scores.items()
    }


def _framed(square: Pixels) -> tuple[Frame, list[Box]]:
    side = square.shape[0]
    box = Box(side / 4, side / 4, 3 * side / 4, 3 * side / 4)
    return Frame(square, ChannelOrder.BGR, 0.0), [box]
