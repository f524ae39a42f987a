from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskedge.geometry import boxes_array, iou_matrix
from maskedge.vision import nms
from maskedge.vision.nms import suppress


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
@settings(deadline=None)
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
