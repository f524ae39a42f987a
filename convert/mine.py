"""``python -m convert mine``: what a trained detector takes for faces where nobody labelled one.

Of the background of a set, nearly all is easy, and training seldom sees the hand, the ear, the
letter or the back of a head that passes for a face. A detector that has learnt says where they are
("bootstrapping": Sung & Poggio, "Example-based learning for view-based human face detection",
1998), and a further training looks there more often.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from convert.coco import NEGATIVE, Labels, as_bbox, read_coco, read_pixels
from convert.dataset import contact_sheet
from convert.output import writable
from maskedge.geometry import iou_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maskedge.geometry import Boxes

FREE = 0.2
"""Overlap with a labelled face, or another negative, from which it isn't one of its own."""
MOST = 100
"""Detections of a picture that are looked at."""
SHEET_ROWS = 8


def negatives(faces: Boxes, found: Boxes, scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Which detections are no face.

    Args:
        faces: the labelled ones and regions that may hold one, float32 (faces, 4), pixels.
        found: float32 (detections, 4).
        scores: float32 (detections,).

    Returns:
        Indices, best score first; of several on one spot only the first.
    """
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        others = np.concatenate([faces, found[kept]])
        if not len(others) or iou_matrix(found[[index]], others).max() < FREE:
            kept.append(int(index))
    return np.array(kept, np.intp)


@click.command(name="mine")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the set.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="From convert relabel; else DATA/train.json."
)
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A detector's .tflite; give several for several input sizes.",
)
@click.option(
    "--score",
    default=0.4,
    type=click.FloatRange(0.05, 1),
    show_default=True,
    help="Least score of what is taken.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The JSON to write, for train --task detector --labels.",
)
@click.option("--sheet", type=click.Path(path_type=Path), help="A PNG of some of them, to look at.")
def command(  # noqa: PLR0913 - its options
    *,
    data: Path,
    labels: Path | None,
    models: Sequence[Path],
    score: float,
    out: Path,
    sheet: Path | None,
) -> None:
    """Add to the labels of DATA/train.json what a detector takes for faces and is none.

    They get the category not_a_face. train --hard says how often training looks there; nothing
    else minds them. Label the set well first: a face that nobody labelled becomes a negative, too.
    The sheet shows whether there are such.
    """
    from tqdm import tqdm  # noqa: PLC0415

    from maskedge.camera.frame import ChannelOrder, Frame  # noqa: PLC0415
    from maskedge.inference import open_interpreter  # noqa: PLC0415
    from maskedge.modelfile import ModelFile  # noqa: PLC0415
    from maskedge.vision.builtin import BuiltinDetector, Source  # noqa: PLC0415

    source = labels or data / "train.json"
    pictures = read_coco(source, data / "train")  # says what is wrong with the file
    entries = Labels(source)
    detectors = [
        BuiltinDetector(
            [Source.of(open_interpreter(path, "cpu"))],
            ModelFile.load(path),
            threshold=score,
            max_faces=MOST,
        )
        for path in models
    ]
    for path in (out, sheet or out):
        writable(path.parent)
    mined = 0
    shown = tqdm(pictures, unit="picture", dynamic_ncols=True)
    for image, picture in zip(entries.images, shown, strict=True):
        frame = Frame(read_pixels(picture), ChannelOrder.RGB, 0.0)
        seen = [face for detector in detectors for face in detector.detect(frame)]
        boxes = np.array([face.box for face in seen], np.float32).reshape(-1, 4)
        scores = np.array([face.score for face in seen], np.float32)
        labelled = np.array([entry.box for entry in picture.drawn], np.float32).reshape(-1, 4)
        for index in negatives(labelled, boxes, scores):
            mined += 1
            score_of = round(float(scores[index]), 3)
            entry = {"bbox": as_bbox(boxes[index]), "iscrowd": 0, "score": score_of}
            entries.add(image, NEGATIVE, entry)
    entries.write(out)
    if sheet:
        contact_sheet(read_coco(out, data / "train"), sheet, 0, (NEGATIVE,), SHEET_ROWS)
    places = (
        "place looks like a face and is none"
        if mined == 1
        else "places look like a face and are none"
    )
    click.echo(f"{out}: {mined} {places}")
