"""A scene as a video file."""

from __future__ import annotations

import cv2
import numpy as np

from maskedge.errors import EndOfStream
from maskedge.scene import SceneCamera, Visit, Wearing

FADED = (0.25, 0.65)
"""How much of the doubtful mask is there in the first frame and in the last."""


def record(path, visits, *, pause=2.0, fps=10, size=(640, 480)):
    """Write it; the suffix should be .avi."""
    scene = SceneCamera(visits, fps=fps, pause=pause, size=size, realtime=False)
    scene.open()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    while True:
        try:
            writer.write(scene.read().pixels[..., ::-1])
        except EndOfStream:
            break
    writer.release()
    return path


def record_doubtful(path, *, pause=2.0):
    """The same of one person with a mask under the nose, half faded in: nobody can be sure of them.

    It fades from little to most of it, so that some frames are in doubt wherever the networks
    draw the line.
    """
    bare, masked = (
        SceneCamera([Visit(wearing)], fps=10, pause=pause, realtime=False)
        for wearing in (Wearing.BARE, Wearing.NOSE_OUT)
    )
    bare.open()
    masked.open()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    total = int(bare.duration * 10)
    for number in range(total):
        share = FADED[0] + (FADED[1] - FADED[0]) * number / total
        mixed = (1 - share) * bare.read().pixels + share * masked.read().pixels
        writer.write(np.ascontiguousarray(mixed[..., ::-1]).astype(np.uint8))
    writer.release()
    return path
