import pytest

from maskedge.geometry import Box
from maskedge.people.presence import Presence, same_person, took_place

VIEW = (640.0, 480.0)


def face(x, y=200.0, size=80.0):
    return Box(x - 0.4 * size, y - size / 2, x + 0.4 * size, y + size / 2)


def seen(first, last=None, since=0.0, until=1.0, velocity=(0.0, 0.0)):
    return Presence(1, first, since, last or first, velocity, until)


def test_the_same_place_after_a_moment_is_the_same_person():
    assert same_person(seen(face(300)), seen(face(310), since=2.0, until=3.0), VIEW)


@pytest.mark.parametrize(
    ("newcomer", "why"),
    [
        (seen(face(600), since=2.0, until=3.0), "too far"),
        (seen(face(300, size=160), since=2.0, until=3.0), "too large"),
        (seen(face(300, size=40), since=2.0, until=3.0), "too small"),
        (seen(face(300), since=0.9, until=3.0), "in view at the same time"),
        (seen(face(300), since=1.0, until=3.0), "in view at the same moment"),
    ],
)
def test_others_are_others(newcomer, why):
    assert not same_person(seen(face(300)), newcomer, VIEW), why


def test_who_walks_on_unseen_is_found_further_on():
    lost = seen(face(100), face(200), velocity=(150.0, 0.0))
    assert same_person(lost, seen(face(430), since=2.5, until=2.6), VIEW)
    still = seen(face(200), velocity=(0.0, 0.0))
    assert not same_person(still, seen(face(430), since=2.5, until=2.6), VIEW)


def test_who_walked_out_is_not_who_stands_there_next():
    lost = seen(face(400), face(570), velocity=(170.0, 0.0))
    newcomer = seen(face(560), since=2.0, until=3.0)
    assert not same_person(lost, newcomer, VIEW)
    assert same_person(lost, newcomer, None)


def test_who_walked_in_was_not_lost_here():
    newcomer = seen(face(590), face(440), since=2.0, until=3.0)
    assert not same_person(seen(face(570)), newcomer, VIEW)


def test_a_longer_gap_reaches_further():
    lost = seen(face(300))
    assert not same_person(lost, seen(face(430), since=1.2, until=2.0), VIEW)
    assert same_person(lost, seen(face(430), since=2.5, until=3.0), VIEW)


@pytest.mark.parametrize(
    ("place", "now", "slipped"),
    [
        (face(300), 1.3, True),
        (face(310), 1.3, True),
        (face(330), 1.3, False),  # beside, not upon
        (face(300), 1.6, False),  # too late to be a mix-up
        (face(300), 1.0, False),  # the one who was there is still seen
    ],
)
def test_a_track_that_slips_onto_a_lost_face_is_noticed(place, now, slipped):
    lost = seen(face(300), since=0.0, until=1.0)
    other = seen(face(200), place, since=0.2, until=now)
    assert not same_person(lost, other, VIEW)
    assert took_place(lost, other, now) is slipped
