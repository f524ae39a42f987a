"""How each face wears its mask: one square crop per face, one small network, three probabilities.

The crop is the contract between training and running, so there is one function for it and
``convert`` uses the same: a square around the box's centre, its longer edge plus a margin on all
four sides, edge pixels repeated where the square leaves the picture.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder
from maskedge.errors import ModelError
from maskedge.inference import Network, dequantise, open_interpreter
from maskedge.inference.batches import open_batches
from maskedge.modelfile import ModelFile
from maskedge.vision.base import LABELS
from maskedge.vision.shrink import Scratch, shrink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.config import ClassifierConfig, InferenceConfig
    from maskedge.geometry import Box
    from maskedge.inference.batches import Batch

SHIPPED = "mask_classifier.tflite"
DEFAULT_PADDING = 0.2
"""Margin on each side, as a share of the box's longer edge; a network's JSON may say otherwise."""


def square_crop(
    pixels: NDArray[np.uint8], box: Box, size: int, padding: float = DEFAULT_PADDING
) -> NDArray[np.uint8]:
    """The square that the classifier sees of one face, as a new array.

    Args:
        pixels: uint8 (height, width, 3), either channel order.
        box: the face, pixels of the picture; may reach over its edges.
        size: edge of the result, pixels.
        padding: margin on each side, as a share of the box's longer edge.

    Returns:
        uint8 (size, size, 3), channels as given.
    """
    square: NDArray[np.uint8] = np.empty((size, size, 3), np.uint8)
    write_crop(pixels, box, square, padding, Scratch())
    return square


def write_crop(
    pixels: NDArray[np.uint8],
    box: Box,
    target: NDArray[np.uint8],
    padding: float,
    scratch: Scratch,
) -> None:
    """:func:`square_crop` into an array that is there already, uint8 (size, size, 3)."""
    height, width = pixels.shape[:2]
    side = max(2, round(box.size * (1 + 2 * padding)))
    cx, cy = box.centre
    left, top = math.floor(cx - side / 2 + 0.5), math.floor(cy - side / 2 + 0.5)
    x1, x2 = _inside(left, side, width)
    y1, y2 = _inside(top, side, height)
    view: NDArray[Any] = pixels[y1:y2, x1:x2]
    gaps = (y1 - top, top + side - y2, x1 - left, left + side - x2)
    if any(gaps):
        before_y, after_y, before_x, after_x = (min(max(gap, 0), side - 1) for gap in gaps)
        view = cv2.copyMakeBorder(view, before_y, after_y, before_x, after_x, cv2.BORDER_REPLICATE)
    shrink(view, target, scratch)


def _inside(start: int, length: int, limit: int) -> tuple[int, int]:
    """The part of ``start … start+length`` within 0…limit, at least one pixel of it."""
    first = min(max(start, 0), limit - 1)
    return first, max(first + 1, min(start + length, limit))


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Calibrated probabilities (Guo et al., 2017) of logits (N, classes), float32."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = (powers / powers.sum(-1, keepdims=True)).astype(np.float32)
    return probabilities


class NetworkMaskClassifier:
    """A mask classifier over one network; see :class:`maskedge.vision.base.MaskClassifier`.

    Attributes:
        model: the verified file.
        network: what runs it for one face.
        batches: what runs it for several, the most first; used while ``network`` is on the same
            processor.
    """

    def __init__(self, model: ModelFile, network: Network) -> None:
        """Check that the network is a mask classifier.

        The JSON beside it may give ``labels`` (its order of classes), ``input.padding`` and
        ``calibration.temperature``; without them it is the order of LABELS, 0.2 and 1.

        Raises:
            ModelError: its input isn't one square picture, its output isn't one logit per label,
                or the JSON names other labels or impossible numbers.
        """
        self.model = model
        self.network = network
        self.batches: tuple[Batch, ...] = ()
        shape = network.input_spec.shape
        if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:  # noqa: PLR2004
            raise ModelError(
                f"{model.path}: a mask classifier takes one square RGB picture, this network takes "
                f"{shape}; give classifier.model a network made by python -m convert"
            )
        outputs = [spec.shape for spec in network.output_specs]
        if len(outputs) != 1 or math.prod(outputs[0]) != len(LABELS):
            raise ModelError(
                f"{model.path}: a mask classifier has one output of {len(LABELS)} scores, this "
                f"network has {', '.join(map(str, outputs))}; give classifier.model a network made "
                "by python -m convert"
            )
        self.size = shape[1]
        self._scratch = Scratch()
        labels = model.labels or LABELS
        if sorted(labels) != sorted(LABELS):
            raise ModelError(
                f"{model.path.with_suffix('.json')}: labels are {', '.join(map(str, labels))}; "
                f"a mask classifier has {', '.join(LABELS)}"
            )
        self._order = [labels.index(label) for label in LABELS]
        self.padding = _number(model, "input", "padding", DEFAULT_PADDING, (0.0, 1.0))
        self.temperature = _number(model, "calibration", "temperature", 1.0, (0.05, 20.0))
        (spec,) = network.output_specs
        self._zero = spec.zero_point if spec.scale else 0
        self._step = (spec.scale or 1.0) / self.temperature

    @property
    def backend(self) -> str:
        """What runs the network: ``litert``, ``tflite_runtime`` or ``edgetpu``."""
        return self.network.backend

    @property
    def fault(self) -> str | None:
        """Why the Edge TPU isn't used though it should be; None when all is well."""
        fault: str | None = getattr(self.network, "fault", None)
        return fault

    def logits(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Raw scores of one crop, RGB uint8 (size, size, 3): float32 (3,), in LABELS' order."""
        (stored,) = self.network.invoke(crop)
        return dequantise(stored, self.network.output_specs[0]).reshape(-1)[self._order]

    def classify(self, frame: Frame, boxes: Sequence[Box]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 (len(boxes), 3) in the order of LABELS.

        Raises:
            AcceleratorError: the Edge TPU failed.
        """
        rows: list[list[float]] = []
        while len(rows) < len(boxes):
            stored = self._run(frame, boxes[len(rows) :])
            rows += map(self._probabilities, stored.reshape(-1, len(LABELS)).tolist())
        return np.array(rows, np.float32).reshape(-1, len(LABELS))

    def _run(self, frame: Frame, boxes: Sequence[Box]) -> NDArray[np.generic]:
        """Answers as stored for the first of these faces, as many as one run takes."""
        backend = self.network.backend
        for batch in self.batches:
            if batch.size <= len(boxes) and batch.backend == backend:
                self._show_all(frame, boxes, batch)
                return batch.invoke()
        self.show(frame, boxes[0])
        (stored,) = self.network.invoke()
        return stored

    def _show_all(self, frame: Frame, boxes: Sequence[Box], batch: Batch) -> None:
        """A function of its own: no view of a batch's memory may outlive it, see there."""
        for box, picture in zip(boxes, batch.pictures, strict=False):
            self._write(frame, box, picture)

    def _probabilities(self, stored: list[float]) -> list[float]:
        """:func:`softmax` of one answer as stored; NumPy is far slower on three numbers."""
        logits = [(stored[index] - self._zero) * self._step for index in self._order]
        most = max(logits)
        powers = [math.exp(logit - most) for logit in logits]
        total = sum(powers)
        return [power / total for power in powers]

    def show(self, frame: Frame, box: Box) -> None:
        """Scale a face's square straight into the network's input, RGB."""
        self._write(frame, box, self.network.picture)

    def _write(self, frame: Frame, box: Box, target: NDArray[np.uint8]) -> None:
        write_crop(frame.pixels, box, target, self.padding, self._scratch)
        if frame.order is ChannelOrder.BGR:
            cv2.cvtColor(target, cv2.COLOR_BGR2RGB, target)

    def close(self) -> None:
        """Free the network; never raises."""
        self.network.close()
        for batch in self.batches:
            batch.close()


def _number(
    model: ModelFile, section: str, key: str, default: float, within: tuple[float, float]
) -> float:
    part = model.card.get(section, {})
    value = part.get(key, default) if isinstance(part, dict) else None
    low, high = within
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ModelError(
            f"{model.path.with_suffix('.json')}: {section}.{key} must be a number from {low:g} to "
            f"{high:g}, it is {value!r}; install the file again"
        )
    return float(value)


def open_classifier(
    config: ClassifierConfig, inference: InferenceConfig, models: Path
) -> NetworkMaskClassifier:
    """The mask classifier that a configuration asks for.

    Args:
        config: which network; unset, the one shipped.
        inference: what it runs on.
        models: folder of the shipped networks.

    Raises:
        ModelError: the file is missing, damaged, or no mask classifier.
        AcceleratorError: no interpreter is installed.
    """
    model = ModelFile.load(config.model or models / SHIPPED)
    network = open_interpreter(
        model.path,
        inference.accelerator,
        threads=inference.threads,
        device=inference.device,
        timeout=inference.timeout,
    )
    try:
        classifier = NetworkMaskClassifier(model, network)
        classifier.batches = open_batches(model, network, inference.threads)
    except ModelError:
        network.close()
        raise
    return classifier
