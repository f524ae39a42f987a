"""The whole of vision as a configuration asks for it: gate, detector, classifier, quality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2

from maskedge.events import Models
from maskedge.models.store import Folders, Store
from maskedge.vision.faces import OpenDetector, View, open_detector
from maskedge.vision.masks import NetworkMaskClassifier, open_classifier
from maskedge.vision.motion import MotionGate
from maskedge.vision.quality import SceneQuality, assess
from maskedge.vision.shrink import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.camera.frame import Frame
    from maskedge.config import Config
    from maskedge.geometry import Box
    from maskedge.modelfile import ModelFile
    from maskedge.vision.quality import FaceQuality


@dataclass
class Vision:
    """What looks at one camera's frames.

    Attributes:
        folders: where its networks lie, but for those that the configuration names.
        gate: None when ``motion.enabled`` is false.
        scene: what is wrong with the picture as a whole, see :class:`SceneQuality`.
    """

    folders: Folders
    detector: OpenDetector
    classifier: NetworkMaskClassifier
    gate: MotionGate | None
    assess: Callable[[Frame, Box], FaceQuality]
    scene: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._scene_quality = SceneQuality()

    @classmethod
    def open(
        cls,
        config: Config,
        folders: Folders | None = None,
        frame: tuple[int, int] | None = None,
    ) -> Vision:
        """Load the networks.

        Args:
            config: what is asked for.
            folders: where networks lie that it doesn't name; None: those in force.
            frame: width and height of the frames that come; None: as configured.

        Raises:
            ModelError: a file is missing, damaged or of the wrong shape.
            AcceleratorError: no interpreter can run them.
        """
        folders = folders or Store().folders()
        # OpenCV's own networks run in its threads; resizing is too short for them: of two, one
        # spins for most of the time.
        builtin = config.detector.kind == "builtin"
        cv2.setNumThreads(1 if builtin else config.inference.threads)
        view = View.of(config, frame)
        detector = open_detector(config.detector, config.inference, folders.detector, view)
        try:
            classifier = open_classifier(config.classifier, config.inference, folders.classifier)
        except BaseException:
            detector.close()
            raise
        measure = partial(assess, scratch=Scratch())
        return cls(folders, detector, classifier, _gate(config), measure)

    def new_gate(self, config: Config) -> None:
        """Start the motion gate anew with other settings."""
        self.gate = _gate(config)

    def inherit(self, predecessor: Vision) -> None:
        """Take over what was learnt of the scene, so that other networks begin no new watch."""
        self.gate = predecessor.gate
        self.scene = predecessor.scene
        self._scene_quality = predecessor._scene_quality

    def new_scene(self) -> None:
        """Another camera: what ailed the picture of the one before says nothing of its."""
        self.scene = frozenset()
        self._scene_quality = SceneQuality()

    def watch_scene(self, frame: Frame, now: float) -> None:
        """Note a frame for :attr:`scene`."""
        self.scene = frozenset(self._scene_quality.update(frame, now))

    @property
    def models(self) -> Models:
        """What events name: the networks' fingerprints."""
        return Models(self.detector.model.fingerprint, self.classifier.model.fingerprint)

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """The networks' files, detector first."""
        return self.detector.model, self.classifier.model

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


def _gate(config: Config) -> MotionGate | None:
    return MotionGate(config.motion, config.tracker.ignore) if config.motion.enabled else None
