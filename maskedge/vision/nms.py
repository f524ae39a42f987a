"""Non-maximum suppression: of boxes that show the same face, the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskedge.geometry import iou_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskedge.geometry import Boxes


def suppress(boxes: Boxes, scores: NDArray[np.float32], iou: float, most: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression.

    Args:
        boxes: float32 (N, 4).
        scores: float32 (N,).
        iou: a box that overlaps a better one by more than this is dropped.
        most: how many are kept at most.

    Returns:
        Indices of the kept boxes, best score first; of equal scores the earlier.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[iou_matrix(boxes[best : best + 1], boxes[order])[0] <= iou]
    return np.array(kept, np.intp)
