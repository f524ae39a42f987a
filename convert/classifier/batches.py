"""Which faces train and which validate, and the batches that training sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from convert.classifier.augment import augment
from convert.classifier.data import INCORRECT, WITH, WITHOUT, stable_share
from convert.classifier.drawn import draw_mask
from convert.coco import NEGATIVE
from maskedge.errors import InputError
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from convert.classifier.data import CropStore
    from convert.classifier.recipe import Recipe

STREAMS = {
    "with": 0.22,
    "covered": 0.06,
    "folder_with": 0.03,
    "drawn_right": 0.07,
    "without": 0.16,
    "face": 0.09,
    "not_covered": 0.07,
    "seen_bare": 0.03,
    "folder_bare": 0.03,
    "incorrect": 0.12,
    "seen_wrong": 0.06,
    "drawn_wrong": 0.08,
    NEGATIVE: 0.06,
}
"""How a batch is mixed: classes alike, sources by how much they resemble a camera at a door."""

DRAWN_ON = ("without", "face", "folder_bare")
EXACT = ("with", "without", "incorrect")
"""Kinds whose label allows one class."""
BITS = np.array([WITH, WITHOUT, INCORRECT], np.uint8)


def split(store: CropStore, held_out: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices for training and for validation; no group of near-duplicates is in both.

    Besides what the data calls validation, ``held_out`` of the groups with an exact label are
    held out: validation sets are short of masks worn wrong. What the data calls a test, and its
    near-duplicates, is in neither.
    """
    records = store.records
    exact = np.isin(records["kind"], EXACT)
    drawn = np.array([stable_share(str(name)) < held_out for name in records["name"]], bool)
    tested = np.isin(records["group"], np.unique(records["group"][records["test"]]))
    groups = np.unique(records["group"][records["validation"] | (exact & drawn)])
    shared = np.isin(records["group"], groups)
    validation = shared & exact & (records["validation"] | drawn) & ~tested
    return np.flatnonzero(~shared & ~tested), np.flatnonzero(validation)


def divided(store: CropStore, held_out: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As :func:`split`, when there is something to train and to validate on.

    Raises:
        InputError: there isn't, or nothing of the user's own is left to train on.
    """
    training, validation = split(store, held_out)
    if not len(validation):
        raise InputError(
            "no faces to validate on: give a set with val.json, or train with more --held-out"
        )
    own = store.records["own"]
    for whose, chosen in (("the", np.ones(len(own), bool)), ("your own", own)):
        if chosen.any() and not pools(store, training[chosen[training]]):
            said = _lost(store, training, chosen)
            raise InputError(f"none of {whose} faces is left to train on: {said}")
    return training, validation


def _lost(store: CropStore, training: NDArray[np.int64], chosen: NDArray[np.bool_]) -> str:
    """Where training faces went of which none is left, and what helps."""
    records = store.records
    meant = chosen & ~records["validation"] & ~records["test"]
    tested = meant & np.isin(records["group"], records["group"][records["test"]])
    unsure = meant & np.isin(np.arange(len(records)), training)
    counts = {
        "look like test pictures or are of their groups": tested.sum(),
        "are of groups that are validated on": (meant & ~tested & ~unsure).sum(),
        "are not surely faces, or not surely none: give --landmarks": unsure.sum(),
    }
    said = ", ".join(f"{count} {why}" for why, count in counts.items() if count)
    return (
        f"of {meant.sum()} in train.json{said and ', '}{said}; add pictures of other people, "
        "places or days: what looks alike, or is of one group, stays together"
    )


def told(store: CropStore, training: NDArray[np.int64], validation: NDArray[np.int64]) -> str:
    """How many faces train, validate, test, or do nothing, in words."""
    own, test = store.records["own"], np.flatnonzero(store.records["test"])
    used = np.concatenate([training, validation, test])
    parts = {
        "to train on": training,
        "to validate on": validation,
        "to test with": test,
        "unused, their groups validating or tested": np.setdiff1d(np.arange(len(own)), used),
    }
    counts = (
        f"{len(faces)} {use}" + (f" ({own[faces].sum()} your own)" if own.any() else "")
        for use, faces in parts.items()
        if len(faces)
    )
    return f"{len(own)} faces: {', '.join(counts)}"


def pools(store: CropStore, indices: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The training faces of each stream that has any."""
    records = store.records[indices]
    can_draw = (
        np.isin(records["kind"], DRAWN_ON)
        & (records["landmark_score"] > 0.75)
        & (records["face"] >= 40)
    )
    kind, seen = records["kind"], records["landmark_score"]
    sure = (kind != "face") | (seen > 0.6)
    sure &= (kind != NEGATIVE) | (seen == 0)  # else it may be a face that nobody labelled
    found = {
        name: indices[can_draw]
        if name.startswith("drawn")
        else indices[(records["kind"] == name) & sure]
        for name in STREAMS
    }
    return {name: pool for name, pool in found.items() if len(pool)}


def untaught(store: CropStore, indices: NDArray[np.int64]) -> list[str]:
    """Labels that no training face has for sure, and for which no mask can be drawn."""
    taught = {"drawn_right": {WITH}, "drawn_wrong": {INCORRECT}}
    bits = set[int]().union(
        *(
            taught.get(name, set(store.records["allowed"][pool].tolist()))
            for name, pool in pools(store, indices).items()
        )
    )
    return [label for label, bit in zip(LABELS, BITS.tolist(), strict=True) if bit not in bits]


def targets(allowed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bit masks (N,) as multi-hot rows (N, 3); :data:`convert.classifier.data.NOBODY` is zeros."""
    return ((allowed[:, None] & BITS) > 0).astype(np.float32)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Augmented batches, drawn anew in every epoch; the same again for the same seed and epoch."""

    def __init__(
        self,
        store: CropStore,
        indices: NDArray[np.int64],
        recipe: Recipe,
        steps: int,
        epoch: int = 0,
    ) -> None:
        super().__init__(workers=1, max_queue_size=12)
        self._store, self._recipe, self._steps, self._epoch = store, recipe, steps, epoch
        self._pools = pools(store, indices)
        weights = np.array([STREAMS[name] for name in self._pools])
        self._weights = weights / weights.sum()

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Crops (batch, size, size, 3), 0..255 RGB, and the classes allowed (batch, 3)."""
        recipe = self._recipe
        rng = np.random.default_rng((recipe.seed, self._epoch, index))
        names = rng.choice(list(self._pools), recipe.batch, p=self._weights)
        crops = np.empty((recipe.batch, recipe.size, recipe.size, 3), np.float32)
        allowed = np.empty(recipe.batch, np.uint8)
        for i, name in enumerate(names):
            crops[i], allowed[i] = self._one(rng, str(name))
        return crops, targets(allowed)

    def _one(self, rng: np.random.Generator, name: str) -> tuple[NDArray[np.uint8], int]:
        index = int(rng.choice(self._pools[name]))
        record, square = self._store.records[index], self._store.square(index)
        allowed = int(record["allowed"])
        if name.startswith("drawn"):
            right = name == "drawn_right"
            drawn = draw_mask(rng, square, record["landmarks"], worn_right=right)
            if drawn is not None:
                square, allowed = drawn, WITH if right else INCORRECT
        recipe = self._recipe
        return augment(rng, square, recipe.size, recipe.padding, recipe.smallest), allowed

    def on_epoch_end(self) -> None:
        """Go on to other randomness."""
        self._epoch += 1


class Mixed(keras.utils.PyDataset):  # type: ignore[misc]
    """Each batch is one of every part's, put together; all parts have as many."""

    def __init__(self, parts: Sequence[Batches]) -> None:
        super().__init__(workers=1, max_queue_size=12)
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts[0])

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Crops (sum of the parts' batches, size, size, 3) and the classes allowed."""
        crops, allowed = zip(*(part[index] for part in self._parts), strict=True)
        return np.concatenate(crops), np.concatenate(allowed)

    def on_epoch_end(self) -> None:
        """Go on to other randomness."""
        for part in self._parts:
            part.on_epoch_end()
