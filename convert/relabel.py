"""``python -m convert relabel``: a second annotator goes over the faces of a COCO set.

Those who labelled the pictures that there are drew faces each in a way of their own: from the hair
or from the eyebrows, with ears or without, and left out who stood behind. A detector that learns
from all of them draws what is between them, and learns that some faces are none. YuNet at twice
the size draws all faces in one way: a box becomes the mean of the two, a face that it alone is sure
of is added, and one that it is unsure of becomes a region that is neither right nor wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from convert.coco import IN_REGION, Labels, as_bbox, read_coco, read_pixels
from convert.output import writable
from maskedge.errors import InputError, ModelError
from maskedge.geometry import boxes_array, inside_matrix, iou_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskedge.geometry import Boxes

NAME = "YuNet"
SIDE = 960
"""Longer side of the pictures as it sees them, pixels: twice and more what the detector does."""
LEAST = 0.3
"""Its least score; below, it sees nothing."""
SEEN = 0.5
"""Score from which its box of a labelled face counts."""
SURE = 0.7
"""Score from which a face that nobody labelled is one."""
SAME = 0.35
"""Overlap from which both have drawn the same face."""
NMS_IOU = 0.45
UNKNOWN = "face"
"""The category of a face whose mask isn't known."""


class SecondAnnotator:
    """YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023) from OpenCV.

    Args:
        model: OpenCV's ONNX file.
        side: longer side of the pictures as it sees them, pixels; small ones are enlarged.

    Raises:
        InputError: it can't be read as YuNet.
    """

    def __init__(self, model: Path, side: int = SIDE) -> None:
        from maskedge.vision.yunet import Yunet  # noqa: PLC0415 - help alone needs no OpenCV

        self._side = side
        if not model.is_file():
            raise InputError(f"--yunet {model}: there is no such file")
        try:
            self._yunet = Yunet(model, LEAST, NMS_IOU)
        except ModelError as error:
            raise InputError(f"--yunet {error}") from error

    def faces(self, pixels: NDArray[np.uint8]) -> tuple[Boxes, NDArray[np.float32]]:
        """What it sees.

        Args:
            pixels: uint8 (height, width, 3), RGB.

        Returns:
            float32 (faces, 4) in pixels of the picture, and float32 (faces,) of scores.

        Raises:
            ModelError: the file isn't YuNet.
        """
        import cv2  # noqa: PLC0415

        scale = self._side / max(pixels.shape[:2])
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        scaled = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)
        found = self._yunet.detect(cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR))
        corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1) / scale
        return corners.astype(np.float32), found[:, 14]


def agree(
    labels: list[dict[str, Any]], boxes: Boxes, scores: Any
) -> tuple[int, list[dict[str, Any]]]:
    """Bring one picture's labels and the second annotator's boxes together.

    Args:
        labels: COCO annotations of faces; the ``bbox`` of those that both have drawn is changed.
        boxes: of the second annotator, float32 (faces, 4), pixels.
        scores: float32 (faces,).

    Returns:
        How many boxes were changed; and what to add, without ``id``, ``image_id`` and category:
        faces, and with ``iscrowd`` regions that may hold one.
    """
    drawn = np.array([entry["bbox"] for entry in labels], np.float32).reshape(-1, 4)
    drawn[:, 2:] += drawn[:, :2]
    if not len(boxes):
        return 0, []
    overlap = iou_matrix(drawn, boxes) if len(drawn) else np.zeros((1, len(boxes)), np.float32)
    changed = 0
    for row, entry in enumerate(labels):
        best = int(overlap[row].argmax())
        mutual = int(overlap[:, best].argmax()) == row
        if overlap[row, best] >= SAME and mutual and scores[best] >= SEEN:
            entry["bbox"] = as_bbox((drawn[row] + boxes[best]) / 2)
            changed += 1
    added = [
        {"bbox": as_bbox(boxes[index]), "iscrowd": int(scores[index] < SURE), "by": NAME}
        for index in np.flatnonzero((overlap.max(axis=0) < SAME) & (scores >= SEEN))
    ]
    return changed, added


def ways_of_drawing(old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """How the second annotator's boxes differ from the first's.

    Args:
        old: float64 (boxes, 4): x, y, width, height as labelled.
        new: the same, the means.

    Returns:
        float64 (4,), medians: how much further right and down its boxes' middles are, and how much
        wider and taller they are, each as a share of the labelled width or height.
    """
    other = 2 * new - old
    moved = (other[:, :2] + other[:, 2:] / 2 - old[:, :2] - old[:, 2:] / 2) / old[:, 2:]
    grown = other[:, 2:] / old[:, 2:] - 1
    return np.asarray(np.median(np.concatenate([moved, grown], axis=1), axis=0), np.float64)


@click.command(name="relabel")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the set.")
@click.option("--yunet", type=click.Path(path_type=Path), required=True, help="OpenCV's ONNX file.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The JSON to write, for train --task detector --labels.",
)
def command(data: Path, yunet: Path, out: Path) -> None:
    """Let YuNet go over the labels of DATA/train.json as a second annotator.

    Boxes that both drew become their mean; faces that nobody labelled are added, those that it is
    unsure of as regions that count as neither. DATA stays as it is.
    """
    from tqdm import tqdm  # noqa: PLC0415

    source = data / "train.json"
    pictures = read_coco(source, data / "train")  # says what is wrong with the file
    labels = Labels(source)
    of_picture: dict[int, list[dict[str, Any]]] = {int(i["id"]): [] for i in labels.images}
    for entry in labels.annotations:
        if not labels.region(entry):
            of_picture[int(entry["image_id"])].append(entry)
    annotator = SecondAnnotator(yunet)
    writable(out.parent)
    counts = {"changed": 0, "added": 0, "regions": 0}
    shown = tqdm(pictures, unit="picture", dynamic_ncols=True)
    pairs: dict[str, list[tuple[list[float], list[float]]]] = {}
    for image, picture in zip(labels.images, shown, strict=True):
        entries = of_picture[int(image["id"])]
        before = [entry["bbox"] for entry in entries]
        boxes, scores = annotator.faces(read_pixels(picture))
        told = boxes_array([entry.box for entry in picture.drawn if entry.region])
        apart = inside_matrix(boxes, told).max(axis=1, initial=0) < IN_REGION
        changed, added = agree(entries, boxes[apart], scores[apart])
        counts["changed"] += changed
        after = (entry["bbox"] for entry in entries)
        pairs.setdefault(picture.source, []).extend(
            (old, new) for old, new in zip(before, after, strict=True) if old is not new
        )
        for entry in added:
            counts["regions" if entry["iscrowd"] else "added"] += 1
            labels.add(image, UNKNOWN, entry)
    labels.write(out)
    for collection, drawn in pairs.items():
        if drawn:
            right, down, wider, taller = 100 * ways_of_drawing(*np.array(drawn).swapaxes(0, 1))
            click.echo(
                f"{collection or data}: of {len(drawn)} boxes {NAME}'s are {right:+.0f} % to the "
                f"right, {down:+.0f} % down, {wider:+.0f} % wide, {taller:+.0f} % tall (medians)"
            )
    click.echo(
        f"{out}: {counts['changed']} boxes became the mean of both, {counts['added']} faces were "
        f"added, and {counts['regions']} regions that may hold one"
    )
