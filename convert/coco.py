"""A COCO detection set: the JSON and the folder of pictures beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from convert.output import write_text
from maskedge.errors import InputError
from maskedge.geometry import Box

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


NEGATIVE = "not_a_face"
"""The category of what looks like a face and is none: no face, but worth looking at in training."""
IN_REGION = 0.5
"""Share of a found box that lies in a region (:attr:`Annotation.region`) from which nothing is
concluded of it."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One labelled face.

    Attributes:
        box: pixels of the picture.
        label: the category's name as the file has it, e.g. ``with_mask``.
        by: what drew the box, where it wasn't a person; such faces are real but were left out by
            the annotators, so scoring ignores them.
        crowd: COCO's ``iscrowd``: a region of many faces that scoring ignores.
    """

    box: Box
    label: str
    by: str | None = None
    crowd: bool = False

    @property
    def ignored(self) -> bool:
        """Whether a detector is neither rewarded nor punished here when it is scored."""
        return self.crowd or self.by is not None

    @property
    def region(self) -> bool:
        """Whether many faces may lie in it, or none does: what is found inside says nothing."""
        return self.crowd or self.label == NEGATIVE


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and its faces.

    Attributes:
        path: its file.
        width: pixels in a row.
        height: rows.
        source: which collection it came from; empty where the file doesn't say.
        faces: its annotations, in the file's order.
        group: pictures of one group show one person or moment, so they are split together; empty
            where the file doesn't say.
        negatives: what looks like a face and is none, boxes in pixels.
        licence: under which it may be used; empty where the file doesn't say.
        cut: what of the file is the picture, whole pixels; None: all of it.
    """

    path: Path
    width: int
    height: int
    source: str = ""
    faces: tuple[Annotation, ...] = field(default_factory=tuple)
    group: str = ""
    negatives: tuple[Box, ...] = ()
    licence: str = ""
    cut: Box | None = None

    @property
    def drawn(self) -> tuple[Annotation, ...]:
        """Its faces, and its negatives with :data:`NEGATIVE` for a label."""
        return (*self.faces, *(Annotation(box, NEGATIVE) for box in self.negatives))


def read_pixels(picture: Picture) -> NDArray[np.uint8]:
    """A picture's pixels, uint8 (height, width, 3), RGB.

    Raises:
        InputError: it can't be read, or has another size than its labels are for.
    """
    from maskedge.camera.files import read_picture  # noqa: PLC0415 - annotations don't need it

    pixels = read_picture(picture.path)
    check_size(picture.path, (picture.width, picture.height), pixels)
    return np.ascontiguousarray(pixels[..., ::-1])


def check_size(path: Path, size: tuple[int, int], pixels: NDArray[Any]) -> None:
    """See that a picture is as large as its labels say: else its boxes lie elsewhere.

    Args:
        path: its file.
        size: width and height that its labels are for; 0 where they don't say.
        pixels: (height, width, channels), what it decodes to.

    Raises:
        InputError: it has another size.
    """
    height, width = pixels.shape[:2]
    if min(size) > 0 and size != (width, height):
        raise InputError(
            f"{path}: has {width}x{height} pixels, its labels are for {size[0]}x{size[1]}; "
            "python -m convert dataset puts boxes where they belong"
        )


class Labels:
    """The labels of a COCO file as they are written in it, to change and to add to.

    Args:
        path: a file that :func:`read_coco` can read.

    Attributes:
        images: its pictures, as the file has them.
        annotations: its labels; what is changed here is written.
    """

    def __init__(self, path: Path) -> None:
        self._content = json.loads(path.read_text(encoding="utf-8"))
        self.images: list[dict[str, Any]] = self._content["images"]
        self.annotations: list[dict[str, Any]] = self._content["annotations"]
        self._last = max((int(entry.get("id", 0)) for entry in self.annotations), default=0)

    def region(self, entry: dict[str, Any]) -> bool:
        """Whether a label is of a region; see :attr:`Annotation.region`."""
        names = {int(c["id"]): str(c["name"]) for c in self._content["categories"]}
        return bool(entry.get("iscrowd")) or names[int(entry["category_id"])] == NEGATIVE

    def add(self, image: dict[str, Any], category: str, entry: dict[str, Any]) -> None:
        """Add a label.

        Args:
            image: the picture.
            category: its name; one that the file lacks is added to it.
            entry: the rest: ``bbox``, ``iscrowd``, and what else there is to say.
        """
        known = {str(c["name"]): int(c["id"]) for c in self._content["categories"]}
        if category not in known:
            known[category] = max(known.values(), default=0) + 1
            self._content["categories"].append({"id": known[category], "name": category})
        self._last += 1
        place = {"id": self._last, "image_id": image["id"], "category_id": known[category]}
        self.annotations.append({**place, **entry})

    def write(self, path: Path) -> None:
        """Write all of it, whole or not at all."""
        text = json.dumps(self._content)
        write_text(path, text)


def as_bbox(box: Any) -> list[float]:
    """COCO's x, y, width and height of x1, y1, x2 and y2, to a tenth of a pixel."""
    x1, y1, x2, y2 = (float(edge) for edge in box)
    return [round(x1, 1), round(y1, 1), round(x2 - x1, 1), round(y2 - y1, 1)]


def read_coco(annotations: Path, images: Path, *, mended: bool = True) -> list[Picture]:
    """Read a COCO detection set.

    Args:
        annotations: the JSON file.
        images: the folder that ``file_name`` starts from.
        mended: whether sizes and boxes must be sound; not for who looks at the pictures anyway.

    Returns:
        Pictures in the file's order, also those without faces. Boxes without extent are left out.
        If it needn't be mended, a width or height of 0 says that the file doesn't say.

    Raises:
        InputError: the file can't be read or isn't COCO detection JSON; a picture has no size, or a
            box lies a whole picture away from its own.
    """
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{annotations}: can't read it: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{annotations}: not JSON: {error}") from error
    try:
        return _pictures(content, images, mended=mended)
    except InputError as error:
        raise InputError(f"{annotations}: {error}; python -m convert dataset mends that") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{annotations}: not a COCO detection file ({type(error).__name__}: {error}); it needs "
            "images, annotations and categories"
        ) from error


def _pictures(content: dict[str, Any], images: Path, *, mended: bool) -> list[Picture]:
    names = {int(c["id"]): str(c["name"]) for c in content["categories"]}
    entries = {int(image["id"]): image for image in content["images"]}
    sizes = {number: _size(image, mended=mended) for number, image in entries.items()}
    faces: dict[int, list[Annotation]] = {number: [] for number in entries}
    negatives: dict[int, list[Box]] = {image: [] for image in faces}
    licences = _licences(content)
    for entry in content["annotations"]:
        x, y, width, height = (float(v) for v in entry["bbox"])
        if width <= 0 or height <= 0:
            continue
        box, label = Box(x, y, x + width, y + height), names[int(entry["category_id"])]
        if mended and not _near(box, *sizes[int(entry["image_id"])]):
            raise InputError(
                f"the bbox {entry['bbox']} of annotation {entry.get('id')} isn't in its picture, "
                f"{entries[int(entry['image_id'])]['file_name']}"
            )
        if label == NEGATIVE:
            negatives[int(entry["image_id"])].append(box)
            continue
        faces[int(entry["image_id"])].append(
            Annotation(box, label, entry.get("by"), bool(entry.get("iscrowd", 0)))
        )
    return [
        Picture(
            images / str(image["file_name"]),
            *sizes[int(image["id"])],
            str(image.get("source", "")),
            tuple(faces[int(image["id"])]),
            str(image.get("group", "")),
            tuple(negatives[int(image["id"])]),
            licences.get(image.get("license"), ""),
        )
        for image in content["images"]
    ]


def _licences(content: dict[str, Any]) -> dict[Any, str]:
    """Names of a file's licences, or else their addresses, by number."""
    known = [entry for entry in content.get("licenses") or () if isinstance(entry, dict)]
    return {one.get("id"): str(one.get("name") or one.get("url") or "") for one in known}


def _size(image: dict[str, Any], *, mended: bool) -> tuple[int, int]:
    width, height = (int(image.get(key) or 0) for key in ("width", "height"))
    if mended and min(width, height) <= 0:
        raise InputError(f"the image {image['file_name']} has no width and height")
    return width, height


def _near(box: Box, width: int, height: int) -> bool:
    """Whether no edge is a whole picture away from it; one that is no number is nowhere."""
    return -width <= box.x1 <= box.x2 <= 2 * width and -height <= box.y1 <= box.y2 <= 2 * height
