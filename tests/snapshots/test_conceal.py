"""What is hidden is gone: the picture depends on it by a few averages only."""

import numpy as np
import pytest

from maskedge.geometry import Box
from maskedge.snapshots.conceal import Seen, bystanders, conceal, cut_out

SIZE = (480, 640)
CELL = 10
"""Pixels of the background's cells in a picture of this size."""
VIOLATOR = Box(300, 200, 360, 280)
STRANGER = Box(100, 100, 180, 180)
HIDDEN = Box(60, 60, 220, 220)
"""What goes with the stranger's face: half its size on each side; whole cells of both kinds."""


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def shuffled(picture, box, cell, seed=5):
    """The same averages, other pixels: those of each cell change places."""
    other = picture.copy()
    left, top, right, bottom = map(int, box)
    mix = np.random.default_rng(seed)
    for y in range(top, bottom, cell):
        for x in range(left, right, cell):
            block = other[y : y + cell, x : x + cell].reshape(-1, 3)
            other[y : y + cell, x : x + cell] = mix.permutation(block).reshape(cell, cell, 3)
    return other


def inside(picture, box):
    left, top, right, bottom = map(int, box)
    return picture[top:bottom, left:right]


def test_a_hidden_face_is_four_averages_across_and_nothing_else():
    picture = noise(1)
    other = shuffled(picture, HIDDEN, int(HIDDEN.width) // 4)
    assert (inside(picture, STRANGER) != inside(other, STRANGER)).mean() > 0.9
    hidden, also = (conceal(p, VIOLATOR, [STRANGER]) for p in (picture, other))
    np.testing.assert_array_equal(inside(hidden, HIDDEN), inside(also, HIDDEN))


def test_the_background_is_averages_too():
    picture = noise(2)
    far = Box(400, 300, 600, 460)
    other = shuffled(picture, far, CELL)
    hidden, also = (conceal(p, VIOLATOR, []) for p in (picture, other))
    np.testing.assert_array_equal(hidden, also)


def test_a_stranger_becomes_no_more_than_a_smear():
    """Whatever the face looks like inside its cells: nothing of it is left."""
    chess = np.indices(SIZE).sum(axis=0) % 2 * 255
    picture = np.repeat(chess[..., None], 3, axis=2).astype(np.uint8)
    hidden = conceal(picture, VIOLATOR, [STRANGER])
    assert inside(hidden, HIDDEN).std() < 2
    assert inside(picture, HIDDEN).std() > 100


def test_the_violator_is_shown_as_they_are_and_the_picture_is_not_touched():
    picture = noise(3)
    before = picture.copy()
    hidden = conceal(picture, VIOLATOR, [STRANGER])
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(inside(hidden, VIOLATOR), inside(picture, VIOLATOR))
    np.testing.assert_array_equal(
        inside(hidden, Box(280, 173, 380, 307)), inside(picture, Box(280, 173, 380, 307))
    )


def test_where_two_faces_overlap_the_stranger_is_hidden():
    picture = noise(4)
    beside = Box(340, 200, 400, 280)  # a third of the violator's face is behind it
    hidden = conceal(picture, VIOLATOR, [beside])
    same = (hidden == picture).all(axis=2)
    assert same[200:280, 340:400].mean() < 0.01
    assert same[200:280, 300:340].all()  # its margin doesn't cost the rest of the face


@pytest.mark.parametrize(
    ("box", "score", "own"),
    [
        (VIOLATOR, 0.9, True),
        (Box(305, 195, 368, 290), 0.9, True),  # found again, a little elsewhere
        (Box(310, 230, 345, 275), 0.2, True),  # mouth and chin
        (Box(260, 150, 420, 420), 0.2, True),  # doubtful, head and chest
        (Box(260, 150, 420, 420), 0.9, False),  # surely somebody in front
        (STRANGER, 0.1, False),
        (Box(350, 200, 410, 280), 0.1, False),  # touches only
    ],
)
def test_who_is_the_violator(box, score, own):
    assert bystanders(VIOLATOR, [Seen(box, score)]) == ([] if own else [box])


@pytest.mark.parametrize(
    "box",
    [
        Box(-40, -30, 50, 60),
        Box(600, 440, 700, 520),
        Box(-500, -500, 1500, 1500),
        Box(100, 100, 100, 100),
        Box(700, 500, 800, 600),
        Box(10.4, 10.6, 12.1, 12.2),
    ],
)
def test_boxes_at_and_over_the_edge(box):
    picture = noise(6)
    assert conceal(picture, box, [STRANGER]).shape == picture.shape
    assert conceal(picture, VIOLATOR, [box]).shape == picture.shape
    assert min(cut_out(picture, box).shape[:2]) >= (0 if box.x1 >= 640 else 1)


def test_a_tiny_picture():
    picture = noise(7)[:5, :7]
    assert conceal(picture, Box(1, 1, 3, 3), [Box(2, 2, 6, 4)]).shape == (5, 7, 3)


def test_the_cut_out_is_the_face_with_a_margin():
    picture = noise(8)
    np.testing.assert_array_equal(
        cut_out(picture, VIOLATOR), inside(picture, Box(279, 172, 381, 308))
    )
