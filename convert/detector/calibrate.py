"""Makes a detector's score mean something: the probability that a box is a face.

The network's own score is the overlap it expects, which says little to a person and differs from
training to training. A logistic curve over its logit (Platt, 1999), fitted on pictures that it
wasn't trained on, turns it into the share of such boxes that are faces; their
order stays as it is. ``python -m convert calibrate`` writes the two numbers into
the JSON beside each network.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from convert.coco import read_coco, read_pixels
from convert.detector.score import LOW, MOST, Found, Truth, matched
from convert.golden import record, show
from convert.output import write_text
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.errors import InputError
from maskedge.modelfile import ModelFile
from maskedge.vision.faces import open_detector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from convert.coco import Picture
    from maskedge.vision.builtin import BuiltinDetector

OVERLAP = 0.3
"""A box that overlaps a face this much is on it; annotators differ about where a face ends."""


def fit(logits: NDArray[np.float64], hits: NDArray[np.bool_]) -> tuple[float, float]:
    """Logistic regression of one variable by Newton's method.

    Args:
        logits: (N,).
        hits: (N,), whether each was a face.

    Returns:
        ``scale`` and ``offset``: P(face) = sigmoid(scale * logit + offset).

    Raises:
        InputError: all are faces, or none is: there is nothing to fit.
    """
    if hits.all() or not hits.any():
        raise InputError("calibration needs both faces and false boxes; give more pictures")
    # Platt's targets keep the curve finite where the two kinds don't overlap.
    positive, negative = int(hits.sum()), int((~hits).sum())
    target = np.where(hits, (positive + 1) / (positive + 2), 1 / (negative + 2))
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (p - target)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:  # noqa: PLR2004 - converged
            break
    return float(weights[0]), float(weights[1])


def gather(
    detector: BuiltinDetector, pictures: Iterable[Picture], side: int = 320
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits and hits of everything that an uncalibrated detector finds."""
    found, truth = [], []
    for picture in pictures:
        frame = Frame(read_pixels(picture), ChannelOrder.RGB, 0.0)
        found.append(Found.of(detector.detect(frame)))
        truth.append(Truth.of(picture, side))
    scores, hits = matched(found, truth, iou=OVERLAP)
    inner = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.log(inner) - np.log1p(-inner), hits


def _hold_out(network: ModelFile) -> int:
    try:
        return int(network.card["training"]["settings"]["hold_out"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{network.path.with_suffix('.json')}: doesn't say which pictures were held out "
            "(training.settings.hold_out); export it again"
        ) from error


def _uncalibrated(
    networks: Sequence[ModelFile], pictures: Iterable[Picture]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """:func:`gather` with copies of the networks whose scores are raw: these stay as they are."""
    with TemporaryDirectory() as folder:
        for network in networks:
            copy = Path(folder) / network.path.name
            copy.write_bytes(network.path.read_bytes())
            _describe(copy, {k: v for k, v in network.card.items() if k != "calibration"})
        config = DetectorConfig(input=320, threshold=LOW, max_faces=MOST)
        cpu = InferenceConfig(accelerator="cpu", threads=1)
        detector = open_detector(config, cpu, Path(folder))
        try:
            return gather(detector, pictures)  # type: ignore[arg-type]
        finally:
            detector.close()


def _describe(network: Path, card: dict[str, Any]) -> None:
    text = json.dumps(card, indent=2) + "\n"
    write_text(network.with_suffix(".json"), text)


@click.command(name="calibrate")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the set.")
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    default=Path("models"),
    show_default=True,
    help="Folder of the exported detectors.",
)
def command(data: Path, models: Path) -> None:
    """Fit the detector's scores on pictures it wasn't trained on, and write them beside it."""
    from tqdm import tqdm  # noqa: PLC0415

    from convert.detector.train import split  # noqa: PLC0415 - loads Keras

    networks = [ModelFile.load(path) for path in sorted(models.glob("face_detector_*.tflite"))]
    if not networks:
        raise InputError(f"{models}: holds no face detector; export one first")
    every = _hold_out(networks[0])
    _, pictures = split(read_coco(data / "train.json", data / "train"), every)
    if (data / "val.json").exists():
        pictures += read_coco(data / "val.json", data / "val")
    if not pictures:
        raise InputError(f"{data}: no pictures that weren't trained on; add val.json and val/")
    logits, hits = _uncalibrated(networks, tqdm(pictures, unit="picture", dynamic_ncols=True))
    scale, offset = fit(logits, hits)
    part = {
        "method": "logistic",
        "scale": round(scale, 4),
        "offset": round(offset, 4),
        "overlap": OVERLAP,
        "boxes": len(hits),
    }
    for network in networks:
        _describe(network.path, {**network.card, "calibration": part})
        show(network.path, record(network.path))
    score = 1 / (1 + np.exp(-(scale * logits + offset)))
    for threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        kept = hits[score >= threshold]
        precision = f"{kept.mean():.3f}" if len(kept) else "unknown"
        click.echo(f"score {threshold}: precision {precision}, faces found {int(kept.sum())}")
    click.echo(f"scale {scale:.4f}, offset {offset:.4f}, from {len(hits)} boxes")


if __name__ == "__main__":
    command()
