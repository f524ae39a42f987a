r"""What each cut in the vision path gained: the earlier way beside today's, in one run.

    python benchmarks/vision_stages.py [--seconds 2] [--quick] [--warm] [--json]

Both ways of each stage run in turn on the same drawn crowd of four (or as many as told), on one
thread, so that a busy machine slows both alike; told is CPU time, and how many times the earlier
way takes today's. Before each of them the detector's network runs, as it does in a frame: it leaves
the processor's caches full of its own, and a few dozen calls into NumPy cost several times as much
then. ``--warm`` leaves that out. That a cut costs no accuracy is measured elsewhere: ``--coco``
scores the shipped networks behind both ways of shrinking, on labelled pictures put together to
frames.

    python benchmarks/vision_stages.py --coco PICTURES.json --pictures PICTURES
"""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from commandline import Parser, amount, existing, run

from maskedge.bench.clock import measure
from maskedge.bench.pictures import SIZES, crowd
from maskedge.bench.whole import Bench
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import MotionConfig
from maskedge.geometry import Box, iou_matrix
from maskedge.inference import dequantise
from maskedge.people import tracker
from maskedge.people.assignment import assign
from maskedge.people.kalman import MEASURE_STD, measurement
from maskedge.people.rules import Tally, Vote
from maskedge.people.tracker import Tracker
from maskedge.vision import decode, letterbox, masks, motion, nms
from maskedge.vision.base import LABELS, Face
from maskedge.vision.letterbox import Letterbox, place
from maskedge.vision.masks import softmax, square_crop
from maskedge.vision.motion import MotionGate
from maskedge.vision.nms import suppress
from maskedge.vision.quality import assess
from maskedge.vision.shrink import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from maskedge.people.tracker import Track
    from maskedge.vision.builtin import BuiltinDetector, _Variant

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


def faces_arrays(detector: BuiltinDetector, variant: _Variant, outputs: tuple) -> list[Face]:
    """Every cell compared as a real number; boxes and NMS as arrays, however few there are."""
    decoder = variant.decoder
    kept, decoder._least = decoder._least, decoder._least.astype(np.float64)  # noqa: SLF001
    few, decode.FEW = decode.FEW, -1
    found, logits = (np.array(v, np.float32) for v in decoder.candidates(outputs, 384))
    decoder._least, decode.FEW = kept, few  # noqa: SLF001
    boxes = found.reshape(-1, 4)
    chosen = suppress_arrays(boxes, logits, 0.45, 32)
    scores = 1 / (1 + np.exp(-(detector._scale * logits[chosen] + detector._offset)))  # noqa: SLF001
    found = (boxes[chosen] * np.array([2.0, 2.0] * 2, np.float32)).tolist()
    return [Face(Box(*box), score) for box, score in zip(found, scores.tolist(), strict=True)]


def suppress_arrays(boxes: np.ndarray, scores: np.ndarray, iou: float, most: int) -> np.ndarray:
    """NMS that compares all pairs at once, of however few."""
    order = np.argsort(-scores, kind="stable")
    return order[nms._choose_many(boxes[order], iou, most)]  # noqa: SLF001


def gains_arrays(tracks: list[Track], boxes: list[Box], gate: float) -> np.ndarray:
    """How well boxes fit tracks, all pairs at once."""
    means, variances = (np.array(v) for v in zip(*(t.expectation() for t in tracks), strict=True))
    measured = np.array([measurement(box) for box in boxes])
    distance = np.sum((measured[None] - means[:, None]) ** 2 / variances[:, None], axis=2)
    log_area = measured[:, 2] + measured[:, 3]
    spread = np.sum(np.log(variances / np.square(MEASURE_STD)), axis=1)[:, None]
    gains = tracker.NEWCOMER_COST - distance - spread + 2 * log_area[None]
    return np.where(distance <= gate**2, np.maximum(gains, 1e-6), 0.0)


def assign_arrays(gains: np.ndarray) -> list[tuple[int, int]]:
    """Everybody's favourite, when no two have the same."""
    gains = np.where(gains > 0, np.minimum(gains, 1e12), 0.0)
    favourite = gains.argmax(axis=1)
    wanting = np.flatnonzero(gains.max(axis=1) > 0)
    assert len(set(favourite[wanting].tolist())) == len(wanting)
    return [(int(row), int(favourite[row])) for row in wanting]


def tally_labels(votes: list[Vote], now: float, half_life: float) -> dict[str, float]:
    """Means of votes, each label looked for and looked up anew for each vote."""
    total, means = 0.0, dict.fromkeys(LABELS, 0.0)
    shares, agree = dict.fromkeys(LABELS, 0.0), dict.fromkeys(LABELS, 0)
    for vote in votes:
        weight = vote.weight * 0.5 ** (max(0.0, now - vote.time) / half_life)
        total += weight
        label = LABELS[max(range(len(LABELS)), key=vote.scores.__getitem__)]
        shares[label] += weight
        label = LABELS[max(range(len(LABELS)), key=vote.scores.__getitem__)]
        agree[label] += 1
        for name, score in zip(LABELS, vote.scores, strict=True):
            means[name] += weight * score
    return {label: mean / total for label, mean in means.items()}


class UnrestingGate(MotionGate):
    """A gate that works out every cell's tolerance in every frame, and learns in two halves."""

    def _changed(self, frame: Frame, now: float) -> bool:
        self._tolerance_due = -math.inf
        return super()._changed(frame, now)

    def _learn(self, grey: np.ndarray, elapsed: float) -> None:
        alpha = 1 - math.exp(-elapsed / motion.CHANGED_SECONDS)
        cv2.accumulateWeighted(grey, self._background, alpha, mask=self._mask8)
        np.logical_not(self._mask, out=self._mask)
        alpha = 1 - math.exp(-elapsed / motion.BACKGROUND_SECONDS)
        cv2.accumulateWeighted(grey, self._background, alpha, mask=self._mask8)


Pair = tuple["Callable[[], object]", "Callable[[], object]"]


def people_pairs(bench: Bench, boxes: list[Box]) -> dict[str, Pair]:
    """What follows persons and judges them."""
    tracked = Tracker(bench.config.tracker)
    for number in range(3):
        tracks = tracked.update(boxes, [0.9] * len(boxes), number * STEP)
    votes = [Vote(number * STEP, 0.5, (0.2, 0.5, 0.3), LABELS[1]) for number in range(60)]
    gate = bench.config.tracker.gate
    return {
        f"assign {len(boxes)} persons": (
            lambda: assign_arrays(gains_arrays(tracks, boxes, gate)),
            lambda: assign(tracker._gains(tracks, boxes, gate)),  # noqa: SLF001
        ),
        "tally 60 votes": (
            lambda: tally_labels(votes, 6.0, 2.0),
            lambda: Tally.of(votes, 6.0, 2.0),
        ),
    }


def answer_pairs(bench: Bench, size: tuple[int, int]) -> dict[str, Pair]:
    """From the networks' answers to faces and scores."""
    detector, classifier = bench.detector(size), bench.vision(size).classifier
    stored = np.array([[20, -30, 10]], np.int8)
    spec = classifier.network.output_specs[0]
    pairs: dict[str, Pair] = {
        "scores of a face": (
            lambda: softmax(dequantise(stored, spec)[:, [0, 1, 2]], 1.2),
            lambda: classifier._probabilities(stored.ravel().tolist()),  # noqa: SLF001
        ),
    }
    for count in (0, 1, 4):
        shown = Frame(crowd(*size, count)[..., ::-1].copy(), ChannelOrder.BGR, 0.0)
        detector.detect(shown)
        variant = detector._variant(shown.height, shown.width)  # noqa: SLF001
        answer = tuple(output.copy() for output in variant.network.invoke())
        pairs[f"boxes of {count}"] = (
            lambda answer=answer, variant=variant: faces_arrays(detector, variant, answer),
            lambda answer=answer: detector.decode(answer, size[::-1]),
        )
    return pairs


def pairs(bench: Bench, size: tuple[int, int]) -> dict[str, Pair]:
    """Each stage the earlier way and today's."""
    width, height = size
    vision, detector = bench.vision(size), bench.detector(size)
    frame = Frame(crowd(width, height, 4)[..., ::-1].copy(), ChannelOrder.BGR, 0.0)
    found = detector.detect(frame)
    found_boxes = [face.box for face in found]
    box = found_boxes[0]
    network = detector.network_for(height, width)
    shape = network.input_spec.shape[1:]
    own, tensor = np.full(shape, 127, np.uint8), np.empty(shape, np.uint8)
    box_of = Letterbox(*shape[:2])
    small = detector.shrunk(frame)
    small = Frame(small.pixels.copy(), small.order, 0.0)
    clock = (STEP * n for n in itertools.count())
    gate, unresting = MotionGate(MotionConfig()), UnrestingGate(MotionConfig())
    for each in (gate, unresting):
        each.moved(small, next(clock))
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
        "motion gate": (
            lambda: unresting.moved(small, next(clock)),
            lambda: gate.moved(small, next(clock)),
        ),
        "NMS of 32": (
            lambda: suppress_loop(np.array(boxes, np.float32), np.array(scores), 0.45, 32),
            lambda: suppress(boxes, scores, 0.45, 32),
        ),
        "quality": (
            lambda: sharpness_numpy(frame, box),
            lambda: assess(frame, box, scratch),
        ),
        "crop": (crop_area, lambda: vision.classifier.show(frame, box)),
        "classify four": (
            lambda: [vision.classifier.classify(frame, [box]) for box in found_boxes],
            lambda: vision.classifier.classify(frame, found_boxes),
        ),
        **answer_pairs(bench, size),
        **people_pairs(bench, found_boxes),
    }


def _candidates(frame: Frame, detector, network) -> tuple[list, list]:  # noqa: ANN001
    """What NMS is given of a frame."""
    detector.detect(frame)
    variant = detector._variant(frame.height, frame.width)  # noqa: SLF001 - before NMS
    return variant.decoder.candidates(network.invoke(), 384)


def gains(seconds: float, sizes: Sequence[tuple[int, int]], *, warm: bool) -> list[dict]:
    """CPU milliseconds of both ways, and their ratio."""
    bench = Bench(INFERENCE)
    rows = []
    for size in sizes:
        network = bench.detector(size).network_for(size[1], size[0])
        for name, (before, now) in pairs(bench, size).items():
            took = measure(seconds, before, now, between=None if warm else network.invoke)
            old, new = (timing.cpu_p50 for timing in took)
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
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=amount, default=2.0, help="for each stage")
    parser.add_argument("--quick", action="store_true", help="only frames of 640x480")
    parser.add_argument("--warm", action="store_true", help="nothing empties the caches")
    parser.add_argument("--coco", type=existing, help="labels: score both ways instead")
    parser.add_argument("--pictures", type=existing, help="folder of the labelled pictures")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.coco:
        rows = accuracy(options.coco, options.pictures or options.coco.with_suffix(""))
    else:
        rows = gains(options.seconds, SIZES[:1] if options.quick else SIZES, warm=options.warm)
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    run(main)
