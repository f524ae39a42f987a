"""Trained weights to the int8 networks that ship: ``python -m convert.detector.export``."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from convert.backend import need_tensorflow
from convert.coco import read_coco, read_pixels
from convert.detector.network import OFFSET_ZERO, SIZE_ZERO, STRIDES
from convert.detector.score import LOW, MOST
from convert.output import replace, writable, write_text
from convert.sources import Origin, counted
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.errors import InputError, MaskedgeError
from maskedge.modelfile import SCHEMA, ModelFile
from maskedge.vision.inputs import SHIPPED
from maskedge.vision.letterbox import Letterbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from convert.coco import Picture
    from convert.detector.train import Checkpoint

SIDE = 320
"""Rows and columns of the input at which the network is converted and calibrated."""
CALIBRATION = 300
"""Training pictures that show the ranges of the activations."""
TOLERANCE = 0.005
"""AP that int8 may cost."""


class GateError(MaskedgeError):
    """The int8 network finds faces worse than the float one: calibrate or train it better."""


def to_int8(weights: Path, pictures: Iterable[NDArray[np.uint8]]) -> bytes:
    """Quantise to full int8 with a uint8 input.

    The scaling of bytes to -1..1 is the input's own quantisation, so it costs nothing.

    Args:
        weights: of ``build_detector``.
        pictures: representative inputs, uint8 (320, 320, 3), RGB.

    Returns:
        The flatbuffer, its input 320x320.

    Raises:
        InputError: they aren't the weights of a face detector.
    """
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    from convert.detector.network import build_detector  # noqa: PLC0415
    from convert.detector.train import load_weights  # noqa: PLC0415

    network = build_detector(SIDE, SIDE, batch=1)
    load_weights(network, weights, "--run")

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for picture in pictures:
            scaled = picture[None].astype(np.float32) / np.float32(127.5) - 1
            scaled[0, 0, 0], scaled[0, -1, -1] = -1, 1  # the input's range, whatever the picture
            yield [scaled]

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def representative_pictures(pictures: Sequence[Picture], count: int) -> Iterator[NDArray[np.uint8]]:
    """Letterboxed training pictures, evenly drawn, as the daemon would see them."""
    box = Letterbox(SIDE, SIDE)
    for picture in pictures[:: max(1, len(pictures) // count)]:
        shown = np.empty((SIDE, SIDE, 3), np.uint8)
        box.write(Frame(read_pixels(picture), ChannelOrder.RGB, 0.0), shown)
        yield shown


def card(name: str, content: bytes, size: tuple[int, int], **described: Any) -> dict[str, Any]:
    """The JSON beside a network; see :mod:`maskedge.modelfile`.

    Args:
        name: the file's stem.
        content: the file's bytes.
        size: width and height of the input.
        described: ``training`` and ``metrics``.
    """
    return {
        "schema": SCHEMA,
        "name": name,
        "task": "detector",
        "file": f"{name}.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "network": "MobileNetV2 0.35 trunk, feature pyramid, anchor-free heads",
        "input": {"width": size[0], "height": size[1], "order": "rgb", "letterbox": "top left"},
        "strides": list(STRIDES),
        "output": {
            "score": "logit; its sigmoid is the expected overlap of box and face, (1, rows, "
            "columns, 1) for each stride",
            "box": "centre x, centre y, log width, log height in strides, (1, rows, columns, 4)",
            "offset_zero": OFFSET_ZERO,
            "size_zero": SIZE_ZERO,
        },
        **described,
    }


def write_model(folder: Path, content: bytes, size: tuple[int, int], **described: Any) -> Path:
    """Write a network and its card; the network's file."""
    name = f"face_detector_{size[0]}x{size[1]}"
    path = folder / f"{name}.tflite"
    path.write_bytes(content)
    text = json.dumps(card(name, content, size, **described), indent=2)
    write_text(path.with_suffix(".json"), text + "\n")
    return path


def measure(path: Path, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Score an int8 file through the daemon's own detector."""
    from convert.detector.validate import score_detector  # noqa: PLC0415 - loads Keras
    from maskedge.inference import open_interpreter  # noqa: PLC0415
    from maskedge.vision.builtin import BuiltinDetector, Source  # noqa: PLC0415

    network = open_interpreter(path, "cpu", threads=1)
    side = max(network.input_spec.shape[1:3])
    detector = BuiltinDetector(
        [Source.of(network)], ModelFile.load(path), threshold=LOW, max_faces=MOST
    )
    try:
        return score_detector(detector, pictures, side)
    finally:
        detector.close()


def _without_curves(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures for a card: the curves' many points belong in an evaluation's report."""
    return {
        name: _without_curves(value) if isinstance(value, dict) else value
        for name, value in figures.items()
        if name != "curve"
    }


def export(  # noqa: PLR0913 - what a user can choose
    run: Path,
    data: Path,
    out: Path,
    *,
    count: int = CALIBRATION,
    mean_with: Sequence[Path] = (),
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> list[Path]:
    """Write the shipped networks of a training run, each with its card.

    Args:
        run: folder of the run, see :mod:`convert.detector.train`.
        data: the set that it was trained on.
        out: where the networks go.
        count: pictures to calibrate with.
        mean_with: weights of other runs; the mean of theirs and the run's is exported, and kept as
            ``exported.weights.h5`` in the run's folder.
        progress: shows how many sizes are done.

    Raises:
        InputError: the run, other weights or the pictures can't be read.
        GateError: int8 costs more than half a point of AP on the held-out pictures.
    """
    from convert.detector.reshape import reshape  # noqa: PLC0415 - loads TensorFlow
    from convert.detector.train import Checkpoint, split  # noqa: PLC0415
    from convert.detector.validate import validate_file  # noqa: PLC0415

    files = Checkpoint(run)
    if not files.history.exists():
        raise InputError(f"{run}: has no training run; train first")
    history = json.loads(files.history.read_text(encoding="utf-8"))
    every = history["settings"]["hold_out"]
    training, held_out = split(read_coco(data / "train.json", data / "train"), every)
    sets = {"held_out": held_out}
    if (data / "val.json").exists():
        sets["val"] = read_coco(data / "val.json", data / "val")
    sets = {name: pictures for name, pictures in sets.items() if pictures}
    writable(out)
    weights = mean_of(files, mean_with) if mean_with else files.mean
    content = to_int8(weights, representative_pictures(training, count))
    described = {
        "training": {
            "settings": history["settings"],
            "epochs": len(history["epochs"]),
            "mean_of": 1 + len(mean_with),
            "data": counted(
                Origin(p.source or part, part, p.licence, p.path)
                for part, pictures in {"train": training, **sets}.items()
                for p in pictures
            ),
            "faces": dict(Counter(f.label for p in training for f in p.faces)),
        }
    }
    exact = {name: validate_file(weights, pictures) for name, pictures in sets.items()}
    written = []
    with TemporaryDirectory() as drafts:  # what the gate refuses replaces nothing
        for size in progress(SHIPPED):
            shaped = reshape(content, size[1], size[0])
            draft = write_model(Path(drafts), shaped, size, **described)
            metrics = {name: measure(draft, pictures) for name, pictures in sets.items()}
            if size == (SIDE, SIDE):
                _gate(exact, metrics)
                described["float"] = {name: figures["ap"] for name, figures in exact.items()}
            shown = _without_curves(metrics)
            written.append(write_model(out, shaped, size, **described, metrics=shown))
    return written


def mean_of(files: Checkpoint, others: Sequence[Path]) -> Path:
    """The mean of a run's weights and others', each counting the same.

    Runs that went on from one another end in one valley, and the middle of it is better than its
    sides ("Model soups", arXiv:2203.05482).

    Returns:
        The file that it was written to, in the run's folder.

    Raises:
        InputError: a file isn't the weights of a face detector.
    """
    from convert.detector.network import build_detector  # noqa: PLC0415 - loads Keras
    from convert.detector.train import load_weights  # noqa: PLC0415

    network = build_detector(SIDE, SIDE)
    every = []
    for path in (files.mean, *others):
        load_weights(network, path, "--run" if path == files.mean else "--mean-with")
        every.append(network.get_weights())
    network.set_weights([np.mean(same, axis=0) for same in zip(*every, strict=True)])
    replace(files.exported, network.save_weights)
    return files.exported


def _gate(exact: dict[str, Any], metrics: dict[str, Any]) -> None:
    for name, figures in metrics.items():
        before, after = exact[name]["ap"], figures["ap"]
        if before is not None and after is not None and after < before - TOLERANCE:
            raise GateError(
                f"int8 costs {100 * (before - after):.1f} points of AP on {name} "
                f"({before:.3f} to {after:.3f}); nothing was written: give another --count, or "
                "train a few epochs more with --start and a lower --rate"
            )


@click.command(name="detector")
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    default=Path("runs/detector"),
    show_default=True,
    help="Folder of a training run.",
)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the set.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("models"),
    show_default=True,
    help="Folder to write.",
)
@click.option(
    "--count",
    default=CALIBRATION,
    type=click.IntRange(1),
    show_default=True,
    help="Pictures to calibrate with.",
)
@click.option(
    "--mean-with",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Weights of another run: the mean of both is exported. Can be given again.",
)
def command(run: Path, data: Path, out: Path, count: int, mean_with: tuple[Path, ...]) -> None:
    """Quantise a trained face detector for all input sizes that ship."""
    need_tensorflow("export")
    from tqdm import tqdm  # noqa: PLC0415

    shown_sizes = partial(tqdm, unit="size", dynamic_ncols=True)
    for path in export(run, data, out, count=count, mean_with=mean_with, progress=shown_sizes):
        metrics = json.loads(path.with_suffix(".json").read_text())["metrics"]
        shown = ", ".join(f"{name} AP {figures['ap']}" for name, figures in metrics.items())
        click.echo(f"{path}: {path.stat().st_size} bytes, {shown}")


if __name__ == "__main__":
    command()
