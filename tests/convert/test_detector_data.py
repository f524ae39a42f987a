from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from drawn_people import write_set

from convert.coco import Annotation, Picture, read_coco
from convert.detector.augment import change_look, draw_mask
from convert.detector.data import (
    MAX_FACES,
    DetectorBatches,
    Sample,
    cut_out,
    load_samples,
    source_weights,
)
from convert.detector.loss import FACE, IGNORE, NOTHING
from maskedge.errors import InputError
from maskedge.geometry import Box


def marked_sample(height=200, width=300, *, spared=False):
    """A black picture whose faces are solid white, so that boxes can be read off the pixels."""
    pixels = np.zeros((height, width, 3), np.uint8)
    box = (120, 60, 180, 130)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Sample(
        pixels, np.array([box], np.float32), bare=np.array([False]), spared=np.array([spared])
    )


@pytest.mark.parametrize("seed", range(25))
def test_boxes_stay_on_their_faces(seed):
    rng = np.random.default_rng(seed)
    view = np.zeros((128, 160, 3), np.uint8)
    faces = cut_out(marked_sample(), view, rng)
    rows, columns = np.nonzero(view[..., 0] > 127)
    if not len(rows):
        assert len(faces) == 0 or faces[0, 4] == IGNORE
        return

    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(faces[0, :4], seen, atol=2.5)


def test_a_phones_picture_is_shrunk_with_its_boxes(tmp_path):
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    pixels[600:900, 2000:2400] = 255
    cv2.imwrite(str(tmp_path / "0.png"), pixels)
    box = Box(2000, 600, 2400, 900)
    face = Annotation(box, "with_mask")
    (sample,) = load_samples([Picture(tmp_path / "0.png", 4000, 3000, "", (face,), "", (box,))])
    assert sample.pixels.shape == (960, 1280, 3)
    for boxes in (sample.boxes, sample.negatives):
        np.testing.assert_allclose(boxes, [[640, 192, 768, 288]])
    assert sample.pixels[192:288, 640:768].min() == 255
    assert sample.pixels.sum() == 255 * 3 * 96 * 128


def test_faces_cut_off_or_too_small_are_to_be_ignored():
    kinds = set()
    for seed in range(200):
        view = np.zeros((96, 96, 3), np.uint8)
        for *box, kind in cut_out(marked_sample(), view, np.random.default_rng(seed)):
            kinds.add(kind)
            if kind == FACE:
                assert max(box[2] - box[0], box[3] - box[1]) >= 6
    assert kinds == {FACE, IGNORE}


def test_a_region_that_may_hold_a_face_is_neither(tmp_path):
    for seed in range(40):
        faces = cut_out(
            marked_sample(spared=True), np.zeros((96, 96, 3), np.uint8), np.random.default_rng(seed)
        )
        assert FACE not in faces[:, 4]
    path = write_set(tmp_path, "train", 1)
    content = json.loads(path.read_text())
    content["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    (sample,) = load_samples(read_coco(path, tmp_path / "train"))
    assert sample.spared.tolist() == [False, True, False]


def lure():
    """A picture that has no face, but something that looks like one, solid white."""
    sample = marked_sample()
    none = np.empty(0, bool)
    return Sample(sample.pixels, sample.boxes[:0], none, none, sample.boxes)


@pytest.mark.parametrize("seed", range(25))
def test_a_view_around_something_shows_it(seed):
    view = np.zeros((96, 96, 3), np.uint8)
    sample = lure()
    faces = cut_out(sample, view, np.random.default_rng(seed), sample.negatives[0])
    assert len(faces) == 0  # it is background
    assert (view > 127).any()


@pytest.mark.parametrize(("hard", "fewest", "most"), [(0, 30, 40), (0.5, 10, 28), (1, 0, 0)])
def test_as_many_views_as_asked_are_around_what_is_no_face(hard, fewest, most):
    samples, weights = [lure(), marked_sample()], np.array([0.0, 1.0])
    batches = DetectorBatches(samples, weights, (96, 96), batch=40, steps=1, mosaic=0, hard=hard)
    of_a_face = batches[0][1][..., 4].any(axis=1).sum()
    assert fewest <= of_a_face <= most


def test_the_same_seed_epoch_and_index_give_the_same_batch(tmp_path):
    pictures = read_coco(write_set(tmp_path, "train", 4), tmp_path / "train")

    def batches(**extra):
        return DetectorBatches(
            load_samples(pictures), source_weights(pictures), (64, 96), batch=3, steps=2, **extra
        )

    one, again = batches(), batches()
    assert (one[1][0] == again[1][0]).all()
    assert not (one[0][0] == one[1][0]).all()
    one.on_epoch_end()
    assert not (one[1][0] == again[1][0]).all()
    assert (one[1][0] == batches(epoch=1)[1][0]).all()


def test_a_batch_has_the_shapes_that_the_network_and_the_loss_want(tmp_path):
    pictures = read_coco(write_set(tmp_path, "train", 2), tmp_path / "train")
    batches = DetectorBatches(
        load_samples(pictures), source_weights(pictures), (64, 96), batch=3, steps=2
    )
    shown, target = batches[0]

    assert len(batches) == 2
    assert (shown.shape, shown.dtype) == ((3, 64, 96, 3), np.uint8)
    assert (target.shape, target.dtype) == ((3, MAX_FACES, 5), np.float32)
    assert set(np.unique(target[..., 4])) <= {FACE, NOTHING, IGNORE}


def test_a_picture_of_a_large_source_of_portraits_comes_less_often(tmp_path):
    def picture(source, faces):
        face = Annotation(Box(0, 0, 20, 20), "face")
        return Picture(tmp_path / "x.jpg", 100, 100, source, (face,) * faces)

    weights = source_weights([picture("portraits", 1)] * 8 + [picture("street", 4)] * 2)

    assert weights.sum() == pytest.approx(1)
    assert weights[-1] > 4 * weights[0]


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken.jpg"):
        load_samples([Picture(tmp_path / "broken.jpg", 10, 10)])


def test_a_drawn_mask_covers_the_lower_face_and_nothing_else():
    picture = np.full((100, 100, 3), (200, 150, 120), np.uint8)
    before = picture.copy()
    draw_mask(picture, np.array([20, 20, 80, 90], np.float32), np.random.default_rng(3))
    changed = (picture != before).any(axis=2)

    assert changed[60:80, 35:65].all()  # mouth and nose
    assert not changed[20:40, :].any()  # eyes
    assert not changed[:, :15].any()
    assert not changed[96:, :].any()


@pytest.mark.parametrize("box", [(-30, -30, 8, 8), (95, 95, 140, 150), (40, 40, 42, 42)])
def test_masks_at_edges_and_on_tiny_faces_are_no_error(box):
    picture = np.full((100, 100, 3), 128, np.uint8)
    draw_mask(picture, np.array(box, np.float32), np.random.default_rng(0))

    assert picture.shape == (100, 100, 3)


def test_another_camera_shows_the_same_scene():
    scene = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), (64, 64))
    looks = [change_look(scene, np.random.default_rng(seed)) for seed in range(60)]

    assert all(look.shape == scene.shape and look.dtype == np.uint8 for look in looks)
    likeness = [np.corrcoef(look.ravel(), scene.ravel())[0, 1] for look in looks]
    assert np.median(likeness) > 0.8
    assert len({look.tobytes() for look in looks}) > 50
