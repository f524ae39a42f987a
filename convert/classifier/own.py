"""The user's own pictures in retraining: divided, tested for enough, and mixed with others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.classifier.batches import BITS, EXACT, Batches, Mixed, divided, pools, targets
from convert.classifier.data import SET, coco_samples, stable_share
from convert.classifier.gather import open_crops
from maskedge.errors import InputError
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from convert.classifier.data import CropStore, Sample
    from convert.classifier.recipe import Recipe

FACES = "--data, --with and --landmarks"
"""Options that say which faces."""
LEAST_TEST = 30
"""Faces without which a test says nothing."""


def samples(folders: Sequence[Path], *, own: bool) -> Iterator[Sample]:
    """Faces of COCO sets, divided into training, validation and test.

    A set without ``test.json`` gives half of its validation pictures, by group, as a test.

    Raises:
        InputError: a set has no labels, or nothing to test with.
    """
    for folder in folders:
        files = {part: folder / f"{part}.json" for part in ("train", "val", "test")}
        if not files["test"].exists() and not files["val"].exists():
            raise InputError(
                f"{folder}: has neither test.json nor val.json, so nothing to test with; divide it "
                "by python -m convert dataset, and see what that notes of empty parts"
            )
        for part, file in files.items():
            if not file.exists():
                continue
            for sample in coco_samples(file, folder / part, validation=part == "val"):
                test = part == "test"
                if part == "val" and not files["test"].exists():
                    test = stable_share(sample.group or sample.picture.name) < 0.5
                yield sample._replace(
                    own=own,
                    test=test,
                    validation=part == "val" and not test,
                    group=f"{sample.group}{SET}{folder}" if sample.group else "",
                )


def open_store(
    own: Sequence[Path], others: Sequence[Path], out: Path, landmarks: Path | None, recipe: Recipe
) -> CropStore:
    """All faces, cut out for a network of the recipe's input size; once, as long as they are those.

    Raises:
        InputError: there are too few test faces, or none of a label; or nothing to train on.
        UsageError: the run in ``out`` has finished an epoch with other faces.
    """
    everything = [*samples(own, own=True), *samples(others, own=False)]
    truth = [s.allowed for s in everything if s.test and s.kind in EXACT]
    _enough(np.array(truth, np.uint8))
    begun = (out / "last" / "state.json").exists()
    store = open_crops(out, everything, landmarks, recipe.size, resume=begun, options=FACES)
    try:
        _enough(store.records["allowed"][faces_to_test(store)])
        divided(store, recipe.held_out)
    except InputError:
        (out / "crops" / "records.npy").unlink()  # there is nothing to go on with
        raise
    return store


def _enough(allowed: NDArray[np.uint8]) -> None:
    """See that faces to test with are enough to notice what gets worse."""
    counts = np.bincount(targets(allowed).argmax(1), minlength=len(LABELS)) if len(allowed) else ()
    if len(allowed) < LEAST_TEST or not np.all(counts):
        said = ", ".join(f"{sum(allowed == b)} {n}" for n, b in zip(LABELS, BITS, strict=True))
        raise InputError(
            f"the test pictures hold {said}: at least {LEAST_TEST} faces and some of each label "
            "are needed, or nothing would notice what is forgotten; add a set by --with"
        )


def faces_to_test(store: CropStore) -> NDArray[np.int64]:
    """Indices of the test faces whose label is exact."""
    records = store.records
    return np.flatnonzero(records["test"] & np.isin(records["kind"], EXACT))


def truths(store: CropStore, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class indices of faces."""
    return np.asarray(targets(store.records["allowed"][indices]).argmax(1), np.int64)


def mixer(share: float) -> Callable[[CropStore, NDArray[np.int64], Recipe, int, int], Any]:
    """Makes batches of which ``share`` are the user's own pictures, as ``train`` asks for them."""

    def mix(
        store: CropStore, training: NDArray[np.int64], recipe: Recipe, steps: int, epoch: int
    ) -> Any:
        own = store.records["own"][training]
        number = round(share * recipe.batch)
        parts = [(training[own], number), (training[~own], recipe.batch - number)]
        parts = [part for part in parts if pools(store, part[0])]
        if len(parts) == 1:
            return Batches(store, training, recipe, steps, epoch)
        return Mixed(
            [Batches(store, i, replace(recipe, batch=n), steps, epoch) for i, n in parts if n]
        )

    return mix
