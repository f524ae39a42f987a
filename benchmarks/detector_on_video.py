r"""The shipped face detector on videos that nobody has labelled, held against YuNet's sharper eye.

    python benchmarks/detector_on_video.py VIDEO... --yunet face_detection_yunet_2023mar.onnx

YuNet sees each frame at 1280 pixels, and what it is sure of counts as a face; what it isn't sure
of counts neither way. maskedge, and YuNet once more, then see the frame at the size of the input.
YuNet's line says how far it agrees with itself, which flatters it; maskedge's says which of the
faces that a better eye sees it finds too, in pictures of your kind. The last column counts what is
found with the daemon's least score and is no face: backs of heads, say.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from beside_yunet import both
from commandline import Parser, count, existing, run

from convert.detector.score import FLOOR, Found, Truth, matched, score_detections
from convert.relabel import LEAST, SURE, UNKNOWN, SecondAnnotator
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig
from maskedge.errors import InputError
from maskedge.modelfile import models_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SHARPER = 1280
DEFAULT = DetectorConfig().threshold


def frames(video: Path, every: int) -> Iterator[NDArray[np.uint8]]:
    """Every so many frames of a video, RGB.

    Raises:
        InputError: it can't be read.
    """
    capture = cv2.VideoCapture(str(video))
    if not capture.isOpened():
        raise InputError(f"{video}: can't be read as a video")
    while True:
        read, pixels = capture.read()
        if not read:
            return
        yield np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
        for _ in range(every - 1):
            capture.grab()


def main() -> None:
    """Measure and print a table."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--input", type=int, choices=(320, 480, 640), default=320)
    parser.add_argument("--every", type=count, default=8, help="take only every so many frames")
    parser.add_argument("--models", type=Path, default=models_dir())
    options = parser.parse_args()
    sharper = SecondAnnotator(existing(options.yunet), SHARPER)
    detectors = both(options.yunet, options.input, FLOOR, options.models)
    print(f"{'':32s}      overlap 0.5            overlap 0.3          score 0.5")
    print(f"{'video and detector':32s} faces    AP  recall at 95 %     AP  recall at 95 %  false")
    for video in options.videos:
        truth: list[Truth] = []
        answers: dict[str, list[Found]] = {name: [] for name in detectors}
        for pixels in frames(existing(str(video)), options.every):
            boxes, scores = sharper.faces(pixels)
            seen = scores >= LEAST
            scale = options.input / max(pixels.shape[:2])
            labels = (UNKNOWN,) * int(seen.sum())
            truth.append(Truth(boxes[seen], labels, scores[seen] < SURE, scale))
            for name, detector in detectors.items():
                found = detector.detect(Frame(pixels, ChannelOrder.RGB, 0.0))
                answers[name].append(Found.of(found))
        for name, found in answers.items():
            figures = [score_detections(found, truth, iou=iou) for iou in (0.5, 0.3)]
            told = "  ".join(
                f"{f['ap'] or 0:6.3f} {f['recall_at_95_precision'] or 0:15.3f}" for f in figures
            )
            scores, hits = matched(found, truth, iou=0.3)
            false = int(((scores >= DEFAULT) & ~hits).sum())
            print(f"{video.stem + ' ' + name:32s} {figures[0]['faces']:5d} {told}  {false:5d}")


if __name__ == "__main__":
    run(main)
