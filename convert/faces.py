"""Faces in whole pictures of a folder per class: found by the detector that ships, and cut out.

All whole pictures of a fixed camera look alike, so that they are one group and fall to one part of
a set. What is around a face there is not. A face keeps as much room around it as training makes
use of.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from tqdm import tqdm

from convert.classifier.data import STORED_PADDING
from convert.coco import NEGATIVE
from convert.importers import standard_label
from maskedge.camera.files import read_picture
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.geometry import Box
from maskedge.modelfile import models_dir
from maskedge.vision.faces import open_detector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convert.coco import Picture
    from maskedge.vision.base import FaceDetector

AROUND = 0.25
"""Border in which a face is looked for besides, as a share of a picture's longer side: the detector
learnt from few faces that fill a picture."""
NONE = "pictures in which no face is found, left out"
SEVERAL = "pictures of several faces, left out"


def find(pixels: NDArray[np.uint8], detector: FaceDetector) -> list[Box]:
    """The faces of a picture, uint8 (height, width, 3), BGR; the largest first."""
    height, width = pixels.shape[:2]
    room = round(AROUND * max(height, width))
    wide = cv2.copyMakeBorder(pixels, room, room, room, room, cv2.BORDER_REPLICATE)
    frame = Frame(np.asarray(wide, np.uint8), ChannelOrder.BGR, 0.0)
    found = (face.box for face in detector.detect(frame))
    boxes = [Box(b.x1 - room, b.y1 - room, b.x2 - room, b.y2 - room) for b in found]
    inside = [box.clipped(width, height) for box in boxes]
    return sorted((box for box in inside if box.area > 0), key=lambda box: -box.area)


def cut_out(
    pictures: Sequence[Picture], labels: dict[str, str], *, largest: bool
) -> tuple[list[Picture], dict[str, list[str]]]:
    """Cut the face out of pictures of one face each.

    Args:
        pictures: of a folder per class. Those of ``not_a_face`` or an unknown label stay whole, and
            what can't be read as it is, for the checks.
        labels: the user's own names for ours.
        largest: of several faces the largest is taken; else such a picture is left out.

    Returns:
        Pictures of a face and what is around it; and the files of those left out, by why.
    """
    config, cpu = DetectorConfig(), InferenceConfig(accelerator="cpu")  # sizes as in the program
    kept: list[Picture] = []
    left_out: dict[str, list[str]] = {}
    with closing(open_detector(config, cpu, models_dir())) as detector:
        for picture in tqdm(pictures, desc="faces", unit="picture", dynamic_ncols=True):
            known = {standard_label(face.label, labels) for face in picture.faces}
            if not known - {None, NEGATIVE}:
                kept.append(picture)
                continue
            boxes = find(read_picture(picture.path), detector)
            if not boxes:
                left_out.setdefault(NONE, []).append(str(picture.path))
            elif len(boxes) > 1 and not largest:
                left_out.setdefault(SEVERAL, []).append(str(picture.path))
            else:
                kept.append(_around(picture, boxes[0]))
    return kept, left_out


def _around(picture: Picture, box: Box) -> Picture:
    """A picture of one face and what is around it."""
    cx, cy = box.centre
    side = box.size * (1 + 2 * STORED_PADDING)
    square = Box(cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2)
    x1, y1, x2, y2 = (round(edge) for edge in square.clipped(picture.width, picture.height))
    inside = Box(box.x1 - x1, box.y1 - y1, box.x2 - x1, box.y2 - y1)
    faces = tuple(replace(face, box=inside) for face in picture.faces)
    cut = Box(x1, y1, x2, y2)
    return replace(picture, width=x2 - x1, height=y2 - y1, faces=faces, cut=cut)


def pixels_of(picture: Picture) -> NDArray[np.uint8]:
    """What a picture shows, uint8 (height, width, 3), BGR: of its file what :attr:`cut` says.

    Raises:
        InputError: it can't be read.
    """
    pixels = read_picture(picture.path)
    if picture.cut is None:
        return pixels
    x1, y1, x2, y2 = (int(edge) for edge in picture.cut)
    return np.ascontiguousarray(pixels[y1:y2, x1:x2])
