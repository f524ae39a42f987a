"""Golden pictures: what a network must say of drawn faces, and what it said where it was made.

Two proofs. A network that finds drawn faces where they are, and tells masked ones from bare ones,
has its labels, its scaling and its decoding in order. And one that answers here as it did on the
machine that made it (its JSON keeps those answers) is computed rightly by this interpreter.
"""

from __future__ import annotations

from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import ClassifierConfig, DetectorConfig, InferenceConfig
from maskedge.geometry import Box, boxes_array, iou_matrix
from maskedge.models import drawn
from maskedge.vision.base import LABELS
from maskedge.vision.faces import open_detector
from maskedge.vision.masks import open_classifier, square_crop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maskedge.modelfile import ModelFile
    from maskedge.vision.base import FaceDetector
    from maskedge.vision.masks import NetworkMaskClassifier

PICTURES = "maskedge.drawn/1"
"""Which pictures these are; another name when they change."""
FRAME = (320, 240)
FACES = ((48.0, (90.0, 100.0)), (64.0, (200.0, 110.0)), (88.0, (150.0, 120.0)))
"""Height and place of each person's face, pixels of the frame."""
CROP = (200, 200)
CROP_FACE = 90.0
SURE = ("with_mask", "without_mask")
"""What every mask classifier must see; opinions may differ on masks worn wrong."""
FOUND = 0.4
"""Least overlap with the drawn face."""
MISSES = 1
"""Drawn faces, and drawn labels, of six that may be missed; the shipped networks miss none."""
SCORE_SLACK = 0.15
OVERLAP_SLACK = 0.8
STEPS = 16
"""Quantisation steps that a logit may differ between machines: LiteRT and tflite-runtime were seen
12 apart, x86 and ARM 1."""
FLOAT_SLACK = 0.05


class Answer(NamedTuple):
    """Whether the drawn pictures were understood, in one sentence."""

    good: bool
    message: str


class _Shot(NamedTuple):
    frame: Frame
    face: Box | None
    label: str


@cache
def _crops() -> tuple[_Shot, ...]:
    centre = CROP[0] / 2, CROP[1] / 2
    return tuple(
        _Shot(
            _frame(drawn.portrait(person, label, size=CROP_FACE, canvas=CROP)),
            drawn.face_box(centre, CROP_FACE),
            label,
        )
        for person in drawn.PERSONS
        for label in LABELS
    )


@cache
def _scenes() -> tuple[_Shot, ...]:
    shots = [
        _Shot(
            _frame(drawn.portrait(person, label, size=size, canvas=FRAME, centre=centre)),
            drawn.face_box(centre, size),
            label,
        )
        for person, (size, centre) in zip(drawn.PERSONS, FACES, strict=True)
        for label in SURE
    ]
    nobody = drawn.wall(*FRAME).astype(np.uint8)
    return (*shots, _Shot(_frame(nobody), None, ""))


def _frame(pixels: Any) -> Frame:
    return Frame(pixels, ChannelOrder.RGB, 0.0, 0)


def classifier_answers(classifier: NetworkMaskClassifier) -> list[list[float]]:
    """Logits of each drawn face, in the order of LABELS."""
    answers = []
    for shot in _crops():
        assert shot.face is not None  # noqa: S101 - every crop shows one
        crop = square_crop(shot.frame.pixels, shot.face, classifier.size, classifier.padding)
        logits = classifier.logits(crop)
        answers.append([round(float(value), 3) for value in logits])
    return answers


def detector_answers(detector: FaceDetector) -> list[list[list[float]]]:
    """For each drawn picture the faces found: x1, y1, x2, y2 in pixels, and the score."""
    return [
        [
            [*(round(float(edge), 1) for edge in face.box), round(float(face.score), 3)]
            for face in detector.detect(shot.frame)
        ]
        for shot in _scenes()
    ]


def ask(model: ModelFile) -> tuple[list[Any], Answer]:
    """The answers of a network that is trusted, and whether it understood the pictures.

    Raises:
        ModelError: it isn't fit for the daemon.
    """
    inference = InferenceConfig(accelerator="cpu", threads=1)
    if model.card.get("task") == "classifier":
        folder = model.path.parent
        with closing(
            open_classifier(ClassifierConfig(model=model.path), inference, folder)
        ) as classifier:
            logits = classifier_answers(classifier)
        return logits, judge_classifier(logits)
    with closing(
        open_detector(DetectorConfig(model=model.path), inference, model.path.parent)
    ) as detector:
        boxes = detector_answers(detector)
    return boxes, judge_detector(boxes)


def judge_classifier(answers: Sequence[Sequence[float]]) -> Answer:
    """Whether masked and bare faces are told apart."""
    if not np.isfinite(answers).all():
        return Answer(good=False, message="its scores are no numbers")
    called = [LABELS[int(np.argmax(logits))] for logits in answers]
    pairs = [(shot.label, said) for shot, said in zip(_crops(), called, strict=True)]
    right = sum(label == said for label, said in pairs)
    told = f"{right} of {len(pairs)} drawn faces are judged right"
    sure = [(label, said) for label, said in pairs if label in SURE]
    wrong = [f"{label} called {said}" for label, said in sure if label != said]
    if len(wrong) <= MISSES:
        return Answer(good=True, message=told)
    return Answer(good=False, message=f"{told} ({', '.join(sorted(set(wrong)))}): wrong labels?")


def judge_detector(answers: Sequence[Sequence[Sequence[float]]]) -> Answer:
    """Whether the drawn faces are found, and little else."""
    found = ghosts = faces = 0
    for shot, boxes in zip(_scenes(), answers, strict=True):
        hits = 0
        if shot.face is not None:
            faces += 1
            hits = sum(overlap >= FOUND for overlap in _overlaps(shot.face, boxes))
        found += hits > 0
        ghosts += len(boxes) - hits
    told = f"{found} of {faces} drawn faces are found" + (
        f", {ghosts} where there is none" if ghosts else ""
    )
    return Answer(good=found >= faces - MISSES and ghosts <= MISSES, message=told)


def _overlaps(face: Box, boxes: Sequence[Sequence[float]]) -> list[float]:
    if not boxes:
        return []
    there = boxes_array([Box(*box[:4]) for box in boxes])
    return [float(overlap) for overlap in iou_matrix(boxes_array([face]), there)[0]]


def classifier_differences(
    here: Sequence[Sequence[float]], there: Sequence[Sequence[float]], scale: float
) -> Iterator[str]:
    """How the answers differ from recorded ones.

    Args:
        here: of this machine.
        there: recorded.
        scale: quantisation step of the network's output; 0: it is float.
    """
    slack = STEPS * scale or FLOAT_SLACK
    ours, theirs = np.asarray(here, float), np.asarray(there, float)
    if ours.shape != theirs.shape:
        yield f"{len(there)} answers were recorded, there are {len(here)}"
    elif not (worst := float(np.abs(ours - theirs).max())) <= slack:
        yield f"a score differs by {worst:.2f}, {slack:.2f} is allowed"


def detector_differences(
    here: Sequence[Sequence[Sequence[float]]], there: Sequence[Sequence[Sequence[float]]]
) -> Iterator[str]:
    """How the faces found differ from recorded ones, both as :func:`detector_answers` gives."""
    if len(here) != len(there):
        yield f"{len(there)} answers were recorded, there are {len(here)}"
        return
    for number, (ours, theirs) in enumerate(zip(here, there, strict=True), 1):
        for *edges, score in theirs:
            overlaps = _overlaps(Box(*edges), ours)
            best = max(range(len(ours)), key=overlaps.__getitem__, default=None)
            if best is None or overlaps[best] < OVERLAP_SLACK:
                yield f"a face in picture {number} isn't found"
            elif abs(ours[best][4] - score) > SCORE_SLACK:
                yield f"a face in picture {number} has the score {ours[best][4]}, not {score}"
