r"""The shipped face detector beside YuNet: time per frame and, with labels, average precision.

    python benchmarks/detector_vs_yunet.py PICTURES --yunet face_detection_yunet_2023mar.onnx \
        --coco PICTURES.json --unlike TRAINING.json

Both see each picture in turn, in one process, on one thread, at the same input size, each through
its own whole path: shrinking, network, decoding, NMS. Times are CPU time, the median over all
pictures; the ratio is the median of the ratios: a busy machine slows both alike.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
from beside_yunet import both
from commandline import Parser, count, existing, overlap, run

from convert.coco import Picture, read_coco, read_pixels
from convert.detector.score import FLOOR, Found, Truth, score_detections
from convert.likeness import unlike
from maskedge.camera.frame import ChannelOrder, Frame

if TYPE_CHECKING:
    from pathlib import Path

    from maskedge.vision.base import Face, FaceDetector


def unlabelled(folder: Path) -> list[Picture]:
    """Every picture of a folder."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return [Picture(p, 0, 0) for p in files]


def clocked(detector: FaceDetector, frame: Frame) -> tuple[float, list[Face]]:
    """CPU milliseconds of one call, and its answer."""
    start = time.process_time()
    faces = detector.detect(frame)
    return 1e3 * (time.process_time() - start), faces


def main() -> None:
    """Measure and print JSON."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=existing)
    parser.add_argument("--yunet", type=existing, required=True)
    parser.add_argument("--coco", type=existing, help="labels; without them only times are told")
    parser.add_argument(
        "--unlike", type=existing, help="COCO file of the training: what looks like it is left out"
    )
    parser.add_argument("--input", type=int, choices=(320, 480, 640), default=320)
    parser.add_argument("--every", type=count, default=1, help="take only every so many pictures")
    parser.add_argument(
        "--iou",
        type=overlap,
        nargs="+",
        default=[0.5, 0.3],
        help="overlaps from which a box is right",
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = (
        read_coco(options.coco, options.pictures) if options.coco else unlabelled(options.pictures)
    )[:: options.every]
    if options.unlike:
        pictures = unlike(pictures, options.unlike)
    quick, thorough = (both(options.yunet, options.input, least) for least in (0.5, FLOOR))
    times: dict[str, list[float]] = {name: [] for name in quick}
    answers: dict[str, list[Found]] = {name: [] for name in quick}
    for picture in pictures:
        frame = Frame(read_pixels(picture)[..., ::-1].copy(), ChannelOrder.BGR, 0.0)
        for name in quick:
            quick[name].detect(frame)  # the size may be new to it
            times[name].append(min(clocked(quick[name], frame)[0] for _ in range(3)))
            if options.coco:
                answers[name].append(Found.of(thorough[name].detect(frame)))
    ratios = np.array(times["maskedge"]) / np.array(times["yunet"])
    result: dict = {"pictures": len(pictures), "ratio": round(float(np.median(ratios)), 3)}
    for name, values in times.items():
        result[name] = {"ms": round(float(np.median(values)), 2)}
        if options.coco:
            truth = [Truth.of(p, options.input) for p in pictures]
            for iou in options.iou:
                figures = score_detections(answers[name], truth, iou=iou)
                figures.pop("curve", None)
                result[name][f"iou_{iou}"] = figures
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    run(main)
