import json
from dataclasses import replace

import numpy as np
import pytest
from drawn_people import write_set

from convert.coco import read_coco
from convert.evaluate import evaluate
from convert.judging import label_index, match
from maskedge.camera.frame import ChannelOrder
from maskedge.errors import InputError
from maskedge.geometry import Box, boxes_array
from maskedge.vision.base import LABELS, Face


class Annotator:
    """Finds and judges what a COCO set says, with chosen mistakes: a detector and a classifier."""

    def __init__(self, pictures, *, miss=(), misjudge=(), shift=0.0):
        self.known = {str(p.path): p.faces for p in pictures}
        self.miss, self.misjudge, self.shift = miss, misjudge, shift

    def detect(self, frame):
        assert frame.order is ChannelOrder.BGR
        faces = [f for i, f in enumerate(self.known[frame.path]) if i not in self.miss]
        moved = self.shift
        return [
            Face(Box(b.x1 + moved, b.y1, b.x2 + moved, b.y2), 0.9) for b in (f.box for f in faces)
        ]

    def classify(self, frame, boxes):
        scores = np.full((len(boxes), 3), 0.05, np.float32)
        for row, box in zip(scores, boxes, strict=True):
            faces = self.known[frame.path]
            nearest = min(range(len(faces)), key=lambda i: abs(faces[i].box.x1 - box.x1))
            truth = label_index(faces[nearest].label)
            called = 0 if nearest in self.misjudge or truth is None else truth
            row[called] = 0.9
        return scores


@pytest.fixture
def coco(tmp_path):
    return write_set(tmp_path, "val", 6)


def read(coco):
    return read_coco(coco, coco.with_suffix(""))


def test_perfect_networks_are_perfect(coco):
    pictures = read(coco)
    both = Annotator(pictures)
    report, _ = evaluate(pictures, both, both, threshold=0.5)
    assert report["classifier"]["accuracy"] == 1
    assert report["detector"]["ap"] == report["detector"]["at_iou_0.3"]["ap"] == 1
    assert report["chain"]["all"] == {"faces": 18, "found": 1.0, "found_and_right": 1.0}
    assert report["classifier"]["by_source"]["drawn"]["faces"] == 18
    assert sum(v["faces"] for v in report["classifier"]["by_size"].values()) == 18


def test_a_face_must_be_found_and_judged_right(coco):
    pictures = read(coco)
    report, _ = evaluate(
        pictures, Annotator(pictures, miss=(0,)), Annotator(pictures, misjudge=(1,)), threshold=0.5
    )
    chain = report["chain"]["all"]
    assert chain["found"] == pytest.approx(2 / 3, abs=1e-3)
    wrong = sum(f != "with_mask" for f in (p.faces[1].label for p in pictures)) / 18
    assert chain["found_and_right"] == pytest.approx(2 / 3 - wrong, abs=1e-3)


def test_faces_below_the_threshold_are_not_acted_on(coco):
    pictures = read(coco)
    both = Annotator(pictures)
    report, _ = evaluate(pictures, both, both, threshold=0.95)
    assert report["chain"]["all"]["found"] == 0
    assert report["classifier"]["accuracy"] == 1


def test_a_box_beside_the_face_is_not_found(coco):
    pictures = read(coco)
    report, _ = evaluate(pictures, Annotator(pictures, shift=45), Annotator(pictures), threshold=0)
    assert report["chain"]["all"]["found"] == 0


def test_what_annotators_left_out_and_unknown_states_are_not_judged(coco):
    content = json.loads(coco.read_text())
    content["categories"].append({"id": 4, "name": "face"})
    for mark in content["annotations"][::3]:
        mark["by"] = "a detector"
    for mark in content["annotations"][1::3]:
        mark["category_id"] = 4
    for mark in content["annotations"][2:6:3]:
        mark["iscrowd"] = 1
    coco.write_text(json.dumps(content))
    pictures = read(coco)
    report, seen = evaluate(pictures, Annotator(pictures), Annotator(pictures), threshold=0.5)
    assert report["faces_of_known_state"] == 4
    alone, _ = evaluate(pictures, Annotator(pictures), None, threshold=0.5)
    assert alone["faces_of_known_state"] == 4
    assert len(seen.truth) == 4
    assert report["detector"]["faces"] == 10


def test_boxes_of_nobody_are_counted_with_what_the_program_would_believe(coco):
    pictures = read(coco)
    bare = [replace(p, faces=p.faces[:2]) for p in pictures]  # the third was left out
    report, _ = evaluate(bare, Annotator(pictures), Annotator(pictures), threshold=0.5)
    called = [label_index(p.faces[2].label) for p in pictures]
    assert report["chain"]["nobody"] == {
        "boxes": 6,
        "sure": 0.8,
        "believed": {label: called.count(i) for i, label in enumerate(LABELS)},
    }
    report, _ = evaluate(pictures, Annotator(pictures), Annotator(pictures), threshold=0.5)
    assert report["chain"]["nobody"]["boxes"] == 0


def test_a_picture_of_another_size_than_its_labels_are_for_is_refused(coco):
    content = json.loads(coco.read_text())
    content["images"][3].update(width=480, height=240)
    coco.write_text(json.dumps(content))
    pictures = read(coco)
    with pytest.raises(
        InputError, match=r"val_003\.jpg: has 240x120 pixels, its labels are for 480"
    ):
        evaluate(pictures, None, Annotator(pictures), threshold=0.5)


def test_one_network_alone(coco):
    pictures = read(coco)
    report, _ = evaluate(pictures, None, Annotator(pictures), threshold=0.5)
    assert "detector" not in report
    assert "chain" not in report
    report, _ = evaluate(pictures, Annotator(pictures), None, threshold=0.5)
    assert "classifier" not in report


def test_a_picture_that_cannot_be_read_names_itself(coco):
    pictures = read(coco)
    pictures[0].path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=pictures[0].path.name):
        evaluate(pictures, None, Annotator(pictures), threshold=0.5)


def test_each_found_box_is_used_once():
    face, beside = Box(0, 0, 100, 100), Box(20, 0, 120, 100)
    found = boxes_array([Box(5, 0, 105, 100)])
    assert match(boxes_array([face, beside]), found) == [0, -1]
    assert match(boxes_array([]), found) == []
    assert match(boxes_array([face]), boxes_array([])) == [-1]


def test_names_of_public_sets_are_ours():
    assert [label_index(n) for n in (*LABELS, "mask_weared_incorrect")] == [0, 1, 2, 2]
    assert label_index("face") is None
