"""What a mask classifier's width and input size cost and win: a row for each network.

    python benchmarks/classifier_sizes.py [--json] NETWORK.tflite ...

The networks come from ``python -m convert train --task classifier --alpha A --size S`` and
``quantize``, which writes beside each what it measured: int8, on the validation set and a held-out
part of the training groups, the same faces for all. Multiplications are counted in the flatbuffer.
A look is crop and network together, one thread; its CPU time is told as a ratio to the first
network's, in turn in one run. *Beaten*: another one needs no more time and is better, on faces as
they are and on the same shrunk to 28 pixels.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from commandline import Parser, amount, existing, run
from rich.console import Console
from rich.table import Table

from maskedge.bench.clock import measure
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import ClassifierConfig, InferenceConfig
from maskedge.geometry import Box
from maskedge.inference.flatbuffer import load
from maskedge.modelfile import ModelFile, models_dir
from maskedge.vision.masks import open_classifier

if TYPE_CHECKING:
    from pathlib import Path

    from maskedge.inference.flatbuffer import Operation

SECONDS = 5.0
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass
class Row:
    """One network.

    Attributes:
        network: backbone, width and input size, as its JSON has it.
        epochs: it was trained for.
        millions: of multiplications with addition, a look.
        kilobytes: of the file.
        milliseconds: of CPU time, a look.
        ratio: that, by the first network's.
        accuracy: of all faces as they are.
        balanced: mean of the labels' recalls.
        recalls: of ``with_mask``, ``without_mask``, ``incorrect_mask``.
        passed: share of ``incorrect_mask`` called ``with_mask``.
        small: mean of the labels' recalls when the same faces are shrunk to 28 pixels.
        beaten: by another network in time and in both means.
    """

    network: str
    epochs: int
    millions: float
    kilobytes: float
    milliseconds: float
    ratio: float
    accuracy: float
    balanced: float
    recalls: tuple[float, ...]
    passed: float
    small: float
    beaten: bool = False

    def beats(self, other: Row) -> bool:
        """Whether there's no reason left to take the other one."""
        mine, its = ((-r.milliseconds, r.balanced, r.small) for r in (self, other))
        return all(a >= b for a, b in zip(mine, its, strict=True)) and mine != its


def multiplications(operation: Operation) -> int:
    """Of a convolution or dense layer, for one picture; other operations count as none."""
    if operation.name not in CONVOLUTIONS:
        return 0
    weights, output = operation.inputs[1], operation.outputs[0]
    assert weights is not None  # of these three, the second input
    a_number = weights.shape[1:3] if operation.name.startswith("DEPTH") else weights.shape[1:]
    return prod(output.shape) * prod(a_number)


def rows(files: list[Path], seconds: float = SECONDS) -> list[Row]:
    """Measure networks against each other.

    Args:
        files: ``.tflite`` files with their JSON, of ``convert quantize``.
        seconds: for which they are timed together.
    """
    random = np.random.default_rng(1)
    frame = Frame(random.integers(0, 256, (480, 640, 3), np.uint8), ChannelOrder.BGR, 0.0)
    inference = InferenceConfig(accelerator="cpu", threads=1)
    opened = [open_classifier(ClassifierConfig(model=f), inference, models_dir()) for f in files]
    box = [Box(200, 150, 300, 260)]
    looks = [lambda judge=judge: judge.classify(frame, box) for judge in opened]
    found = []
    timings = measure(seconds, *looks)
    for file, timing in zip(files, timings, strict=True):
        about = ModelFile.load(file).card
        figures = about["metrics"]["int8"]
        found.append(
            Row(
                network=about["network"],
                epochs=about["training"]["epochs"],
                millions=sum(map(multiplications, load(file).operations)) / 1e6,
                kilobytes=file.stat().st_size / 1024,
                milliseconds=timing.cpu_p50,
                ratio=timing.cpu_p50 / timings[0].cpu_p50,
                accuracy=figures["accuracy"],
                balanced=figures["balanced_accuracy"],
                recalls=tuple(label["recall"] for label in figures["by_label"].values()),
                passed=figures["incorrect_called_with_mask"],
                small=about["metrics"]["int8_faces_shrunk_to_28"]["balanced_accuracy"],
            )
        )
    for row in found:
        row.beaten = any(other.beats(row) for other in found)
    for judge in opened:
        judge.close()
    return found


def show(found: list[Row]) -> None:
    """As a table."""
    table = Table()
    headings = "network,epochs,M mult.,KB,CPU ms,ratio,accuracy,balanced,with,without,incorrect,"
    for heading in f"{headings}passed,28 px,".split(","):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for row in found:
        table.add_row(
            row.network,
            str(row.epochs),
            f"{row.millions:.1f}",
            f"{row.kilobytes:.0f}",
            f"{row.milliseconds:.2f}",
            f"{row.ratio:.2f}",
            *(
                f"{v:.3f}"
                for v in (row.accuracy, row.balanced, *row.recalls, row.passed, row.small)
            ),
            "beaten" if row.beaten else "",
        )
    Console(width=140).print(table)


def main() -> None:
    """Read the command line, measure, print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = models_dir() / "mask_classifier.tflite"
    parser.add_argument("networks", nargs="*", type=existing, default=[shipped], metavar="NETWORK")
    parser.add_argument("--seconds", type=amount, default=SECONDS, help="to time them")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    found = rows(options.networks, options.seconds)
    if options.json:
        print(json.dumps([asdict(row) for row in found], indent=2))
    else:
        show(found)


if __name__ == "__main__":
    run(main)
