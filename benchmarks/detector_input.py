r"""What the detector's input size finds and costs: labelled pictures put together to camera frames.

    python benchmarks/detector_input.py PICTURES --coco PICTURES.json [--every 1] [--json]

Pictures of a labelled set are laid side by side, shrunk where they must be, never enlarged, until
they fill frames of 640x480, 1280x720 and 1920x1080. Each frame goes through each setting of
``detector.input``; counted is which labelled faces of ``verdict.min_face`` pixels and more are
found (score 0.5, overlap 0.3: annotators draw heads and faces alike). Times are those of a frame's
whole detector, one thread, as ratios to input 320 in the same run.
"""

from __future__ import annotations

import json
import time
from statistics import median

import cv2
import numpy as np
from commandline import Parser, count, existing, run

from convert.coco import Picture, read_coco, read_pixels
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig, VerdictConfig
from maskedge.geometry import boxes_array, iou_matrix
from maskedge.modelfile import models_dir
from maskedge.vision.faces import View, open_detector

FORMATS = {(640, 480): 2, (1280, 720): 3, (1920, 1080): 4}
"""Width and height of a frame, and how many pictures lie across and down."""
INPUTS = (320, 480, 640, "auto")
OVERLAP = 0.3
BANDS = ((1.0, 1.5), (1.5, 2.5), (2.5, np.inf))
"""Sizes of faces that are told apart, in times ``min_face``."""


def frames(pictures: list[Picture], width: int, height: int, across: int) -> list[tuple]:
    """Frames with their labelled boxes (faces, 4); regions to ignore aren't among these."""
    cell = width // across, height // across
    made = []
    for start in range(0, len(pictures) - across**2 + 1, across**2):
        pixels = np.full((height, width, 3), 110, np.uint8)
        boxes = []
        for place, picture in enumerate(pictures[start : start + across**2]):
            image = read_pixels(picture)
            scale = min(1.0, cell[0] / image.shape[1], cell[1] / image.shape[0])
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            top, left = place // across * cell[1], place % across * cell[0]
            pixels[top : top + image.shape[0], left : left + image.shape[1]] = image
            boxes += [
                np.array(face.box) * scale + (left, top, left, top)
                for face in picture.faces
                if not face.ignored
            ]
        made.append((Frame(pixels, ChannelOrder.RGB, 0.0), boxes_array(boxes)))
    return made


class Setting:
    """One value of ``detector.input`` at work."""

    def __init__(self, value: int | str, view: View) -> None:
        inference = InferenceConfig(accelerator="cpu", threads=1)
        self.value, self._min_face = value, view.min_face
        self._detector = open_detector(DetectorConfig(input=value), inference, models_dir(), view)
        self._took: list[float] = []
        self._hits: list[list[bool]] = [[] for _ in BANDS]

    def look(self, frame: Frame, labelled: np.ndarray) -> None:
        """Take the time of one frame, and note which of its faces are found."""
        begun = time.perf_counter()
        found = boxes_array([face.box for face in self._detector.detect(frame)])
        self._took.append(time.perf_counter() - begun)
        overlap = iou_matrix(labelled, found).max(axis=1, initial=0)
        size = np.maximum(*(labelled[:, 2:] - labelled[:, :2]).T) / self._min_face
        for band, (low, high) in zip(self._hits, BANDS, strict=True):
            band.extend((overlap >= OVERLAP)[(size >= low) & (size < high)].tolist())

    @property
    def seconds(self) -> float:
        """Of a frame, the median."""
        return median(self._took)

    def result(self) -> dict:
        """What was found."""
        return {
            "input": self.value,
            "network": str(self._detector.sizes[-1]),
            "faces": [len(band) for band in self._hits],
            "found": [round(float(np.mean(band)), 3) if band else None for band in self._hits],
        }


def main() -> None:
    """Measure and print."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=existing)
    parser.add_argument("--coco", type=existing, required=True)
    parser.add_argument("--every", type=count, default=1, help="take only every so many pictures")
    parser.add_argument("--min-face", type=count, default=VerdictConfig().min_face)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = read_coco(options.coco, options.pictures)[:: options.every]
    order = np.random.default_rng(0).permutation(len(pictures))
    pictures = [pictures[i] for i in order]
    rows = []
    for (width, height), across in FORMATS.items():
        settings = [Setting(value, View(width, height, options.min_face)) for value in INPUTS]
        for frame, labelled in frames(pictures, width, height, across):
            for setting in settings:  # in turn, so that a busy machine slows all alike
                setting.look(frame, labelled)
        for setting in settings:
            ratio = round(setting.seconds / settings[0].seconds, 2)
            rows.append({"frame": f"{width}x{height}", **setting.result(), "time": ratio})
    if options.json:
        print(json.dumps(rows))
        return
    names = [f"{low:g}-{high:g}x" for low, high in BANDS]
    print(f"faces in times min_face ({options.min_face} pixels): {', '.join(names)}")
    for row in rows:
        print(
            f"{row['frame']:10} input {row['input']:5} {row['network']:8} time {row['time']:5.2f}  "
            f"found {row['found']} of {row['faces']}"
        )


if __name__ == "__main__":
    run(main)
