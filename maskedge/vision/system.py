"""The whole of vision as a configuration asks for it: gate, detector, classifier, quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskedge.events import Models
from maskedge.modelfile import models_dir
from maskedge.vision.faces import OpenDetector, open_detector
from maskedge.vision.masks import NetworkMaskClassifier, open_classifier
from maskedge.vision.motion import MotionGate
from maskedge.vision.quality import SceneQuality, assess

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.camera.frame import Frame
    from maskedge.config import Config, MotionConfig
    from maskedge.geometry import Box
    from maskedge.vision.quality import FaceQuality


@dataclass
class Vision:
    """What looks at one camera's frames.

    Attributes:
        gate: None when ``motion.enabled`` is false.
        scene: what is wrong with the picture as a whole, see :class:`SceneQuality`.
    """

    detector: OpenDetector
    classifier: NetworkMaskClassifier
    gate: MotionGate | None
    assess: Callable[[Frame, Box], FaceQuality]
    scene: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._scene_quality = SceneQuality()

    @classmethod
    def open(cls, config: Config) -> Vision:
        """Load the networks.

        Raises:
            ModelError: a file is missing, damaged or of the wrong shape.
            AcceleratorError: no interpreter can run them.
        """
        models = models_dir()
        detector = open_detector(config.detector, config.inference, models)
        try:
            classifier = open_classifier(config.classifier, config.inference, models)
        except BaseException:
            detector.close()
            raise
        return cls(detector, classifier, _gate(config.motion), assess)

    def new_gate(self, config: MotionConfig) -> None:
        """Start the motion gate anew with other settings."""
        self.gate = _gate(config)

    def watch_scene(self, frame: Frame, now: float) -> None:
        """Note a frame for :attr:`scene`."""
        self.scene = frozenset(self._scene_quality.update(frame, now))

    @property
    def models(self) -> Models:
        """What events name: the networks' fingerprints."""
        return Models(self.detector.model.fingerprint, self.classifier.model.fingerprint)

    @property
    def backends(self) -> dict[str, str]:
        """What each network ran on last."""
        return {"detector": self.detector.backend, "classifier": self.classifier.backend}

    @property
    def fault(self) -> str | None:
        """Why the Edge TPU isn't used though it should be."""
        for part in (self.detector, self.classifier):
            fault: str | None = getattr(part, "fault", None)
            if fault:
                return fault
        return None

    def close(self) -> None:
        """Free the networks."""
        self.detector.close()
        self.classifier.close()


def _gate(config: MotionConfig) -> MotionGate | None:
    return MotionGate(config) if config.enabled else None
