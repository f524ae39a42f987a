"""The labelled faces as a COCO set that ``python -m convert dataset`` reads.

``review.json`` and the pictures in ``review/``. Each picture names its person's track as ``group``,
so that no person is both learnt from and examined on.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from maskedge.errors import InputError, UsageError
from maskedge.review.record import NOT_A_FACE
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from maskedge.geometry import Box
    from maskedge.review.folder import Item, ReviewFolder

NAME = "review"
CATEGORIES = (*LABELS, "face", NOT_A_FACE)


def labelled(folder: ReviewFolder) -> list[Item]:
    """The faces of which a person said what they show, oldest first.

    Raises:
        InputError: there is none.
        ReviewError: the folder can't be read.
    """
    items = [item for item in folder.items() if item.labelled]
    if not items:
        raise InputError(f"{folder.path}: no face is labelled yet; label some: maskedge review")
    return items


def coco(items: Iterable[Item]) -> dict[str, Any]:
    """The annotations.

    What was labelled ``not_a_face`` keeps that for a category: ``convert`` learns from it what is
    none. Other faces in a picture, which nobody has looked at, are marked as drawn ``by`` the
    program: it then neither learns their mask nor scores them.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, record, _, mark) in enumerate(items, 1):
        images.append(
            {
                "id": number,
                "file_name": f"{name}.jpg",
                "width": record.width,
                "height": record.height,
                "source": NAME,
                "group": record.track,
            }
        )
        faces: list[tuple[Box, str | None, dict[str, str]]] = [(record.box, mark, {})]
        faces += [(box, "face", {"by": "maskedge"}) for box in record.others]
        for box, label, more in faces:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORIES.index(str(label)) + 1,
                    "bbox": [round(v, 1) for v in (box.x1, box.y1, box.width, box.height)],
                    "area": round(box.area, 1),
                    "iscrowd": 0,
                    **more,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def counts(items: Iterable[Item]) -> dict[str, int]:
    """How many faces were labelled what."""
    return dict(Counter(str(item.mark) for item in items))


def write(folder: ReviewFolder, out: Path) -> list[Item]:
    """Write the set to a new folder, for its owner only; whole or not at all.

    Returns:
        What was written.

    Raises:
        InputError: nothing is labelled, a picture can't be read, or the set can't be written.
        UsageError: the folder holds something already.
        ReviewError: the kept faces can't be read.
    """
    items = labelled(folder)
    try:
        if out.is_dir() and any(out.iterdir()):
            raise UsageError(f"{out}: holds something already; give a new folder")
        with _whole(out):
            written = [item for item in items if _copy(folder, item.name, out / NAME)]
            _put(out / f"{NAME}.json", json.dumps(coco(written)).encode())
            if os.geteuid() == 0:  # with sudo, for whoever works there
                owner = out.parent.stat()
                for path in (out, *out.rglob("*")):
                    shutil.chown(path, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise InputError(f"{out}: can't be written: {error.strerror}") from error
    return written


@contextmanager
def _whole(out: Path) -> Iterator[None]:
    """Make the folders; what doesn't come to its end leaves nothing in the way of another try."""
    there = out.is_dir()
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        (out / NAME).mkdir(mode=0o700)
        yield
    except BaseException:
        with suppress(OSError):
            shutil.rmtree(out / NAME)
            (out / f"{NAME}.json").unlink(missing_ok=True)
            if not there:
                out.rmdir()
        raise


def _copy(folder: ReviewFolder, name: str, to: Path) -> bool:
    """False: the face is gone, as it was purged meanwhile."""
    try:
        picture = folder.picture(name)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(f"{error.filename}: can't be read: {error.strerror}") from error
    _put(to / f"{name}.jpg", picture)
    return True


def _put(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


class _Sink(io.RawIOBase):
    """Collects what a ZIP file's writer says, until it is sent."""

    def __init__(self) -> None:
        self.said = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.said += data
        return len(data)

    def take(self) -> bytes:
        said = bytes(self.said)
        self.said.clear()
        return said


def archive(folder: ReviewFolder, items: Iterable[Item]) -> Iterator[bytes]:
    """The same as a ZIP file, piece by piece: it is never in memory or on the disk as a whole."""
    sink, written = _Sink(), []
    with zipfile.ZipFile(sink, "w") as file:  # JPEG can't be compressed further
        for item in items:
            try:
                picture = folder.picture(item.name)
            except OSError:
                continue  # purged meanwhile
            written.append(item)
            file.writestr(f"{NAME}/{item.name}.jpg", picture)
            yield sink.take()
        file.writestr(f"{NAME}.json", json.dumps(coco(written)), zipfile.ZIP_DEFLATED)
    yield sink.take()
