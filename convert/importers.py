"""Readers of labelled picture sets as people publish them: COCO, Pascal VOC, YOLO, folders.

All give the same :class:`convert.coco.Picture`, so that nothing behind them knows the difference.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import cv2
import yaml

from convert.coco import Annotation, Picture, read_coco
from maskedge.errors import InputError, MaskedgeError, UsageError
from maskedge.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
SYNONYMS = {
    "with_mask": ("with_mask", "mask", "masked", "withmask", "face_mask", "mask_on", "1_mask"),
    "without_mask": ("without_mask", "no_mask", "nomask", "unmasked", "withoutmask", "bare"),
    "incorrect_mask": (
        "incorrect_mask", "mask_weared_incorrect", "mask_worn_incorrectly", "incorrect",
        "incorrect_mask_wearing", "partially_covered", "improperly_worn",
    ),
    "face": ("face", "unknown"),
}  # fmt: skip
"""Names that published sets use, compared in lower case with ``_`` for spaces and dashes."""


def standard_label(name: str, own: dict[str, str]) -> str | None:
    """Our label for a set's own name; None where nobody said what it means."""
    if name in own:
        return own[name]
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    return next((label for label, names in SYNONYMS.items() if plain in names), None)


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture as it decodes; None where it doesn't."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if pixels is None else (pixels.shape[1], pixels.shape[0])


def read_coco_set(folder: Path, images: Path | None) -> list[Picture]:
    """A COCO JSON file, or all of a folder; pictures beside it unless ``images`` says where."""
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
    pictures: list[Picture] = []
    for file in files:
        beside = file.parent / file.stem
        pictures += read_coco(file, images or (beside if beside.is_dir() else file.parent))
    return pictures


def read_voc(folder: Path, images: Path | None) -> list[Picture]:
    """Pascal VOC: one XML per picture, boxes in pixels.

    Raises:
        InputError: a file is no VOC annotation.
    """
    pictures = []
    where = _picture_index(images or folder)
    for file in sorted(folder.rglob("*.xml")):
        try:
            root = ET.parse(file).getroot()  # noqa: S314 - entities are off since expat 2.4.1
            name = root.findtext("filename") or file.stem
            faces = tuple(_voc_face(thing) for thing in root.iter("object"))
            size = [int(float(root.findtext(f"size/{k}") or 0)) for k in ("width", "height")]
        except (ET.ParseError, TypeError, ValueError) as error:
            raise InputError(f"{file}: no Pascal VOC annotation: {error}") from error
        stem = name.rpartition(".")[0] or name
        path = where.get(stem, where.get(file.stem, (images or folder) / name))
        pictures.append(Picture(path, size[0], size[1], folder.name, faces))
    return pictures


def _voc_face(thing: ET.Element) -> Annotation:
    corners = (thing.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax"))
    return Annotation(Box(*(float(c or "nan") for c in corners)), thing.findtext("name") or "")


def read_yolo(folder: Path, images: Path | None) -> list[Picture]:
    """YOLO: one text file per picture, ``class x y width height`` relative to the picture.

    Names come from ``data.yaml``, ``classes.txt`` or ``obj.names``.

    Raises:
        InputError: no names, or a line that isn't five numbers.
    """
    names = _yolo_names(folder)
    where = _picture_index(images or folder)
    pictures = []
    for file in sorted(folder.rglob("*.txt")):
        path = where.get(file.stem)
        if path is None or (size := size_of(path)) is None:
            continue  # classes.txt, a read-me, or a picture that the checks report
        faces = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                kind, x, y, width, height = (float(v) for v in line.split()[:5])
                name = names[int(kind)]
            except (ValueError, IndexError, KeyError) as error:
                raise InputError(f"{file}:{number}: not 'class x y width height'") from error
            box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            faces.append(Annotation(box.scaled(*size), name))
        pictures.append(Picture(path, *size, folder.name, tuple(faces)))
    return pictures


def _yolo_names(folder: Path) -> dict[int, str]:
    for file in (*folder.rglob("data.yaml"), *folder.rglob("data.yml")):
        names = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("names", {})
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    for pattern in ("classes.txt", "obj.names", "*.names"):
        for file in folder.rglob(pattern):
            lines = file.read_text(encoding="utf-8").split("\n")
            return dict(enumerate(line.strip() for line in lines if line.strip()))
    raise InputError(f"{folder}: no data.yaml, classes.txt or obj.names says what the classes are")


def read_folders(folder: Path, images: Path | None) -> list[Picture]:
    """One folder per class, one face per picture: the box is the whole picture."""
    pictures = []
    for path in _pictures_in(images or folder):
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


def recognise(folder: Path) -> str:
    """Which of :data:`READERS` a folder or file is for.

    Raises:
        UsageError: none of them.
    """
    if folder.is_file() or any(folder.rglob("*.json")):
        return "coco"
    if any(folder.rglob("*.xml")):
        return "voc"
    stems = {path.stem for path in _pictures_in(folder)}
    if any(path.stem in stems for path in folder.rglob("*.txt")):
        return "yolo"
    if any(path.parent != folder for path in _pictures_in(folder)):
        return "folders"
    raise UsageError(
        f"{folder}: neither COCO (.json), Pascal VOC (.xml), YOLO (.txt) nor a folder per class"
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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise MaskedgeError(f"kaggle could not fetch {name}: {said[-1]}")
    return folder


def _pictures_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURES)


def _picture_index(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in _pictures_in(folder)}
