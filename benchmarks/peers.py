"""maskedge beside what a user would build instead: same pictures, same cores, one run.

    python benchmarks/peers.py --yunet FILE.onnx --ssd FILE.pb [--frames 60] [--threads 1] [--json]

classic      OpenCV's SSD face detector at 300x300, then MobileNetV2 1.0/224 in float through Keras'
             predict(): the recipe of the field's tutorials. Weights don't matter to its speed.
yunet+keras  YuNet at 320 instead of the SSD
yunet+ours   YuNet at 320, then this project's int8 classifier
every frame  maskedge: detector and classifier on every face of every frame
maskedge     maskedge as configured by default: a person once certain is looked at less often

Each runs alone in a process of its own, in turn, twice; the faster run counts. The pictures are the
demo's scene at 640x480: one person who walks through, then four at once. CPU seconds are the
process's own, all threads, so other work on the machine disturbs them little.
"""

# ruff: noqa: PLC0415 - each process loads only its own system
from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from commandline import Parser, count, existing, run

if TYPE_CHECKING:
    from collections.abc import Callable

SYSTEMS = ("classic", "yunet+keras", "yunet+ours", "every frame", "maskedge")


def frames(count: int) -> np.ndarray:
    """uint8 (count, 480, 640, 3), RGB: half with one person, half with four."""
    from maskedge.bench.pictures import crowd
    from maskedge.scene import SceneCamera, Visit, Wearing

    scene = SceneCamera([Visit(Wearing.BARE)], fps=10, pause=3.5, realtime=False)
    scene.open()
    one = [scene.read().pixels for _ in range(30 + count // 2)][30:]
    four = [np.roll(crowd(640, 480, 4), shift, axis=1) for shift in range(count - len(one))]
    return np.stack(one + four)


def keras_classifier() -> Callable[[list[np.ndarray]], object]:
    """MobileNetV2 1.0/224 with the tutorials' head, called as they call it."""
    import keras
    from keras import layers

    trunk = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(224, 224, 3)
    )
    x = layers.Flatten()(layers.AveragePooling2D(7)(trunk.output))
    x = layers.Dense(2, activation="softmax")(layers.Dense(128, activation="relu")(x))
    model = keras.Model(trunk.input, x)
    prepare = keras.applications.mobilenet_v2.preprocess_input

    def judge(crops: list[np.ndarray]) -> object:
        batch = prepare(np.stack(crops).astype(np.float32))
        return model.predict(batch, batch_size=32, verbose=0)

    return judge


def opencv_and(detector: Any, judge: Callable[[list[np.ndarray]], object]) -> Any:
    """Detect with OpenCV, cut out, judge."""
    import cv2

    from maskedge.camera.frame import ChannelOrder, Frame

    def work(pixels: np.ndarray, number: int) -> int:
        faces = detector.detect(Frame(pixels, ChannelOrder.RGB, number * 0.1, number))
        crops = []
        for face in faces:
            x1, y1, x2, y2 = (max(0, int(v)) for v in face.box)
            if x2 > x1 and y2 > y1:
                crops.append(cv2.resize(pixels[y1:y2, x1:x2], (224, 224)))
        if crops:
            judge(crops)
        return len(crops)

    return work


def open_system(name: str, yunet: Path, ssd: Path, threads: int) -> Any:
    """``work(pixels, number)``, which returns how many faces it judged."""
    import cv2

    from maskedge.camera.frame import ChannelOrder, Frame
    from maskedge.config import Config
    from maskedge.pipeline import Pipeline
    from maskedge.vision.system import Vision

    cv2.setNumThreads(threads)
    kind = {"classic": ("ssd", ssd)}.get(name, ("yunet", yunet))
    settings: dict[str, Any] = {
        "inference": {"accelerator": "cpu", "threads": threads},
        "motion": {"enabled": False},
    }
    if name in {"classic", "yunet+keras", "yunet+ours"}:
        settings["detector"] = {"kind": kind[0], "model": kind[1], "input": 320}
    if name != "maskedge":
        settings["verdict"] = {"min_face": 16, "min_sharpness": 0, "reclassify": 0.001}
    config = Config.model_validate(settings)
    if name in {"classic", "yunet+keras"}:
        from maskedge.models.store import Store
        from maskedge.vision.faces import View, open_detector

        folder = Store().folders().detector
        detector = open_detector(config.detector, config.inference, folder, View.of(config))
        return opencv_and(detector, keras_classifier())
    vision = Vision.open(config)
    line = Pipeline(vision.detector, vision.classifier, vision.assess, None, config)

    def work(pixels: np.ndarray, number: int) -> int:
        frame = Frame(pixels, ChannelOrder.RGB, number * 0.1, number)
        return line.process(frame, number * 0.1).classified

    return work


def child(arguments: argparse.Namespace) -> None:
    """One system, alone."""
    started = time.process_time()
    pictures = np.load(arguments.pictures, mmap_mode="r")
    work = open_system(arguments.child, arguments.yunet, arguments.ssd, arguments.threads)
    work(np.ascontiguousarray(pictures[0]), 0)
    first = time.process_time() - started
    for number in range(1, 4):
        work(np.ascontiguousarray(pictures[0]), number)
    begun, cpu, judged = time.perf_counter(), time.process_time(), 0
    for number, pixels in enumerate(pictures, 4):
        judged += work(np.ascontiguousarray(pixels), number)
    count = len(pictures)
    print(
        json.dumps(
            {
                "system": arguments.child,
                "cpu_ms_a_frame": 1000 * (time.process_time() - cpu) / count,
                "frames_a_second": count / (time.perf_counter() - begun),
                "judged_a_frame": judged / count,
                "start_cpu_s": first,
                "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            }
        )
    )


def main() -> None:
    """Run all, print a table."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--yunet", type=existing, required=True, help="face_detection_yunet*.onnx")
    parser.add_argument("--ssd", type=existing, required=True, help="opencv_face_detector_uint8.pb")
    parser.add_argument("--frames", type=count, default=60)
    parser.add_argument("--threads", type=count, default=1, help="of each framework")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--pictures", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    best: dict[str, dict[str, Any]] = {}
    limits = {"OMP_NUM_THREADS": str(arguments.threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    limits["TF_NUM_INTRAOP_THREADS"] = str(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.npy"
        np.save(pictures, frames(arguments.frames))
        for _ in range(2):
            for name in SYSTEMS:
                done = subprocess.run(
                    [sys.executable, *sys.argv, "--child", name, "--pictures", str(pictures)],
                    env={**os.environ, **limits}, stdout=subprocess.PIPE, check=False, text=True,
                )  # fmt: skip
                if done.returncode:  # it has told why
                    sys.exit(done.returncode)
                row = json.loads(done.stdout.splitlines()[-1])
                if name not in best or row["cpu_ms_a_frame"] < best[name]["cpu_ms_a_frame"]:
                    best[name] = row
    classic = best["classic"]["cpu_ms_a_frame"]
    for row in best.values():
        row["times_classic"] = classic / row["cpu_ms_a_frame"]
    if arguments.json:
        print(json.dumps(list(best.values())))
        return
    print("system        CPU ms/frame  x classic  frames/s  judged/frame  start, CPU s  RSS MB")
    for row in best.values():
        print(
            f"{row['system']:12} {row['cpu_ms_a_frame']:13.2f} {row['times_classic']:10.1f}"
            f" {row['frames_a_second']:9.1f} {row['judged_a_frame']:13.2f}"
            f" {row['start_cpu_s']:13.2f} {row['rss_mb']:7.0f}"
        )


if __name__ == "__main__":
    run(main)
