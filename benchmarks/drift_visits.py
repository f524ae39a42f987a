"""Visits made of still pictures: each is moved before a camera and goes through the real pipeline.

Of every face the pipeline follows, the values that drift is watched by are kept, never a pixel; so
days of visits can be drawn from them in seconds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

from convert.classifier.data import FaceFinder
from convert.classifier.drawn import FaceFrame
from convert.coco import Picture, read_pixels
from convert.judging import label_index, match
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config, InferenceConfig
from maskedge.geometry import boxes_array
from maskedge.health.visits import Visits
from maskedge.pipeline import FrameResult, Pipeline
from maskedge.vision.base import LABELS
from maskedge.vision.masks import square_crop
from maskedge.vision.system import Vision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

Pixels = Any
"""uint8 (height, width, 3), RGB."""

FRAMES, FPS = 6, 2.5
"""Of one picture's clip."""
GAMMA = 2.2
"""Of the pictures, to change their light as a sensor would see it."""


def exposed(pixels: Pixels, stops: float) -> Pixels:
    """As with so many stops more light on the sensor."""
    return _gain(pixels, (2.0**stops,) * 3)


def _gain(pixels: Pixels, gains: tuple[float, ...]) -> Pixels:
    """Multiply red, green and blue in linear light."""
    scaled = pixels * np.float32(np.array(gains) ** (1 / GAMMA))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def unbalanced(pixels: Pixels) -> Pixels:
    """White balance fixed for lamps, under the sky: everything is blue."""
    return _gain(pixels, (0.6, 1.0, 1.7))


def blurred(pixels: Pixels) -> Pixels:
    """Out of focus, by a sigma of 3 pixels."""
    return cv2.GaussianBlur(pixels, (0, 0), 3.0)


def turned(pixels: Pixels) -> Pixels:
    """The camera knocked over, by 90 degrees."""
    return np.ascontiguousarray(np.rot90(pixels))


class NewMasks:
    """Puts masks that the classifier was never shown onto the bare faces of a picture."""

    def __init__(self, yunet: Path) -> None:
        self._finder = FaceFinder(yunet)

    def clear(self, pixels: Pixels, picture: Picture) -> Pixels:
        """Transparent masks: a film with a rim and a glare, the mouth in sight."""
        return self._on_all(pixels, picture, _film)

    def loud(self, pixels: Pixels, picture: Picture) -> Pixels:
        """Masks with a loud print of large, many-coloured patches."""
        return self._on_all(pixels, picture, _print)

    def _on_all(self, pixels: Pixels, picture: Picture, cloth: Callable[..., Pixels]) -> Pixels:
        worn = pixels.astype(np.float32)
        for number, face in enumerate(picture.faces):
            if face.label != "without_mask" or face.ignored:
                continue
            side = 2 * round(face.box.size)
            square = square_crop(np.ascontiguousarray(pixels[..., ::-1]), face.box, side, 0.5)
            points, score = self._finder.landmarks(square)
            if score <= 0:
                continue
            x, y = face.box.centre
            frame = FaceFrame.of(points * side + np.float32([x - side / 2, y - side / 2]))
            if frame is not None:
                rng = np.random.default_rng([picture.width, number])
                worn = cloth(worn, frame, rng)
        return np.clip(worn, 0, 255).astype(np.uint8)


_OUTLINE = np.float32([(-0.9, 0.5), (0, 0.28), (0.9, 0.5), (0.82, 1.1), (0.45, 1.6), (0, 1.75),
                       (-0.45, 1.6), (-0.82, 1.1)])  # fmt: skip
"""In a face's own frame: eyes at 0, mouth at 1."""


def _shape(frame: FaceFrame, size: tuple[int, ...]) -> tuple[NDArray[np.float32], Any]:
    corners = np.round(frame.pixels(_OUTLINE) * 16).astype(np.int32)
    shape = np.zeros(size[:2], np.uint8)
    cv2.fillPoly(shape, [corners], 255, cv2.LINE_AA, shift=4)
    return (shape / 255.0).astype(np.float32)[..., None], corners


def _film(worn: Pixels, frame: FaceFrame, _rng: np.random.Generator) -> Pixels:
    alpha, corners = _shape(frame, worn.shape)
    worn = worn * (1 - 0.22 * alpha) + 235 * 0.22 * alpha
    width = max(1, round(0.06 * float(np.hypot(*frame.down))))
    cv2.polylines(worn, [corners], True, (238, 240, 242), width, cv2.LINE_AA, 4)
    glare = np.float32([(-0.55, 0.62), (-0.4, 0.6), (-0.35, 1.3), (-0.5, 1.3)])
    shine = np.zeros(worn.shape[:2], np.uint8)
    cv2.fillPoly(shine, [np.round(frame.pixels(glare)).astype(np.int32)], 255)
    soft = cv2.GaussianBlur(shine, (0, 0), width)[..., None] / np.float32(255)
    return worn * (1 - 0.5 * soft) + 250 * 0.5 * soft


def _print(worn: Pixels, frame: FaceFrame, rng: np.random.Generator) -> Pixels:
    alpha, _ = _shape(frame, worn.shape)
    cells = rng.integers(0, 256, (worn.shape[0], worn.shape[1], 3)).astype(np.float32)
    step = max(2, round(0.3 * float(np.hypot(*frame.down))))
    patches = cv2.resize(cells[::step, ::step], worn.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    light = cv2.GaussianBlur(worn.mean(axis=2), (0, 0), step)[..., None] / 150
    return worn * (1 - alpha) + patches * np.clip(light, 0.4, 1.2) * alpha


@dataclass(frozen=True)
class PlayedVisit:
    """One face's visit.

    Attributes:
        picture: number of the picture in its set.
        truth: the label that a person gave, or empty.
        values: of each feature.
    """

    picture: int
    truth: str
    values: dict[str, float]


def play(
    pictures: Iterable[tuple[int, Picture]],
    change: Callable[[Pixels, Picture], Pixels],
    vision: Vision,
    config: Config,
) -> list[PlayedVisit]:
    """Move each picture before the camera and note the visits that the pipeline makes of it."""
    pipeline = Pipeline(vision.detector, vision.classifier, vision.assess, None, config)
    visits = Visits()
    played = []
    now = 0.0
    for number, picture in pictures:
        pixels = change(read_pixels(picture), picture)
        rng = np.random.default_rng(number)
        truths: dict[int, str] = {}
        for moved, shift in _clip(pixels, rng):
            result = pipeline.process(Frame(moved, ChannelOrder.RGB, now), now)
            now += 1 / FPS
            visits.frame(result)
            truths |= dict(_truths(result, picture, shift))
        now += 100.0
        pipeline.flush(now)
        played += [
            PlayedVisit(number, truths.get(track, ""), values)
            for track, values in visits.frame(FrameResult()).items()
        ]
    return played


def _clip(pixels: Pixels, rng: np.random.Generator) -> Iterable[tuple[Pixels, NDArray[Any]]]:
    """A walk of a step or so towards the camera, with a sensor's noise; and each frame's map."""
    height, width = pixels.shape[:2]
    drift = rng.uniform(-0.01, 0.01, 2) * (width, height)
    for number in range(FRAMES):
        zoom = 1 + 0.012 * number
        at = drift * number + rng.uniform(-0.5, 0.5, 2)
        x, y = (1 - zoom) * width / 2 + at[0], (1 - zoom) * height / 2 + at[1]
        matrix = np.float32([[zoom, 0, x], [0, zoom, y]])
        moved = cv2.warpAffine(
            pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        noise = rng.normal(0, 2, (height, width, 1))
        yield np.clip(moved + noise, 0, 255).astype(np.uint8), matrix


def _truths(
    result: FrameResult, picture: Picture, matrix: NDArray[Any]
) -> Iterable[tuple[int, str]]:
    """What a person said of each person in view (not where the picture is turned)."""
    known = [f for f in picture.faces if label_index(f.label) is not None and not f.ignored]
    seen = [person for person in result.persons if person.seen]
    zoom, shift = float(matrix[0, 0]), matrix[:, 2]
    boxes = boxes_array([f.box for f in known]) * zoom + np.tile(shift, 2)
    for face, place in zip(known, match(boxes, boxes_array([p.box for p in seen])), strict=True):
        if place >= 0:
            yield seen[place].track_id, LABELS[label_index(face.label) or 0]


def collect(
    pictures: list[Picture], cache: Path, yunet: Path | None, every: int
) -> dict[str, list[PlayedVisit]]:
    """Visits by condition; played once, then read from ``cache``."""
    config = Config(inference=InferenceConfig(accelerator="cpu", threads=1))
    vision = Vision.open(config)
    made = str(vision.models)
    conditions: dict[str, Callable[[Pixels, Picture], Pixels]] = {
        "plain": lambda pixels, _: pixels,
        "evening": lambda pixels, _: exposed(pixels, -0.7),
        "noon": lambda pixels, _: exposed(pixels, 0.3),
        "dark": lambda pixels, _: exposed(pixels, -2.0),
        "blur": lambda pixels, _: blurred(pixels),
        "balance": lambda pixels, _: unbalanced(pixels),
        "turned": lambda pixels, _: turned(pixels),
    }
    if yunet is not None:
        masks = NewMasks(yunet)
        conditions |= {"clear masks": masks.clear, "loud masks": masks.loud}
    numbered = list(enumerate(pictures))[::every]
    found: dict[str, list[PlayedVisit]] = {}
    cache.mkdir(parents=True, exist_ok=True)
    for name, change in conditions.items():
        file = cache / f"{name.replace(' ', '-')}.json"
        found[name] = _read(file, made, len(numbered))
        if not found[name]:
            wanted = numbered
            if name.endswith("masks"):
                wanted = [(n, p) for n, p in wanted if any(_bare(f) for f in p.faces)]
            bar = tqdm(wanted, desc=name, unit="picture", dynamic_ncols=True)
            found[name] = play(bar, change, vision, config)
            rows = [asdict(visit) for visit in found[name]]
            content = {"models": made, "pictures": len(numbered), "visits": rows}
            file.write_text(json.dumps(content), encoding="utf-8")
    vision.close()
    return found


def _bare(face: Any) -> bool:
    return face.label == "without_mask" and not face.ignored and face.box.size >= 40


def _read(file: Path, made: str, pictures: int) -> list[PlayedVisit]:
    if not file.exists():
        return []
    content = json.loads(file.read_text(encoding="utf-8"))
    if content["models"] != made or content["pictures"] != pictures:
        return []
    return [PlayedVisit(**row) for row in content["visits"]]
