"""A user's own YuNet (OpenCV's FaceDetectorYN) instead of the shipped detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder
from maskedge.errors import ModelError
from maskedge.geometry import Box
from maskedge.modelfile import ModelFile
from maskedge.vision.base import Face
from maskedge.vision.inputs import SIDES, side_for

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.config import DetectorConfig

URL = "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"
CANDIDATES = 5000
"""Boxes that OpenCV looks at before its NMS."""


class Yunet:
    """The network, for pictures of any size.

    Args:
        model: OpenCV's ``.onnx`` file.
        threshold: least score of a face, 0..1.
        nms_iou: overlap above which two boxes are one face.

    Raises:
        ModelError: OpenCV can't read it as YuNet.
    """

    def __init__(self, model: Path, threshold: float, nms_iou: float) -> None:
        self._model = model
        side = SIDES[0]  # set anew for each picture
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(model), "", (side, side), threshold, nms_iou, CANDIDATES
            )
        except cv2.error as error:
            raise ModelError(f"{model}: OpenCV can't read it as YuNet: {error.err}") from error

    def detect(self, picture: NDArray[Any]) -> NDArray[np.float32]:
        """The faces as they are found.

        Args:
            picture: uint8 (height, width, 3), BGR.

        Returns:
            float32 (faces, 15): left, top, width and height, five points' x and y, all in
            pixels, and the score.

        Raises:
            ModelError: the file isn't YuNet.
        """
        self._net.setInputSize((picture.shape[1], picture.shape[0]))
        found: Any
        try:
            _, found = self._net.detect(picture)
        except cv2.error as error:
            raise ModelError(f"{self._model}: isn't YuNet: {error.err}") from error
        return np.zeros((0, 15), np.float32) if found is None else np.asarray(found, np.float32)


class YunetDetector:
    """YuNet on frames shrunk to the configured long side.

    Args:
        config: with ``model``, the ``.onnx`` file.
        min_face: smallest face that is to be found, pixels of the frame.

    Raises:
        ModelError: no file is given, or it isn't YuNet.
    """

    backend = "opencv"

    def __init__(self, config: DetectorConfig, min_face: int) -> None:
        if config.model is None:
            raise ModelError(f"detector.model: kind yunet needs its .onnx file; get it at {URL}")
        self.model = ModelFile.load(config.model)
        self._sides = SIDES if config.input == "auto" else (config.input,)
        self.min_face: float = min_face
        self.max_faces = config.max_faces
        self._yunet = Yunet(config.model, config.threshold, config.nms_iou)

    def shrunk(self, frame: Frame) -> Frame:
        """The frame as it is; see :class:`maskedge.vision.base.FaceDetector`."""
        return frame

    def detect(self, frame: Frame) -> list[Face]:
        """All faces, best score first; see :class:`maskedge.vision.base.FaceDetector`."""
        side = side_for((frame.height, frame.width), self.min_face, self._sides)
        scale = side / max(frame.width, frame.height)
        size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
        picture = cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA)
        if frame.order is ChannelOrder.RGB:
            picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        found = self._yunet.detect(picture)
        sx, sy = frame.width / size[0], frame.height / size[1]
        faces = [
            Face(Box(x, y, x + w, y + h).scaled(sx, sy), float(score))
            for (x, y, w, h), score in zip(found[:, :4].tolist(), found[:, -1], strict=True)
        ]
        return sorted(faces, key=lambda face: -face.score)[: self.max_faces]

    def close(self) -> None:
        """Nothing to free: OpenCV does when the object goes."""
