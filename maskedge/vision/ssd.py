"""A user's own SSD face detector of OpenCV (ResNet-10, 300x300) instead of the shipped one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from maskedge.camera.frame import ChannelOrder
from maskedge.errors import ModelError
from maskedge.geometry import Box
from maskedge.modelfile import ModelFile
from maskedge.vision.base import Face
from maskedge.vision.nms import suppress

if TYPE_CHECKING:
    from maskedge.camera.frame import Frame
    from maskedge.config import DetectorConfig

SIDE = 300
MEAN = (104.0, 177.0, 123.0)
"""Of blue, green and red, as in OpenCV's samples/dnn/models.yml (opencv_fd)."""
COLUMNS = 7
"""Of a row of the output: picture, class, score, and the box in 0..1."""


class SsdDetector:
    """The SSD on frames squeezed to 300x300, as it was trained.

    Args:
        config: with ``model``, the ``.pb`` file; its graph, ``.pbtxt``, lies beside it: of the
            same name, or the only one there.

    Raises:
        ModelError: a file is missing or isn't this network.
    """

    backend = "opencv"
    min_face = 0.0
    """Of no effect: this network sees 300x300 of any frame."""

    def __init__(self, config: DetectorConfig) -> None:
        if config.model is None:
            raise ModelError("detector.model: kind ssd needs opencv_face_detector_uint8.pb")
        self.model = ModelFile.load(config.model)
        self._threshold, self._iou = config.threshold, config.nms_iou
        self.max_faces = config.max_faces
        graphs = [config.model.with_suffix(".pbtxt")]
        if not graphs[0].exists():
            graphs = sorted(config.model.parent.glob("*.pbtxt"))
        if len(graphs) != 1:
            raise ModelError(
                f"{config.model}: its graph, {config.model.with_suffix('.pbtxt').name}, must lie "
                "beside it; OpenCV ships it as opencv_face_detector.pbtxt"
            )
        try:
            self._net = cv2.dnn.readNetFromTensorflow(str(config.model), str(graphs[0]))
        except cv2.error as error:
            raise ModelError(f"{config.model}: OpenCV can't read it: {error.err}") from error

    def shrunk(self, frame: Frame) -> Frame:
        """The frame as it is; see :class:`maskedge.vision.base.FaceDetector`."""
        return frame

    def detect(self, frame: Frame) -> list[Face]:
        """All faces, best score first; see :class:`maskedge.vision.base.FaceDetector`."""
        blob = cv2.dnn.blobFromImage(
            cv2.resize(frame.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA),
            mean=MEAN,  # in the order that the network sees
            swapRB=frame.order is ChannelOrder.RGB,
        )
        try:
            self._net.setInput(blob)
            rows = self._net.forward().reshape(-1, COLUMNS)
        except (cv2.error, ValueError) as error:
            raise ModelError(f"{self.model.path}: isn't OpenCV's SSD face detector") from error
        rows = rows[rows[:, 2] >= self._threshold]
        boxes = [Box(*r).scaled(frame.width, frame.height) for r in rows[:, 3:].tolist()]
        scores = rows[:, 2].tolist()
        kept = suppress(boxes, scores, self._iou, self.max_faces)
        return [Face(boxes[i], scores[i]) for i in kept]

    def close(self) -> None:
        """Nothing to free: OpenCV does when the object goes."""
