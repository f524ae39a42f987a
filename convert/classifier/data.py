"""Training crops: every labelled face cut out once, with landmarks, groups and allowed labels.

A *store* keeps, for each face, a square of twice the box's longer edge (room for jitter, rotation
and drawn masks) at its own resolution, at most :func:`stored_side` pixels, in one flat file that
workers map into memory. What a label means is a bit mask of classes: "not covered" allows both
``without_mask`` and ``incorrect_mask``, and the loss takes that as it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import cv2
import numpy as np

from convert.coco import NEGATIVE, check_size, read_coco
from convert.importers import PICTURES
from convert.likeness import NEAR
from maskedge.camera.files import read_picture
from maskedge.errors import InputError, ModelError
from maskedge.geometry import Box
from maskedge.vision.likeness import picture_hash
from maskedge.vision.masks import square_crop
from maskedge.vision.yunet import Yunet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from convert.coco import Picture

if TYPE_CHECKING:
    Pixels = NDArray[Any]
    """A picture, uint8 (height, width, channels): OpenCV's own stubs promise less than that."""

WITH, WITHOUT, INCORRECT = 1, 2, 4
"""Bits of allowed classes, in the order of ``maskedge.vision.base.LABELS``."""
NOBODY = 0
"""No class is allowed: what is shown is no face, and none of the labels is to be believed."""

STORED_SIDE = 192
"""Longest edge of a stored square, pixels, for networks up to :data:`STORED_FOR`."""
STORED_FOR = 112
STORED_PADDING = 0.5
"""The stored square is (1 + 2 * 0.5) times the box's longer edge."""
FACE_OF_STORED = 1 / (1 + 2 * STORED_PADDING)

RECORD = np.dtype(
    [
        ("offset", np.int64),
        ("side", np.int32),
        ("allowed", np.uint8),
        ("kind", "U12"),
        ("source", "U48"),
        ("group", np.int64),
        ("face", np.float32),
        ("landmarks", np.float32, (5, 2)),
        ("landmark_score", np.float32),
        ("validation", np.bool_),
        ("name", "U64"),
        ("test", np.bool_),
        ("own", np.bool_),
    ]
)
"""One face: ``face`` is the box's longer edge in the picture; landmarks (right eye, left eye, nose,
right and left mouth corner; YuNet's order) are relative to the stored square, NaN when unknown.
Faces of ``test`` are neither trained on nor chosen by; ``own`` are the user's in retraining.
``name`` is what the division draws by: that of a named group, or else the picture's."""
LONGEST_NAME = RECORD["name"].itemsize // 4
SET = "\0"
"""Before what tells the groups of one name in several sets apart; nothing is drawn by that."""


class Sample(NamedTuple):
    """One labelled face of a picture, before it is cut out.

    ``box`` is None where the picture shows one face: the face finder then says where it is, and
    without one (or for tight crops, ``margin`` > 0) it is the middle less that margin. Samples of
    one ``group``, where it is named, are in one part, as near-duplicates are. ``size`` is the width
    and height that the box is for, zeros where nobody said; ``licence`` is
    empty there.
    """

    picture: Path
    box: Box | None
    allowed: int
    kind: str
    source: str
    validation: bool
    margin: float = 0.0
    group: str = ""
    test: bool = False
    own: bool = False
    size: tuple[int, int] = (0, 0)
    licence: str = ""


def near_groups(hashes: NDArray[np.uint64], distance: int = NEAR) -> NDArray[np.int64]:
    """Number the groups of pictures whose hashes differ in at most ``distance`` bits (transitive).

    Two hashes that differ in at most seven bits have one of their eight bytes in common
    (pigeonhole), so only such pairs are compared.

    Args:
        hashes: uint64 (N,).
        distance: at most 7.

    Returns:
        int64 (N,): the smallest index of each one's group.
    """
    distinct, which = np.unique(hashes, return_inverse=True)
    group = np.arange(len(distinct))
    for byte in range(8):
        keys = (distinct >> np.uint64(8 * byte)) & np.uint64(255)
        for key in range(256):
            members = np.flatnonzero(keys == key)
            for position, i in enumerate(members[:-1]):
                others = members[position + 1 :]
                others = others[group[others] != group[i]]  # a fixed camera's are one group soon
                near = np.bitwise_count(distinct[i] ^ distinct[others]) <= distance
                for joined in np.unique(group[others[near]]):
                    group[group == joined] = group[i]
    group = group[which]
    smallest = np.full(len(distinct), len(hashes))
    np.minimum.at(smallest, group, np.arange(len(hashes)))
    return smallest[group].astype(np.int64)


def join_groups(groups: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
    """Groups after those of which members have the same name, if any, became one.

    Args:
        groups: int64 (N,), each an index of its group's, as from :func:`near_groups`.
        names: N of them, empty where there is none.
    """
    parent, first = np.arange(len(groups)), dict[str, int]()
    for index, name in enumerate(names):
        if name:
            leader = first.setdefault(name, index)
            parent[_root(parent, int(groups[index]))] = _root(parent, int(groups[leader]))
    return np.array([_root(parent, int(group)) for group in groups], np.int64)


def _drawn_by(
    pictures: Sequence[str], names: Sequence[str], groups: NDArray[np.int64]
) -> list[str]:
    """What the division draws each face by: once per group if that has a name, else per picture.

    Args:
        pictures: names of the faces' pictures.
        names: those of their groups, empty where there is none.
        groups: into which the named ones and near-duplicates were joined.
    """
    first = dict[int, str]()
    for group, name in zip(groups.tolist(), names, strict=True):
        if name:
            first.setdefault(group, name.partition(SET)[0])
    drawn = [first.get(g, p) for g, p in zip(groups.tolist(), pictures, strict=True)]
    # Cut short, many would be one; a digest has just the length that there is room for.
    return [hashlib.sha256(_bytes(n)).hexdigest() if len(n) > LONGEST_NAME else n for n in drawn]


def _root(parent: NDArray[np.int64], i: int) -> int:
    """Who stands for ``i`` in a forest of groups; its path is halved on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i


class FaceFinder:
    """Boxes and five-point landmarks by YuNet (Wu et al., 2023), from OpenCV's ONNX file."""

    def __init__(self, model: Path) -> None:
        """Open it.

        Raises:
            InputError: it isn't YuNet's file.
        """
        try:
            self._yunet = Yunet(model, threshold=0.5, nms_iou=0.3)
            self._yunet.detect(np.zeros((STORED_SIDE, STORED_SIDE, 3), np.uint8))
        except ModelError as error:
            raise InputError(
                f"{model}: not YuNet's network ({error}); it is OpenCV Zoo's "
                "face_detection_yunet_2023mar.onnx"
            ) from error

    def landmarks(self, square: Pixels) -> tuple[NDArray[np.float32], float]:
        """Landmarks of the face in the middle of a stored square (BGR).

        Returns:
            float32 (5, 2) relative to the square, and the score; NaN and 0 when no face is found
            whose middle and size fit.
        """
        scaled = cv2.resize(square, (STORED_SIDE, STORED_SIDE), interpolation=cv2.INTER_LINEAR)
        best, score = np.full((5, 2), np.nan, np.float32), 0.0
        for face in self._yunet.detect(scaled):
            x, y, width, height = face[:4] / STORED_SIDE
            off_centre = max(abs(x + width / 2 - 0.5), abs(y + height / 2 - 0.5))
            ratio = max(width, height) / FACE_OF_STORED
            if off_centre < 0.15 and 0.6 < ratio < 1.6 and face[14] > score:
                best = (face[4:14].reshape(5, 2) / STORED_SIDE).astype(np.float32)
                score = float(face[14])
        return best, score

    def main_face(self, pixels: Pixels) -> Box | None:
        """The largest face of a picture, searched with room around it; None without one."""
        room = max(pixels.shape[:2]) // 4
        wide = cv2.copyMakeBorder(pixels, room, room, room, room, cv2.BORDER_REPLICATE)
        faces = self._yunet.detect(wide)
        if not len(faces):
            return None
        x, y, width, height = faces[np.argmax(faces[:, 2] * faces[:, 3]), :4]
        return Box(x - room, y - room, x + width - room, y + height - room)


@dataclass(frozen=True)
class CropStore:
    """Cut-out faces: ``records`` (:data:`RECORD`) and their pixels, BGR, in one flat buffer."""

    records: NDArray[np.void]
    pixels: Pixels

    def square(self, index: int) -> Pixels:
        """The stored square of a record, BGR uint8 (side, side, 3), read-only."""
        record = self.records[index]
        start, side = int(record["offset"]), int(record["side"])
        return self.pixels[start : start + side * side * 3].reshape(side, side, 3)

    @classmethod
    def load(cls, folder: Path) -> CropStore:
        """Map a store that :func:`build_store` wrote.

        Raises:
            InputError: an older version wrote it, or it is damaged.
        """
        records = np.load(folder / "records.npy")
        if records.dtype != RECORD:
            raise InputError(f"{folder}: cut out by an older version; delete it and start again")
        pixels = np.memmap(folder / "pixels.bin", np.uint8, mode="r")
        if len(pixels) < (records["offset"] + 3 * records["side"].astype(np.int64) ** 2).max():
            raise InputError(f"{folder}: pixels.bin is cut short; delete the folder and cut again")
        return cls(records, pixels)


def stable_share(text: str) -> float:
    """A number in 0..1 that depends on nothing but the text: for splits that never move."""
    return int.from_bytes(hashlib.sha256(_bytes(text)).digest()[:8], "big") / 2**64


def _bytes(name: str) -> bytes:
    """A file's name as it is on the disk, where it need not be UTF-8."""
    return name.encode(errors="surrogateescape")


COCO_LABELS = {
    "with_mask": (WITH, "with"),
    "without_mask": (WITHOUT, "without"),
    "mask_weared_incorrect": (INCORRECT, "incorrect"),
    "incorrect_mask": (INCORRECT, "incorrect"),
    "face": (WITHOUT, "face"),
}
"""Allowed classes and kind by category. "face" says nothing of masks, but the public sets that use
it are older than 2020: such faces are taken as bare, and never for validation."""


def coco_samples(coco: Path, images: Path, *, validation: bool) -> Iterator[Sample]:
    """Faces of a COCO file that say something about masks.

    Raises:
        InputError: it can't be read, or has labels that nobody explained.
    """
    for picture in read_coco(coco, images):
        for face in picture.faces:
            if face.label not in COCO_LABELS:
                raise InputError(
                    f"{coco}: label {face.label!r} is none of {', '.join(COCO_LABELS)}; "
                    f"python -m convert dataset --label '{face.label}=...' makes a set with ours"
                )
            bits, kind = COCO_LABELS[face.label]
            if face.ignored or (kind == "face" and validation):
                continue
            source = picture.source or coco.stem
            sample = Sample(picture.path, face.box, bits, kind, source, validation)
            yield _of(picture, sample)
        if not validation:
            yield from no_faces(coco, picture)


def no_faces(coco: Path, picture: Picture) -> Iterator[Sample]:
    """What looks like a face in a training picture of a COCO file and is none."""
    source = picture.source or coco.stem
    for box in picture.negatives:
        sample = Sample(picture.path, box, NOBODY, NEGATIVE, source, validation=False)
        yield _of(picture, sample)


def _of(picture: Picture, sample: Sample) -> Sample:
    """A sample with what its picture says of all its faces."""
    size = picture.width, picture.height
    return sample._replace(group=picture.group, size=size, licence=picture.licence)


def folder_samples(
    folder: Path, allowed: int, kind: str, *, margin: float = 0.0, validation: bool = False
) -> Iterator[Sample]:
    """Pictures of one face each; see :class:`Sample` for ``margin``."""
    source = f"{folder.parent.name}/{folder.name}"
    for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in PICTURES):
        yield Sample(path, None, allowed, kind, source, validation, margin)


def _read(path: Path) -> Pixels | None:
    try:
        return read_picture(path)
    except InputError:
        return None


def _resolve(sample: Sample, pixels: Pixels, finder: FaceFinder | None) -> Box | None:
    if sample.box is not None:
        return sample.box
    if finder is not None and not sample.margin:
        return finder.main_face(pixels)
    height, width = pixels.shape[:2]
    side = max(height, width) * (1 - 2 * sample.margin)
    return Box((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)


@dataclass
class Lost:
    """What a store couldn't take up.

    Attributes:
        unread: pictures that are missing or broken, in order.
        faceless: pictures of one face in which none is found.
        small: faces of too few pixels.
    """

    unread: dict[str, None] = field(default_factory=dict)
    faceless: int = 0
    small: int = 0

    def told(self, smallest: float) -> str:
        """In words; empty when nothing is lost."""
        said = []
        if self.unread:
            first = next(iter(self.unread))
            said.append(f"{len(self.unread)} pictures that can't be read, the first {first}")
        if self.faceless:
            said.append(f"{self.faceless} pictures in which no face is found")
        if self.small:
            said.append(f"{self.small} faces below {smallest:g} pixels")
        return "; ".join(said)


def stored_side(size: int) -> int:
    """Longest edge of the stored squares, pixels, that a network's input of ``size`` makes use of.

    A larger input is for faces that are larger themselves: cut out smaller, they'd have nothing
    more to show it.
    """
    return max(STORED_SIDE, round(STORED_SIDE / STORED_FOR * size))


def build_store(  # noqa: PLR0913 - all but three are named settings
    samples: list[Sample],
    folder: Path,
    finder: FaceFinder | None,
    *,
    side: int = STORED_SIDE,
    smallest: float = 12.0,
    progress: Callable[[list[Sample]], list[Sample]] = list,
) -> CropStore:
    """Cut every sample out, hash its picture, and write the store.

    Args:
        samples: faces, those of one picture one after another.
        folder: written to.
        finder: finds landmarks, and faces where a sample has no box; None: neither.
        side: longest edge of a stored square, pixels; see :func:`stored_side`.
        smallest: shorter faces (longer edge, pixels) are left out.
        progress: wraps the list in a progress bar.

    Raises:
        InputError: nothing could be cut out, or a picture has another size than its labels are for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = np.zeros(len(samples), RECORD)
    hashes, groups, names = np.zeros(len(samples), np.uint64), list[str](), list[str]()
    count, offset = 0, 0
    lost = Lost()
    path: Path | None = None
    pixels: Pixels | None = None
    digest = 0
    with (folder / "pixels.bin").open("wb") as out:
        for sample in progress(samples):
            if sample.picture != path:
                path, pixels = sample.picture, _read(sample.picture)
                digest = picture_hash(pixels) if pixels is not None else 0
            if pixels is None:
                lost.unread.setdefault(str(path))
                continue
            check_size(sample.picture, sample.size, pixels)
            box = _resolve(sample, pixels, finder)
            if box is None or box.size < smallest:
                lost.faceless += box is None
                lost.small += box is not None
                continue
            edge = min(side, round(box.size / FACE_OF_STORED))
            square = square_crop(pixels, box, edge, STORED_PADDING)
            points, score = finder.landmarks(square) if finder else (np.float32(np.nan), 0.0)
            out.write(square.tobytes())
            record = records[count]
            record["offset"], record["side"], record["allowed"] = offset, edge, sample.allowed
            record["kind"], record["source"], record["face"] = sample.kind, sample.source, box.size
            record["landmarks"], record["landmark_score"] = points, score
            record["validation"], record["test"] = sample.validation, sample.test
            record["own"] = sample.own
            groups.append(sample.group)
            names.append(sample.picture.name)
            hashes[count] = digest
            offset += square.size
            count += 1
    if said := lost.told(smallest):
        click.echo(f"left out: {said}", err=True)
    if not count:
        raise InputError(f"of {len(samples)} labelled faces none can be used: {said}")
    records = records[:count]
    records["group"] = join_groups(near_groups(hashes[:count]), groups)
    records["name"] = _drawn_by(names, groups, records["group"])
    np.save(folder / "records.npy", records)
    return CropStore.load(folder)
