"""A classifier's training run, opened again: what quantisation and retraining take from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.backend import UNREADABLE
from maskedge.camera.frame import ChannelOrder
from maskedge.errors import InputError
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from convert.classifier.data import CropStore
    from convert.classifier.recipe import Recipe


CALIBRATED = "calibrated"
"""Name of the float network that ``quantize`` leaves in a run: none of training's."""


@dataclass(frozen=True)
class ClassifierRun:
    """A training run's folder, opened: its recipe, crops and split."""

    folder: Path
    recipe: Recipe
    store: CropStore
    training: NDArray[np.int64]
    validation: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> ClassifierRun:
        """Read a folder that ``train --task classifier`` wrote.

        Raises:
            InputError: it isn't one, or has nothing to validate on.
        """
        from convert.classifier.batches import split
        from convert.classifier.data import CropStore
        from convert.classifier.recipe import Recipe

        try:
            recipe = Recipe(**json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
            store = CropStore.load(folder / "crops")
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{folder}: no classifier's training run (recipe.json and crops/): {error}"
            ) from error
        training, validation = split(store, recipe.held_out)
        if not len(validation):
            raise InputError(f"{folder}: has no faces to validate on; train with some")
        return cls(folder, recipe, store, training, validation)

    def network(self, checkpoint: str = "best") -> Any:
        """The float network of the run.

        Raises:
            InputError: it isn't there, or is damaged.
        """
        import keras

        file = self.folder / f"{checkpoint}.keras"
        if not file.exists() or not (self.folder / "history.json").exists():
            kept = {f.stem for f in self.folder.glob("*.keras")} - {CALIBRATED}
            raise InputError(
                f"{file}: no finished epoch of that name; there are: "
                f"{', '.join(sorted(kept)) or 'none yet'}; go on by "
                "python -m convert train ... --resume"
            )
        try:
            return keras.models.load_model(file, compile=False)
        except UNREADABLE as error:
            raise InputError(f"{file}: damaged: {error}; train on with --resume") from error

    def collections(self) -> dict[str, dict[str, Any]]:
        """Which collections its faces are of, as :func:`convert.sources.counted` has it."""
        from convert.classifier.gather import SOURCES

        known = self.folder / "crops" / SOURCES
        if not known.exists():  # an older version cut them out
            sources = self.store.records["source"][self.training]
            return {str(name): {"licence": ""} for name in np.unique(sources)}
        found: dict[str, dict[str, Any]] = json.loads(known.read_text(encoding="utf-8"))
        return found

    def epochs(self, checkpoint: str = "best") -> int:
        """Epochs up to the one whose weights were kept: the best, or the last of ``"final"``."""
        history = json.loads((self.folder / "history.json").read_text(encoding="utf-8"))
        kept = max(history, key=lambda entry: entry["score"])
        return int((history[-1] if checkpoint == "final" else kept)["epoch"])

    def validation_crops(self, face: float | None = None) -> NDArray[np.uint8]:
        """Validation crops (N, size, size, 3) RGB; with ``face``, faces shrunk to that edge."""
        from convert.classifier.augment import plain
        from convert.classifier.keeper import shrunk

        squares = (self.store.square(int(i)) for i in self.validation)
        recipe = self.recipe
        return np.stack(
            [plain(shrunk(s, face) if face else s, recipe.size, recipe.padding) for s in squares]
        )

    @property
    def truth(self) -> NDArray[np.int64]:
        """Class indices of the validation faces."""
        from convert.classifier.batches import targets

        allowed = self.store.records["allowed"][self.validation]
        return np.asarray(targets(allowed).argmax(1), np.int64)


def representative(run: ClassifierRun, count: int) -> Iterator[NDArray[np.float32]]:
    """Training crops as training shows them: half as they are, half augmented."""
    from convert.classifier.augment import plain
    from convert.classifier.batches import Batches

    recipe, store = run.recipe, run.store
    steps = max(1, count // 2 // recipe.batch)
    augmented = min(count // 2, steps * recipe.batch)
    batches = map(Batches(store, run.training, recipe, steps).__getitem__, range(steps))
    yield from islice((crop for crops, _ in batches for crop in crops), augmented)
    rng = np.random.default_rng(recipe.seed)
    for index in rng.choice(run.training, count - augmented):
        yield plain(store.square(int(index)), recipe.size, recipe.padding).astype(np.float32)


def card_of(
    run: ClassifierRun, epochs: int, figures: dict[str, Any], calibration: dict[str, Any]
) -> dict[str, Any]:
    """The JSON of a classifier that was trained for so many epochs, without the digest."""
    records = run.store.records
    counted: dict[str, int] = {}
    for kind in records["kind"][run.training]:
        counted[str(kind)] = counted.get(str(kind), 0) + 1
    recipe = run.recipe
    return {
        "task": "classifier",
        "labels": list(LABELS),
        "network": f"{recipe.backbone} {recipe.alpha:g}/{recipe.size}",
        "input": {"size": recipe.size, "padding": recipe.padding, "order": ChannelOrder.RGB.value},
        "output": "logits",
        "calibration": calibration,
        "training": {
            "epochs": epochs,
            "faces": counted,
            "data": run.collections(),
            "recipe": {k: v for k, v in asdict(recipe).items() if k not in {"weights", "start"}},
            **({"started_from": {"file": Path(recipe.start).name}} if recipe.start else {}),
        },
        "metrics": figures,
    }
