"""Which faces are kept: variety, chance, bounds."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskedge.review.selection import ALIKE, NEAR, Candidate, Selection

RNG = random.Random(5)


def face(name, kind="a", likeness=None, doubt=0.5, size=1, *, fixed=False):
    likeness = RNG.getrandbits(64) if likeness is None else likeness
    return Candidate(str(name), kind, likeness, doubt, size, fixed)


def selection(number=10, size=10**9, seed=1):
    return Selection(number, size, random.Random(seed))


def kinds(chosen):
    return Counter(candidate.kind for candidate in chosen.kept)


def test_while_there_is_room_all_are_kept():
    chosen = selection(10)
    assert [chosen.offer(face(n)) for n in range(10)] == [[]] * 10
    assert len(chosen.kept) == 10


def test_a_rush_of_one_kind_leaves_room_to_the_others():
    chosen = selection(12)
    for n in range(500):
        chosen.offer(face(n, "noon"))
    for n in range(6):
        chosen.offer(face(f"e{n}", "evening"))
        chosen.offer(face(f"m{n}", "morning"))
    assert all(number >= 3 for number in kinds(chosen).values())
    assert set(kinds(chosen)) == {"noon", "evening", "morning"}


def test_the_first_are_no_likelier_kept_than_the_last():
    early = late = 0
    for seed in range(300):
        chosen = selection(10, seed=seed)
        for n in range(100):
            chosen.offer(face(n))
        early += sum(int(c.name) < 50 for c in chosen.kept)
        late += sum(int(c.name) >= 50 for c in chosen.kept)
    assert early + late == 3000
    assert early == pytest.approx(1500, abs=4 * 3000**0.5 / 2)


@pytest.mark.parametrize("places", [20, 21, 22, 23])
def test_writes_become_rare_when_the_kinds_are_as_even_as_they_can_be(places):
    chosen = selection(places)
    replaced = [
        sum(bool(chosen.offer(face(f"{round_}-{n}", n % 4))) for n in range(1000))
        for round_ in range(4)
    ]
    assert replaced[0] < 150
    assert replaced[3] < 20  # 20 * ln(4000 / 3000) = 6 are expected


def test_one_poster_is_not_kept_day_after_day():
    chosen = selection(50)
    poster = RNG.getrandbits(64)
    answers = [chosen.offer(face(n, likeness=poster ^ (1 << n % NEAR))) for n in range(200)]
    assert answers[:ALIKE] == [[]] * ALIKE
    assert not any(answer is not None for answer in answers[ALIKE:])
    more = chosen.offer(face("torn", likeness=poster, doubt=0.9))
    assert more in (["0"], ["1"])


def test_labelled_faces_are_never_replaced():
    chosen = selection(5)
    chosen.restore([face(n, likeness=None, fixed=n < 4) for n in range(5)])
    for n in range(100):
        chosen.offer(face(f"x{n}", n % 3))
    assert {"0", "1", "2", "3"} <= {c.name for c in chosen.kept}
    full = selection(5)
    full.restore([face(n, fixed=True) for n in range(5)])
    assert full.offer(face("y", "rare")) is None
    alike = selection(5)
    alike.restore([face(n, likeness=7, doubt=0.3, fixed=True) for n in range(ALIKE)])
    assert alike.offer(face("y", likeness=7, doubt=0.9)) is None


def test_a_face_larger_than_all_room_is_refused():
    chosen = selection(5, size=100)
    chosen.offer(face("a", size=60))
    assert chosen.offer(face("b", "rare", size=101)) is None
    assert [c.name for c in chosen.kept] == ["a"]


def test_what_a_smaller_bound_leaves_no_room_for_is_given_up_labelled_last():
    chosen = selection(3)
    given_up = chosen.restore(
        [*(face(n, "common") for n in range(4)), face("r", "rare"), face("l", fixed=True)]
    )
    assert len(given_up) == 3
    assert "l" not in given_up
    assert "r" not in given_up
    chosen = selection(1)
    assert len(chosen.restore([face(n, fixed=True) for n in range(3)])) == 2


FACES = st.tuples(
    st.integers(0, 3), st.integers(0, 40), st.floats(0, 1), st.integers(1, 40), st.booleans()
)


@settings(max_examples=200)
@given(st.lists(FACES, max_size=60), st.integers(1, 12), st.integers(1, 200), st.integers())
def test_the_bounds_hold_and_the_answers_tell_all_that_changes(faces, number, size, seed):
    chosen = selection(number, size, seed)
    mine, fixed = {}, set()
    for n, (kind, look, doubt, taken, label) in enumerate(faces):
        new = face(n, kind, look * 0x0101010101010101, doubt, taken)
        gone = chosen.offer(new)
        if gone is not None:
            mine[new.name] = new
            for name in gone:
                del mine[name]
        assert not fixed & set(gone or ())
        assert {c.name for c in chosen.kept} == set(mine)
        assert len(mine) <= number
        assert sum(c.bytes for c in mine.values()) <= size
        if label and new.name in mine:
            mine[new.name] = new._replace(fixed=True)
            fixed.add(new.name)
            assert chosen.restore(mine.values()) == []
    alike = Counter(c.likeness for c in mine.values())
    assert all(number <= ALIKE for number in alike.values())
