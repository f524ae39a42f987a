"""What a frame costs on this machine, in one run: networks alone, stages, and the whole.

Figures of different runs or machines don't compare well; ratios within one run do. The limit is the
networks' own time (``invoke``); everything above it is ours.
"""

from __future__ import annotations

import math
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.health import soc
from maskedge.health.metrics import percentile
from maskedge.modelfile import models_dir
from maskedge.pipeline import Pipeline
from maskedge.scene import hall, portrait
from maskedge.vision.faces import BuiltinDetector
from maskedge.vision.system import Vision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SIZES = ((640, 480), (1280, 720), (1920, 1080))
FACES = (0, 1, 2, 4, 8, 16, 32)
WARM_UP = 3
STEP = 0.1
"""Seconds of media time between frames: a camera at 10 fps."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds over several repetitions."""

    p50: float
    p95: float
    runs: int


def measure(work: Callable[[], object], seconds: float) -> Timing:
    """Repeat ``work`` for ``seconds`` (at least five times) after a warm-up."""
    for _ in range(WARM_UP):
        work()
    took: list[float] = []
    end = time.perf_counter() + seconds
    while len(took) < 5 or time.perf_counter() < end:  # noqa: PLR2004 - too few say nothing
        start = time.perf_counter()
        work()
        took.append((time.perf_counter() - start) * 1000)
    return Timing(round(percentile(took, 0.5), 3), round(percentile(took, 0.95), 3), len(took))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "model": _model(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "temperature_c": soc.temperature(),
        "throttled": soc.throttling(),
    }


def _model() -> str:
    try:
        with open("/proc/device-tree/model", encoding="ascii") as file:  # noqa: PTH123 - sysfs
            return file.read().rstrip("\0")
    except OSError:
        pass
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - procfs
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()


def crowd(width: int, height: int, faces: int) -> NDArray[np.uint8]:
    """A hall with this many copies of the portrait's face, uint8 (height, width, 3), RGB."""
    picture = hall(width, height).copy()
    if not faces:
        return picture
    columns = min(faces, math.ceil(math.sqrt(faces * width / height)))
    rows = -(-faces // columns)
    side = int(min(width / columns, height / rows, 0.5 * height))
    head = portrait()[10:240, 110:340]
    small = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    for number in range(faces):
        row, column = divmod(number, columns)
        x = round((column + 0.5) * width / columns - side / 2)
        y = round((row + 0.5) * height / rows - side / 2)
        picture[y : y + side, x : x + side] = small
    return picture


def networks(seconds: float, threads: list[int]) -> Iterator[dict[str, Any]]:
    """Raw ``invoke`` of every shipped network: the limit that nothing can go below."""
    from maskedge.inference import open_interpreter  # noqa: PLC0415 - loads the interpreter

    for path in sorted(models_dir().glob("*.tflite")):
        if path.stem.endswith("_edgetpu"):
            continue
        for count in threads:
            network = open_interpreter(path, "cpu", threads=count)
            picture = np.zeros(network.input_spec.shape[1:], np.uint8)
            timing = measure(lambda n=network, p=picture: n.invoke(p), seconds)  # type: ignore[misc]
            yield {
                "network": path.stem,
                "threads": count,
                "backend": network.backend,
                "p50_ms": timing.p50,
                "p95_ms": timing.p95,
                "kib": path.stat().st_size // 1024,
            }
            network.close()


def pipeline(
    seconds: float,
    threads: int,
    sizes: tuple[tuple[int, int], ...] = SIZES,
    faces: tuple[int, ...] = FACES,
) -> Iterator[dict[str, Any]]:
    """The whole pipeline on still crowds, every face classified in every frame.

    ``ratio`` is the frame's cost over the networks' own part in the same run: 1 is the limit.
    """
    config = Config.model_validate(
        {
            "inference": {"accelerator": "cpu", "threads": threads},
            "motion": {"enabled": False},
            "classifier": {"budget": 64},
            "verdict": {"min_face": 8, "min_sharpness": 0, "reclassify": 0.001},
        }
    )
    vision = Vision.open(config)
    classifier = vision.classifier
    crop = np.zeros((classifier.size, classifier.size, 3), np.uint8)
    try:
        for width, height in sizes:
            for count in faces:
                yield _one_crowd(config, vision, crowd(width, height, count), count, crop, seconds)
    finally:
        vision.close()


def _one_crowd(  # noqa: PLR0913, PLR0917 - the facts of one line of the table
    config: Config,
    vision: Vision,
    pixels: NDArray[np.uint8],
    count: int,
    crop: NDArray[np.uint8],
    seconds: float,
) -> dict[str, Any]:
    line = Pipeline(
        vision.detector, vision.classifier, vision.assess, None, config, timer=time.perf_counter
    )
    clock = iter(range(10**9))
    results = []

    def frame() -> None:
        number = next(clock)
        results.append(
            line.process(Frame(pixels, ChannelOrder.RGB, number * STEP, number), number * STEP)
        )

    height, width = pixels.shape[:2]
    detector = vision.detector
    assert isinstance(detector, BuiltinDetector)  # noqa: S101 - the configuration above says so
    variant = detector.network_for(height, width)
    picture = np.zeros(variant.input_spec.shape[1:], np.uint8)
    for _ in range(WARM_UP):
        frame()
    # Alternately, so that a noisy neighbour disturbs both sides of the ratio alike.
    frames: list[float] = []
    detects: list[float] = []
    judges: list[float] = []
    end = time.perf_counter() + seconds
    while len(frames) < 5 or time.perf_counter() < end:  # noqa: PLR2004 - too few say nothing
        frames.append(_took(frame))
        detects.append(_took(lambda: variant.invoke(picture)))
        judges.append(_took(lambda: vision.classifier.network.invoke(crop)))
    last = results[-1]
    median = percentile(frames, 0.5)
    limit = percentile(detects, 0.5) + last.classified * percentile(judges, 0.5)
    stages = {
        stage: round(percentile([r.timings[stage] * 1000 for r in results[WARM_UP:]], 0.5), 3)
        for stage in last.timings
    }
    return {
        "width": width,
        "height": height,
        "faces": count,
        "found": len(last.faces),
        "classified": last.classified,
        "frame_ms": round(median, 3),
        "frame_p95_ms": round(percentile(frames, 0.95), 3),
        "networks_ms": round(limit, 3),
        "ratio": round(median / limit, 3),
        "stages_ms": stages,
    }


def _took(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def start_up(repetitions: int = 5) -> dict[str, float]:
    """Wall time of ``python -c pass`` and of ``maskedge --help``, milliseconds, best of several."""

    def best(*arguments: str) -> float:
        command = [sys.executable, *arguments]
        return min(
            _took(lambda: subprocess.run(command, check=True, capture_output=True))
            for _ in range(repetitions)
        )

    nothing, helped = best("-c", "pass"), best("-m", "maskedge", "--help")
    return {
        "python_ms": round(nothing, 1),
        "help_ms": round(helped, 1),
        "ratio": round(helped / nothing, 2),
    }


def memory_mib() -> float:
    """Largest resident set of this process so far, MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
