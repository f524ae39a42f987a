"""Readers of labelled picture sets as people publish them: COCO, Pascal VOC, YOLO, folders.

All give the same :class:`convert.coco.Picture`, so that nothing behind them knows the difference.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import click
import yaml
from tqdm import tqdm

from convert.coco import NEGATIVE, Annotation, Picture, read_coco
from maskedge.camera.files import PICTURE_SUFFIXES, VIDEO_SUFFIXES, read_picture
from maskedge.errors import InputError, MaskedgeError, UsageError
from maskedge.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PICTURES = PICTURE_SUFFIXES | {".jfif"}
SYNONYMS = {
    "with_mask": ("with_mask", "mask", "masked", "withmask", "face_mask", "mask_on", "1_mask"),
    "without_mask": ("without_mask", "no_mask", "nomask", "unmasked", "withoutmask", "bare"),
    "incorrect_mask": (
        "incorrect_mask", "mask_weared_incorrect", "mask_worn_incorrectly", "incorrect",
        "incorrect_mask_wearing", "partially_covered", "improperly_worn",
    ),
    "face": ("face", "unknown"),
    NEGATIVE: (NEGATIVE, "no_face"),
}  # fmt: skip
"""Names that published sets use, compared in lower case with ``_`` for spaces and dashes."""

OTHERS = VIDEO_SUFFIXES | {
    ".avif", ".cr2", ".dng", ".gif", ".heic", ".heif", ".hif", ".jp2", ".jxl", ".nef", ".svg",
}  # fmt: skip
"""Endings of pictures and videos that aren't read."""
UNREAD = "make .jpg or .png of them"
BOX = 4
"""Numbers of a box in a line of YOLO's: a network's own boxes have their score behind them."""
NO_YOLO = "not 'class x y width height', and not the points of a polygon"


def standard_label(name: str, own: dict[str, str]) -> str | None:
    """Our label for a set's own name; None where nobody said what it means."""
    if name in own:
        return own[name]
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    return next((label for label, names in SYNONYMS.items() if plain in names), None)


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture as it decodes; None where it doesn't."""
    try:
        height, width = read_picture(path).shape[:2]
    except InputError:
        return None
    return width, height


def read_coco_set(folder: Path, images: Path | None) -> list[Picture]:
    """A COCO JSON file, or all of a folder; pictures beside it unless ``images`` says where.

    They may also lie as COCO's own: those of ``annotations/instances_NAME.json`` in ``NAME/``. One
    that isn't where the file says (CVAT and Label Studio write so) is looked for by its name.

    Raises:
        InputError: a file isn't COCO, or a folder holds none that is.
    """
    files = [folder] if folder.is_file() else list(_coco_files(folder))
    if not files:
        raise InputError(f"{folder}: no .json in it has images, annotations and categories")
    pictures: list[Picture] = []
    for file in files:
        beside = file.parent / file.stem
        above = file.parent.parent / file.stem.removeprefix("instances_")
        found = (place for place in (images, beside, above) if place and place.is_dir())
        said = read_coco(file, next(found, file.parent), mended=False)
        home = file.parent.parent if file.parent.name == "annotations" else file.parent
        pictures += _found(said, file, images or (folder if folder.is_dir() else home))
    return pictures


def _found(pictures: list[Picture], labels: Path, folder: Path) -> list[Picture]:
    r"""Pictures of a COCO file, those that aren't where it says looked for in a folder.

    On Windows, Label Studio writes ``images\NAME``, and since 1.16 ``..\..\media\NAME``.
    """
    if all(picture.path.exists() for picture in pictures):
        return pictures
    where, part = Pictures(folder), labels.stem.removeprefix("instances_")
    placed = []
    for picture in pictures:
        said = PureWindowsPath(picture.path)
        found = picture.path.exists() or where.called(said.name, {*said.parts, part})
        placed.append(replace(picture, path=found) if isinstance(found, Path) else picture)
    return placed


def read_voc(folder: Path, images: Path | None) -> list[Picture]:
    """Pascal VOC: one XML per picture, boxes in pixels.

    Raises:
        InputError: a file is no VOC annotation.
    """
    pictures = []
    where = Pictures(images or folder)
    for file in files_in(folder, "*.xml"):
        try:
            root = ET.parse(file).getroot()  # noqa: S314 - entities are off since expat 2.4.1
            name = root.findtext("filename") or file.stem
            faces = tuple(_voc_face(thing) for thing in root.iter("object"))
            size = [int(float(root.findtext(f"size/{k}") or 0)) for k in ("width", "height")]
        except (ET.ParseError, TypeError, ValueError) as error:
            raise InputError(f"{file}: no Pascal VOC annotation: {error}") from error
        stem = name.rpartition(".")[0] or name
        path = where.of(file, stem) or where.of(file, file.stem) or (images or folder) / name
        pictures.append(Picture(path, size[0], size[1], folder.name, faces))
    return pictures


def _voc_face(thing: ET.Element) -> Annotation:
    corners = (thing.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax"))
    return Annotation(Box(*(float(c or "nan") for c in corners)), thing.findtext("name") or "")


def read_yolo(folder: Path, images: Path | None) -> list[Picture]:
    """YOLO: one text file per picture, ``class x y width height`` relative to the picture.

    A line may also be ``class x1 y1 x2 y2 x3 y3 ...``: a polygon, of which the box is taken. Names
    come from ``data.yaml``, ``classes.txt`` or ``obj.names``. A picture without a text file has no
    faces.

    Raises:
        InputError: no names, or a line that is neither box nor polygon.
    """
    names, keypoints = _yolo_names(folder)
    where = Pictures(images or folder)
    texts = {}
    for file in files_in(folder, "*.txt"):
        path = where.of(file, file.stem)
        if path is None and file.parent.name == "labels":
            path = file.parent.with_name("images") / f"{file.stem}.jpg"  # the checks say: missing
        if path is not None:  # else classes.txt, or a read-me
            texts[path] = file
    pictures, predicted = [], 0
    for path in _shown(sorted({*texts, *where})):
        size = size_of(path)
        rows = _yolo_rows(texts[path]) if size and path in texts else []
        predicted += sum(len(row) == 1 + BOX + 1 for row in rows)
        faces = _yolo_faces(texts[path], rows, names, keypoints, size) if size and rows else ()
        pictures.append(Picture(path, *(size or (0, 0)), folder.name, faces))
    if predicted:
        click.echo(
            f"note: boxes with a score, as a network draws them: {predicted}; look at the contact "
            "sheet, for what it got wrong would be learnt",
            err=True,
        )
    return pictures


def _yolo_rows(file: Path) -> list[list[float]]:
    rows = []
    for number, line in enumerate(_lines(file), 1):
        try:
            rows.append([float(value) for value in line.split()])
        except ValueError as error:
            raise InputError(f"{file}:{number}: {NO_YOLO}") from error
    return rows


def _yolo_faces(
    file: Path,
    rows: list[list[float]],
    names: dict[int, str],
    keypoints: int,
    size: tuple[int, int],
) -> tuple[Annotation, ...]:
    faces = []
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        kind, *numbers = row
        if kind not in names:
            known = ", ".join(map(str, sorted(names)))
            raise InputError(f"{file}:{number}: class {kind:g} has no name; there are: {known}")
        box = _yolo_box(numbers, keypoints)
        if box is None:
            raise InputError(f"{file}:{number}: {NO_YOLO}")
        faces.append(Annotation(box.scaled(*size), names[int(kind)]))
    return tuple(faces)


def _yolo_box(numbers: list[float], keypoints: int) -> Box | None:
    """The box that the numbers behind a class say, relative to the picture; None: they say none."""
    if len(numbers) in {BOX, BOX + 1, BOX + keypoints}:
        x, y, width, height = numbers[:BOX]
        box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(numbers) > BOX and len(numbers) % 2 == 0 and not keypoints:
        xs, ys = numbers[::2], numbers[1::2]
        box = Box(min(xs), min(ys), max(xs), max(ys))
    else:
        return None
    return box if all(map(math.isfinite, numbers)) else None


def _yolo_names(folder: Path) -> tuple[dict[int, str], int]:
    """The classes' names, and how many numbers of keypoints follow each box."""
    for file in (*files_in(folder, "data.yaml"), *files_in(folder, "data.yml")):
        try:
            content = yaml.safe_load("\n".join(_lines(file)))
            names = content["names"]
            pairs = names.items() if isinstance(names, dict) else enumerate(names)
            keypoints = math.prod(int(n) for n in content.get("kpt_shape") or (0,))
            return {int(number): str(name) for number, name in pairs}, keypoints
        except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{file}: has no list 'names' of the classes: {error}") from error
    for pattern in ("classes.txt", "obj.names", "*.names"):
        for file in files_in(folder, pattern):
            return dict(enumerate(line.strip() for line in _lines(file) if line.strip())), 0
    raise InputError(f"{folder}: no data.yaml, classes.txt or obj.names says what the classes are")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: can't read it as text: {error}") from error


def read_folders(folder: Path, images: Path | None) -> list[Picture]:
    """One folder per class, one face per picture: the box is the whole picture."""
    pictures = []
    for path in _shown(list(_pictures_in(images or folder))):
        size = size_of(path)
        width, height = size or (0, 0)
        face = Annotation(Box(0, 0, width, height), path.parent.name)
        pictures.append(Picture(path, width, height, folder.name, (face,) if size else ()))
    return pictures


READERS: dict[str, Callable[[Path, Path | None], list[Picture]]] = {
    "coco": read_coco_set,
    "voc": read_voc,
    "yolo": read_yolo,
    "folders": read_folders,
}


def recognise(folder: Path, images: Path | None = None) -> str:
    """Which of :data:`READERS` a folder or file is for, whose pictures may be elsewhere.

    Raises:
        UsageError: none of them.
    """
    if folder.is_file() or any(_coco_files(folder)):
        return "coco"
    if files_in(folder, "*.xml"):
        return "voc"
    shown = images or folder
    stems = {path.stem for path in _pictures_in(shown)}
    if any(path.stem in stems for path in files_in(folder, "*.txt")):
        return "yolo"
    if any(path.parent != shown for path in _pictures_in(shown)):
        return "folders"
    kinds = ", ".join(sorted({path.suffix.lower() for path in unread(shown)}))
    elsewhere = "if the pictures are elsewhere, --images says where"
    raise UsageError(
        f"{folder}: neither COCO (.json), Pascal VOC (.xml), YOLO (.txt) nor a folder per class; "
        + (f"{kinds} files can't be read: {UNREAD}" if kinds else elsewhere)
    )


def fetch_kaggle(name: str, folder: Path) -> Path:
    """Download and unpack a Kaggle set by Kaggle's own client, with the user's own token.

    Args:
        name: ``owner/set``.
        folder: where to.

    Raises:
        UsageError: the client isn't installed.
        MaskedgeError: it failed; says what it said.
    """
    client = shutil.which("kaggle")
    if client is None:
        raise UsageError(
            "Kaggle's client isn't installed: pip install kaggle, then put your token where "
            "https://www.kaggle.com/docs/api says"
        )
    folder.mkdir(parents=True, exist_ok=True)
    command = [client, "datasets", "download", "-d", name, "-p", str(folder), "--unzip"]
    said = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        while running.stdout and (chunk := os.read(running.stdout.fileno(), 4096)):
            click.echo(chunk, err=True, nl=False)  # its progress bar
            said = (said + chunk)[-4096:]
    if running.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise MaskedgeError(f"kaggle could not fetch {name}: {lines[-1]}")
    return folder


def _shown(paths: list[Path]) -> Iterable[Path]:
    bar: Iterable[Path] = tqdm(paths, desc="sizes", unit="picture", dynamic_ncols=True)
    return bar


def _pictures_in(folder: Path) -> Iterator[Path]:
    return (path for path in files_in(folder) if path.suffix.lower() in PICTURES)


def files_in(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in a folder, sorted, but for what macOS leaves beside it (``._NAME``)."""
    return sorted(path for path in folder.rglob(pattern) if not path.name.startswith("._"))


def unread(folder: Path) -> list[Path]:
    """Pictures and videos in a folder that are of a kind that no reader takes."""
    return [path for path in files_in(folder) if path.suffix.lower() in OTHERS]


def _coco_files(folder: Path) -> Iterator[Path]:
    """The JSON files that are COCO's by their keys; others lie beside many sets.

    Raises:
        InputError: one can't be read: it may be a part of the set.
    """
    for file in files_in(folder, "*.json"):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: can't read it as JSON: {error}") from error
        if isinstance(content, dict) and {"images", "annotations"} & content.keys():
            yield file


class Pictures:
    """The pictures of a folder, by the name of their labels' file.

    Sets that come divided often count from one in each part, so of several pictures of a name the
    one is meant whose folder shares most with that of the labels.
    """

    def __init__(self, folder: Path) -> None:
        self._by_stem: dict[str, list[Path]] = {}
        for path in _pictures_in(folder):
            self._by_stem.setdefault(path.stem, []).append(path)

    def __iter__(self) -> Iterator[Path]:
        return (path for paths in self._by_stem.values() for path in paths)

    def of(self, labels: Path, stem: str) -> Path | None:
        """The picture called ``stem`` that is nearest to a file of labels; None without one."""
        mine = labels.parent.parts

        def shared(path: Path) -> int:
            return sum(1 for part in path.parent.parts if part in mine)

        return max(self._by_stem.get(stem, ()), key=shared, default=None)

    def called(self, name: str, parts: set[str]) -> Path | None:
        """The picture of a name, ending included, in whose path are most of ``parts``.

        None without one, or where several have as many: nobody knows which is meant.
        """
        found = [path for path in self._by_stem.get(PurePath(name).stem, ()) if path.name == name]
        shared = [len(parts.intersection(path.parent.parts)) for path in found]
        best = [p for p, n in zip(found, shared, strict=True) if n == max(shared)]
        return best[0] if len(best) == 1 else None
