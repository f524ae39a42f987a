"""The network in use: its float copy to train on from, and what it says of the test faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import numpy as np
from tqdm import tqdm

from convert.classifier.augment import plain
from convert.classifier.dequantise import dequantise
from convert.classifier.keeper import SMALL, predict, shrunk
from convert.classifier.own import faces_to_test, truths
from convert.contest import Answers
from convert.evaluate import open_judge
from convert.quantize import integer_logits, move_head
from maskedge.errors import ModelError
from maskedge.vision.base import LABELS
from maskedge.vision.masks import softmax

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from convert.classifier.data import CropStore
    from convert.classifier.recipe import Recipe
    from maskedge.modelfile import ModelFile

MOST_APART = 0.25
"""Mean difference of logits between the network in use and its float copy; they span some 8."""


def start_from(champion: ModelFile, seed: int) -> Any:
    """The champion as floats, its head as training left it: before it was moved to the prior.

    Raises:
        ModelError: it isn't made of what our classifiers are made of.
    """
    model = dequantise(champion.path, np.random.default_rng(seed))
    move_head(model, -shift_of(champion))
    return model


def shift_of(champion: ModelFile) -> NDArray[np.float32]:
    """What quantisation added to its head."""
    shift = champion.card.get("calibration", {}).get("shift_in_head", [0.0] * len(LABELS))
    return np.asarray(shift, np.float32)


def temperature_of(champion: ModelFile) -> float:
    """What its scores are calibrated by."""
    return float(champion.card.get("calibration", {}).get("temperature", 1.0))


def fidelity(champion: ModelFile, store: CropStore, recipe: Recipe) -> dict[str, float]:
    """How near the champion's float copy is to it on the test faces.

    Returns:
        ``agreement``: share of faces called alike; ``logits_apart``: mean absolute difference.

    Raises:
        ModelError: too far: it isn't the network that training would go on from.
    """
    squares = (store.square(int(i)) for i in faces_to_test(store))
    crops = np.stack([plain(square, recipe.size, recipe.padding) for square in squares])
    exact, integer = predict(dequantise(champion.path), crops), integer_logits(champion.path, crops)
    alike = float((exact.argmax(1) == integer.argmax(1)).mean())
    apart = float(np.abs(exact - integer).mean())
    click.echo(
        f"float copy of {champion.path.name}: {len(crops)} test faces, {alike:.4f} called alike, "
        f"logits {apart:.3f} apart"
    )
    if apart > MOST_APART:
        raise ModelError(
            f"{champion.path}: the logits of its float copy are {apart:.2f} from its own; train a "
            "new network by python -m convert train"
        )
    return {"agreement": round(alike, 4), "logits_apart": round(apart, 4)}


def probabilities(
    path: Path, store: CropStore, indices: NDArray[np.int64], face: float | None = None
) -> NDArray[np.float32]:
    """What an int8 network says of faces, by the shipped runtime: float32 (N, 3), calibrated."""
    network = open_judge(path, 1)
    try:
        logits = []
        for index in tqdm(indices, desc=path.name, unit="face", dynamic_ncols=True):
            square = store.square(int(index))
            square = shrunk(square, face) if face else square
            logits.append(network.logits(plain(square, network.size, network.padding)))
        return softmax(np.stack(logits), network.temperature)
    finally:
        network.close()


def test_of(store: CropStore, champion: Path, challenger: Path) -> Answers:
    """Both networks on the test faces, as they are and shrunk."""
    indices = faces_to_test(store)
    records = store.records[indices]
    scores = (
        probabilities(network, store, indices, face)
        for face in (None, SMALL)
        for network in (champion, challenger)
    )
    return Answers(
        truths(store, indices), records["group"], records["own"], records["face"], *scores
    )
