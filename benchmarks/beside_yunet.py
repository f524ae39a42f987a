"""The shipped face detector and YuNet, opened alike, for what holds the one against the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convert.detector.score import MOST
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.modelfile import models_dir
from maskedge.vision.faces import open_detector

if TYPE_CHECKING:
    from pathlib import Path

    from maskedge.vision.base import FaceDetector


def both(
    yunet: Path, side: int, threshold: float, models: Path | None = None
) -> dict[str, FaceDetector]:
    """Both on one thread of the CPU, by name.

    Args:
        yunet: OpenCV's ONNX file.
        side: longer side of their input, pixels.
        threshold: least score.
        models: folder of ours; None: the shipped one.
    """
    common = {"input": side, "threshold": threshold, "max_faces": MOST}
    configs = {
        "maskedge": DetectorConfig(**common),
        "yunet": DetectorConfig(kind="yunet", model=yunet, **common),
    }
    inference = InferenceConfig(accelerator="cpu", threads=1)
    return {
        name: open_detector(config, inference, models or models_dir())
        for name, config in configs.items()
    }
