r"""What each cut in the vision path gained: the earlier way beside today's, in one run.

    python benchmarks/vision_stages.py [--seconds 2] [--json]

Both ways of each stage run in turn on the same drawn crowd of four (NMS: of 32), on one thread, so
that a busy machine slows both alike; told is CPU time, and how many times the earlier way takes
today's. That a cut costs no accuracy is measured elsewhere: ``--coco`` scores the shipped networks
behind both ways of shrinking, on labelled pictures put together to frames.

    python benchmarks/vision_stages.py --coco PICTURES.json --pictures PICTURES
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskedge.bench.clock import measure
from maskedge.bench.pictures import SIZES, crowd
from maskedge.bench.whole import Bench
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import MotionConfig
from maskedge.geometry import Box, iou_matrix
from maskedge.vision import letterbox, masks
from maskedge.vision.letterbox import Letterbox, place
from maskedge.vision.masks import square_crop
from maskedge.vision.motion import MotionGate
from maskedge.vision.nms import suppress
from maskedge.vision.quality import assess
from maskedge.vision.shrink import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable

INFERENCE = {"accelerator": "cpu", "device": None, "threads": 1}
STEP = 0.1
FRAMES = {(1280, 720): 3, (1920, 1080): 4}
"""Labelled frames: their size, and how many pictures lie across and down."""


# The earlier ways.


def resize_area(pixels: np.ndarray, target: np.ndarray, *_: object, **__: object) -> None:
    """Shrink by OpenCV's mean of any area, enlarge between the four nearest."""
    height, width = target.shape[:2]
    small = width <= pixels.shape[1] / 2
    method = cv2.INTER_AREA if small else cv2.INTER_LINEAR
    cv2.resize(pixels, (width, height), target, interpolation=method)


def resize_crop_area(pixels: np.ndarray, target: np.ndarray, *_: object) -> None:
    """The same for a crop: the mean as soon as it shrinks."""
    height, width = target.shape[:2]
    method = cv2.INTER_AREA if width < pixels.shape[1] else cv2.INTER_LINEAR
    cv2.resize(pixels, (width, height), target, interpolation=method)


def letterbox_area(frame: Frame, picture: np.ndarray, tensor: np.ndarray) -> None:
    """Into a picture of our own, and from there into the network's input."""
    placed = place((frame.height, frame.width), picture.shape[:2])
    view = picture[: placed.height, : placed.width]
    resize_area(frame.pixels, view)
    cv2.cvtColor(view, cv2.COLOR_BGR2RGB, view)
    np.copyto(tensor, picture)


def cells_area(frame: Frame, cells: np.ndarray, grey: np.ndarray) -> None:
    """The motion gate's cells from the camera's own frame."""
    rows = frame.pixels[:: max(1, frame.height // 240)]
    cv2.resize(rows, grey.shape[::-1], dst=cells, interpolation=cv2.INTER_AREA)
    cv2.cvtColor(cells, cv2.COLOR_BGR2GRAY, dst=grey)


def suppress_loop(boxes: np.ndarray, scores: np.ndarray, iou: float, most: int) -> np.ndarray:
    """NMS with one row of overlaps at a time."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[iou_matrix(boxes[best : best + 1], boxes[order])[0] <= iou]
    return np.array(kept, np.intp)


def sharpness_numpy(frame: Frame, box: Box) -> float:
    """A face's sharpness by the mean of any area and NumPy's variances."""
    seen = box.clipped(frame.width, frame.height)
    pixels = frame.pixels[int(seen.y1) : int(seen.y2) + 1, int(seen.x1) : int(seen.x2) + 1]
    small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    return float(grey.mean()) + float(100 * edges.var() / (grey.astype(np.float32).var() + 20))


def pairs(bench: Bench, size: tuple[int, int]) -> dict[str, tuple[Callable, Callable]]:
    """Each stage the earlier way and today's."""
    width, height = size
    vision, detector = bench.vision(size), bench.detector(size)
    frame = Frame(crowd(width, height, 4)[..., ::-1].copy(), ChannelOrder.BGR, 0.0)
    box = detector.detect(frame)[0].box
    network = detector.network_for(height, width)
    shape = network.input_spec.shape[1:]
    own, tensor = np.full(shape, 127, np.uint8), np.empty(shape, np.uint8)
    box_of = Letterbox(*shape[:2])
    small = detector.shrunk(frame)
    small = Frame(small.pixels.copy(), small.order, 0.0)
    gate, clock = MotionGate(MotionConfig()), (STEP * n for n in itertools.count())
    gate.moved(small, next(clock))
    cells = np.empty((round(80 * height / width), 80, 3), np.uint8)
    grey = np.empty(cells.shape[:2], np.uint8)
    many = Frame(crowd(width, height, 32)[..., ::-1].copy(), ChannelOrder.BGR, 0.0)
    boxes, scores = _candidates(many, detector, network)
    edge, padding = vision.classifier.size, vision.classifier.padding
    scratch = Scratch()

    def crop_area() -> None:
        shrink, masks.shrink = masks.shrink, resize_crop_area
        square_crop(frame.pixels, box, edge, padding)[..., ::-1].copy()
        masks.shrink = shrink

    return {
        "letterbox": (
            lambda: letterbox_area(frame, own, tensor),
            lambda: box_of.write(frame, network.picture),
        ),
        "motion cells": (
            lambda: cells_area(frame, cells, grey),
            lambda: gate._shrink(small),  # noqa: SLF001 - the part that changed
        ),
        "NMS of 32": (
            lambda: suppress_loop(boxes, scores, 0.45, 32),
            lambda: suppress(boxes, scores, 0.45, 32),
        ),
        "quality": (
            lambda: sharpness_numpy(frame, box),
            lambda: assess(frame, box, scratch),
        ),
        "crop": (crop_area, lambda: vision.classifier.show(frame, box)),
    }


def _candidates(frame: Frame, detector, network) -> tuple[np.ndarray, np.ndarray]:  # noqa: ANN001
    """What NMS is given of a frame."""
    detector.detect(frame)
    variant = detector._variant(frame.height, frame.width)  # noqa: SLF001 - before NMS
    return variant.decoder.candidates(network.invoke(), 384)


def gains(seconds: float) -> list[dict]:
    """CPU milliseconds of both ways, and their ratio."""
    bench = Bench(INFERENCE)
    rows = []
    for size in SIZES:
        for name, (before, now) in pairs(bench, size).items():
            old, new = (timing.cpu_p50 for timing in measure(seconds, before, now))
            row = {"frame": f"{size[0]}x{size[1]}", "stage": name, "before_ms": round(old, 4)}
            rows.append({**row, "now_ms": round(new, 4), "gain": round(old / new, 2)})
    bench.close()
    return rows


def accuracy(coco: Path, folder: Path) -> list[dict]:
    """Average precision behind both ways of shrinking frames, and agreement of classified crops."""
    import detector_input  # noqa: PLC0415 - beside this file

    from convert.coco import read_coco  # noqa: PLC0415 - needs no TensorFlow, but the file names
    from convert.detector.score import Found, Truth, score_detections  # noqa: PLC0415

    bench = Bench(INFERENCE)
    pictures = read_coco(coco, folder)
    rows = []
    for (width, height), across in FRAMES.items():
        shown = detector_input.frames(pictures, width, height, across)
        detector = bench.detector((width, height))
        for way, shrink in (("before", resize_area), ("now", letterbox.shrink)):
            kept, letterbox.shrink = letterbox.shrink, shrink
            found = [Found.of(detector.detect(frame)) for frame, _ in shown]
            letterbox.shrink = kept
            truth = [
                Truth(boxes, ("face",) * len(boxes), np.zeros(len(boxes), bool), 640 / width)
                for _, boxes in shown
            ]
            figures = score_detections(found, truth, iou=0.3)
            row = {"frame": f"{width}x{height}", "way": way, "faces": figures["faces"]}
            rows.append({**row, "found": figures["recall"], "ap_iou_0.3": figures["ap"]})
    classifier = bench.vision(SIZES[0]).classifier
    frames = [(frame, boxes) for frame, boxes in shown if len(boxes)]
    answers = {}
    for way, shrink in (("before", resize_crop_area), ("now", masks.shrink)):
        kept, masks.shrink = masks.shrink, shrink
        scores = [classifier.classify(f, [_box(b) for b in boxes]) for f, boxes in frames]
        answers[way] = np.concatenate(scores).argmax(axis=1)
        masks.shrink = kept
    same = float(np.mean(answers["before"] == answers["now"]))
    rows.append({"crops": len(answers["now"]), "same_label": round(same, 4)})
    bench.close()
    return rows


def _box(edges: np.ndarray) -> Box:

    return Box(*map(float, edges))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each stage")
    parser.add_argument("--coco", type=Path, help="labels: score both ways instead")
    parser.add_argument("--pictures", type=Path, help="folder of the labelled pictures")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.coco:
        rows = accuracy(options.coco, options.pictures or options.coco.with_suffix(""))
    else:
        rows = gains(options.seconds)
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
