"""The worst errors of an evaluation, to be looked at: what a figure can't tell, an eye can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from convert.judging import read_frame
from convert.output import write_png
from maskedge.vision.base import LABELS
from maskedge.vision.masks import square_crop

if TYPE_CHECKING:
    from pathlib import Path

    from convert.classifier.data import Pixels
    from convert.judging import Judged
    from maskedge.geometry import Box

TILE, COLUMNS, LINES = 200, 5, 52
ROOM = 0.5
"""Margin of a tile on each side, as a share of the face: who else is there explains much."""


def errors(seen: Judged, count: int = 10) -> list[int]:
    """Indices of faces that were judged wrong, the surest first."""
    truth, scores = seen.arrays()
    wrong = np.flatnonzero(scores.argmax(1) != truth)
    return sorted(wrong.tolist(), key=lambda i: scores[i, truth[i]] - scores[i].max())[:count]


def described(seen: Judged, index: int) -> dict[str, Any]:
    """One face: ``file``, ``box``, ``label``, ``called``, ``confidence``, ``size`` in pixels."""
    face, scores = seen.faces[index], seen.scores[index]
    return {
        "file": str(face.path),
        "box": [round(v, 1) for v in face.box],
        "label": LABELS[seen.truth[index]],
        "called": LABELS[int(scores.argmax())],
        "confidence": round(float(scores.max()), 3),
        "size": round(face.size),
    }


def contact_sheet(seen: Judged, path: Path, count: int = 10) -> list[dict[str, Any]]:
    """Write a picture of the worst errors, each with what it is and what it was called.

    Returns:
        A row of :func:`described` for each; without any, no picture is written.
    """
    chosen = errors(seen, count)
    rows = [described(seen, index) for index in chosen]
    tiles = [
        _tile(read_frame(seen.faces[index].path).pixels, seen.faces[index].box, number, row)
        for number, (index, row) in enumerate(zip(chosen, rows, strict=True), 1)
    ]
    if tiles:
        tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
        sheet = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
        write_png(path, np.vstack(sheet))
    return rows


def _tile(pixels: Pixels, box: Box, number: int, row: dict[str, Any]) -> Pixels:
    tile = np.full((TILE + LINES, TILE, 3), 255, np.uint8)
    tile[:TILE] = square_crop(pixels, box, TILE, ROOM)
    edge = round(TILE * ROOM / (1 + 2 * ROOM))
    cv2.rectangle(tile, (edge, edge), (TILE - edge, TILE - edge), (0, 220, 255), 1)
    lines = (
        f"{number}: {row['label']}, {row['size']} px",
        f"called {row['called']}",
        f"at {row['confidence']:.2f}",
    )
    for line, text in enumerate(lines):
        place = (3, TILE + 14 + 16 * line)
        cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return tile
