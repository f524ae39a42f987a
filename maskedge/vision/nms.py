"""Non-maximum suppression: of boxes that show the same face, the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskedge.geometry import Boxes


FEW = 64
"""Boxes up to which plain Python is faster than NumPy."""


def suppress(boxes: Boxes, scores: NDArray[np.float32], iou: float, most: int) -> list[int]:
    """Greedy non-maximum suppression.

    Of many boxes all pairs are compared at once, and only the choice among them goes box by box.

    Args:
        boxes: float32 (N, 4).
        scores: float32 (N,).
        iou: a box that overlaps a better one by more than this is dropped.
        most: how many are kept at most.

    Returns:
        Indices of the kept boxes, best score first; of equal scores the earlier.
    """
    if len(boxes) <= FEW:
        return _suppress_few(boxes.tolist(), scores.tolist(), iou, most)
    order = np.argsort(-scores, kind="stable")
    apart = _apart(boxes[order], iou)
    alive = np.ones(len(order), np.bool_)
    kept: list[int] = []
    for rank in range(len(order)):
        if len(kept) == most:
            break
        if alive[rank]:
            kept.append(rank)
            alive &= apart[rank]
    chosen: list[int] = order[kept].tolist()
    return chosen


def _suppress_few(
    boxes: list[list[float]], scores: list[float], iou: float, most: int
) -> list[int]:
    """:func:`suppress`, each box against those that are kept."""
    kept: list[int] = []
    corners: list[tuple[float, float, float, float, float]] = []
    for index in sorted(range(len(scores)), key=scores.__getitem__, reverse=True):
        x1, y1, x2, y2 = boxes[index]
        area = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
        for left, top, right, bottom, other in corners:
            if x1 >= right or left >= x2 or y1 >= bottom or top >= y2:
                continue
            shared = (min(x2, right) - max(x1, left)) * (min(y2, bottom) - max(y1, top))
            if shared / (area + other - shared) > iou:
                break
        else:
            kept.append(index)
            if len(kept) == most:
                break
            corners.append((x1, y1, x2, y2, area))
    return kept


def _apart(boxes: Boxes, iou: float) -> NDArray[np.bool_]:
    """Which pairs have an intersection over union of ``iou`` at most: bool (N, N)."""
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    area = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    shared = np.minimum.outer(x2, x2)
    shared -= np.maximum.outer(x1, x1)
    np.maximum(shared, 0, out=shared)
    height = np.minimum.outer(y2, y2)
    height -= np.maximum.outer(y1, y1)
    np.maximum(height, 0, out=height)
    shared *= height
    # shared / (area + area' - shared) <= iou, without a division by nothing
    union = np.add.outer(area, area)
    union -= shared
    union *= np.float32(iou)
    result: NDArray[np.bool_] = shared <= union
    return result
