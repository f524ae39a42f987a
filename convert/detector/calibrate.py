"""Makes a detector's score mean something: the probability that a box is a face.

The network's own score is the overlap it expects, which says little to a person and differs from
training to training. A logistic curve over its logit (Platt, 1999), fitted on pictures that it
wasn't trained on, turns it into the share of such boxes that are faces; order, and so average
precision, stay as they are. ``python -m convert calibrate`` writes the two numbers into
the JSON beside each network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from convert.coco import read_coco, read_pixels
from convert.detector.score import Found, Truth, matched
from convert.golden import record, show
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.errors import InputError
from maskedge.vision.faces import open_detector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from convert.coco import Picture
    from maskedge.vision.builtin import BuiltinDetector

OVERLAP = 0.3
"""A box that overlaps a face this much is on it; annotators differ about where a face ends."""
LOW = 0.02
MOST = 200


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


@click.command(name="calibrate")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the set.")
@click.option("--models", type=click.Path(path_type=Path), default=Path("models"))
def command(data: Path, models: Path) -> None:
    """Fit the detector's scores on pictures it wasn't trained on, and write them beside it."""
    from convert.detector.train import split  # noqa: PLC0415 - loads Keras

    cards = {p: json.loads(p.read_text()) for p in sorted(models.glob("face_detector_*.json"))}
    if not cards:
        raise InputError(f"{models}: holds no face detector; export one first")
    for path, card in cards.items():
        card.pop("calibration", None)
        path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    every = next(iter(cards.values()))["training"]["settings"]["hold_out"]
    _, pictures = split(read_coco(data / "train.json", data / "train"), every)
    pictures += read_coco(data / "val.json", data / "val")
    config = DetectorConfig(input=320, threshold=LOW, max_faces=MOST)
    detector = open_detector(config, InferenceConfig(accelerator="cpu", threads=1), models)
    try:
        logits, hits = gather(detector, pictures)  # type: ignore[arg-type]
    finally:
        detector.close()
    scale, offset = fit(logits, hits)
    for path, card in cards.items():
        card["calibration"] = {
            "method": "logistic",
            "scale": round(scale, 4),
            "offset": round(offset, 4),
            "overlap": OVERLAP,
            "boxes": len(hits),
        }
        path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    for path in cards:
        show(path, record(path.with_suffix(".tflite")))
    score = 1 / (1 + np.exp(-(scale * logits + offset)))
    for threshold in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        kept = hits[score >= threshold]
        click.echo(f"score {threshold}: precision {kept.mean():.3f}, faces found {int(kept.sum())}")
    click.echo(f"scale {scale:.4f}, offset {offset:.4f}, from {len(hits)} boxes")


if __name__ == "__main__":
    command()
