"""Which looks are cut out: the doubtful ones, two of a track, within bounds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kept import MODELS, frame, seen

from maskedge.camera.frame import ChannelOrder
from maskedge.geometry import Box
from maskedge.people.verdict import UNSURE
from maskedge.review.candidates import (
    CONTRADICTION,
    FLOOR,
    MAX_SIDE,
    PATIENCE,
    PER_TRACK,
    TRACKS,
    Candidates,
    doubt,
)

FACE = Box(300, 200, 360, 280)
TORN = (0.45, 0.4, 0.15)
SURE = (0.97, 0.02, 0.01)


class Door:
    """Frames before the candidates."""

    def __init__(self):
        self.candidates = Candidates()
        self.now = 100.0

    def note(self, *looks, picture=None, dt=0.1, **more):
        self.now += dt
        picture = frame() if picture is None else picture
        return self.candidates.note(picture, seen(*looks, **more), self.now, 1.7e9, MODELS)


def look(track=1, scores=TORN, box=FACE, decided=UNSURE):
    return track, scores, box, decided


def test_doubt_is_the_lack_of_a_margin_or_a_contradiction():
    assert doubt((0.5, 0.5, 0.0), UNSURE) == pytest.approx(1.0)
    assert doubt((1.0, 0.0, 0.0), UNSURE) == pytest.approx(0.0)
    assert doubt((0.1, 0.7, 0.2), UNSURE) == pytest.approx(0.5)
    assert doubt((1.0, 0.0, 0.0), "with_mask") == pytest.approx(0.0)
    assert doubt((1.0, 0.0, 0.0), "without_mask") == pytest.approx(CONTRADICTION)


def test_somebody_sure_leaves_nothing():
    door = Door()
    assert door.note(look(scores=SURE)) == []
    assert door.note() == []
    assert door.candidates.flush() == []


def test_the_most_doubtful_look_is_handed_on_when_the_person_has_left():
    door = Door()
    for lead in (0.6, 0.2, 0.5):
        second = (0.9 - lead) / 2
        assert door.note(look(scores=(second + lead, second, 0.1))) == []
    (cut,) = door.note()
    record = cut.record
    assert record.doubt == pytest.approx(0.8)
    assert record.scores == pytest.approx((0.55, 0.35, 0.1))
    assert (record.guess, record.decided, record.number) == ("with_mask", UNSURE, 1)
    assert record.time.timestamp() == pytest.approx(1.7e9 + 100.2)
    assert record.track.endswith("-1")
    assert record.model == MODELS
    assert record.size == 80
    assert door.note() == []


def test_a_second_face_is_one_that_was_taken_for_something_else():
    door = Door()
    door.note(look(scores=(0.5, 0.4, 0.1)))
    door.note(look(scores=(0.4, 0.5, 0.1)))
    door.note(look(scores=(0.36, 0.3, 0.34)))
    door.note(look(scores=(0.3, 0.33, 0.37)))  # a third guess, the most doubtful of all
    cuts = door.note()
    assert [cut.record.guess for cut in cuts] == ["with_mask", "incorrect_mask"]
    assert [cut.record.number for cut in cuts] == [1, 2]
    assert len({cut.record.name for cut in cuts}) == 2


def test_who_stays_is_handed_on_once_however_long_it_is():
    door = Door()
    cuts = []
    for second in range(int(20 * PATIENCE)):
        cuts += door.note(look(scores=(0.5, 0.4 - 1e-4 * second, 0.1)), dt=1.0)
    assert len(cuts) == 1
    assert door.note() == []


def test_a_person_who_comes_after_the_first_has_left_counts_anew():
    door = Door()
    door.note(look(1))
    assert len(door.note(look(2))) == 1
    assert len(door.note()) == 1


def test_a_crowd_is_bounded():
    door = Door()
    crowd = [look(n, box=Box(n, n, n + 60, n + 60)) for n in range(5 * TRACKS)]
    door.note(*crowd)
    assert len(door.candidates.flush()) == TRACKS


def test_the_picture_holds_the_face_and_half_its_size_around():
    pixels = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    door = Door()
    door.note(look(box=FACE), picture=frame(pixels))
    (cut,) = door.note()
    assert np.array_equal(cut.pixels, pixels[160:320, 260:400])
    assert cut.record.box == Box(40, 40, 100, 120)
    assert (cut.record.width, cut.record.height) == (140, 160)


def test_colours_are_those_of_the_camera_whichever_order_they_come_in():
    pixels = np.zeros((480, 640, 3), np.uint8)
    pixels[..., 0] = 200
    for order, channel in ((ChannelOrder.BGR, 0), (ChannelOrder.RGB, 2)):
        door = Door()
        door.note(look(), picture=frame(pixels, order))
        (cut,) = door.note()
        assert cut.pixels[5, 5].argmax() == channel  # blue, green, red


def test_a_face_at_the_edge_and_a_large_one_fit_their_picture():
    door = Door()
    door.note(look(1, box=Box(-10, 100, 50, 160)), look(2, box=Box(100, 20, 500, 470)))
    edge, large = door.note()
    assert edge.pixels.shape[:2] == (120, 80)
    assert edge.record.box == Box(0, 30, 50, 90)
    assert max(large.pixels.shape) == MAX_SIDE
    assert large.record.box.size == pytest.approx(450 * MAX_SIDE / 640, abs=2)
    assert large.record.size == 450  # as the camera saw it


def test_others_in_the_picture_are_noted_where_they_mostly_show():
    near, far = Box(350, 180, 395, 240), Box(20, 20, 80, 80)
    door = Door()
    door.note(look(box=FACE), faces=(near, far))
    (cut,) = door.note()
    assert cut.record.others == (Box(90, 20, 135, 80),)


PERSON = st.tuples(
    st.tuples(*(st.floats(0.01, 1) for _ in range(3))),
    st.sampled_from([UNSURE, "with_mask", "without_mask"]),
)


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.integers(0, 5), PERSON, max_size=4), max_size=15))
def test_whatever_comes_no_more_than_two_of_a_track_and_no_sure_ones(frames):
    door = Door()
    cuts, tracks, known = [], {}, 0
    for people in frames:
        tracks = {place: track for place, track in tracks.items() if place in people}
        for place in people.keys() - tracks.keys():  # who comes back has a new track
            tracks[place] = known = known + 1
        looks = [
            look(tracks[place], tuple(w / sum(weights) for w in weights), FACE, decided)
            for place, (weights, decided) in people.items()
        ]
        cuts += door.note(*looks, dt=PATIENCE / 4)
    cuts += door.candidates.flush()
    assert len({cut.record.name for cut in cuts}) == len(cuts)
    assert all(cut.record.doubt >= FLOOR - 1e-4 for cut in cuts)
    assert max(Counter(cut.record.track for cut in cuts).values(), default=0) <= PER_TRACK
