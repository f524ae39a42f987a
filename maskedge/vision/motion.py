"""The gate that spares the networks a still scene: frame differencing on a small grey picture.

Every frame is shrunk to cells of the mean brightness of some 8 x 8 pixels, which takes a sensor's
noise down by the same factor. A cell has changed when it differs from the frame before (something
moves) or from its own running average (something came, or moves too slowly for the first) by more
than its tolerance. The average follows slow light; the tolerance of a cell that never rests, such
as a screen or a tree, grows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder
from maskedge.vision.shrink import Scratch, shrink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.config import MotionConfig
    from maskedge.geometry import Box

GRID_WIDTH = 80
MEAN_ROWS = 180
"""Rows of the frame that are read, at least: four for each row of cells of a 16:9 frame."""
BACKGROUND_SECONDS = 5.0
"""Time constant of a cell's average: light that changes by less than pixel_delta in it is none."""
CHANGED_SECONDS = 25.0
"""The same for a cell that has changed: who passes leaves no trace, a moved chair is learnt."""
TOLERANCE_SECONDS = 30.0
"""Time constant of a cell's unrest: people who pass don't raise it, a screen that flickers does."""
TOLERANCE_PACE = 1.0
"""Seconds between two looks at the unrest, which changes so much more slowly."""
UNREST_FACTOR = 3.0
TOLERANCE_LIMIT = 3.0
"""Times pixel_delta that a restless cell may tolerate: a person in front of it is still seen."""
GLOBAL_SHARE = 0.6
"""Share of changed cells above which the light or the camera changed: a new scene, once."""


class MotionGate:
    """Says of each frame whether faces should be looked for in it.

    Never blind for longer than ``refresh``: a person who stands still since before the start is
    found by that look, and the caller's :meth:`keep` then holds the gate open.
    """

    def __init__(self, config: MotionConfig, ignore: Sequence[Box] = ()) -> None:
        """Begin.

        Args:
            config: its settings.
            ignore: areas in which change is none, shares of the picture (0..1).
        """
        self.share = 0.0
        """Share of cells that changed in the last frame, of those not ignored, 0..1."""
        self._config = config
        self._ignore = ignore
        self._shape: tuple[int, ...] = ()
        self._open_until = -math.inf
        self._looked = -math.inf
        self._tolerance_due = -math.inf
        self._last = math.inf
        self._scratch = Scratch()

    def moved(self, frame: Frame, now: float) -> bool:
        """Whether to look for faces in this frame.

        Args:
            frame: the picture; a change of its size begins a new scene.
            now: seconds, on any steady time line; a step back begins a new scene.

        Returns:
            True if something changed in the last ``hold`` seconds, in the first frame, when
            ``refresh`` seconds have passed since the last look, or if the gate isn't enabled.
        """
        if not self._config.enabled:
            return True
        if self._changed(frame, now):
            self._open_until = now + self._config.hold
        elif now > self._open_until and now - self._looked < self._config.refresh:
            return False
        self._looked = now
        return True

    def keep(self, now: float) -> None:
        """Stay open for ``hold`` seconds: there are people in view, moving or not."""
        self._open_until = max(self._open_until, now + self._config.hold)

    def _changed(self, frame: Frame, now: float) -> bool:
        if frame.pixels.shape != self._shape or now < self._last:
            self._begin(frame, now)
            return True
        grey = self._shrink(frame)
        elapsed, self._last = now - self._last, now

        cv2.absdiff(grey, self._background, dst=self._difference)
        cv2.absdiff(grey, self._previous, dst=self._previous)
        np.maximum(self._difference, self._previous, out=self._difference)
        if now >= self._tolerance_due:
            self._tolerance_due = now + TOLERANCE_PACE
            self._tolerate()
        np.greater(self._difference, self._tolerance, out=self._mask)
        if self._ignore:
            np.logical_and(self._mask, self._heeded, out=self._mask)
        # Limited, so that a person who passes leaves the tolerance as it was.
        np.minimum(self._difference, self._limits[1], out=self._difference)
        cv2.accumulateWeighted(
            self._difference, self._unrest, 1 - math.exp(-elapsed / TOLERANCE_SECONDS)
        )

        self.share = float(np.count_nonzero(self._mask)) / self._heeded_cells
        if self.share > GLOBAL_SHARE:
            np.copyto(self._background, grey)
        else:
            self._learn(grey, elapsed)
        np.copyto(self._previous, grey)
        return self.share > 0 and self.share >= self._config.threshold

    def _tolerate(self) -> None:
        """Take over what the cells' unrest has come to."""
        np.multiply(self._unrest, UNREST_FACTOR, out=self._tolerance)
        np.maximum(self._tolerance, self._limits[0], out=self._tolerance)
        np.minimum(self._tolerance, self._limits[1], out=self._tolerance)

    def _learn(self, grey: NDArray[np.float32], elapsed: float) -> None:
        """Let the background follow, slowly where somebody stands before it."""
        alpha = 1 - math.exp(-elapsed / BACKGROUND_SECONDS)
        if self.share == 0:
            cv2.accumulateWeighted(grey, self._background, alpha)
            return
        slow = 1 - math.exp(-elapsed / CHANGED_SECONDS)
        cv2.accumulateWeighted(grey, self._background, slow, mask=self._mask8)
        np.logical_not(self._mask, out=self._mask)
        cv2.accumulateWeighted(grey, self._background, alpha, mask=self._mask8)

    def _begin(self, frame: Frame, now: float) -> None:
        """Make all arrays for this size of frame; later frames only fill them."""
        self._shape = frame.pixels.shape
        self._last = now
        self._open_until = self._looked = self._tolerance_due = -math.inf
        width = min(GRID_WIDTH, frame.width)
        height = min(max(1, round(frame.height * width / frame.width)), frame.height)
        size = (height, width)
        delta = float(self._config.pixel_delta)
        self._limits = (delta, TOLERANCE_LIMIT * delta)
        self._rows: NDArray[np.uint8] = np.empty(_rows(frame).shape[:2], np.uint8)
        self._cells: NDArray[np.uint8] = np.empty(size, np.uint8)
        self._grey: NDArray[np.float32] = np.empty(size, np.float32)
        self._difference = np.empty(size, np.float32)
        self._unrest = np.zeros(size, np.float32)
        self._tolerance = np.empty(size, np.float32)
        self._mask = np.empty(size, np.bool_)
        self._mask8 = self._mask.view(np.uint8)  # the same bytes, as OpenCV takes them
        self._heeded = np.ones(size, np.bool_)
        for area in self._ignore:
            x1, y1, x2, y2 = area.scaled(width, height)
            self._heeded[_cells(y1, y2), _cells(x1, x2)] = False
        self._heeded_cells = max(1, int(np.count_nonzero(self._heeded)))
        self._previous = self._shrink(frame).copy()
        self._background = self._previous.copy()
        self.share = 1.0

    def _shrink(self, frame: Frame) -> NDArray[np.float32]:
        """The frame's cells as grey levels, in an array that the next call fills again."""
        code = cv2.COLOR_RGB2GRAY if frame.order is ChannelOrder.RGB else cv2.COLOR_BGR2GRAY
        cv2.cvtColor(_rows(frame), code, dst=self._rows)
        shrink(self._rows, self._cells, self._scratch)
        np.copyto(self._grey, self._cells)
        return self._grey


def _cells(start: float, end: float) -> slice:
    """Those whose middle lies between two edges, in cells."""
    return slice(math.ceil(start - 0.5), math.ceil(end - 0.5))


def _rows(frame: Frame) -> NDArray[np.uint8]:
    """Every n-th row: enough for a mean, and a part of the time."""
    return frame.pixels[:: max(1, frame.height // MEAN_ROWS)]
