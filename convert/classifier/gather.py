"""From the data folders of a training run to its crops."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from convert.classifier.data import (
    INCORRECT,
    NOBODY,
    SET,
    WITH,
    WITHOUT,
    CropStore,
    FaceFinder,
    Sample,
    build_store,
    coco_samples,
    folder_samples,
    no_faces,
    stored_side,
)
from convert.coco import read_coco
from convert.output import writable, write_text
from convert.sources import Origin, counted
from convert.tags import MARGIN
from maskedge.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from convert.tags import Tags


SEEN = {
    "with_mask": (WITH, "covered"),
    "without_mask": (WITHOUT, "seen_bare"),
    "incorrect_mask": (INCORRECT, "seen_wrong"),
}
"""Allowed classes and kind of a face of which somebody noted what it shows."""
FACES = "--data, --crops, --folders, --tags, --negatives and --landmarks"
"""Options of training that say which faces."""
SOURCES = "sources.json"
"""In the folder of the crops: their collections, as :func:`convert.sources.counted` has them."""
UNCLEAR = "unclear"
"""Tag of a face that nothing is to be learnt from."""


def collect(
    data: Path, crops: Path | None, folders: Path | None, negatives: Path | None = None
) -> list[Sample]:
    """All labelled faces of a data folder, those of one picture one after another.

    Args:
        data: ``train.json``, ``train/``, ``val.json``, ``val/`` (COCO).
        crops: ``{train,val}/{covered,not_covered}``: tight face crops.
        folders: ``with_mask/`` and ``without_mask/``: pictures of one face each.
        negatives: a COCO file of the pictures in ``train/``, of which what is no face is taken.

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
                    crops / part / name, allowed, name, margin=MARGIN, validation=validation
                )
    if folders is not None:
        whole += folder_samples(folders / "with_mask", WITH, "folder_with")
        whole += folder_samples(folders / "without_mask", WITHOUT, "folder_bare")
    mined = list[Sample]()
    if negatives is not None:
        for picture in read_coco(negatives, data / "train"):
            mined += no_faces(negatives, picture)
    for place, found, needed in (
        (data, samples, "train.json and train/ (COCO), as python -m convert dataset makes them"),
        (crops, tight, "train/ and val/, each with covered/ and not_covered/"),
        (folders, whole, "with_mask/ and without_mask/"),
        (negatives, mined, "not_a_face, as python -m convert mine writes them"),
    ):
        if place is not None and not found:
            raise InputError(f"{place}: no labelled faces; it needs {needed}")
    return [*samples, *tight, *whole, *mined]


def noted(samples: Iterable[Sample], tags: Tags) -> Iterator[Sample]:
    """Samples as somebody saw them: with the label of :data:`SEEN`, or left out if unclear.

    Args:
        samples: faces, those of one picture one after another.
        tags: files by tag; ``NAME`` is each face of a picture, ``NAME#2`` its second.
    """
    said: dict[str, set[str]] = {}
    for tag, files in tags.items():
        for file in files:
            said.setdefault(file, set()).add(tag)
    for picture, faces in groupby(samples, lambda sample: sample.picture):
        number = 0
        for sample in faces:
            if sample.allowed == NOBODY:  # no face to say anything of
                yield sample
                continue
            number += 1
            heard = said.get(picture.name, set()) | said.get(f"{picture.name}#{number}", set())
            if UNCLEAR in heard:
                continue
            seen = next((SEEN[label] for label in SEEN if label in heard), None)
            yield sample._replace(allowed=seen[0], kind=seen[1]) if seen else sample


def unheard(tags: Tags, samples: Iterable[Sample]) -> str:
    """What of the tags changes nothing, in words; empty when there is none of it.

    Args:
        tags: see :func:`noted`.
        samples: all faces, those that were left out as unclear among them.
    """
    faces = Counter(sample.picture.name for sample in samples if sample.allowed != NOBODY)
    said = []
    strange = {tag: len(files) for tag, files in tags.items() if tag not in {*SEEN, UNCLEAR}}
    if strange:
        counted = ", ".join(f"{tag!r} ({count})" for tag, count in sorted(strange.items()))
        said.append(f"neither a label nor {UNCLEAR}, so nothing is learnt from them: {counted}")
    told = {file for tag, files in tags.items() if tag not in strange for file in files}
    missing = sorted(file for file in told if not _is_there(file, faces))
    if missing:
        said.append(f"{len(missing)} of no face in the data, the first {missing[0]}")
    return "; ".join(said)


def _is_there(file: str, faces: Counter[str]) -> bool:
    name, _, number = file.rpartition("#")
    return bool(faces[file]) or (number.isdigit() and 1 <= int(number) <= faces[name])


def open_crops(  # noqa: PLR0913 - two of them for how it is told
    out: Path,
    samples: list[Sample],
    landmarks: Path | None,
    size: int,
    *,
    resume: bool,
    options: str = FACES,
) -> CropStore:
    """The crops of a run: cut out once, then reused as long as they are of the same faces.

    Args:
        out: folder of the run.
        samples: its faces.
        landmarks: YuNet's file, if any.
        size: rows and columns of the network's input, pixels.
        resume: whether the run has trained on them before.
        options: those that say which faces, for the error.

    Raises:
        UsageError: a run is to go on with other faces.
        InputError: nothing could be cut out.
    """
    # A folder may move, that of a set that tells groups of one name apart as well.
    moved = (
        s._replace(picture=Path(s.picture.name), group=s.group.partition(SET)[0]) for s in samples
    )
    told = [tuple(s)[: Sample._fields.index("licence")] for s in moved]  # that changes no crop
    side = stored_side(size)
    digest = sha256(repr((told, landmarks and landmarks.name, side)).encode()).hexdigest()
    known = out / "crops" / "samples.sha256"
    origins = json.dumps(counted(map(_origin, samples)), indent=1)
    if (out / "crops" / "records.npy").exists():
        if not known.exists() or known.read_text(encoding="utf-8") == digest:
            store = CropStore.load(out / "crops")
            write_text(out / "crops" / SOURCES, origins)
            return store
        if resume:
            raise UsageError(
                f"{out}: was begun with other faces or landmarks; give the same {options}, or "
                "train anew with another --out"
            )
    finder = FaceFinder(landmarks) if landmarks else None
    known.unlink(missing_ok=True)
    store = build_store(
        samples,
        writable(out / "crops"),
        finder,
        side=side,
        progress=lambda items: tqdm(items, desc="faces", unit="face", dynamic_ncols=True),
    )
    write_text(out / "crops" / SOURCES, origins)
    known.write_text(digest, encoding="utf-8")
    return store


def _origin(sample: Sample) -> Origin:
    part = "test" if sample.test else "val" if sample.validation else "train"
    return Origin(sample.source, part, sample.licence, sample.picture)
