"""``python -m convert dataset``: other people's pictures into one checked, split COCO set.

What comes out is what ``train`` and ``evaluate`` take: ``train.json``, ``train/`` and the same for
``val`` and ``test``. Near-duplicates are put into one part together, else a network is examined on
pictures it has learnt by heart: most published 99 % figures are of that kind.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np

from convert.backend import SEED
from convert.coco import NEGATIVE
from convert.faces import cut_out, pixels_of
from convert.grouping import groups_of, split
from convert.importers import READERS, UNREAD, fetch_kaggle, recognise, standard_label, unread
from convert.likeness import both_ways
from convert.output import writable, write_png, write_text
from convert.sizes import fitted
from convert.sources import Origin, counted
from maskedge.errors import InputError, UsageError
from maskedge.vision.base import LABELS
from maskedge.vision.masks import square_crop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from convert.coco import Annotation, Picture

CATEGORIES = (*LABELS, "face", NEGATIVE)
PARTS = ("train", "val", "test")
MIN_INSIDE = 0.5
"""Share of a box that must lie in its picture; the rest of it is cut off."""
SIZE_BOUNDS = (20, 32, 64)
LONGEST_NAME = 255
"""Bytes that file systems allow."""
SHEET_COLUMNS, SHEET_TILE = 12, 80


@dataclass(slots=True)
class Checked:
    """A set after its checks: what is kept, and what was found wrong."""

    pictures: list[Picture] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)

    def note(self, problem: str, where: str) -> None:
        """Remember one finding."""
        self.problems.setdefault(problem, []).append(where)


def check(
    pictures: Sequence[Picture],
    labels: dict[str, str],
    group_by: re.Pattern[str] | None = None,
    progress: Callable[[Sequence[Picture]], Iterable[Picture]] = iter,
) -> Checked:
    """Read every picture, mend what can be mended, leave out what can't, and group duplicates.

    Args:
        pictures: from a reader.
        labels: the user's own names for ours.
        group_by: pictures whose name, or else folder, has the same first group belong together
            (frames of one video), as do those that the set itself groups, and Roboflow's copies of
            one original.
        progress: wraps the list in a progress bar.

    Raises:
        UsageError: no picture matches ``group_by``.
    """
    result = Checked()
    seen: dict[str, Picture] = {}
    hashes: list[tuple[int, int]] = []
    for picture in progress(pictures):
        try:
            pixels = pixels_of(picture)
        except InputError:
            missing = not picture.path.exists()
            result.note("missing pictures" if missing else "corrupt pictures", picture.path.name)
            continue
        fit, said = fitted(picture, pixels)
        if said:
            result.note(said, picture.path.name)
        if fit is None:
            continue
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        if digest in seen:
            first = seen[digest]
            alike = Counter(f.label for f in picture.faces) == Counter(f.label for f in first.faces)
            said = "exact duplicates" if alike else "exact duplicates that are labelled otherwise"
            result.note(f"{said}, left out", f"{picture.path} = {first.path}")
            continue
        seen[digest] = picture
        found = [f for face in fit.drawn if (f := _mended(face, fit, labels, result))]
        faces = tuple(f for f in found if f.label != NEGATIVE)
        negatives = tuple(f.box for f in found if f.label == NEGATIVE)
        if not faces and any(standard_label(f.label, labels) is None for f in picture.faces):
            result.note("pictures of unknown labels alone, left out", picture.path.name)
            continue  # to a detector, a picture without faces says that there are none
        result.pictures.append(replace(fit, faces=faces, negatives=negatives))
        hashes.append(both_ways(pixels))
    result.groups = groups_of(result.pictures, hashes, group_by)
    known = set[str]()
    for picture, group in zip(result.pictures, result.groups, strict=True):
        if group in known:
            result.note("near-duplicates, kept in one part", picture.path.name)
        known.add(group)
    return result


def _mended(
    face: Annotation, picture: Picture, labels: dict[str, str], result: Checked
) -> Annotation | None:
    label = standard_label(face.label, labels)
    if label is None:
        result.note(f"unknown label {face.label!r}, left out", picture.path.name)
        result.unknown[face.label] += 1
        return None
    inside = face.box.clipped(picture.width, picture.height)
    if not face.box.area > 0 or inside.area < MIN_INSIDE * face.box.area:
        result.note("boxes outside their picture or empty, left out", picture.path.name)
        return None
    if inside.area < 0.98 * face.box.area:
        result.note("boxes over the picture's edge, cut off", picture.path.name)
    return replace(face, box=inside, label=label)


def write_set(checked: Checked, parts: Sequence[str], out: Path) -> None:
    """Copy pictures and write one COCO file per part that has any."""
    everything = list(zip(checked.pictures, checked.groups, parts, strict=True))
    files: dict[str, str] = {}
    for part in PARTS:
        chosen = [(picture, group) for picture, group, name in everything if name == part]
        if not chosen:
            continue
        (out / part).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        licences = sorted({picture.licence for picture, _ in chosen if picture.licence})
        for number, (picture, group) in enumerate(chosen, 1):
            path = picture.path if picture.cut is None else picture.path.with_suffix(".png")
            name = _copied(number, path)
            if picture.cut is None:
                shutil.copyfile(picture.path, out / part / name)
            else:
                write_png(out / part / name, pixels_of(picture))
            images.append(
                {
                    "id": number, "file_name": name, "width": picture.width,
                    "height": picture.height, "source": picture.source, "group": group,
                }
            )  # fmt: skip
            if picture.licence:
                images[-1]["license"] = licences.index(picture.licence) + 1
            annotations += (
                _coco_face(face, number, len(annotations) + i)
                for i, face in enumerate(picture.drawn, 1)
            )
        categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, 1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        content["licenses"] = [{"id": i, "name": name} for i, name in enumerate(licences, 1)]
        files[f"{part}.json"] = json.dumps(content)
    for name, text in files.items():  # at the end: a set that was stopped half-way is none
        write_text(out / name, text)


def _copied(number: int, path: Path) -> str:
    """What a picture is called in a set: as it was, but in UTF-8, and no longer than can be."""
    known = os.fsencode(path.stem)[: LONGEST_NAME - len(f"{number:06}_{path.suffix}")]
    return f"{number:06}_{known.decode(errors='ignore')}{path.suffix}"


def _coco_face(face: Annotation, image: int, number: int) -> dict[str, Any]:
    box = face.box
    entry = {
        "id": number,
        "image_id": image,
        "category_id": CATEGORIES.index(face.label) + 1,
        "bbox": [round(v, 2) for v in (box.x1, box.y1, box.width, box.height)],
        "area": round(box.area, 1),
        "iscrowd": int(face.crowd),
    }
    return entry if face.by is None else {**entry, "by": face.by}


def summarise(checked: Checked, parts: Sequence[str]) -> dict[str, Any]:
    """Counts by part, label and face size, labels that a part lacks, and what was found wrong."""
    faces = {part: Counter[str]() for part in PARTS}
    sizes = Counter[str]()
    for picture, part in zip(checked.pictures, parts, strict=True):
        faces[part].update(entry.label for entry in picture.drawn)
        for face in picture.faces:
            bound = next((b for b in SIZE_BOUNDS if face.box.size < b), None)
            sizes[f"below {bound} px" if bound else f"{SIZE_BOUNDS[-1]} px and more"] += 1
    return {
        "pictures": dict(Counter(parts)),
        "groups": len(set(checked.groups)),
        "faces": {part: dict(count) for part, count in faces.items() if count},
        "absent": {
            part: absent
            for part in PARTS
            if part in parts and (absent := [n for n in LABELS if not faces[part][n]])
        },
        "pictures_without_faces": sum(not picture.faces for picture in checked.pictures),
        "face_sizes": dict(sizes),
        "collections": counted(
            Origin(p.source, part, p.licence, p.path)
            for p, part in zip(checked.pictures, parts, strict=True)
        ),
        "problems": {k: {"count": len(v), "first": v[:5]} for k, v in checked.problems.items()},
    }


def contact_sheet(
    pictures: Sequence[Picture],
    path: Path,
    seed: int,
    labels: Sequence[str] = CATEGORIES,
    rows: int = 4,
) -> None:
    """Random faces of each label, label by label: a look at them finds what no check does."""
    rng = np.random.default_rng(seed)
    tiles = []
    for label in labels:
        found = [(p, f.box) for p in pictures for f in p.drawn if f.label == label]
        if not found:
            continue
        chosen = rng.permutation(len(found))[: rows * SHEET_COLUMNS]
        crops = []
        for picture, box in (found[i] for i in chosen):
            crops.append(square_crop(pixels_of(picture), box, SHEET_TILE))
        blank = np.full((SHEET_TILE, SHEET_TILE, 3), 255, np.uint8)
        crops += [blank] * (-len(crops) % SHEET_COLUMNS)
        bar = np.full((18, SHEET_COLUMNS * SHEET_TILE, 3), 255, np.uint8)
        cv2.putText(
            bar, f"{label} ({len(found)})", (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0)
        )
        tiles.append(bar)
        tiles += [
            np.hstack(crops[i : i + SHEET_COLUMNS]) for i in range(0, len(crops), SHEET_COLUMNS)
        ]
    if tiles:
        write_png(path, np.vstack(tiles))


def advice(summary: dict[str, Any], checked: Checked, shares: dict[str, float]) -> list[str]:
    """Sentences about what a user should mend before training.

    Args:
        summary: as written beside the set.
        checked: the set.
        shares: what each part was to have of it.
    """
    said = [
        f"{part} has no pictures: of {summary['groups']} groups none fell to its share of "
        f"{share:g}; add pictures of others, or change the shares or --seed"
        for part, share in shares.items()
        if share > 0 and part not in summary["pictures"]
    ]
    largest, number = Counter(checked.groups).most_common(1)[0]
    way = "--faces one" if summary["form"] == "folders" else "a folder per class, --faces one"
    cut = "" if summary["cut_out"] else f"cut the faces out ({way}), "
    if number > max(1, len(checked.groups) / 2) and summary["split"] == "group":
        said.append(
            f"{number} of {len(checked.groups)} pictures are of one group, {largest}, and in one "
            f"part: they look alike, as a fixed camera's whole pictures do, or have one name; {cut}"
            "give a finer --group-by, or add pictures of other places"
        )
    said += [
        f"{part} has no {' and no '.join(labels)}: "
        + ("it can't be learnt" if part == "train" else "nothing would tell how well it is judged")
        + "; add such pictures, or change the shares or --seed"
        for part, labels in summary["absent"].items()
    ]
    said += [
        f"{count} faces are labelled {label!r}: say what it means, e.g. --label '{label}=with_mask'"
        for label, count in checked.unknown.items()
    ]
    return said


def _own_labels(pairs: Sequence[str]) -> dict[str, str]:
    labels = dict(pair.rpartition("=")[::2] for pair in pairs)
    for old, new in labels.items():
        if not old or new not in CATEGORIES:
            raise UsageError(
                f"--label {old}{'=' if old else ''}{new}: give OLD=NEW, where NEW is one of "
                f"{', '.join(CATEGORIES)}"
            )
    return labels


def _pattern(group_by: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(group_by) if group_by else None
    except re.error as error:
        raise UsageError(f"--group-by {group_by}: {error}") from error


@click.command()
@click.argument("source")
@click.option(
    "--from",
    "kind",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "kaggle", *READERS]),
    help="What SOURCE is; kaggle: the name of a set, owner/name.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the pictures are, if not beside the labels.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="OLD=NEW",
    help="What a set's own label means; may be repeated.",
)
@click.option(
    "--val",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share for validation.",
)
@click.option(
    "--test",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share for the test.",
)
@click.option(
    "--faces",
    type=click.Choice(["one", "largest"]),
    help="Find the face in whole pictures of a folder per class and cut it out; of several faces: "
    "one leaves the picture out, largest takes the largest.",
)
@click.option(
    "--licence",
    help="Under which the pictures may be used, for the model card; default: as a COCO file says.",
)
@click.option(
    "--group-by",
    help="Regular expression on file names, or else folders; the same first group stays together.",
)
@click.option(
    "--split",
    "how",
    default="group",
    show_default=True,
    type=click.Choice(["group", "random"]),
    help="random: near-duplicates are in several parts, as in published figures. To compare alone.",
)
@click.option("--seed", default=1, type=SEED, show_default=True)
def command(
    source: str,
    kind: str,
    images: Path | None,
    out: Path,
    labels: tuple[str, ...],
    val: float,
    test: float,
    faces: str | None,
    licence: str | None,
    group_by: str | None,
    how: str,
    seed: int,
) -> None:
    """Import, check, split and show a set of labelled pictures.

    SOURCE is a folder (or COCO file) in COCO, Pascal VOC, YOLO or folder-per-class form, or with
    --from kaggle a set's name, fetched by Kaggle's client with your own token.

    \b
    Examples:
      python -m convert dataset downloads/mask-set --out data/masks
      python -m convert dataset andrewmvd/face-mask-detection --from kaggle --out data/kaggle
      python -m convert dataset frames --out data/frames --group-by '^(clip\\d+)_' \\
          --label ok=with_mask
    """  # noqa: D301 - click reads the \b
    from tqdm import tqdm

    if any((out / f"{part}.json").exists() for part in PARTS):
        raise UsageError(f"{out}: holds a set; give another --out")
    if val + test >= 1:
        raise UsageError("--val and --test leave nothing to train on")
    own = _own_labels(labels)
    pattern = _pattern(group_by)
    writable(out)
    folder = fetch_kaggle(source, out / "download") if kind == "kaggle" else Path(source)
    if not folder.exists():
        raise InputError(f"{folder}: no such file or folder")
    form = recognise(folder, images) if kind in {"auto", "kaggle"} else kind
    name = folder.resolve().stem if folder.is_file() else folder.resolve().name
    pictures = [
        replace(p, source=p.source or name, licence=licence or p.licence)
        for p in READERS[form](folder, images)
    ]
    left_out: dict[str, list[str]] = {}
    if faces:
        if form != "folders":
            raise UsageError(
                f"--faces {faces}: is for a folder per class; {folder} is read as {form}, which "
                "says where the faces are"
            )
        pictures, left_out = cut_out(pictures, own, largest=faces == "largest")
    checked = check(pictures, own, pattern, lambda p: tqdm(p, unit="picture", dynamic_ncols=True))
    checked.problems |= left_out
    for path in () if form == "coco" else unread(images or folder):  # COCO names its pictures
        kind = path.suffix.lower()
        checked.note(f"{kind} files, left out, for they can't be read: {UNREAD}", path.name)
    if not any(picture.faces for picture in checked.pictures):
        found = "; ".join(f"{k}: {len(v)}" for k, v in checked.problems.items())
        cure = "; --images says where they are" if "missing pictures" in checked.problems else ""
        said = f"no usable face in it ({found or 'no labels'}){cure}"
        raise InputError(f"{folder}: read as {form}, {said}")
    together = checked.groups
    if how == "random":
        together = [picture.path.name for picture in checked.pictures]
    parts = split(together, val, test, seed)
    write_set(checked, parts, out)
    summary = {"source": source, "form": form, "cut_out": faces, "split": how, "seed": seed}
    summary |= summarise(checked, parts)
    write_text(out / "summary.json", json.dumps(summary, indent=2))
    contact_sheet(checked.pictures, out / "contact_sheet.png", seed)
    click.echo(json.dumps(summary, indent=2))
    shares = {"train": 1 - val - test, "val": val, "test": test}
    for sentence in advice(summary, checked, shares):
        click.echo(f"note: {sentence}", err=True)
