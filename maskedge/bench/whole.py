"""The limit (networks alone) and the whole pipeline beside it, on still crowds."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.bench.clock import measure
from maskedge.bench.pictures import crowd
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.geometry import Box
from maskedge.health.metrics import percentile
from maskedge.inference import open_interpreter
from maskedge.inference.batches import open_batches
from maskedge.inference.edgetpu import BACKEND as EDGE_TPU
from maskedge.modelfile import ModelFile, models_dir
from maskedge.models.store import Folders
from maskedge.pipeline import Pipeline
from maskedge.vision.builtin import BuiltinDetector
from maskedge.vision.inputs import SIDES, side_for
from maskedge.vision.masks import SHIPPED as CLASSIFIER
from maskedge.vision.system import Vision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from maskedge.inference.batches import Batch
    from maskedge.inference.network import Network
    from maskedge.pipeline import FrameResult

STEP = 0.1
EVERY_FACE = 64
STAGES_PART = 4
"""The stages of a whole frame are measured for one part in so many of the time."""


class Bench:
    """The networks of one run, opened for each size of frame.

    Args:
        inference: the configuration's section: accelerator, device, threads.
        side: ``detector.input``; None: what ``auto`` would take with the default ``min_face``.
        folder: of the networks; None: those that ship.
    """

    somewhere = Box(0.1, 0.2, 0.3, 0.4)

    def __init__(
        self, inference: dict[str, Any], side: int | None = None, folder: Path | None = None
    ) -> None:
        self.inference, self._side = inference, side
        self._folder = folder or models_dir()
        self.config = self._config(EVERY_FACE, 320)
        self._visions: dict[tuple[int, int], Vision] = {}

    def _config(self, budget: int, side: int) -> Config:
        """Every face is looked at in every frame, as far as the budget goes."""
        return Config.model_validate(
            {
                "inference": self.inference,
                "detector": {"input": side},
                "motion": {"refresh": 1e-6},
                "classifier": {"budget": budget},
                "verdict": {"min_face": 8, "min_sharpness": 0, "reclassify": 1e-3},
            }
        )

    def _settings(self, size: tuple[int, int], budget: int) -> Config:
        width, height = size
        side = self._side or side_for((height, width), Config().verdict.min_face, SIDES)
        return self._config(budget, side)

    def vision(self, size: tuple[int, int]) -> Vision:
        """The networks for frames of this width and height."""
        if size not in self._visions:
            folders = Folders(self._folder, self._folder)
            self._visions[size] = Vision.open(self._settings(size, EVERY_FACE), folders)
        return self._visions[size]

    def detector(self, size: tuple[int, int]) -> BuiltinDetector:
        """The one of :meth:`vision`, as what it is."""
        detector = self.vision(size).detector
        assert isinstance(detector, BuiltinDetector)  # noqa: S101 - the configuration says so
        return detector

    @property
    def fault(self) -> str | None:
        """Why the Edge TPU wasn't used though it was asked for; None when all is well."""
        faults = (vision.fault for vision in self._visions.values())
        return next((fault for fault in faults if fault), None)

    def close(self) -> None:
        """Free them."""
        for vision in self._visions.values():
            vision.close()

    def networks(self, seconds: float, threads: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Raw ``invoke`` of every shipped network for one picture: the limit.

        And of the classifier for several faces in one run, as the daemon runs it.
        """
        for path in sorted(self._folder.glob("*.tflite")):
            if path.stem.endswith("_edgetpu"):
                continue
            for count in threads:
                network = open_interpreter(path, "cpu", threads=count)
                judge = path.name == CLASSIFIER
                wide = open_batches(ModelFile.load(path), network, count) if judge else ()
                yield _raw(network, path.stem, count, seconds)
                if wide:
                    yield _raw(wide[0], path.stem, count, seconds, wide[0].size)
                network.close()
                for batch in wide:
                    batch.close()
            if self.inference["accelerator"] != "cpu":
                fast = open_interpreter(path, **{**self.inference, "threads": 1})
                if fast.backend == EDGE_TPU:
                    yield _raw(fast, path.stem, 1, seconds)
                fast.close()

    def crowd(
        self, size: tuple[int, int], faces: int, seconds: float, budget: int = EVERY_FACE
    ) -> dict[str, Any]:
        """A frame's whole cost beside that of its networks, in turn.

        ``ratio`` is the CPU time of a frame over that of the networks' own runs in it, one for each
        face: 1 is the limit. On an Edge TPU, whose time is no CPU time, it is that of the wall
        clock.
        """
        vision = self.vision(size)
        width, height = size
        line, timed = (
            Pipeline(
                vision.detector,
                vision.classifier,
                vision.assess,
                vision.gate,
                self._settings(size, budget),
                timer=timer,
            )
            for timer in (None, time.process_time)
        )
        pixels = crowd(width, height, faces)[..., ::-1].copy()
        numbers = itertools.count()
        results: list[FrameResult] = []

        def frame(line: Pipeline = line) -> None:
            number = next(numbers)
            shot = Frame(pixels, ChannelOrder.BGR, number * STEP, number)
            results.append(line.process(shot, number * STEP))

        detector = self.detector(size)
        network, judge = detector.network_for(height, width), vision.classifier.network

        def limit() -> None:
            network.invoke()
            for _ in range(results[-1].classified):
                judge.invoke()

        whole, alone = measure(seconds, frame, limit)
        results.clear()
        measure(seconds / STAGES_PART, lambda: frame(timed))  # reading so many clocks costs, too
        last = results[-1]
        timing = {
            stage: round(1e3 * percentile([r.timings[stage] for r in results], 0.5), 4)
            for stage in last.timings
        }
        on_cpu = EDGE_TPU not in {network.backend, judge.backend}
        ratio = whole.cpu_p50 / alone.cpu_p50 if on_cpu else whole.p50 / alone.p50
        return {
            "width": width,
            "height": height,
            "input": str(detector.sizes[-1]),
            "backend": network.backend,
            "faces": faces,
            "found": len(last.faces),
            "classified": last.classified,
            "frame_ms": round(whole.p50, 3),
            "frame_p95_ms": round(whole.p95, 3),
            "frame_cpu_ms": round(whole.cpu_p50, 3),
            "networks_ms": round(alone.p50, 3),
            "networks_cpu_ms": round(alone.cpu_p50, 3),
            "ratio": round(ratio, 3),
            "stages_ms": timing,
        }


def slope(rows: Sequence[dict[str, Any]]) -> float | None:
    """What one more classified face costs, in runs of the classifier: 1 is the limit.

    Args:
        rows: of one size of frame, from :meth:`Bench.crowd`.

    Returns:
        The ratio of two lines' slopes over the faces classified; None: too few points.
    """
    counts = [row["classified"] for row in rows]
    if len(set(counts)) < 3:  # noqa: PLR2004 - a line through two points says nothing
        return None
    whole, alone = (
        np.polyfit(counts, [row[key] for row in rows], 1)[0]
        for key in ("frame_cpu_ms", "networks_cpu_ms")
    )
    return round(float(whole / alone), 3)


def _raw(
    network: Network | Batch, name: str, threads: int, seconds: float, pictures: int = 1
) -> dict[str, Any]:
    (took,) = measure(seconds, network.invoke)
    return {
        "network": name,
        "pictures": pictures,
        "backend": network.backend,
        "threads": threads,
        "p50_ms": round(took.p50, 3),
        "p95_ms": round(took.p95, 3),
        "cpu_ms": round(took.cpu_p50, 3),
    }
