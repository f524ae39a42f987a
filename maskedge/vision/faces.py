"""The face detector that a configuration asks for: the one that ships, or a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from maskedge.modelfile import ModelFile
from maskedge.vision.base import FaceDetector
from maskedge.vision.builtin import BuiltinDetector, Source
from maskedge.vision.inputs import Size, View, shipped

if TYPE_CHECKING:
    from pathlib import Path

    from maskedge.config import DetectorConfig, InferenceConfig

__all__ = ["OpenDetector", "View", "open_detector"]


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


def open_detector(
    config: DetectorConfig, inference: InferenceConfig, models: Path, view: View | None = None
) -> OpenDetector:
    """The detector that the configuration asks for, ready to use.

    Args:
        config: which, and its thresholds.
        inference: what it runs on; a user's own YuNet or SSD always runs in OpenCV, on the CPU.
        models: the folder of the shipped networks.
        view: decides the size of the input where ``config`` leaves it open; None: the defaults.

    Raises:
        ModelError: a file is missing, damaged or of another kind of network.
        AcceleratorError: no interpreter works here.
    """
    view = view or View()
    if config.kind == "yunet":
        from maskedge.vision.yunet import YunetDetector  # noqa: PLC0415 - only if asked for

        return YunetDetector(config, view.min_face)
    if config.kind == "ssd":
        from maskedge.vision.ssd import SsdDetector  # noqa: PLC0415 - only if asked for

        return SsdDetector(config)
    return _builtin(config, inference, models, view)


def _builtin(
    config: DetectorConfig, inference: InferenceConfig, models: Path, view: View
) -> BuiltinDetector:
    from maskedge.inference import open_interpreter  # noqa: PLC0415 - loads an interpreter
    from maskedge.inference.edgetpu import compiled_path  # noqa: PLC0415

    def source(path: Path, size: Size, *, accelerated: bool) -> Source:
        accelerator = inference.accelerator if accelerated else "cpu"
        return Source(
            size,
            lambda: open_interpreter(
                path,
                accelerator,
                threads=inference.threads,
                device=inference.device,
                timeout=inference.timeout,
            ),
            accelerated,
        )

    wanted = inference.accelerator != "cpu"
    if config.model is not None:
        model = ModelFile.load(config.model)
        network = source(config.model, Size(0, 0), accelerated=wanted).open()
        sources = [Source.of(network)]
    else:
        files = _shipped(config, models)
        model = next(iter(files.values()))
        compiled = [s for s, file in files.items() if compiled_path(file.path).exists()]
        fast = (compiled or list(files)) if wanted else []
        sources = [source(f.path, size, accelerated=size in fast) for size, f in files.items()]
    return BuiltinDetector(
        sources,
        model,
        view=view,
        threshold=config.threshold,
        nms_iou=config.nms_iou,
        max_faces=config.max_faces,
    )


def _shipped(config: DetectorConfig, models: Path) -> dict[Size, ModelFile]:
    """The verified files that may be needed; a folder may lack sizes, but not the first.

    Raises:
        ModelError: it is missing, or one of them is damaged.
    """
    sizes = shipped(config.input)
    paths = {size: models / f"{size.stem}.tflite" for size in sizes}
    return {
        size: ModelFile.load(path)
        for size, path in paths.items()
        if size == sizes[0] or path.exists()
    }
