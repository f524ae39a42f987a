"""What the networks say of labelled pictures, and its figures by slice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.coco import IN_REGION, check_size
from convert.reference import look_at
from convert.slices import SIZES, Look, sliced
from maskedge.config import VerdictConfig
from maskedge.geometry import boxes_array, inside_matrix, iou_matrix
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from convert.coco import Annotation, Picture
    from maskedge.camera.frame import Frame
    from maskedge.geometry import Box, Boxes
    from maskedge.health.visits import Values
    from maskedge.vision.base import Face, FaceDetector, MaskClassifier

ALIASES = {"mask_weared_incorrect": "incorrect_mask"}
"""Category names of public sets for our labels; any other name is a face of unknown state."""
MATCH_IOU, LOOSE_IOU = 0.5, 0.3
"""Overlaps from which a found box is a face's: the field's, and one that lets annotators differ."""
FREE = 0.2
"""Overlap with every annotated face below which a found box is of none of them."""


@dataclass(slots=True)
class Judged:
    """Everything that was seen, one entry per annotated face; detections and looks of found ones.

    ``found_scores`` are those of the box that was found for a face, by the overlap asked for;
    ``nobody`` those of found boxes where no face is annotated.
    """

    truth: list[int] = field(default_factory=list)
    faces: list[Look] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    found_scores: dict[float, list[NDArray[np.float32] | None]] = field(
        default_factory=lambda: {MATCH_IOU: [], LOOSE_IOU: []}
    )
    nobody: list[NDArray[np.float32]] = field(default_factory=list)
    detections: list[list[Face]] = field(default_factory=list)
    looks: list[Values] = field(default_factory=list)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Truth (N,) and probabilities (N, 3)."""
        return np.array(self.truth, np.int64), np.array(self.scores, np.float32).reshape(-1, 3)


def label_index(name: str) -> int | None:
    """Place of a category's name in LABELS; None where it says nothing of masks."""
    name = ALIASES.get(name, name)
    return LABELS.index(name) if name in LABELS else None


def known_faces(picture: Picture) -> list[tuple[Box, int]]:
    """Box and class index of each of its faces of which a person said how the mask is worn."""
    return [
        (f.box, i)
        for f in picture.faces
        if (i := label_index(f.label)) is not None and not f.ignored
    ]


def read_frame(path: Path) -> Frame:
    """A picture as the file camera would hand it over.

    Raises:
        InputError: it can't be read.
    """
    from maskedge.camera.files import read_picture
    from maskedge.camera.frame import ChannelOrder, Frame

    return Frame(read_picture(path), ChannelOrder.BGR, 0.0, path=str(path))


def judge(
    pictures: Iterable[Picture],
    detector: FaceDetector | None,
    classifier: MaskClassifier | None,
    threshold: float,
) -> Judged:
    """Run the networks over all pictures.

    Args:
        pictures: with their annotations.
        detector: should report scores down to :data:`convert.detector.score.FLOOR`; None: not
            scored.
        classifier: None: not scored.
        threshold: least score of a face that the program would act on.

    Raises:
        InputError: a picture can't be read, or hasn't the size that its labels are for.
    """
    seen = Judged()
    for picture in pictures:
        frame = read_frame(picture.path)
        check_size(picture.path, (picture.width, picture.height), frame.pixels)
        faces = detector.detect(frame) if detector else []
        seen.detections.append(faces)
        acted = [face for face in faces if face.score >= threshold]
        found = boxes_array([face.box for face in acted])
        on_found = classifier.classify(frame, [face.box for face in acted]) if classifier else ()
        if detector and classifier:
            seen.looks += look_at(frame, acted, on_found)
            nobody = np.flatnonzero(free_of(found, picture.faces))
            seen.nobody += [on_found[index] for index in nobody]
        known = known_faces(picture)
        if not known or classifier is None:
            continue
        boxes = [box for box, _ in known]
        seen.scores.extend(classifier.classify(frame, boxes))
        for overlap, kept in seen.found_scores.items():
            partner = match(boxes_array(boxes), found, overlap)
            kept += [on_found[j] if j >= 0 else None for j in partner]
        for box, truth in known:
            seen.truth.append(truth)
            seen.faces.append(Look.at(frame, picture.path, picture.source, box))
    return seen


def match(
    truth: NDArray[np.float32], found: NDArray[np.float32], least: float = MATCH_IOU
) -> list[int]:
    """Which found box is each annotated one's: greatest overlap first; -1: none overlaps enough."""
    partner = [-1] * len(truth)
    if not len(truth) or not len(found):
        return partner
    overlap = iou_matrix(truth, found)
    for _ in range(min(overlap.shape)):
        i, j = np.unravel_index(int(overlap.argmax()), overlap.shape)
        if overlap[i, j] < least:
            break
        partner[int(i)] = int(j)
        overlap[i], overlap[:, j] = -1, -1
    return partner


def free_of(found: Boxes, drawn: Sequence[Annotation]) -> NDArray[np.bool_]:
    """Which found boxes are of nothing that is drawn.

    Args:
        found: float32 (N, 4), pixels.
        drawn: faces, and regions that may hold some or that hold none.

    Returns:
        bool (N,).
    """
    faces = boxes_array([entry.box for entry in drawn])
    regions = boxes_array([entry.box for entry in drawn if entry.region])
    met = iou_matrix(found, faces).max(axis=1, initial=0) >= FREE
    met |= inside_matrix(found, regions).max(axis=1, initial=0) >= IN_REGION
    return np.asarray(~met, np.bool_)


def classifier_report(seen: Judged) -> dict[str, Any]:
    """Figures of the classifier on annotated boxes, all and by slice."""
    from convert.metrics import summary

    truth, scores = seen.arrays()
    return {**summary(truth, scores), **sliced(seen.faces, truth, scores)}


def chain_report(seen: Judged) -> dict[str, Any]:
    """Found *and* judged right, by label and size; and the classifier on the detector's boxes."""
    return {
        **_chain(seen, MATCH_IOU),
        f"at_iou_{LOOSE_IOU}": _chain(seen, LOOSE_IOU),
        "nobody": _nobody(seen.nobody),
    }


def _nobody(scores: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """Found boxes without an annotated face, and how many the program would believe, by label."""
    sure = VerdictConfig().min_confidence
    rows = np.array(scores, np.float32).reshape(-1, len(LABELS))
    believed = (rows >= sure).sum(axis=0).tolist()
    return {"boxes": len(rows), "sure": sure, "believed": dict(zip(LABELS, believed, strict=True))}


def _chain(seen: Judged, overlap: float) -> dict[str, Any]:
    from convert.metrics import summary

    truth, size = np.array(seen.truth, np.int64), np.array([face.size for face in seen.faces])
    scores = seen.found_scores[overlap]
    found = np.array([s is not None for s in scores], bool)
    called = np.array([int(s.argmax()) if s is not None else -1 for s in scores])
    right = called == truth
    rows = {label: truth == i for i, label in enumerate(LABELS)}
    rows |= {name: (size >= low) & (size < high) for name, low, high in SIZES}
    kept = [s for s in scores if s is not None]
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
