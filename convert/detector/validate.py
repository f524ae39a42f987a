"""Scores a detector on labelled pictures through :mod:`maskedge.vision`: what runs is measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.backend import compiled_steps
from convert.coco import read_pixels
from convert.detector.network import build_detector
from convert.detector.score import LOW, MOST, Found, Truth, score_detections
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.inference.network import TensorSpec
from maskedge.modelfile import ModelFile
from maskedge.vision.builtin import BuiltinDetector, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convert.coco import Picture
    from maskedge.vision.base import FaceDetector

LOOSE = 0.3
"""A second, loose overlap: some annotators draw the head, not the face."""


class KerasNetwork:
    """The float network behind the port of :mod:`maskedge.inference`.

    Args:
        network: from ``build_detector``.
    """

    backend = "keras"

    def __init__(self, network: Any) -> None:
        network.compile(jit_compile=compiled_steps())
        self._network = network
        _, height, width, _ = network.input_shape
        self.input_spec = TensorSpec("picture", (1, height, width, 3), "float32", 0.0, 0)
        self.picture = np.zeros((height, width, 3), np.uint8)
        self.output_specs = tuple(
            TensorSpec(output.name, (1, *output.shape[1:]), "float32", 0.0, 0)
            for output in network.outputs
        )

    def invoke(self, picture: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.generic], ...]:
        """Run once; see :class:`maskedge.inference.network.Network`."""
        picture = self.picture if picture is None else picture
        batch = picture[None].astype(np.float32) / np.float32(127.5) - 1
        return tuple(np.asarray(o) for o in self._network.predict_on_batch(batch))

    def close(self) -> None:
        """Nothing to free."""


def validate(weights: list[Any], pictures: Sequence[Picture], side: int = 320) -> dict[str, Any]:
    """Score weights, in float, at one square input size.

    Args:
        weights: of ``build_detector``, any size.
        pictures: labelled pictures.
        side: rows and columns of the input.
    """
    network = build_detector(side, side)
    network.set_weights(weights)
    detector = BuiltinDetector(
        [Source.of(KerasNetwork(network))],
        ModelFile(Path("float"), ""),
        threshold=LOW,
        max_faces=MOST,
    )
    return score_detector(detector, pictures, side)


def validate_file(weights: Path, pictures: Sequence[Picture], side: int = 320) -> dict[str, Any]:
    """:func:`validate` for a file of weights."""
    network = build_detector(side, side)
    network.load_weights(weights)
    return validate(network.get_weights(), pictures, side)


def score_detector(
    detector: FaceDetector, pictures: Sequence[Picture], side: int = 320
) -> dict[str, Any]:
    """Score a detector; see :func:`convert.detector.score.score_detections`.

    The figures at an overlap of 0.5, and as ``at_iou_0.3`` those at 0.3.

    Args:
        detector: opened with a low threshold and many faces, see :data:`LOW`, :data:`MOST` of
            :mod:`convert.detector.score`.
        pictures: labelled pictures.
        side: the input's longer side, for face sizes.
    """
    found = []
    for number, picture in enumerate(pictures):
        frame = Frame(read_pixels(picture), ChannelOrder.RGB, float(number), number)
        found.append(Found.of(detector.detect(frame)))
    truth = [Truth.of(p, side) for p in pictures]
    loose = score_detections(found, truth, iou=LOOSE)
    return {**score_detections(found, truth), f"at_iou_{LOOSE}": loose}
