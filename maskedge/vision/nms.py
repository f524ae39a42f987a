"""Non-maximum suppression: of boxes that show the same face, the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskedge.geometry import Boxes


def suppress(boxes: Boxes, scores: NDArray[np.float32], iou: float, most: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression.

    All pairs are compared at once; only the choice among them goes box by box.

    Args:
        boxes: float32 (N, 4).
        scores: float32 (N,).
        iou: a box that overlaps a better one by more than this is dropped.
        most: how many are kept at most.

    Returns:
        Indices of the kept boxes, best score first; of equal scores the earlier.
    """
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
    return order[kept]


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
