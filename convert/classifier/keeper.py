"""What happens beside the training steps: learning rate, weight average, scoring, checkpoints."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import click
import cv2
import keras
import numpy as np

from convert.backend import UNREADABLE
from convert.classifier.augment import plain
from convert.classifier.batches import targets
from convert.output import replace, replace_all
from convert.rounded import exact
from maskedge.errors import InputError
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from convert.classifier.data import CropStore, Pixels
    from convert.classifier.recipe import Recipe


SMALL = 28.0
"""Face size, pixels, at which validation is repeated: a face at a door, seen by a wide lens."""


def shrunk(square: Pixels, face: float) -> Pixels:
    """A stored square as it would be if its face were at most ``face`` pixels."""
    side = min(square.shape[0], round(2 * face))
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


class Validation:
    """Figures over validation crops, as they are and with faces shrunk to :data:`SMALL` pixels.

    Every second face of each of the two frequent classes is enough to choose an epoch by.
    """

    def __init__(self, store: CropStore, indices: NDArray[np.int64], recipe: Recipe) -> None:
        labels = targets(store.records["allowed"][indices]).argmax(1)
        chosen = labels == LABELS.index("incorrect_mask")
        for frequent in np.unique(labels[~chosen]):  # each by itself: they may alternate
            chosen[np.flatnonzero(labels == frequent)[::2]] = True
        indices, self.labels = indices[chosen], labels[chosen]
        records = store.records[indices]
        self.parts = {
            "own": records["validation"].astype(bool),
            "held": ~records["validation"].astype(bool),
        }
        squares = [store.square(int(i)) for i in indices]
        size, padding = recipe.size, recipe.padding
        self.crops = np.stack([plain(s, size, padding) for s in squares])
        self.small = np.stack([plain(shrunk(s, SMALL), size, padding) for s in squares])

    def figures(self, model: Any) -> dict[str, float]:
        """Recall by class and part, balanced accuracy (``score``), incorrect called with_mask."""
        result: dict[str, float] = {}
        scores = []
        for name, crops in (("", self.crops), ("small_", self.small)):
            called = predict(model, crops).argmax(1)
            for part, member in self.parts.items():
                for c, label in enumerate(LABELS):
                    chosen = member & (self.labels == c)
                    if chosen.any():
                        result[f"{name}{part}_{label}"] = float((called[chosen] == c).mean())
            wrong = self.labels == LABELS.index("incorrect_mask")
            result[f"{name}incorrect_as_with"] = (
                float((called[wrong] == 0).mean()) if wrong.any() else 0.0
            )
            recalls = [(called[self.labels == c] == c).mean() for c in np.unique(self.labels)]
            result[f"{name}balanced"] = float(np.mean(recalls))
            scores.append(result[f"{name}balanced"])
        result["score"] = float(np.mean(scores))
        return result


def predict(model: Any, crops: Pixels, batch: int = 64) -> NDArray[np.float32]:
    """Logits (N, 3) of crops (N, size, size, 3)."""
    parts = [
        np.asarray(model.predict_on_batch(crops[i : i + batch].astype(np.float32)))
        for i in range(0, len(crops), batch)
    ]
    return np.concatenate(parts).astype(np.float32)


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]
    """Learning rate, weight average, scoring, checkpoints, early stopping, history: per run."""

    EVERY = 8
    MOMENTUM = 0.99  # per EVERY steps: about 800 steps of memory

    def __init__(self, folder: Path, recipe: Recipe, validation: Validation) -> None:
        super().__init__()
        self._folder, self._recipe, self._validation = folder, recipe, validation
        self._step = 0
        self._average: list[NDArray[np.float32]] | None = None
        self.history: list[dict[str, float]] = []
        self._started = time.monotonic()

    def resume(self) -> int:
        """Take up the state of ``last/``; returns the number of finished epochs.

        Raises:
            InputError: it is damaged.
        """
        last = self._folder / "last"
        try:
            state = json.loads((last / "state.json").read_text(encoding="utf-8"))
            with np.load(last / "average.npz") as stored:
                self._average = [stored[f"a{i}"] for i in range(len(stored.files))]
            self.history, self._step = state["history"], state["step"]
        except UNREADABLE as error:
            raise _damaged(last, error) from error
        return len(self.history)

    def resumed(self, loss: Callable[[Any, Any], Any]) -> Any:
        """The model of ``last/`` with its optimiser, compiled for this loss.

        Raises:
            InputError: it is damaged.
        """
        file = self._folder / "last" / "model.keras"
        try:
            return keras.models.load_model(file, custom_objects={"loss": loss})
        except UNREADABLE as error:
            raise _damaged(file, error) from error

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Go on with dropout where the last epoch ended: Keras doesn't save that."""
        del epoch, logs
        for layer in exact(self.model).layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign([self._recipe.seed, self._step])

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Warm up, then follow a cosine to zero."""
        del batch, logs
        recipe, step = self._recipe, self._step
        progress = min(1.0, step / (recipe.steps * recipe.epochs))
        rate = (
            recipe.rate
            * 0.5
            * (1 + math.cos(math.pi * progress))
            * min(1.0, (step + 1) / recipe.warm_up)
        )
        self.model.optimizer.learning_rate.assign(max(rate, 1e-7))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Take the new weights into the average."""
        del batch, logs
        self._step += 1
        if self._step % self.EVERY:
            return
        weights = exact(self.model).get_weights()
        if self._average is None:
            self._average = weights
            return
        momentum = min(self.MOMENTUM, self._step / (self._step + 10 * self.EVERY))
        self._average = [
            average + (1 - momentum) * (weight - average)
            for average, weight in zip(self._average, weights, strict=True)
        ]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Score the average, keep it if it is the best, write the checkpoint."""
        network = exact(self.model)
        current = network.get_weights()
        network.set_weights(self._average or current)
        figures = self._validation.figures(network)
        entry = {"epoch": epoch + 1, "loss": float((logs or {}).get("loss", math.nan)), **figures}
        entry["seconds"] = time.monotonic() - self._started
        best = max((h["score"] for h in self.history), default=-1.0)
        self.history.append(entry)
        if figures["score"] >= best:
            replace(self._folder / "best.keras", self._save)
        replace(self._folder / "final.keras", self._save)
        network.set_weights(current)
        self._checkpoint(current)
        click.echo(json.dumps({k: round(v, 4) for k, v in entry.items()}))
        since_best = len(self.history) - 1 - int(np.argmax([h["score"] for h in self.history]))
        if since_best >= self._recipe.patience:
            self.model.stop_training = True

    def _save(self, path: Path) -> None:
        exact(self.model).save(path, include_optimizer=False)

    def _checkpoint(self, weights: list[NDArray[np.float32]]) -> None:
        """What resuming needs, of one epoch; its state comes last: it says that there is some."""
        last = self._folder / "last"
        last.mkdir(exist_ok=True)
        average = self._average or weights
        named: dict[str, Any] = {f"a{i}": a for i, a in enumerate(average)}
        state = json.dumps({"history": self.history, "step": self._step})
        history = json.dumps(self.history, indent=1)
        replace_all(
            {
                last / "model.keras": self.model.save,
                last / "average.npz": lambda path: np.savez(path, **named),
                self._folder / "history.json": lambda path: path.write_text(history, "utf-8"),
                last / "state.json": lambda path: path.write_text(state, "utf-8"),
            }
        )


def _damaged(place: Path, error: Exception) -> InputError:
    return InputError(f"{place}: damaged, can't go on from it: {error}; train anew, other --out")
