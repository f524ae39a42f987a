from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.coco import Annotation, Picture
from convert.detector.score import Found, Truth, average_precision, score_detections
from maskedge.box import Box

FACE = (10.0, 10.0, 50.0, 50.0)
OTHER = (100.0, 10.0, 140.0, 60.0)
SMALL = (200.0, 10.0, 210.0, 20.0)
NOWHERE = (300.0, 300.0, 340.0, 340.0)


def found(*scored):
    return Found(
        np.array([b for b, _ in scored], np.float32).reshape(-1, 4),
        np.array([s for _, s in scored], np.float32),
    )


def truth(*boxes, labels=None, ignored=None, scale=1.0):
    return Truth(
        np.array(boxes, np.float32).reshape(-1, 4),
        tuple(labels or ["face"] * len(boxes)),
        np.array(ignored or [False] * len(boxes), bool),
        scale,
    )


def test_all_found_and_nothing_else_is_one():
    result = score_detections([found((FACE, 0.9), (OTHER, 0.8))], [truth(FACE, OTHER)])

    assert result["ap"] == 1
    assert result["recall_at_95_precision"] == 1
    assert result["threshold_at_95_precision"] == pytest.approx(0.8)


def test_a_false_one_counts_by_its_score():
    first = score_detections([found((NOWHERE, 0.95), (FACE, 0.9))], [truth(FACE)])
    last = score_detections([found((NOWHERE, 0.5), (FACE, 0.9))], [truth(FACE)])

    assert first["ap"] == 0.5
    assert last["ap"] == 1


def test_a_face_found_twice_is_right_once():
    result = score_detections([found((FACE, 0.9), (FACE, 0.8), (OTHER, 0.7))], [truth(FACE, OTHER)])

    assert result["ap"] == pytest.approx(0.5 + 0.5 * 2 / 3, abs=1e-4)


def test_the_surest_takes_the_face_in_whatever_order_they_come():
    shifted = (20.0, 10.0, 60.0, 50.0)  # IoU 0.6: enough, but worse than the surer one
    scored = [(shifted, 0.5), (FACE, 0.9), (OTHER, 0.7)]
    one, other = (
        score_detections([found(*s)], [truth(FACE, OTHER)]) for s in (scored, scored[::-1])
    )

    assert one == other
    assert one["ap"] == 1


def test_an_ignored_face_is_neither_missed_nor_false():
    labelled = truth(FACE, OTHER, ignored=[False, True])
    silent = score_detections([found((FACE, 0.9))], [labelled])
    finding = score_detections([found((FACE, 0.9), (OTHER, 0.95))], [labelled])

    assert silent["ap"] == finding["ap"] == 1
    assert silent["faces"] == 1


def test_what_lies_in_a_region_of_many_is_not_false():
    """COCO's crowd: the overlap is the share of the detection, however large the region."""
    crowd = (0.0, 100.0, 300.0, 300.0)
    labelled = truth(FACE, crowd, ignored=[False, True])
    region = replace(labelled, regions=np.array([crowd], np.float32))
    within = [((x, 150.0, x + 30, 180.0), 0.95) for x in range(0, 240, 60)]
    half_out = ((100.0, 80.0, 130.0, 119.0), 0.95)
    assert score_detections([found((FACE, 0.9), *within)], [region])["ap"] == 1
    assert score_detections([found((FACE, 0.9), *within)], [labelled])["ap"] == 0.2
    assert score_detections([found((FACE, 0.9), half_out)], [region])["ap"] == 0.5


def test_a_set_says_which_faces_are_regions():
    faces = Annotation(Box(*FACE), "face"), Annotation(Box(*OTHER), "face", crowd=True)
    told = Truth.of(Picture(Path("p.jpg"), 320, 240, faces=(*faces, faces[0])))
    assert told.regions.tolist() == [list(OTHER)]
    assert told.ignored.tolist() == [False, True, False]


def test_faces_too_small_for_the_input_are_ignored_and_so_are_small_detections():
    result = score_detections(
        [found((FACE, 0.9), (SMALL, 0.95), ((280, 280, 290, 290), 0.99))], [truth(FACE, SMALL)]
    )

    assert result["faces"] == 1
    assert result["ap"] == 1


def test_sizes_are_those_in_the_networks_input():
    result = score_detections([found((FACE, 0.9))], [truth(FACE, scale=0.5)])

    assert result["recall_by_size"]["16-32"] == {"faces": 1, "recall": 1.0}
    assert result["recall_by_size"]["32-64"] == {"faces": 0, "recall": None}
    assert score_detections([found()], [truth(FACE, scale=0.3)])["faces"] == 0


def test_recall_is_told_for_each_label():
    result = score_detections(
        [found((FACE, 0.9))], [truth(FACE, OTHER, labels=["with_mask", "without_mask"])]
    )

    assert result["recall_by_label"]["with_mask"]["recall"] == 1
    assert result["recall_by_label"]["without_mask"]["recall"] == 0


def test_scores_of_all_pictures_are_ranked_together():
    pictures = [truth(FACE), truth(FACE)]
    result = score_detections([found((FACE, 0.4)), found((NOWHERE, 0.8), (FACE, 0.9))], pictures)

    assert result["ap"] == pytest.approx(0.5 + 0.5 * 2 / 3, abs=1e-4)


def test_the_overlap_that_counts_can_be_chosen():
    shifted = (20.0, 10.0, 60.0, 50.0)  # IoU 0.6
    answer, labelled = [found((shifted, 0.9))], [truth(FACE)]

    assert score_detections(answer, labelled, iou=0.5)["ap"] == 1
    assert score_detections(answer, labelled, iou=0.7)["ap"] == 0


def test_all_detections_of_one_score_pass_a_threshold_or_none():
    answer = [found((FACE, 0.9)), found((FACE, 0.5), (NOWHERE, 0.5)), found()]
    result = score_detections(answer, [truth(FACE)] * 3)

    assert result["threshold_at_95_precision"] == pytest.approx(0.9)
    assert result["recall_at_95_precision"] == pytest.approx(1 / 3, abs=1e-4)


def test_no_faces_and_no_detections_are_told_as_unknown_or_nought():
    assert score_detections([found()], [truth()])["ap"] is None
    nothing = score_detections([found()], [truth(FACE)])

    assert nothing["ap"] == 0
    assert nothing["recall_at_95_precision"] == 0
    assert nothing["threshold_at_95_precision"] is None


def test_average_precision_takes_the_best_precision_at_or_beyond_each_recall():
    precision, recall = np.array([1, 0.5, 2 / 3]), np.array([0.5, 0.5, 1.0])

    assert average_precision(precision, recall) == pytest.approx(0.5 + 0.5 * 2 / 3)
