"""The face detector that maskedge ships: one network in several input sizes, letterbox to boxes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.errors import ModelError
from maskedge.geometry import Box
from maskedge.vision.base import Face
from maskedge.vision.decode import Decoder, logit, sigmoid
from maskedge.vision.inputs import Size, View, best_size, side_for
from maskedge.vision.letterbox import Letterbox, Placement, place
from maskedge.vision.nms import suppress, vote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from maskedge.inference.network import Network
    from maskedge.modelfile import ModelFile

log = logging.getLogger(__name__)

EDGE_TPU = "edgetpu"
CHEAP_WIDTH = 320
"""Widest input that is filled for a frame that may not be looked at after all: a wider one takes
several times as long as the motion gate takes to read a large frame itself."""
VOTER = 0.1
"""The network's own score, before calibration, from which a box has a say in where a face is that
another box shows."""
HARDLY = 1e-6
"""The say of a box below that: it counts where it is alone."""
CANDIDATES_PER_FACE = 12
"""Cells that may claim one face; bounds what NMS looks at in a frame full of faces."""


class _Variant:
    """One network with its letterbox and its decoder."""

    def __init__(self, network: Network, threshold: float, where: str) -> None:
        _, self.height, self.width, _ = network.input_spec.shape
        self.network = network
        self._letterbox = Letterbox(self.height, self.width)
        self.decoder = Decoder(network, threshold, VOTER, where)

    def write(self, frame: Frame) -> Placement:
        """Scale the frame straight into the network's input."""
        return self._letterbox.write(frame, self.network.picture)


class Source(NamedTuple):
    """A network that a frame may need.

    Attributes:
        size: of its input.
        open: loads it; called once, when it is first needed.
        accelerated: whether it may run on an Edge TPU.
    """

    size: Size
    open: Callable[[], Network]
    accelerated: bool = False

    @classmethod
    def of(cls, network: Network) -> Source:
        """One that is open already."""
        _, height, width, _ = network.input_spec.shape
        return cls(Size(width, height), lambda: network)


class BuiltinDetector:
    """maskedge's own network (``convert/detector``): anchor-free, strides 8, 16 and 32.

    Args:
        sources: the same network for one or more input sizes; see :meth:`network_for`.
        model: the file of the first, which names them all: their weights are the same.
        view: what is expected: the network for it is opened now, the others when they are needed.
        threshold: least score of a face, 0..1.
        nms_iou: overlap above which two boxes are one face.
        max_faces: most faces returned; may be set between frames.

    Raises:
        ModelError: the network or the JSON beside ``model`` isn't a face detector's.
        AcceleratorError: no interpreter works here.
    """

    def __init__(  # noqa: PLR0913 - one for each setting
        self,
        sources: Sequence[Source],
        model: ModelFile,
        *,
        view: View | None = None,
        threshold: float = 0.5,
        nms_iou: float = 0.45,
        max_faces: int = 32,
    ) -> None:
        self.model = model
        self._scale, self._offset = _calibration(model)
        self._least = (logit(threshold) - self._offset) / self._scale
        self._raw, self._voter = sigmoid(self._least), logit(VOTER)
        self._sources = {source.size: source for source in sources}
        self._open: dict[Size, _Variant] = {}
        self._choices: dict[tuple[int, int, float], tuple[Size, Size]] = {}
        self._nms_iou = nms_iou
        self.max_faces = max_faces
        self._written: tuple[Frame, _Variant, Placement] | None = None
        view = view or View()
        self.min_face: float = view.min_face
        self._last = self._variant(view.height, view.width)

    @property
    def backend(self) -> str:
        """What the last frame ran on."""
        return self._last.network.backend

    @property
    def fault(self) -> str | None:
        """Why the Edge TPU isn't used though it should be."""
        faults = (getattr(variant.network, "fault", None) for variant in self._open.values())
        return next((fault for fault in faults if fault), None)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Of the inputs that are open, in the order in which they were needed."""
        return tuple(self._open)

    def shrunk(self, frame: Frame) -> Frame:
        """The frame as its network will see it; see :class:`maskedge.vision.base.FaceDetector`.

        Where that takes longer than to look at the frame itself, the frame.
        """
        variant = self._variant(frame.height, frame.width)
        if variant.width > CHEAP_WIDTH:
            return frame
        placement = variant.write(frame)
        self._written = frame, variant, placement
        small = placement.of(variant.network.picture)
        return Frame(small, ChannelOrder.RGB, frame.time, frame.number, frame.path)

    def detect(self, frame: Frame) -> list[Face]:
        """All faces, best score first; see :class:`maskedge.vision.base.FaceDetector`."""
        written, self._written = self._written, None
        if written is not None and written[0] is frame:
            _, variant, placement = written
        else:
            variant = self._variant(frame.height, frame.width)
            placement = variant.write(frame)
        return self._faces(variant, variant.network.invoke(), placement)

    def decode(
        self, outputs: tuple[NDArray[np.generic], ...], frame: tuple[int, int]
    ) -> list[Face]:
        """The faces in what the network for a frame of this height and width has answered."""
        variant = self._variant(*frame)
        return self._faces(variant, outputs, place(frame, (variant.height, variant.width)))

    def _faces(
        self, variant: _Variant, outputs: tuple[NDArray[np.generic], ...], placement: Placement
    ) -> list[Face]:
        most = CANDIDATES_PER_FACE * self.max_faces
        boxes, logits = variant.decoder.candidates(outputs, most)
        sure = [index for index, value in enumerate(logits) if value >= self._least]
        if not sure:
            return []
        best = suppress(
            [boxes[index] for index in sure],
            [logits[index] for index in sure],
            self._nms_iou,
            self.max_faces,
        )
        kept = [sure[index] for index in best]
        sx, sy = 1 / placement.sx, 1 / placement.sy
        says = [sigmoid(value) if value >= self._voter else HARDLY for value in logits]
        agreed = vote(boxes, says, kept)
        return [
            Face(Box(*box).scaled(sx, sy), sigmoid(self._scale * logits[index] + self._offset))
            for box, index in zip(agreed, kept, strict=True)
        ]

    def close(self) -> None:
        """Free the networks."""
        for variant in self._open.values():
            variant.network.close()

    def network_for(self, height: int, width: int) -> Network:
        """The network that a frame of this size goes through, opened if it wasn't.

        Of the inputs with the least longer side in which ``min_face`` can be found, the smallest
        that shows the frame no smaller than the others do. While an Edge TPU runs one of those
        that it may, that one, even if another would be smaller.

        Raises:
            ModelError: its file is gone or isn't a face detector.
            AcceleratorError: no interpreter works here.
        """
        return self._variant(height, width).network

    def _variant(self, height: int, width: int) -> _Variant:
        fast, plain = self._choices.get((height, width, self.min_face)) or self._choose(
            (height, width)
        )
        variant = self._opened(fast)
        if fast != plain and variant.network.backend != EDGE_TPU:
            variant = self._opened(plain)
        self._last = variant
        return variant

    def _choose(self, frame: tuple[int, int]) -> tuple[Size, Size]:
        """The inputs for this shape of frame with an Edge TPU and without."""
        side = side_for(frame, self.min_face, {size.long for size in self._sources})
        sizes = [size for size in self._sources if size.long == side]
        fast = [size for size in sizes if self._sources[size].accelerated]
        choice = best_size(frame, fast or sizes), best_size(frame, sizes)
        self._choices[*frame, self.min_face] = choice
        return choice

    def _opened(self, size: Size) -> _Variant:
        variant = self._open.get(size)
        if variant is None:
            network = self._sources[size].open()
            try:
                variant = self._open[size] = _Variant(network, self._raw, str(self.model.path))
            except ModelError:
                network.close()
                raise
            log.info("face detector: input %s, on %s", size, network.backend)
        return variant


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
