"""What the figures were measured on, and what the program costs before its first frame."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2

from maskedge.health import soc

BUSY = 0.5
"""Share of the cores that others may keep busy before the figures are called too high."""
PROBE = """
import json, sys, time
import numpy as np
import maskedge.daemon
from maskedge.bench.machine import resident_mib
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import Config
from maskedge.geometry import Box
from maskedge.vision.system import Vision

vision = Vision.open(Config.model_validate(json.loads(sys.argv[1])))
opened = time.process_time()
frame = Frame(np.full((480, 640, 3), 90, np.uint8), ChannelOrder.BGR, 0.0)
for _ in range(10):
    vision.detector.detect(frame)
    vision.classifier.classify(frame, [Box(200, 100, 300, 220)])
print(json.dumps({"open_cpu_ms": round(1e3 * opened, 1), "rss_mib": resident_mib()}))
"""
"""A process of its own: this one has drawn pictures and opened every network."""


def machine() -> dict[str, Any]:
    """The machine and its state at this moment."""
    return {
        "model": _model(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        **state(),
    }


def state() -> dict[str, Any]:
    """What may change while it is measured: load, temperature and throttling."""
    return {
        "load": round(os.getloadavg()[0], 2),
        "temperature_c": soc.temperature(),
        "throttled": soc.throttling(),
    }


def warnings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Why the figures may be worse than the machine."""
    said = []
    if before["load"] > BUSY * len(os.sched_getaffinity(0)):
        said.append(f"others keep the machine busy (load {before['load']}): trust the ratios only")
    for when, found in (("before", before), ("after", after)):
        if found["throttled"]:
            said.append(f"{when}: {found['throttled']}")
    return said


def _model() -> str:
    try:
        return Path("/proc/device-tree/model").read_text(encoding="ascii").rstrip("\0")
    except OSError:
        pass
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def start_up(inference: dict[str, Any], repetitions: int = 5) -> dict[str, float]:
    """What a start costs: ``--help`` against an empty Python, best of several, and the networks.

    Args:
        inference: the section of the configuration.
        repetitions: of the two short ones.
    """

    def best(*arguments: str) -> float:
        return min(_took(arguments) for _ in range(repetitions))

    nothing, helped = best("-c", "pass"), best("-m", "maskedge", "--help")
    probe = json.dumps({"inference": inference})
    done = subprocess.run(
        [sys.executable, "-c", PROBE, probe], check=True, capture_output=True, text=True
    )
    return {
        "python_ms": round(nothing, 1),
        "help_ms": round(helped, 1),
        "help_ratio": round(helped / nothing, 2),
        **json.loads(done.stdout),
    }


def _took(arguments: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return 1e3 * (time.perf_counter() - start)


def resident_mib() -> float:
    """Memory of this process, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kib = next(line for line in lines if line.startswith("VmRSS")).split()[1]
    return round(int(kib) / 1024, 1)
