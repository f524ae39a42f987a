"""Of boxes that show the same face one, where they all say that it is.

Non-maximum suppression keeps the best; box voting (Gidaris and Komodakis, arXiv:1505.01749, section
5) then moves it to the weighted mean of those that agree with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from maskedge.geometry import iou_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maskedge.geometry import Boxes


FEW = 64
"""Boxes up to which plain Python is faster than NumPy."""
FEW_PAIRS = 256
"""The same for pairs of a kept box and any."""
AGREE = 0.5
"""Overlap from which a box has a say in where the face is that another shows."""


def suppress(
    boxes: Sequence[Sequence[float]], scores: Sequence[float], iou: float, most: int
) -> list[int]:
    """Greedy non-maximum suppression.

    Of many boxes all pairs are compared at once, and only the choice among them goes box by box.

    Args:
        boxes: four edges each.
        scores: one for each box.
        iou: a box that overlaps a better one by more than this is dropped.
        most: how many are kept at most.

    Returns:
        Indices of the kept boxes, best score first; of equal scores the earlier.
    """
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    choose = _choose_few if len(order) <= FEW else _choose_many
    return [order[rank] for rank in choose([boxes[index] for index in order], iou, most)]


def vote(
    boxes: Sequence[Sequence[float]], weights: Sequence[float], kept: Sequence[int]
) -> list[list[float]]:
    """Where all boxes together say that the kept ones are.

    Args:
        boxes: four edges each.
        weights: of each box's say, above 0: its score.
        kept: indices, from :func:`suppress`.

    Returns:
        For each that is kept the mean of the boxes that overlap it by :data:`AGREE` or more,
        weighed by ``weights`` and by that overlap. Its own counts fully; one without area stays.
    """
    if len(kept) * len(boxes) <= FEW_PAIRS:
        return [_agreed(boxes, weights, boxes[index]) for index in kept]
    every = np.array(boxes, np.float32)
    own = every[list(kept)]
    share = iou_matrix(own, every)
    share *= share >= AGREE
    share *= np.array(weights, np.float32)
    total = share.sum(axis=1, keepdims=True)
    share /= np.where(total > 0, total, 1)
    agreed: list[list[float]] = np.where(total > 0, share @ every, own).tolist()
    return agreed


def _agreed(
    boxes: Sequence[Sequence[float]], weights: Sequence[float], kept: Sequence[float]
) -> list[float]:
    """:func:`vote` for one kept box, in plain Python."""
    left, top, right, bottom = kept
    area = (right - left) * (bottom - top)
    total = a = b = c = d = 0.0
    for (x1, y1, x2, y2), weight in zip(boxes, weights, strict=True):
        if x1 >= right or left >= x2 or y1 >= bottom or top >= y2:
            continue
        shared = (min(x2, right) - max(x1, left)) * (min(y2, bottom) - max(y1, top))
        overlap = shared / (area + (x2 - x1) * (y2 - y1) - shared)
        if overlap >= AGREE:
            say = overlap * weight
            total += say
            a, b, c, d = a + say * x1, b + say * y1, c + say * x2, d + say * y2
    return [a / total, b / total, c / total, d / total] if total else list(kept)


def _choose_few(boxes: list[Sequence[float]], iou: float, most: int) -> list[int]:
    """Which to keep of boxes in order, each held against those that are kept."""
    kept: list[int] = []
    corners: list[tuple[float, float, float, float, float]] = []
    for rank, (x1, y1, x2, y2) in enumerate(boxes):
        if len(kept) == most:
            break
        area = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
        for left, top, right, bottom, other in corners:
            if x1 >= right or left >= x2 or y1 >= bottom or top >= y2:
                continue
            shared = (min(x2, right) - max(x1, left)) * (min(y2, bottom) - max(y1, top))
            if shared > 0 and shared / (area + other - shared) > iou:
                break
        else:
            kept.append(rank)
            corners.append((x1, y1, x2, y2, area))
    return kept


def _choose_many(boxes: list[Sequence[float]], iou: float, most: int) -> list[int]:
    """:func:`_choose_few`, all pairs compared at once."""
    apart = _apart(np.array(boxes, np.float32), iou)
    alive = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    for rank in range(len(boxes)):
        if len(kept) == most:
            break
        if alive[rank]:
            kept.append(rank)
            alive &= apart[rank]
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
