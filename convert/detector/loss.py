"""The detector's loss: task-aligned assignment, IoU-aware scores, CIoU boxes.

Cells are assigned to faces by how well they already find them (TOOD, arXiv:2108.07755), and the
score that a cell learns is the overlap of its box (Generalized Focal Loss, arXiv:2006.04388), so
that scores know how good the box is.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from convert.detector.network import OFFSET_ZERO, SIZE_ZERO, cell_grid

FACE, NOTHING, IGNORE = 1.0, 0.0, -1.0
"""Kinds of a target row: a face to find, padding, a region that is neither face nor background."""
TOP = 10
"""Most cells that one face is assigned to."""
REACH = 0.75
"""Strides from a face's middle within which a cell may find it, however small the face is."""
SCORE_POWER, IOU_POWER = 0.5, 4.0
BOX_WEIGHT = 3.0
EPSILON = 1e-7


@keras.saving.register_keras_serializable("maskedge")
class DetectorLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """See the module; one number per batch.

    Args:
        height: rows of the training pictures.
        width: columns of the training pictures.
    """

    def __init__(self, height: int, width: int, **extra: Any) -> None:
        super().__init__(**{"name": "detector_loss", "reduction": None, **extra})
        self.height, self.width = height, width
        grid = cell_grid(height, width)
        self._centres, self._strides = grid[:, :2], grid[:, 2:]

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to make it again."""
        return {**super().get_config(), "height": self.height, "width": self.width}

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss.

        Args:
            y_true: float32 (batch, faces, 5): x1, y1, x2, y2 in pixels and the kind.
            y_pred: float32 (batch, cells, 5) from ``training_model``.
        """
        logits, boxes = y_pred[..., 0], self._decode(y_pred[..., 1:])
        target, matched, counts = self._assign(
            y_true, ops.stop_gradient(ops.sigmoid(logits)), ops.stop_gradient(boxes)
        )
        total = ops.maximum(ops.sum(target * counts), 1.0)
        probability = ops.sigmoid(logits)
        cross = ops.softplus(logits) - logits * target
        weight = ops.square(probability - target) * counts
        box_loss = (1.0 - _ciou(boxes, matched)) * target * counts
        return (ops.sum(weight * cross) + BOX_WEIGHT * ops.sum(box_loss)) / total

    def _decode(self, stored: Any) -> Any:
        # An array of numpy's can't be added to a tensor of PyTorch's.
        centres, strides = (ops.convert_to_tensor(a) for a in (self._centres, self._strides))
        middle = centres + (stored[..., :2] - OFFSET_ZERO) * strides
        half = ops.exp(stored[..., 2:] - SIZE_ZERO) * strides / 2
        return ops.concatenate([middle - half, middle + half], axis=-1)

    def _assign(self, y_true: Any, scores: Any, boxes: Any) -> tuple[Any, Any, Any]:
        """Targets per cell: score (B, N), box (B, N, 4), and how much it counts (B, N)."""
        faces, kind = y_true[..., :4], y_true[..., 4:]  # (B, M, 4), (B, M, 1)
        inside = self._candidates(faces)
        iou = _pairwise_iou(faces, boxes) * inside * ops.cast(kind == FACE, "float32")
        metric = scores[:, None, :] ** SCORE_POWER * iou**IOU_POWER  # (B, M, N)
        least = ops.top_k(metric, TOP)[0][..., -1:]
        chosen = ops.cast((metric >= least) & (metric > 0), "float32")
        chosen_iou = iou * chosen
        owner = ops.one_hot(ops.argmax(chosen_iou, axis=1), faces.shape[1], axis=1)
        chosen = chosen * owner  # a cell that several faces want goes to the one it overlaps most
        metric, chosen_iou = metric * chosen, iou * chosen
        scale = ops.max(chosen_iou, axis=2, keepdims=True) / (
            ops.max(metric, axis=2, keepdims=True) + 1e-12
        )
        target = ops.max(metric * scale, axis=1)
        matched = ops.matmul(ops.transpose(chosen, (0, 2, 1)), faces)
        spared = ops.max(inside * ops.cast(kind == IGNORE, "float32"), axis=1)
        found = ops.cast(target > 0, "float32")
        # A face of few cells would be heard less than a large one by as much.
        cells = ops.sum(chosen, axis=2)  # (B, M)
        louder = ops.sqrt(TOP / ops.maximum(cells, 1.0))
        counts = ops.matmul(ops.transpose(chosen, (0, 2, 1)), louder[..., None])[..., 0]
        counts = found * counts + (1.0 - found) * (1.0 - spared)
        return (
            ops.stop_gradient(target),
            ops.stop_gradient(matched),
            ops.stop_gradient(counts),
        )

    def _candidates(self, faces: Any) -> Any:
        """1 where a cell's middle lies in a face or near its middle: (B, M, N)."""
        middle = (faces[..., :2] + faces[..., 2:]) / 2
        half = (faces[..., 2:] - faces[..., :2]) / 2
        centres = ops.convert_to_tensor(self._centres)
        near = ops.convert_to_tensor(REACH * self._strides[:, 0])
        inside = [
            ops.abs(middle[..., axis : axis + 1] - centres[:, axis])
            < ops.maximum(half[..., axis : axis + 1], near)
            for axis in (0, 1)
        ]
        return ops.cast(inside[0] & inside[1], "float32")


def _area(boxes: Any) -> Any:
    return ops.maximum(boxes[..., 2] - boxes[..., 0], 0.0) * ops.maximum(
        boxes[..., 3] - boxes[..., 1], 0.0
    )


def _pairwise_iou(a: Any, b: Any) -> Any:
    """(B, M, 4) with (B, N, 4) to (B, M, N)."""
    extents = [
        ops.maximum(
            ops.minimum(a[..., i + 2 : i + 3], b[:, None, :, i + 2])
            - ops.maximum(a[..., i : i + 1], b[:, None, :, i]),
            0.0,
        )
        for i in (0, 1)
    ]
    inter = extents[0] * extents[1]
    return inter / (_area(a)[..., None] + _area(b)[:, None, :] - inter + EPSILON)


def _ciou(a: Any, b: Any) -> Any:
    """Complete IoU of (..., 4) with (..., 4) (arXiv:1911.08287)."""
    left_top, right_bottom = (
        ops.maximum(a[..., :2], b[..., :2]),
        ops.minimum(a[..., 2:], b[..., 2:]),
    )
    extent = ops.maximum(right_bottom - left_top, 0.0)
    inter = extent[..., 0] * extent[..., 1]
    iou = inter / (_area(a) + _area(b) - inter + EPSILON)
    hull = ops.maximum(a[..., 2:], b[..., 2:]) - ops.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    distance = ops.sum(ops.square(apart), -1) / (ops.sum(ops.square(hull), -1) + EPSILON)
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    angle = [ops.arctan2(s[..., 0], s[..., 1] + EPSILON) for s in (size_a, size_b)]
    shape = (4 / np.pi**2) * ops.square(angle[0] - angle[1])
    trade = ops.stop_gradient(shape / (1.0 - iou + shape + EPSILON))
    return iou - distance - trade * shape
