r"""How many bystanders a snapshot would show, and how many violators it would hide.

    python benchmarks/concealment.py PICTURES --coco PICTURES.json

Each labelled face is once the bystander of a picture that shows nobody, hidden by the faces that
the snapshots' own look finds; and each bare one is once the violator. A bystander counts as

- hidden: at least four fifths of the labelled box lie under what hides faces;
- coarse: not found, but at most 6 of the background's cells across, too few to tell whose face;
- shown: neither.

The cost is that of one snapshot, look and all, as a multiple of one look of the watch at input
320, both on one thread: the median over the pictures.
"""

from __future__ import annotations

import json
import time
from collections import Counter

import numpy as np
from commandline import Parser, count, existing, run

from convert.coco import read_coco, read_pixels
from maskedge.annotate import to_bgr
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.geometry import Box
from maskedge.modelfile import models_dir
from maskedge.snapshots import conceal, maker
from maskedge.snapshots.conceal import bystanders
from maskedge.vision.faces import open_detector

COVERED = 0.8
FEW = 6
SIZES = (16, 32, 64, 128, 10_000)


def main() -> None:
    """Measure and print JSON."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=existing)
    parser.add_argument("--coco", type=existing, required=True, help="the labels")
    parser.add_argument("--threshold", type=float, default=maker.THRESHOLD)
    parser.add_argument("--every", type=count, default=1, help="take only every so many pictures")
    options = parser.parse_args()
    maker.THRESHOLD = options.threshold
    search = maker.Search(DetectorConfig(), InferenceConfig())
    watch = open_detector(
        DetectorConfig(), InferenceConfig(accelerator="cpu", threads=1), models_dir()
    )
    ratios = []
    bystander: dict[int, Counter[str]] = {size: Counter() for size in SIZES}
    violator: Counter[str] = Counter()
    for picture in read_coco(options.coco, options.pictures)[:: options.every]:
        pixels = read_pixels(picture)
        frame = Frame(pixels, ChannelOrder.RGB, 0.0)
        start = time.perf_counter()
        watch.detect(frame)
        looked = time.perf_counter()
        seen = search.look(frame)
        boxes = [one.box for one in seen]
        maker.encode(conceal.conceal(to_bgr(frame), Box(0, 0, 64, 64), boxes))
        ratios.append((time.perf_counter() - looked) / (looked - start))
        hidden = mask(frame, [conceal.grown(one.box, conceal.HIDDEN) for one in seen])
        cell = max(conceal.LEAST_CELL, max(pixels.shape[:2]) / conceal.BACKGROUND_CELLS)
        for face in picture.faces:
            size = next(size for size in SIZES if face.box.size < size)
            bystander[size][kind(face.box, hidden, cell)] += 1
            if face.label == "without_mask":
                others = bystanders(face.box, seen)
                left = 1 - share(face.box, mask(frame, others))
                violator["shown" if left > COVERED else "lost"] += 1
    search.close()
    watch.close()
    print(json.dumps({
        "threshold": options.threshold,
        "bystanders_by_size_below": {str(s): dict(bystander[s]) for s in SIZES},
        "bystanders": dict(sum(bystander.values(), Counter())),
        "violators": dict(violator),
        "cost": round(float(np.median(ratios)), 1),
    }, indent=2))  # fmt: skip


def mask(frame: Frame, boxes: list[Box]) -> np.ndarray:
    """Which pixels lie under any of the boxes."""
    covered = np.zeros((frame.height, frame.width), np.bool_)
    for box in boxes:
        conceal.fill(covered, box, value=True)
    return covered


def share(box: Box, covered: np.ndarray) -> float:
    """The part of a box that is covered."""
    top, bottom, left, right = conceal.touched(box, covered.shape)
    part = covered[top:bottom, left:right]
    return float(part.mean()) if part.size else 1.0


def kind(box: Box, hidden: np.ndarray, cell: float) -> str:
    """What becomes of a bystander's face."""
    if share(box, hidden) >= COVERED:
        return "hidden"
    return "coarse" if box.size <= FEW * cell else "shown"


if __name__ == "__main__":
    run(main)
