"""What vision says of one frame: faces, and how a face wears its mask. No time, no people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.geometry import Box

LABELS = ("with_mask", "without_mask", "incorrect_mask")
"""The classes, in the order of every score array."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face found in a frame.

    Attributes:
        box: pixels of the frame, may reach over its edges.
        score: 0..1, how sure the detector is.
    """

    box: Box
    score: float


class FaceDetector(Protocol):
    """Finds faces.

    Attributes:
        min_face: the smallest that need be found, pixels of the frame; may be set between frames.
        max_faces: most faces that are returned; may be set between frames.
    """

    min_face: float
    max_faces: int

    def shrunk(self, frame: Frame) -> Frame:
        """The frame made small, for who needs no more of it; the frame itself will do as well.

        :meth:`detect` of the same frame then needn't shrink it again. The answer may lie in the
        network's own memory: let go of it before :meth:`detect`.
        """

    def detect(self, frame: Frame) -> list[Face]:
        """All faces, best score first.

        Raises:
            AcceleratorError: the Edge TPU failed.
        """


class MaskClassifier(Protocol):
    """Judges how each face wears its mask."""

    def classify(self, frame: Frame, boxes: Sequence[Box]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 (len(boxes), 3) in the order of :data:`LABELS`.

        Raises:
            AcceleratorError: the Edge TPU failed.
        """
