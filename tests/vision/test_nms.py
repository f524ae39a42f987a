from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskedge.geometry import boxes_array, iou_matrix
from maskedge.vision import nms
from maskedge.vision.nms import AGREE, suppress, vote


def naive(boxes, scores, iou, most):
    """Greedy suppression, written out."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = []
    for index in order:
        overlaps = [iou_matrix(boxes[[index]], boxes[[k]])[0, 0] for k in kept]
        if all(o <= iou for o in overlaps):
            kept.append(index)
    return kept[:most]


box = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 30), st.integers(0, 30))
scored = st.lists(st.tuples(box, st.integers(0, 8)), max_size=25)


@pytest.mark.parametrize("few", [0, 64])
@example(scored=[((0, 1, 2, 0), 0), ((1, 0, 0, 2), 0)], iou=0.0, most=8)  # lines that cross
@given(scored=scored, iou=st.sampled_from([0.0, 0.3, 0.45, 0.7, 1.0]), most=st.integers(1, 30))
def test_it_keeps_what_the_plain_loop_keeps(few, scored, iou, most):
    boxes = boxes_array([(x, y, x + w, y + h) for (x, y, w, h), _ in scored])
    scores = np.array([s for _, s in scored], np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nms, "FEW", few)  # boxes that are compared one by one
        kept = suppress(boxes.tolist(), scores.tolist(), iou, most)
    assert kept == naive(boxes, scores, iou, most)


def test_no_boxes_are_no_boxes():
    assert suppress([], [], 0.5, 10) == []


def elected(boxes, weights, kept):
    """Box voting, written out."""
    overlaps = iou_matrix(boxes[kept], boxes)
    say = np.where(overlaps >= AGREE, overlaps, 0) * weights
    return say @ boxes / say.sum(axis=1, keepdims=True)


edges = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30))


@pytest.mark.parametrize("few", [0, 10**6])
@given(given_boxes=st.lists(st.tuples(edges, st.integers(1, 9)), min_size=1, max_size=25))
def test_a_box_goes_where_those_that_agree_with_it_are(few, given_boxes):
    boxes = boxes_array([(x, y, x + w, y + h) for (x, y, w, h), _ in given_boxes])
    weights = np.array([weight / 10 for _, weight in given_boxes], np.float32)
    kept = suppress(boxes.tolist(), weights.tolist(), 0.45, 30)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nms, "FEW_PAIRS", few)
        agreed = vote(boxes.tolist(), weights.tolist(), kept)
    np.testing.assert_allclose(agreed, elected(boxes, weights, kept), atol=1e-3)


@pytest.mark.parametrize("few", [0, 10**6])
def test_a_box_alone_stays_where_it_is(few, monkeypatch):
    monkeypatch.setattr(nms, "FEW_PAIRS", few)
    boxes = [[0.0, 0.0, 10.0, 12.0], [8.0, 9.0, 30.0, 30.0], [40.0, 0.0, 50.0, 10.0]]
    boxes.append([60.0, 5.0, 60.0, 9.0])  # without area
    np.testing.assert_allclose(vote(boxes, [0.9, 0.8, 0.1, 0.5], [0, 1, 2, 3]), boxes, rtol=1e-6)
    assert vote(boxes, [0.9, 0.8, 0.1], []) == []


@pytest.mark.parametrize("few", [0, 10**6])
@pytest.mark.parametrize(("height", "bottom"), [(6.0, (10 + 0.6 * 6) / 1.6), (4.0, 10.0)])
def test_who_overlaps_by_half_has_a_say(few, height, bottom, monkeypatch):
    monkeypatch.setattr(nms, "FEW_PAIRS", few)
    boxes = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, height]]
    np.testing.assert_allclose(vote(boxes, [0.5, 0.5], [0]), [[0, 0, 10, bottom]], rtol=1e-6)
