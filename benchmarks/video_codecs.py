#!/usr/bin/env python3
"""Which video codecs OpenCV can write here, and what they cost.

python benchmarks/video_codecs.py
The sample scene, 640x480; CPU time, so that a busy machine disturbs little. Compare the figures of
one run only.
"""

import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from commandline import Parser, run

from maskedge.scene import VISITS, draw, hall

CODECS = (("mp4v", "mp4"), ("VP80", "webm"), ("vp09", "mp4"), ("avc1", "mp4"), ("av01", "mp4"))
FRAMES = 40


def main() -> None:
    """One line a codec."""
    Parser(description=__doc__.splitlines()[0]).parse_args()
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    background = hall(640, 480)
    frames = [
        np.ascontiguousarray(draw(background, VISITS[0], n / FRAMES)[..., ::-1])
        for n in range(FRAMES)
    ]
    print(f"{'codec':<6}{'file':<6}{'CPU ms/frame':>13}{'KiB':>7}{'PSNR dB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for codec, suffix in CODECS:
            path = Path(folder) / f"{codec}.{suffix}"
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 10.0, (640, 480))
            if not writer.isOpened():
                print(f"{codec:<6}{suffix:<6} can't be written")
                continue
            began = time.process_time()
            for frame in frames:
                writer.write(frame)
            writer.release()
            took = (time.process_time() - began) / FRAMES * 1000
            reader = cv2.VideoCapture(str(path))
            quality = np.mean([cv2.PSNR(frame, reader.read()[1]) for frame in frames])
            print(
                f"{codec:<6}{suffix:<6}{took:>13.1f}{path.stat().st_size // 1024:>7}{quality:>9.1f}"
            )


if __name__ == "__main__":
    run(main)
