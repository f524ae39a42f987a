"""Training batches: pictures cut and scaled so that faces of every size come equally often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import keras
import numpy as np

from convert.coco import read_pixels
from convert.detector.augment import change_look, draw_mask
from convert.detector.loss import FACE, IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from convert.coco import Picture

MAX_FACES = 48
"""Rows of a picture's target; of more faces the largest are kept."""
LARGEST = 1280
"""Longer edge, pixels, to which larger pictures are shrunk: the largest input has 640, and a
phone's pictures take up 36 MB each."""
MIN_FACE = 6.0
"""Longer edge in pixels below which a face is neither rewarded nor punished."""
MIN_VISIBLE = 0.45
"""Share of a face that must lie inside the cut-out to count."""
REFERENCE = 320
"""The input size that whole pictures are scaled for."""
WHOLE = 0.5
"""How often a picture keeps about the scale that it has at run time."""
LEAST_COVER = 0.7
"""Share of a view's longer side that a picture covers at least: empty canvas teaches nothing."""
DRAWN = 0.25
"""How often a bare face gets a mask drawn on."""
AT_FACE = 0.8
"""How often a cut-out is laid around a face, rather than anywhere."""
BARE = ("without_mask", "face")


@dataclass(frozen=True, slots=True)
class Sample:
    """One decoded training picture.

    Attributes:
        pixels: uint8 (height, width, 3), RGB.
        boxes: float32 (faces, 4), pixels.
        bare: bool (faces,), whether a mask may be drawn on it.
        spared: bool (faces,), whether it is a region that is neither face nor background.
        negatives: float32 (negatives, 4), what looks like a face and is none, pixels.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    bare: NDArray[np.bool_]
    spared: NDArray[np.bool_]
    negatives: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 4), np.float32))


def load_samples(pictures: Sequence[Picture]) -> list[Sample]:
    """Decode all pictures into memory, at most :data:`LARGEST` pixels long: up to 5 MB each.

    Raises:
        InputError: one can't be read.
    """
    return [_load(picture) for picture in pictures]


def _load(picture: Picture) -> Sample:
    pixels = read_pixels(picture)
    height, width = pixels.shape[:2]
    factor = min(1.0, LARGEST / max(height, width))
    scale = np.ones(4, np.float32)
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        scale = np.array([size[0] / width, size[1] / height] * 2, np.float32)
    return Sample(
        pixels,
        np.array([f.box for f in picture.faces], np.float32).reshape(-1, 4) * scale,
        np.array([f.label in BARE for f in picture.faces], bool),
        np.array([f.crowd for f in picture.faces], bool),
        np.array(picture.negatives, np.float32).reshape(-1, 4) * scale,
    )


def source_weights(pictures: Sequence[Picture]) -> NDArray[np.float64]:
    """How often each picture is drawn: sources by the root of their size, crowded ones more.

    A source of portraits with one large face each, however many, must not outweigh the street.
    """
    sources = [p.source for p in pictures]
    size = {s: sources.count(s) for s in set(sources)}
    faces = {
        s: sum(min(len(p.faces), 4) for p in pictures if p.source == s) / size[s] for s in size
    }
    weights = np.array([max(faces[s], 0.5) / np.sqrt(size[s]) for s in sources])
    return np.asarray(weights / weights.sum(), np.float64)


class DetectorBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of (uint8 pictures, targets of :class:`convert.detector.loss.DetectorLoss`).

    The same seed, epoch and index give the same batch, so a resumed training goes on exactly.

    Args:
        samples: from :func:`load_samples`.
        weights: how often each is drawn.
        size: height and width of the input.
        batch: pictures per batch.
        steps: batches per epoch.
        seed: of all randomness.
        epoch: the epoch to start at.
        mosaic: how often four pictures are put together.
        hard: how often a picture is laid around something that looks like a face and is none.
        extra: ``workers`` and ``max_queue_size``.
    """

    def __init__(  # noqa: PLR0913 - all but three are named settings
        self,
        samples: Sequence[Sample],
        weights: NDArray[np.float64],
        size: tuple[int, int],
        *,
        batch: int,
        steps: int,
        seed: int = 0,
        epoch: int = 0,
        mosaic: float = 0.5,
        hard: float = 0.0,
        **extra: Any,
    ) -> None:
        super().__init__(**extra)
        self._samples, self._weights, self._size = samples, weights, size
        self._batch, self._steps, self._seed, self._epoch = batch, steps, seed, epoch
        self._mosaic, self._hard = mosaic, hard
        self._negatives = [
            (number, box) for number, sample in enumerate(samples) for box in sample.negatives
        ]

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rng = np.random.default_rng((self._seed, self._epoch, index))
        made = [self._make(rng) for _ in range(self._batch)]
        return np.stack([m[0] for m in made]), np.stack([m[1] for m in made])

    def on_epoch_end(self) -> None:
        """Go on to other randomness."""
        self._epoch += 1

    def _make(self, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        height, width = self._size
        canvas = np.full((height, width, 3), rng.integers(0, 200), np.uint8)
        if rng.random() < self._mosaic:
            cx, cy = (int(n * rng.uniform(0.3, 0.7)) for n in (width, height))
            views = [(0, 0, cx, cy), (cx, 0, width, cy), (0, cy, cx, height)]
            views.append((cx, cy, width, height))
        else:
            views = [(0, 0, width, height)]
        rows = []
        for x1, y1, x2, y2 in views:
            sample, around = self._draw(rng)
            faces = cut_out(sample, canvas[y1:y2, x1:x2], rng, around)
            faces[:, :4] += (x1, y1, x1, y1)
            rows.append(faces)
        return change_look(canvas, rng), _target(np.concatenate(rows))

    def _draw(self, rng: Generator) -> tuple[Sample, NDArray[np.float32] | None]:
        """A picture, and what to lay the cut-out around if not around a face."""
        if self._negatives and rng.random() < self._hard:
            number, box = self._negatives[rng.integers(len(self._negatives))]
            return self._samples[number], box
        return self._samples[rng.choice(len(self._samples), p=self._weights)], None


def cut_out(
    sample: Sample,
    view: NDArray[np.uint8],
    rng: Generator,
    around: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Fill a view with a scaled, maybe mirrored part of a picture.

    Args:
        sample: the picture.
        view: uint8 (height, width, 3), written to where the picture reaches.
        rng: where scale, place and mirroring come from.
        around: float32 (4,), what to show; None: mostly one of the faces.

    Returns:
        float32 (faces, 5): boxes in pixels of the view, and their kind.
    """
    height, width = view.shape[:2]
    boxes = sample.boxes if around is None else around[None]
    scale = _scale(sample, boxes, rng, max(height, width))
    if around is None and len(boxes) and rng.random() >= AT_FACE:
        boxes = boxes[:0]
    left, top = _place(sample, boxes, scale, (height, width), rng)
    x1, y1 = max(left, 0.0), max(top, 0.0)
    x2 = min(left + width / scale, sample.pixels.shape[1])
    y2 = min(top + height / scale, sample.pixels.shape[0])
    # Whole source pixels, so that boxes and picture move together.
    sx1, sy1, sx2, sy2 = int(x1), int(y1), max(int(x2), int(x1) + 1), max(int(y2), int(y1) + 1)
    dx, dy = int((sx1 - left) * scale), int((sy1 - top) * scale)
    dx, dy = min(max(dx, 0), width - 1), min(max(dy, 0), height - 1)
    dw = min(max(1, round((sx2 - sx1) * scale)), width - dx)
    dh = min(max(1, round((sy2 - sy1) * scale)), height - dy)
    part = sample.pixels[sy1:sy2, sx1:sx2]
    method = cv2.INTER_AREA if scale < 0.6 and rng.random() < 0.3 else cv2.INTER_LINEAR  # noqa: PLR2004
    picture = view[dy : dy + dh, dx : dx + dw]
    picture[...] = cv2.resize(part, (dw, dh), interpolation=method)
    factor = np.array([dw / (sx2 - sx1), dh / (sy2 - sy1)] * 2, np.float32)
    faces = _visible((sample.boxes - (sx1, sy1, sx1, sy1)) * factor, sample, picture, rng)
    if rng.random() < 0.5:  # noqa: PLR2004
        picture[...] = picture[:, ::-1].copy()
        faces[:, [0, 2]] = dw - faces[:, [2, 0]]
    faces[:, :4] += (dx, dy, dx, dy)
    return faces


def _scale(sample: Sample, boxes: NDArray[np.float32], rng: Generator, side: int) -> float:
    """Picture to input pixels: about as at run time, or so that one of ``boxes`` gets a size.

    The picture never covers less than most of the view's longer ``side``.
    """
    height, width = sample.pixels.shape[:2]
    longer = float(max(height, width))
    whole, least = REFERENCE / longer, LEAST_COVER * side / longer
    if rng.random() < WHOLE or not len(boxes):
        return max(least, float(whole * np.exp(rng.uniform(np.log(0.6), np.log(1.4)))))
    box = boxes[rng.integers(len(boxes))]
    wanted = float(np.exp(rng.uniform(np.log(10), np.log(240))))
    scale: float = wanted / float((box[2:] - box[:2]).max())
    return min(max(scale, least), max(least, 3.0 * max(whole, 1.0)))


def _place(
    sample: Sample,
    boxes: NDArray[np.float32],
    scale: float,
    size: tuple[int, int],
    rng: Generator,
) -> tuple[float, float]:
    """Left and top of the cut-out in picture pixels: around one of ``boxes``, or anywhere."""
    extent = np.array(size[::-1]) / scale
    room = np.array(sample.pixels.shape[1::-1]) - extent
    if len(boxes):
        box = boxes[rng.integers(len(boxes))]
        start = (box[:2] + box[2:]) / 2 - extent * rng.uniform(0.1, 0.9, 2)
        # Only a picture smaller than the view leaves an edge free.
        start = np.clip(start, np.minimum(room, 0), np.maximum(room, 0))
    else:
        start = rng.uniform(0, 1, 2) * room
    return float(start[0]), float(start[1])


def _visible(
    boxes: NDArray[np.float32],
    sample: Sample,
    picture: NDArray[np.uint8],
    rng: Generator,
) -> NDArray[np.float32]:
    height, width = picture.shape[:2]
    clipped = np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)
    extent = clipped[:, 2:] - clipped[:, :2]
    full = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    share = np.prod(extent, axis=1) / np.maximum(full, 1e-6)
    size = extent.max(axis=1, initial=0)
    clear = (share >= MIN_VISIBLE) & (size >= MIN_FACE) & ~sample.spared
    kind = np.where(clear, FACE, IGNORE)
    for index in np.flatnonzero(sample.bare & (kind == FACE) & (size >= 2 * MIN_FACE)):
        if rng.random() < DRAWN:
            draw_mask(picture, boxes[index], rng)
    seen = (share > 0) & (extent.min(axis=1, initial=np.inf) > 0)
    return np.asarray(np.column_stack([clipped, kind])[seen], np.float32)


def _target(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    target = np.zeros((MAX_FACES, 5), np.float32)
    size = (faces[:, 2:4] - faces[:, :2]).max(axis=1, initial=0)
    kept = faces[np.argsort(-size, kind="stable")[:MAX_FACES]]
    target[: len(kept)] = kept
    return target
