"""``python -m convert mine``: what a trained detector takes for faces where nobody labelled one.

Of the background of a set, nearly all is easy, and training seldom sees the hand, the ear, the
letter or the back of a head that passes for a face. A detector that has learnt says where they are
("bootstrapping": Sung & Poggio, "Example-based learning for view-based human face detection",
1998), and a further training looks there more often.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from convert.coco import NEGATIVE, Labels, as_bbox, read_coco, read_pixels
from convert.dataset import contact_sheet
from convert.detector.score import Found
from convert.judging import FREE, free_of
from convert.output import writable
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import DetectorConfig, InferenceConfig
from maskedge.vision.faces import open_detector
from maskedge.vision.nms import suppress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convert.coco import Annotation

MOST = 100
"""Detections of a picture that are looked at."""
SHEET_ROWS = 8


def negatives(drawn: Sequence[Annotation], found: Found) -> list[int]:
    """Which detections are no face.

    Args:
        drawn: what is labelled: faces, regions that may hold some, and what is known to be none.
        found: the detections.

    Returns:
        Indices, best score first; of several on one spot only the first.
    """
    free = np.flatnonzero(free_of(found.boxes, drawn))
    boxes, scores = found.boxes[free].tolist(), found.scores[free].tolist()
    return [int(free[index]) for index in suppress(boxes, scores, FREE, len(free))]


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

    They get the category not_a_face. train --hard says how often the detector's training looks
    there; the mask classifier, given the file as --negatives, learns to be sure of nothing there.
    Label the set well first: a face that nobody labelled becomes a negative, too. The sheet shows
    whether there are such.
    """
    from tqdm import tqdm  # noqa: PLC0415

    source = labels or data / "train.json"
    pictures = read_coco(source, data / "train")  # says what is wrong with the file
    entries = Labels(source)
    cpu = InferenceConfig(accelerator="cpu")
    mined = 0
    with ExitStack() as opened:
        detectors = []
        for path in models:
            config = DetectorConfig(model=path, threshold=score, max_faces=MOST)
            detector = open_detector(config, cpu, path.parent)
            detectors.append(opened.enter_context(closing(detector)))
        for path in (out, sheet or out):
            writable(path.parent)
        shown = tqdm(pictures, unit="picture", dynamic_ncols=True)
        for image, picture in zip(entries.images, shown, strict=True):
            frame = Frame(read_pixels(picture), ChannelOrder.RGB, 0.0)
            seen = [face for detector in detectors for face in detector.detect(frame)]
            found = Found.of(seen)
            for index in negatives(picture.drawn, found):
                mined += 1
                told = round(float(found.scores[index]), 3)
                entry = {"bbox": as_bbox(found.boxes[index]), "iscrowd": 0, "score": told}
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
