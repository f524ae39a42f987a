"""Optimal one-to-one assignment, for a few dozen rows and columns, without SciPy.

Greedy pairing takes the best pair first and may leave two persons with each other's box when they
pass close by; the optimum doesn't. Shortest augmenting paths with dual potentials, O(n²m): the
method of Jonker and Volgenant (1987) without its initialisation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


MAX_GAIN = 1e12
"""Larger gains, infinite ones too, count as this."""


def assign(gain: NDArray[np.float64] | list[list[float]]) -> list[tuple[int, int]]:
    """Pair rows with columns so that the summed gain is the largest possible.

    Args:
        gain: float (N, M). A pair whose gain isn't above 0 (or is NaN) is never made: leaving
            both alone is as good.

    Returns:
        Pairs (row, column), rows ascending; each row and column at most once.
    """
    rows = gain if isinstance(gain, list) else gain.tolist()
    pairs = _favourites(rows)
    if pairs is not None:
        return pairs
    gains = np.array(rows)
    gains = np.where(gains > 0, np.minimum(gains, MAX_GAIN), 0.0)
    if gains.shape[0] > gains.shape[1]:
        columns = _cheapest_columns(-gains.T)
        pairs = [(int(row), column) for column, row in enumerate(columns)]
    else:
        pairs = [(row, int(column)) for row, column in enumerate(_cheapest_columns(-gains))]
    return sorted(pair for pair in pairs if gains[pair] > 0)


def _favourites(rows: list[list[float]]) -> list[tuple[int, int]] | None:
    """Each row with its best column; None if two rows want the same, or a gain is NaN.

    Nobody's best is anybody else's: no sum can be larger.
    """
    pairs, taken = [], set()
    for index, row in enumerate(rows):
        best = max(row, default=0.0)
        if best <= 0:
            continue
        column = row.index(best)
        if column in taken or math.isnan(best):
            return None
        taken.add(column)
        pairs.append((index, column))
    return pairs


def _cheapest_columns(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The column of each row in the cheapest complete assignment of (N, M), N <= M.

    Column 0 of the padded arrays is where a search for the new row's column starts.
    """
    rows, columns = cost.shape
    row_price = np.zeros(rows + 1)
    column_price = np.zeros(columns + 1)
    owner = np.zeros(columns + 1, dtype=np.int64)  # 1-based row of each column, 0: free
    for new_row in range(1, rows + 1):
        owner[0], column = new_row, 0
        slack = np.full(columns + 1, np.inf)
        came_from = np.zeros(columns + 1, dtype=np.int64)
        reached = np.zeros(columns + 1, dtype=bool)
        while owner[column]:
            reached[column] = True
            row = owner[column]
            reduced = cost[row - 1] - row_price[row] - column_price[1:]
            closer = ~reached[1:] & (reduced < slack[1:])
            slack[1:][closer] = reduced[closer]
            came_from[1:][closer] = column
            nearest = int(np.argmin(np.where(reached[1:], np.inf, slack[1:]))) + 1
            step = slack[nearest]
            row_price[owner[reached]] += step
            column_price[reached] -= step
            slack[1:][~reached[1:]] -= step
            column = nearest
        while column:
            owner[column] = owner[came_from[column]]
            column = int(came_from[column])
    result = np.zeros(rows, dtype=np.int64)
    taken = np.flatnonzero(owner[1:])
    result[owner[1:][taken] - 1] = taken
    return result
