"""Boxes in a picture, and the arithmetic that everything above shares.

A box is (x1, y1, x2, y2): the left, top, right and bottom edges, x to the right and y down,
in pixels of the picture at hand unless a name says ``relative`` (0..1 of width and height).
Arrays of boxes are float32 of shape (N, 4) in the same order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskedge.box import Box

__all__ = ["Box", "Boxes", "boxes_array", "inside_matrix", "iou_matrix"]

Boxes = NDArray[np.float32]


def iou_matrix(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """Intersection over union of every box of ``a`` with every box of ``b``.

    Args:
        a: float32 (N, 4).
        b: float32 (M, 4).

    Returns:
        float32 (N, M) in 0..1; 0 where a box is empty.
    """
    inter = _intersections(a, b)
    return _shares(inter, _areas(a)[:, None] + _areas(b)[None, :] - inter)


def inside_matrix(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """How much of every box of ``a`` lies in every box of ``b``: COCO's overlap with a crowd.

    Args:
        a: float32 (N, 4).
        b: float32 (M, 4).

    Returns:
        float32 (N, M) in 0..1; 0 where the box of ``a`` is empty.
    """
    inter = _intersections(a, b)
    return _shares(inter, np.broadcast_to(_areas(a)[:, None], inter.shape))


def _intersections(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    # Widths and heights apart, as NumPy is slow along an axis of two.
    area = _overlaps(a[:, 0], a[:, 2], b[:, 0], b[:, 2])
    area *= _overlaps(a[:, 1], a[:, 3], b[:, 1], b[:, 3])
    return area


def _overlaps(
    from_a: NDArray[np.float32],
    to_a: NDArray[np.float32],
    from_b: NDArray[np.float32],
    to_b: NDArray[np.float32],
) -> NDArray[np.float32]:
    """How far each of N stretches lies on each of M others: (N, M)."""
    shared: NDArray[np.float32] = np.minimum.outer(to_a, to_b)
    shared -= np.maximum.outer(from_a, from_b)
    return np.maximum(shared, 0, out=shared)


def _areas(boxes: Boxes) -> NDArray[np.float32]:
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1))


def _shares(part: NDArray[np.float32], whole: NDArray[np.float32]) -> NDArray[np.float32]:
    share: NDArray[np.float32] = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return share.astype(np.float32, copy=False)


def boxes_array(boxes: list[Box] | tuple[Box, ...]) -> Boxes:
    """A list of boxes as float32 (N, 4), also for an empty list."""
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
