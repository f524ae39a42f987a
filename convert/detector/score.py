"""How good found faces are: average precision and recall, with regions that don't count.

Matching is COCO's (pycocotools): over all pictures, detections from the best score down take the
face that they overlap most and that is still free; the rest are false. A detection that only
meets an ignored face is left out of the count, and so is one that lies in a region of many
(``iscrowd``), or an unmatched one smaller than ``min_size``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.geometry import boxes_array, inside_matrix, iou_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convert.coco import Picture
    from maskedge.geometry import Boxes
    from maskedge.vision.base import Face

LOW = 0.02
"""A network's own score from which detections enter the precision-recall curve: a detector without
calibration is opened with it."""
FLOOR = 1e-5
"""The same for one whose score is the probability of a face, of which far less is a lot."""
MOST = 200
"""Faces per picture that it may find."""
PRECISION = 0.95
"""The precision at which recall is told."""
SIZES = ((16.0, 32.0), (32.0, 64.0), (64.0, np.inf))
"""Bounds of the slices by face size, pixels of the network's input."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The labelled faces of one picture.

    Attributes:
        boxes: float32 (faces, 4), pixels.
        labels: a name for each.
        ignored: bool (faces,), true where finding it is neither right nor wrong.
        scale: input pixels per picture pixel; face sizes are told in input pixels.
        regions: float32 (regions, 4), those of the boxes that may hold many faces.
    """

    boxes: Boxes
    labels: tuple[str, ...]
    ignored: NDArray[np.bool_]
    scale: float = 1.0
    regions: Boxes = field(default_factory=lambda: np.empty((0, 4), np.float32))

    @classmethod
    def of(cls, picture: Picture, side: int = 320) -> Truth:
        """From a COCO picture whose longer side becomes ``side`` in the network's input."""
        return cls(
            np.array([f.box for f in picture.faces], np.float32).reshape(-1, 4),
            tuple(f.label for f in picture.faces),
            np.array([f.ignored for f in picture.faces], bool),
            side / max(picture.width, picture.height),
            boxes_array([f.box for f in picture.faces if f.crowd]),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The detections of one picture.

    Attributes:
        boxes: float32 (detections, 4), pixels.
        scores: float32 (detections,).
    """

    boxes: Boxes
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, faces: Sequence[Face]) -> Found:
        """From a detector's answer."""
        return cls(
            np.array([f.box for f in faces], np.float32).reshape(-1, 4),
            np.array([f.score for f in faces], np.float32),
        )


@dataclass
class _Tally:
    """Everything matched so far."""

    scores: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)
    face_scores: list[float] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)


def score_detections(
    found: Sequence[Found], truth: Sequence[Truth], *, iou: float = 0.5, min_size: float = 16.0
) -> dict[str, Any]:
    """Score a detector on labelled pictures.

    Args:
        found: its answers, with as low a threshold as it allows.
        truth: the labels, one per answer.
        iou: overlap that counts as found.
        min_size: longer edge, in input pixels, below which a face is ignored.

    Returns:
        ``faces``: how many count; ``ap``: area under the precision-recall curve (all points,
        precision made monotonic); ``recall_at_95_precision`` and ``threshold_at_95_precision``;
        at that threshold ``recall_by_label`` and ``recall_by_size``, each ``{name: {"faces",
        "recall"}}``; ``recall``: at any score; ``curve``: some 50 points, evenly in recall, of
        ``precision``, ``recall`` and ``threshold``. Figures that no face or no threshold
        supports are None.
    """
    tally = _Tally()
    for answer, labelled in zip(found, truth, strict=True):
        _match(answer, labelled, iou, min_size, tally)
    order = np.argsort(-np.array(tally.scores, np.float64), kind="stable")
    hits, scores = np.array(tally.hits, bool)[order], np.array(tally.scores)[order]
    face_scores = np.array(tally.face_scores)
    result: dict[str, Any] = {"pictures": len(truth), "faces": len(face_scores), "iou": iou}
    if not len(face_scores):
        return {**result, "ap": None, "recall": None, "recall_at_95_precision": None}
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    recall = right / len(face_scores)
    threshold = _threshold_at(precision, scores, PRECISION)
    passed = face_scores >= (np.inf if threshold is None else threshold)
    return {
        **result,
        "ap": round(average_precision(precision, recall), 4),
        "recall": round(float((face_scores >= 0).mean()), 4),
        "recall_at_95_precision": round(float(passed.mean()), 4),
        "threshold_at_95_precision": threshold,
        "recall_by_label": _slices(
            {name: np.array(tally.labels) == name for name in sorted(set(tally.labels))}, passed
        ),
        "recall_by_size": _slices(_by_size(np.array(tally.sizes)), passed),
        "curve": _curve(precision, recall, scores),
    }


def matched(
    found: Sequence[Found], truth: Sequence[Truth], *, iou: float = 0.5, min_size: float = 16.0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Score of each detection that counts, and whether it is a face; see score_detections."""
    tally = _Tally()
    for answer, labelled in zip(found, truth, strict=True):
        _match(answer, labelled, iou, min_size, tally)
    return np.array(tally.scores, np.float64), np.array(tally.hits, bool)


def average_precision(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> float:
    """Area under the curve with precision made monotonic, at all points (VOC 2010).

    Args:
        precision: after each detection, best score first.
        recall: the same.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _match(found: Found, truth: Truth, iou: float, min_size: float, tally: _Tally) -> None:
    size = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(axis=1, initial=0) * truth.scale
    ignored = truth.ignored | (size < min_size)
    overlaps = iou_matrix(found.boxes, truth.boxes)
    found_size = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1, initial=0) * truth.scale
    spared = (found_size < min_size) | (overlaps[:, ignored] >= iou).any(axis=1)
    spared |= (inside_matrix(found.boxes, truth.regions) >= iou).any(axis=1)
    best = np.full(len(size), -1.0)
    for index in np.argsort(-found.scores, kind="stable"):
        free = np.where((best < 0) & ~ignored, overlaps[index], 0.0)
        face = int(np.argmax(free)) if len(free) else 0
        hit = len(free) > 0 and free[face] >= iou
        if hit:
            best[face] = found.scores[index]
        elif spared[index]:
            continue
        tally.scores.append(float(found.scores[index]))
        tally.hits.append(bool(hit))
    tally.face_scores.extend(best[~ignored].tolist())
    tally.sizes.extend(size[~ignored].tolist())
    tally.labels.extend(n for n, skip in zip(truth.labels, ignored, strict=True) if not skip)


def _threshold_at(
    precision: NDArray[np.float64], scores: NDArray[np.float64], wanted: float
) -> float | None:
    """The lowest score at which precision is still as wanted, all detections of it counted."""
    ends = np.flatnonzero(np.diff(scores, append=-np.inf))  # int8 gives many the same score
    enough = ends[precision[ends] >= wanted]
    return float(scores[enough[-1]]) if len(enough) else None


def _by_size(sizes: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    return {
        f"{low:.0f}-{high:.0f}" if np.isfinite(high) else f">={low:.0f}": (sizes >= low)
        & (sizes < high)
        for low, high in SIZES
    }


def _slices(
    masks: dict[str, NDArray[np.bool_]], passed: NDArray[np.bool_]
) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "faces": int(mask.sum()),
            "recall": round(float(passed[mask].mean()), 4) if mask.any() else None,
        }
        for name, mask in masks.items()
    }


def _curve(
    precision: NDArray[np.float64], recall: NDArray[np.float64], scores: NDArray[np.float64]
) -> dict[str, list[float]]:
    steps = np.linspace(0, recall[-1] if len(recall) else 0, 50)
    picked = np.unique(np.searchsorted(recall, steps))[: len(recall)]
    return {
        name: np.round(values[picked], 4).tolist()
        for name, values in (("precision", precision), ("recall", recall), ("threshold", scores))
    }
