"""What the networks say of labelled pictures, and its figures by slice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.errors import InputError
from maskedge.geometry import boxes_array, iou_matrix
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from convert.coco import Picture
    from maskedge.camera.frame import Frame
    from maskedge.vision.base import Face, FaceDetector, MaskClassifier

ALIASES = {"mask_weared_incorrect": "incorrect_mask"}
"""Category names of public sets for our labels; any other name is a face of unknown state."""
SIZES = (
    ("below 20 px", 0, 20),
    ("20-32 px", 20, 32),
    ("32-64 px", 32, 64),
    ("64 px and more", 64, 1e9),
)
DARK, BRIGHT = 60.0, 190.0
"""Mean grey level of a face box below and above which it is a dark or bright one."""
MATCH_IOU = 0.5
LOWEST_SCORE = 0.02
"""Detections down to here enter the precision-recall curve."""


@dataclass(slots=True)
class Judged:
    """Everything that was seen, one entry per annotated or found face."""

    truth: list[int] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    grey: list[float] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    found_scores: list[NDArray[np.float32] | None] = field(default_factory=list)
    detections: list[list[Face]] = field(default_factory=list)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Truth (N,) and probabilities (N, 3)."""
        return np.array(self.truth, np.int64), np.array(self.scores, np.float32).reshape(-1, 3)


def label_index(name: str) -> int | None:
    """Place of a category's name in LABELS; None where it says nothing of masks."""
    name = ALIASES.get(name, name)
    return LABELS.index(name) if name in LABELS else None


def read_frame(path: Path) -> Frame:
    """A picture as the file camera would hand it over.

    Raises:
        InputError: it can't be read.
    """
    import cv2

    from maskedge.camera.frame import ChannelOrder, Frame

    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f"{path}: can't read the picture")
    return Frame(np.asarray(pixels, np.uint8), ChannelOrder.BGR, 0.0, path=str(path))


def judge(
    pictures: Iterable[Picture],
    detector: FaceDetector | None,
    classifier: MaskClassifier | None,
    threshold: float,
) -> Judged:
    """Run the networks over all pictures.

    Args:
        pictures: with their annotations.
        detector: should report scores down to :data:`LOWEST_SCORE`; None: not scored.
        classifier: None: not scored.
        threshold: least score of a face that the program would act on.
    """
    seen = Judged()
    for picture in pictures:
        frame = read_frame(picture.path)
        faces = detector.detect(frame) if detector else []
        seen.detections.append(faces)
        known = [
            (f.box, i)
            for f in picture.faces
            if (i := label_index(f.label)) is not None and not f.ignored
        ]
        if not known or classifier is None:
            continue
        boxes = [box for box, _ in known]
        seen.scores.extend(classifier.classify(frame, boxes))
        acted = [face for face in faces if face.score >= threshold]
        partner = match(boxes_array(boxes), boxes_array([face.box for face in acted]))
        on_found = classifier.classify(frame, [acted[j].box for j in partner if j >= 0])
        following = iter(on_found)
        for (box, truth), j in zip(known, partner, strict=True):
            seen.truth.append(truth)
            seen.size.append(box.size)
            seen.source.append(picture.source)
            seen.grey.append(_grey(frame, box))
            seen.found_scores.append(next(following) if j >= 0 else None)
    return seen


def match(truth: NDArray[np.float32], found: NDArray[np.float32]) -> list[int]:
    """Which found box is each annotated one's: greatest overlap first, IoU >= 0.5; -1: none."""
    partner = [-1] * len(truth)
    if not len(truth) or not len(found):
        return partner
    overlap = iou_matrix(truth, found)
    for _ in range(min(overlap.shape)):
        i, j = np.unravel_index(int(overlap.argmax()), overlap.shape)
        if overlap[i, j] < MATCH_IOU:
            break
        partner[int(i)] = int(j)
        overlap[i], overlap[:, j] = -1, -1
    return partner


def _grey(frame: Frame, box: Any) -> float:
    inside = box.clipped(frame.width, frame.height)
    view = frame.pixels[int(inside.y1) : int(inside.y2) + 1, int(inside.x1) : int(inside.x2) + 1]
    return float(view.mean()) if view.size else 0.0


def classifier_report(seen: Judged) -> dict[str, Any]:
    """Figures of the classifier on annotated boxes: all, by size, light and source."""
    from convert.metrics import summary

    truth, scores = seen.arrays()
    size, grey, source = np.array(seen.size), np.array(seen.grey), np.array(seen.source)
    light = {
        "dark": grey < DARK,
        "bright": grey > BRIGHT,
        "between": (grey >= DARK) & (grey <= BRIGHT),
    }
    return {
        **summary(truth, scores),
        "by_size": {
            name: summary(truth[chosen], scores[chosen])
            for name, low, high in SIZES
            if (chosen := (size >= low) & (size < high)).any()
        },
        "by_light": {n: summary(truth[c], scores[c]) for n, c in light.items() if c.any()},
        "by_source": {
            str(name): summary(truth[source == name], scores[source == name])
            for name in np.unique(source)
        },
    }


def chain_report(seen: Judged) -> dict[str, Any]:
    """Found *and* judged right, by label and size; and the classifier on the detector's boxes."""
    from convert.metrics import summary

    truth, size = np.array(seen.truth, np.int64), np.array(seen.size)
    found = np.array([s is not None for s in seen.found_scores], bool)
    called = np.array([int(s.argmax()) if s is not None else -1 for s in seen.found_scores])
    right = called == truth
    rows = {label: truth == i for i, label in enumerate(LABELS)}
    rows |= {name: (size >= low) & (size < high) for name, low, high in SIZES}
    kept = [s for s in seen.found_scores if s is not None]
    return {
        "all": _chain_row(np.ones(len(truth), bool), found, right),
        "by": {n: _chain_row(c, found, right) for n, c in rows.items() if c.any()},
        "classifier_on_found_boxes": summary(
            truth[found], np.array(kept, np.float32).reshape(-1, len(LABELS))
        ),
    }


def _chain_row(
    chosen: NDArray[np.bool_], found: NDArray[np.bool_], right: NDArray[np.bool_]
) -> dict[str, Any]:
    count = int(chosen.sum())

    def share(mask: NDArray[np.bool_]) -> float | None:
        return round(float((mask & chosen).sum()) / count, 4) if count else None

    return {"faces": count, "found": share(found), "found_and_right": share(right)}
