"""How small may a face be in what the detector sees, and still be found?

    python benchmarks/smallest_face.py [--input 640]

The demo's person (scikit-image's portrait, bare, masked, nose out) stands at many places of the
drawn hall, ever smaller. One face in one light: where to expect the limit, no figure of recall.
"""

from __future__ import annotations

import cv2
import numpy as np
from commandline import Parser, run

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.scene import FACE, Wearing, hall, wear
from maskedge.vision.inputs import SIDES
from maskedge.vision.system import Vision

PLACES = 24
WIDTH, HEIGHT = 640, 480


def main() -> None:
    """Print, for each size, in how many of the pictures the face was found where it is."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=int, choices=SIDES, default=320, help="detector.input")
    asked = parser.parse_args()
    vision = Vision.open(Config.model_validate({"detector": {"input": asked.input}}))
    random = np.random.default_rng(1)
    print("pixels of face in what the detector sees: found")
    for pixels in (10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48):
        high = pixels * WIDTH / asked.input
        found = 0
        for wearing in Wearing:
            scale = high / (FACE.y2 - FACE.y1)
            person = cv2.resize(wear(wearing), None, fx=scale, fy=scale, interpolation=3)
            for _ in range(PLACES):
                picture = hall(WIDTH, HEIGHT).copy()
                y, x = (int(random.integers(0, side // 2)) for side in (HEIGHT, WIDTH))
                part = picture[y : y + person.shape[0], x : x + person.shape[1]]
                part[:] = person[: part.shape[0], : part.shape[1]]
                frame = Frame(picture, ChannelOrder.RGB, 0.0, 0)
                middle = (x + scale * (FACE.x1 + FACE.x2) / 2, y + scale * (FACE.y1 + FACE.y2) / 2)
                found += any(
                    face.box.x1 < middle[0] < face.box.x2 and face.box.y1 < middle[1] < face.box.y2
                    for face in vision.detector.detect(frame)
                )
        print(f"{pixels:>4}: {found / len(Wearing) / PLACES:4.0%}", flush=True)


if __name__ == "__main__":
    run(main)
