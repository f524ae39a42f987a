"""What a face detector's outputs mean: cells with a logit, and four numbers for a box each.

The network (``convert/detector``) is anchor-free with strides 8, 16 and 32. Most cells end at one
comparison of stored integers; the few that are left are decoded together, whatever their stride.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maskedge.inference.network import Network, TensorSpec

OFFSET_ZERO = 3.0
"""Subtracted from a stored centre offset: it reaches 3 strides to each side of its cell."""
SIZE_ZERO = 2.5
"""Subtracted from a stored logarithm of a size in strides."""
FEW = 64
"""Cells up to which plain Python decodes faster than NumPy."""
LOGIT_ZERO, LOGIT_SCALE = 0, 1
BOX_ZERO, BOX_SCALE, STRIDE, HALF_LOG = slice(2, 3), slice(3, 4), slice(4, 5), slice(5, 6)
CENTRE = slice(6, 8)
"""Columns of the table of cells; slices keep their dimension, to be broadcast over a box."""


@dataclass(frozen=True, slots=True)
class _Level:
    """The outputs of one stride.

    Attributes:
        score: index of the logits (1, rows, columns, 1) among the network's outputs.
        box: index of the boxes (1, rows, columns, 4).
        stride: input pixels per cell.
        rows: of cells.
        columns: cells in a row.
    """

    score: int
    box: int
    stride: int
    rows: int
    columns: int

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.rows * self.columns


class Decoder:
    """Turns one network's outputs into boxes.

    All that a cell needs is looked up in a table made once, so that a frame costs the same few
    array operations whatever the number of strides.

    Args:
        network: whose outputs; its shapes and quantisation are read here.
        threshold: least sigmoid of a logit that is a face, 0..1.
        voter: least sigmoid of one that has a say in where another's face is.
        where: the file, for the message.

    Raises:
        ModelError: its outputs aren't those of a face detector.
    """

    def __init__(self, network: Network, threshold: float, voter: float, where: str) -> None:
        levels = _levels(network, where)
        self._score_outputs = [level.score for level in levels]
        self._box_outputs = [level.box for level in levels]
        specs = network.output_specs
        self._stored = np.concatenate([np.zeros(v.cells, specs[v.score].dtype) for v in levels])
        self._sure = self._limits(levels, specs, threshold)
        self._least = self._limits(levels, specs, min(threshold, voter))
        self._cells = np.concatenate([_cells(v, specs) for v in levels])

    def _limits(
        self, levels: Sequence[_Level], specs: Sequence[TensorSpec], threshold: float
    ) -> NDArray[Any]:
        """The least stored logit of each cell that passes a threshold."""
        each = [np.full(v.cells, stored_threshold(threshold, specs[v.score])) for v in levels]
        least = np.concatenate(each)
        with np.errstate(invalid="ignore"):  # more than the type can hold
            exact = least.astype(self._stored.dtype)
        # Of one type they are compared several times as fast.
        return exact if np.array_equal(exact, least) else least

    def candidates(
        self, outputs: tuple[NDArray[Any], ...], most: int
    ) -> tuple[list[list[float]], list[float]]:
        """The cells that have a say, the ``most`` best at most; none where none is a face.

        Args:
            outputs: as the network gave them.
            most: how many.

        Returns:
            Boxes in pixels of the input, four edges each, and their logits.
        """
        stored = self._stored
        np.concatenate([outputs[i].reshape(-1) for i in self._score_outputs], out=stored)
        (found,) = (stored >= self._least).nonzero()
        if not (stored[found] >= self._sure[found]).any():
            return [], []
        cells, scores = self._cells[found], stored[found]
        if len(found) > most:
            logits = (scores - cells[:, LOGIT_ZERO]) * cells[:, LOGIT_SCALE]
            best = np.argsort(-logits, kind="stable")[:most]
            found, cells, scores = found[best], cells[best], scores[best]
        boxes = np.concatenate([outputs[i].reshape(-1, 4) for i in self._box_outputs])[found]
        decode = _decode_few if len(found) <= FEW else _decode_many
        return decode(scores, boxes, cells)


def _decode_few(
    scores: NDArray[Any], boxes: NDArray[Any], cells: NDArray[np.float32]
) -> tuple[list[list[float]], list[float]]:
    """Boxes and logits of some cells, one by one."""
    decoded, logits = [], []
    rows = zip(scores.tolist(), boxes.tolist(), cells.tolist(), strict=True)
    for score, (dx, dy, width, height), row in rows:
        zero, scale, box_zero, box_scale, stride, half_log, left, top = row
        logits.append((score - zero) * scale)
        x = (dx - box_zero) * box_scale * stride + left
        y = (dy - box_zero) * box_scale * stride + top
        half_width = math.exp((width - box_zero) * box_scale + half_log)
        half_height = math.exp((height - box_zero) * box_scale + half_log)
        decoded.append([x - half_width, y - half_height, x + half_width, y + half_height])
    return decoded, logits


def _decode_many(
    scores: NDArray[Any], boxes: NDArray[Any], cells: NDArray[np.float32]
) -> tuple[list[list[float]], list[float]]:
    """:func:`_decode_few` of many at once."""
    logits = (scores - cells[:, LOGIT_ZERO]) * cells[:, LOGIT_SCALE]
    values = (boxes - cells[:, BOX_ZERO]) * cells[:, BOX_SCALE]
    middle = values[:, :2] * cells[:, STRIDE] + cells[:, CENTRE]
    half = np.exp(values[:, 2:] + cells[:, HALF_LOG])
    decoded = np.concatenate([middle - half, middle + half], axis=1)
    return decoded.tolist(), logits.tolist()


def _cells(level: _Level, specs: Sequence[TensorSpec]) -> NDArray[np.float32]:
    """What the decoding of each cell of a level needs, float32 (cells, 8).

    Quantisation of logit and box, the stride, ln of half a stride less SIZE_ZERO, and x and y of
    where an offset of nothing points to.
    """
    rows, columns = np.divmod(np.arange(level.rows * level.columns), level.columns)
    quantisation: list[float] = []
    for spec in (specs[level.score], specs[level.box]):
        quantisation += [spec.zero_point, spec.scale] if spec.scale else [0, 1]
    table = np.empty((len(rows), 8), np.float32)
    table[:, :4] = quantisation
    table[:, STRIDE] = level.stride
    table[:, HALF_LOG] = math.log(level.stride / 2) - SIZE_ZERO
    table[:, CENTRE] = (np.stack([columns, rows], axis=1) + 0.5 - OFFSET_ZERO) * level.stride
    return table


def logit(probability: float) -> float:
    """The inverse of :func:`sigmoid`; infinite at 0 and 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-probability))


def sigmoid(value: float) -> float:
    """The logistic function."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    power = math.exp(value)
    return power / (1 + power)


def stored_threshold(threshold: float, spec: TensorSpec) -> float:
    """The least stored logit whose score is at least ``threshold``."""
    least_logit = logit(threshold)
    if spec.scale == 0 or not np.isfinite(least_logit):
        return least_logit
    least = int(np.floor(least_logit / spec.scale)) + spec.zero_point - 1
    while (least - spec.zero_point) * spec.scale < least_logit:
        least += 1
    return least


def _levels(network: Network, where: str) -> list[_Level]:
    """Pair the outputs by their grids.

    Raises:
        ModelError: they aren't pairs of (1, rows, columns, 1) and (1, rows, columns, 4).
    """
    _, height, width, _ = network.input_spec.shape
    grids: dict[tuple[int, ...], dict[int, int]] = {}
    for index, spec in enumerate(network.output_specs):
        grids.setdefault(spec.shape[1:3], {})[spec.shape[-1]] = index
    levels = []
    for grid, indices in sorted(grids.items(), reverse=True):
        stride = height // grid[0] if len(grid) == 2 and grid[0] else 0  # noqa: PLR2004
        if set(indices) != {1, 4} or not stride or grid != (height // stride, width // stride):
            shapes = ", ".join(str(s.shape) for s in network.output_specs)
            raise ModelError(f"{where}: not a face detector of maskedge: its outputs are {shapes}")
        levels.append(_Level(indices[1], indices[4], stride, *grid))
    return levels
