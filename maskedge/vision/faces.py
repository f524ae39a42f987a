"""The face detector that maskedge ships, and the choice between it and a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from maskedge.errors import ModelError
from maskedge.geometry import Box
from maskedge.inference.network import dequantise
from maskedge.modelfile import ModelFile
from maskedge.vision.base import Face, FaceDetector
from maskedge.vision.letterbox import Letterbox, place
from maskedge.vision.nms import suppress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.config import DetectorConfig, InferenceConfig
    from maskedge.geometry import Boxes
    from maskedge.inference.network import Network, TensorSpec

SHIPPED = {
    320: ("face_detector_320x320", "face_detector_320x256", "face_detector_320x192"),
    640: ("face_detector_640x512",),
}
"""Files for each long side; the first takes any shape of frame, the others cost less."""
EDGE_TPU = "edgetpu"
OFFSET_ZERO = 3.0
"""Subtracted from a stored centre offset: it reaches 3 strides to each side of its cell."""
SIZE_ZERO = 2.5
"""Subtracted from a stored logarithm of a size in strides."""
CANDIDATES_PER_FACE = 12
"""Cells that may claim one face; bounds what NMS looks at in a frame full of faces."""


class OpenDetector(FaceDetector, Protocol):
    """A detector that says what it is and can be closed."""

    @property
    def model(self) -> ModelFile:
        """Its file."""

    @property
    def backend(self) -> str:
        """``litert``, ``tflite_runtime``, ``edgetpu`` or ``opencv``."""

    def close(self) -> None:
        """Free its networks; never raises."""


@dataclass(frozen=True, slots=True)
class _Level:
    """The outputs of one stride.

    Attributes:
        score: index of the logits (1, rows, columns, 1) among the network's outputs.
        box: index of the boxes (1, rows, columns, 4).
        stride: input pixels per cell.
        columns: cells in a row.
        least: least stored logit that passes the threshold.
    """

    score: int
    box: int
    stride: int
    columns: int
    least: float


class _Variant:
    """One network with its letterbox and its decoder."""

    def __init__(self, network: Network, threshold: float, where: str) -> None:
        _, self.height, self.width, _ = network.input_spec.shape
        self.network = network
        self.letterbox = Letterbox(self.height, self.width)
        self._levels = _levels(network, threshold, where)

    def candidates(self, frame: Frame, most: int) -> tuple[Boxes, NDArray[np.float32]]:
        """Boxes (N, 4) in pixels of the frame and logits (N,) of the cells over the threshold."""
        placement = self.letterbox.write(frame)
        outputs = self.network.invoke(self.letterbox.picture)
        specs = self.network.output_specs
        boxes, logits = [], []
        for level in self._levels:
            stored: NDArray[Any] = outputs[level.score].reshape(-1)
            (cells,) = np.nonzero(stored >= level.least)  # on integers: most cells end here
            if len(cells):
                logits.append(dequantise(stored[cells], specs[level.score]))
                chosen = outputs[level.box].reshape(-1, 4)[cells]
                boxes.append(_decode(dequantise(chosen, specs[level.box]), cells, level))
        if not boxes:
            return np.empty((0, 4), np.float32), np.empty(0, np.float32)
        found, scores = np.concatenate(boxes), np.concatenate(logits)
        if len(scores) > most:
            best = np.argsort(-scores, kind="stable")[:most]
            found, scores = found[best], scores[best]
        return placement.to_frame(found), scores


class BuiltinDetector:
    """maskedge's own network (``convert/detector``): anchor-free, strides 8, 16 and 32.

    Args:
        networks: the same network for one or more input sizes; each frame goes through the
            smallest that shows it as large as any of them would. The first takes frames of any
            shape and is the one for an Edge TPU, which holds one network: while it runs there,
            all frames go through it.
        model: the file of the first.
        threshold: least score of a face, 0..1.
        nms_iou: overlap above which two boxes are one face.
        max_faces: most faces returned.

    Raises:
        ModelError: a network's outputs aren't those of a face detector.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        model: ModelFile,
        *,
        threshold: float = 0.5,
        nms_iou: float = 0.45,
        max_faces: int = 32,
    ) -> None:
        self.model = model
        self._scale, self._offset = _calibration(model)
        raw = _sigmoid((_logit(threshold) - self._offset) / self._scale)
        self._variants = [_Variant(n, raw, str(model.path)) for n in networks]
        self._general = self._variants[0]
        self._variants.sort(key=lambda v: v.height * v.width)
        self._nms_iou, self._max_faces = nms_iou, max_faces

    @property
    def backend(self) -> str:
        """What runs it."""
        return self._general.network.backend

    @property
    def fault(self) -> str | None:
        """Why the Edge TPU isn't used though it should be."""
        fault: str | None = getattr(self._general.network, "fault", None)
        return fault

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each input, smallest first."""
        return tuple((v.width, v.height) for v in self._variants)

    def detect(self, frame: Frame) -> list[Face]:
        """All faces, best score first; see :class:`maskedge.vision.base.FaceDetector`."""
        variant = self._variant(frame.height, frame.width)
        most = CANDIDATES_PER_FACE * self._max_faces
        boxes, logits = variant.candidates(frame, most)
        kept = suppress(boxes, logits, self._nms_iou, self._max_faces)
        scores = 1 / (1 + np.exp(-(self._scale * logits[kept] + self._offset)))
        return [
            Face(Box(*map(float, box)), float(score))
            for box, score in zip(boxes[kept], scores, strict=True)
        ]

    def close(self) -> None:
        """Free the networks."""
        for variant in self._variants:
            variant.network.close()

    def network_for(self, height: int, width: int) -> Network:
        """The network that a frame of this size goes through."""
        return self._variant(height, width).network

    def _variant(self, height: int, width: int) -> _Variant:
        if self.backend == EDGE_TPU:
            return self._general
        placements = [place((height, width), (v.height, v.width)) for v in self._variants]
        widest = max(p.width for p in placements)
        return next(v for v, p in zip(self._variants, placements, strict=True) if p.width == widest)


def _logit(probability: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log(probability) - np.log1p(-probability))


def _sigmoid(logit: float) -> float:
    with np.errstate(over="ignore"):
        return float(1 / (1 + np.exp(-logit)))


def _calibration(model: ModelFile) -> tuple[float, float]:
    """Scale and offset that turn the network's logit into that of P(face); see convert.

    Raises:
        ModelError: the JSON beside the network has something else there, or is no detector's.
    """
    if model.card.get("task", "detector") != "detector":
        raise ModelError(
            f"{model.path}: is a {model.card['task']}, not a face detector; give detector.model "
            "a network made by python -m convert export"
        )
    part = model.card.get("calibration", {"scale": 1.0, "offset": 0.0})
    try:
        scale, offset = float(part["scale"]), float(part["offset"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{model.path.with_suffix('.json')}: calibration must give numbers for scale and "
            "offset; install the file again"
        ) from error
    if not (scale > 0 and np.isfinite([scale, offset]).all()):
        raise ModelError(
            f"{model.path.with_suffix('.json')}: calibration.scale must be above 0, it is {scale}; "
            "install the file again"
        )
    return scale, offset


def _levels(network: Network, threshold: float, where: str) -> list[_Level]:
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
        spec = network.output_specs[indices[1]]
        least = _stored_threshold(threshold, spec)
        levels.append(_Level(indices[1], indices[4], stride, grid[1], least))
    return levels


def _stored_threshold(threshold: float, spec: TensorSpec) -> float:
    """The least stored logit whose score is at least ``threshold``."""
    logit = _logit(threshold)
    if spec.scale == 0 or not np.isfinite(logit):
        return logit
    least = int(np.floor(logit / spec.scale)) + spec.zero_point - 1
    while (least - spec.zero_point) * spec.scale < logit:
        least += 1
    return least


def _decode(
    stored: NDArray[np.float32], cells: NDArray[np.intp], level: _Level
) -> NDArray[np.float32]:
    """Boxes (N, 4) in pixels of the input from the network's values for these cells."""
    rows, columns = np.divmod(cells, level.columns)
    cell = np.stack([columns, rows], axis=1).astype(np.float32) + 0.5
    middle = (cell + stored[:, :2] - OFFSET_ZERO) * level.stride
    half = np.exp(stored[:, 2:] - SIZE_ZERO) * (level.stride / 2)
    return np.concatenate([middle - half, middle + half], axis=1)


def open_detector(config: DetectorConfig, inference: InferenceConfig, models: Path) -> OpenDetector:
    """The detector that the configuration asks for, ready to use.

    Args:
        config: which, and its thresholds.
        inference: what it runs on; a user's own YuNet or SSD always runs in OpenCV, on the CPU.
        models: the folder of the shipped networks.

    Raises:
        ModelError: a file is missing, damaged or of another kind of network.
        AcceleratorError: no interpreter works here.
    """
    if config.kind == "yunet":
        from maskedge.vision.yunet import YunetDetector  # noqa: PLC0415 - only if asked for

        return YunetDetector(config)
    if config.kind == "ssd":
        from maskedge.vision.ssd import SsdDetector  # noqa: PLC0415 - only if asked for

        return SsdDetector(config)
    return _open_builtin(config, inference, models)


def _open_builtin(
    config: DetectorConfig, inference: InferenceConfig, models: Path
) -> BuiltinDetector:
    from maskedge.inference import open_interpreter  # noqa: PLC0415 - loads an interpreter

    if config.model is not None:
        paths = [config.model]
    else:
        paths = [models / f"{name}.tflite" for name in SHIPPED[config.input]]
    general = open_interpreter(
        paths[0],
        inference.accelerator,
        threads=inference.threads,
        device=inference.device,
        timeout=inference.timeout,
    )
    threads = inference.threads
    networks = [general, *(open_interpreter(p, "cpu", threads=threads) for p in paths[1:])]
    return BuiltinDetector(
        networks,
        ModelFile.load(paths[0]),
        threshold=config.threshold,
        nms_iou=config.nms_iou,
        max_faces=config.max_faces,
    )
