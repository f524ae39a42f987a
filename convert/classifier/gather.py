"""From the data folders of a training run to its crops."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from tqdm import tqdm

from convert.classifier.data import (
    INCORRECT,
    WITH,
    WITHOUT,
    CropStore,
    FaceFinder,
    Sample,
    build_store,
    coco_samples,
    folder_samples,
)
from convert.output import writable
from maskedge.errors import InputError, UsageError


def collect(data: Path, crops: Path | None, folders: Path | None) -> list[Sample]:
    """All labelled faces of a data folder.

    Args:
        data: ``train.json``, ``train/``, ``val.json``, ``val/`` (COCO).
        crops: ``{train,val}/{covered,not_covered}``: tight face crops.
        folders: ``with_mask/`` and ``without_mask/``: pictures of one face each.

    Raises:
        InputError: one of them holds nothing that can be used.
    """
    samples, tight, whole = list[Sample](), list[Sample](), list[Sample]()
    for part in ("train", "val"):
        validation = part == "val"
        if (data / f"{part}.json").exists():
            samples += coco_samples(data / f"{part}.json", data / part, validation=validation)
        for name, allowed in (("covered", WITH), ("not_covered", WITHOUT | INCORRECT)):
            if crops is not None:
                tight += folder_samples(
                    crops / part / name, allowed, name, margin=0.1, validation=validation
                )
    if folders is not None:
        whole += folder_samples(folders / "with_mask", WITH, "folder_with")
        whole += folder_samples(folders / "without_mask", WITHOUT, "folder_bare")
    for place, found, needed in (
        (data, samples, "train.json and train/ (COCO), as python -m convert dataset makes them"),
        (crops, tight, "train/ and val/, each with covered/ and not_covered/"),
        (folders, whole, "with_mask/ and without_mask/"),
    ):
        if place is not None and not found:
            raise InputError(f"{place}: no labelled faces; it needs {needed}")
    return [*samples, *tight, *whole]


def open_crops(
    out: Path, samples: list[Sample], landmarks: Path | None, *, resume: bool
) -> CropStore:
    """The crops of a run: cut out once, then reused as long as they are of the same faces.

    Args:
        out: folder of the run.
        samples: its faces.
        landmarks: YuNet's file, if any.
        resume: whether the run has trained on them before.

    Raises:
        UsageError: a run is to go on with other faces.
        InputError: nothing could be cut out.
    """
    told = [tuple(s._replace(picture=Path(s.picture.name))) for s in samples]  # a folder may move
    digest = sha256(repr((told, landmarks and landmarks.name)).encode()).hexdigest()
    known = out / "crops" / "samples.sha256"
    if (out / "crops" / "records.npy").exists():
        if not known.exists() or known.read_text(encoding="utf-8") == digest:
            return CropStore.load(out / "crops")
        if resume:
            raise UsageError(
                f"{out}: was begun with other faces or landmarks; give the same --data, --crops, "
                "--folders and --landmarks, or train anew with another --out"
            )
    finder = FaceFinder(landmarks) if landmarks else None
    known.unlink(missing_ok=True)
    store = build_store(
        samples,
        writable(out / "crops"),
        finder,
        progress=lambda items: tqdm(items, desc="faces", unit="face", dynamic_ncols=True),
    )
    known.write_text(digest, encoding="utf-8")
    return store
