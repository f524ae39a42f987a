"""What happens after each training epoch: running mean, checkpoint, validation, history."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from convert.backend import UNREADABLE
from convert.detector.loss import DetectorLoss
from convert.detector.optimiser import PointwiseMuon
from convert.output import replace_all
from convert.resume import same_settings
from convert.rounded import Rounded, exact
from maskedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from convert.coco import Picture
    from convert.detector.train import Checkpoint

MEAN_EVERY = 4
"""Steps between updates of the running mean."""

FIXED = ("height", "width", "hold_out", "labels")
"""Settings that can't change when a run goes on: what was learnt so far depends on them."""


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps the running mean of the weights, checkpoints, validation figures and history.

    Args:
        files: where everything is kept.
        settings: written into the history, and compared when a run is resumed.
        validation: labelled pictures to validate on, by the name that the history gives them.
        validate_every: epochs between validations; 0: never.
    """

    def __init__(
        self,
        files: Checkpoint,
        settings: dict[str, Any],
        validation: Mapping[str, Sequence[Picture]],
        validate_every: int,
    ) -> None:
        super().__init__()
        self._validation, self._validate_every = validation, validate_every
        self._files = files
        self._history: dict[str, Any] = {"settings": settings, "epochs": []}
        self._mean: list[Any] | None = None
        self._momentum = float(settings["momentum"]) ** MEAN_EVERY
        self._updates = 0
        self._began = time.monotonic()

    @property
    def epoch(self) -> int:
        """The epoch to go on with."""
        return len(self._history["epochs"])

    def resumed(self) -> Any:
        """The model of the last checkpoint, with its optimiser; history and mean are taken up.

        Raises:
            UsageError: the run was begun with other settings that can't change.
            InputError: the checkpoint is damaged.
        """
        try:
            stored = json.loads(self._files.history.read_text(encoding="utf-8"))
            before, self._history["epochs"] = stored["settings"], stored["epochs"]
            same_settings(self._files.folder, FIXED, before, self._history["settings"])
            ours = {c.__name__: c for c in (DetectorLoss, PointwiseMuon, Rounded)}
            model = keras.models.load_model(self._files.model, custom_objects=ours)
            network = exact(model)
            latest = network.get_weights()
            network.load_weights(self._files.mean)
            self._mean = network.get_weights()
            network.set_weights(latest)
            self._updates = self._history["epochs"][-1]["updates"]
        except UNREADABLE as error:
            raise InputError(
                f"{self._files.folder}: damaged, can't go on from it: {error}; train anew with "
                "another --out, and --start mean.weights.h5 if that is whole"
            ) from error
        return model

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the clock."""
        del epoch, logs
        self._began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Take the new weights into the running mean."""
        del logs
        if batch % MEAN_EVERY:
            return
        weights = exact(self.model).get_weights()
        self._updates += 1
        momentum = min(self._momentum, (1 + self._updates) / (10 + self._updates))
        if self._mean is None:
            self._mean = weights
        self._mean = [
            mean + (1 - momentum) * (weight - mean)
            for mean, weight in zip(self._mean, weights, strict=True)
        ]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate, and write the checkpoint, the history last: it says that there is one."""
        entry: dict[str, Any] = {
            "epoch": epoch + 1,
            "loss": float((logs or {}).get("loss", np.nan)),
            "seconds": round(time.monotonic() - self._began, 1),
            "updates": self._updates,
        }
        if self._validate_every and (epoch + 1) % self._validate_every == 0:
            entry["validation"] = self._validate()
        self._history["epochs"].append(entry)
        text = json.dumps(self._history, indent=1)
        replace_all(
            {
                self._files.model: self.model.save,
                self._files.mean: self._save_mean,
                self._files.history: lambda path: path.write_text(text),
            }
        )

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Plot the history."""
        del logs
        from convert.plots import history_plot  # noqa: PLC0415 - loads matplotlib

        rows = []
        for epoch in self._history["epochs"]:
            scored = {f"AP {k}": v["ap"] for k, v in epoch.get("validation", {}).items()}
            known = {k: v for k, v in scored.items() if v is not None}
            rows.append({"epoch": epoch["epoch"], "loss": epoch["loss"], **known})
        names = dict.fromkeys(name for row in rows for name in row if name != "epoch")
        history_plot(rows, self._files.folder / "history.png", tuple(names))

    def _save_mean(self, path: Path) -> None:
        network = exact(self.model)
        latest = network.get_weights()
        network.set_weights(self._mean)
        network.save_weights(path)
        network.set_weights(latest)

    def _validate(self) -> dict[str, Any]:
        from convert.detector.validate import validate  # noqa: PLC0415 - only where it is asked

        mean = self._mean or []
        return {name: validate(mean, p) for name, p in self._validation.items() if p}
